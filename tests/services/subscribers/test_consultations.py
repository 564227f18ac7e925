"""A request for a consultation."""

from sqlalchemy import select

from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.sequence import EnrollmentState
from nurture.ids import SubscriberId
from nurture.runtime import Runtime
from nurture.services.addresses import parse_address
from nurture.services.subscribers import consultations as goals
from nurture.store.core.schema import consultations, enrollments
from tests.clocks import ManualClock
from tests.people import a_subscriber, inbox, rows, run_tick


def ask(rt: Runtime, email: str, subscriber_id: SubscriberId | None = None) -> str:
    request = goals.ConsultationRequest("Robin Quill", email, "Oregon", "phone", "+1 555 0100", True, "Tuesdays after four")
    return goals.request_consultation(rt, request, parse_address(email), subscriber_id)


def test_asking_for_a_call_ends_the_sequence_and_keeps_the_reader(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    ask(rt, "other@example.org", reader.id)
    clock.advance(days=30)
    run_tick(rt)
    assert [row[1] for row in rows(rt, reader, DeliveryKind.LETTER)] == [State.ACCEPTED, State.CANCELLED]
    with rt.database.read() as db:
        assert db.execute(select(enrollments.c.state, enrollments.c.reason)).one() == (EnrollmentState.EXITED, "consultation")


def test_the_address_alone_ends_nothing(rt: Runtime) -> None:
    reader = a_subscriber(rt)
    ask(rt, reader.email.upper())
    assert rows(rt, reader, DeliveryKind.LETTER)[-1][1] is State.SCHEDULED


def test_the_notice_says_where_to_look_and_nothing_about_the_person(rt: Runtime) -> None:
    consultation = ask(rt, "robin@example.org")
    run_tick(rt)
    (notice,) = inbox(rt)
    assert str(notice.message["To"]) == rt.settings.notices_to
    assert f"/desk/consultations/{consultation}" in notice.part("plain")
    for detail in ("Robin", "Quill", "robin@example.org", "Oregon", "555 0100", "Tuesdays"):
        assert detail not in notice.source
    assert notice.message["List-Unsubscribe"] is None


def test_what_was_asked_is_stored_sealed_and_can_be_read_at_the_desk(rt: Runtime) -> None:
    consultation = ask(rt, "robin@example.org")
    with rt.database.read() as db:
        stored = db.execute(select(consultations.c.details_encrypted)).scalar_one()
    assert b"Robin" not in bytes(stored)
    (listed,) = goals.list_requests(rt)
    assert listed.id == consultation
    found = goals.read_request(rt, listed.id)
    assert found is not None
    assert (found.details.name, found.details.region, found.details.voicemail_ok) == ("Robin Quill", "Oregon", True)
    assert "Robin" not in repr(found.details)
