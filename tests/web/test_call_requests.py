"""Whose request for a call it is: anybody may type any address into the open form; only a mailed link speaks for somebody."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select, update

from nurture.domain.delivery import DeliveryKind, State
from nurture.runtime import Runtime
from nurture.services.operations.jobs import JOBS
from nurture.services.subscribers import personal_data, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import app_state, consultations, metadata
from nurture.tokens import Purpose
from tests.clocks import ManualClock
from tests.desk import enter, post
from tests.people import Reader, a_subscriber, confirm, due, inbox, rows, run_tick, sign_up, subjects, undo_unsubscribe

CALL = {
    "name": "Robin Quill", "email": "robin@example.org", "region": "Oregon", "contact_way": "phone",
    "contact_detail": "+1 503 555 0142", "voicemail_ok": "on", "times": "Tuesdays after four",
}  # fmt: skip


def work(rt: Runtime) -> None:
    """What a process does within seconds: look requests up, and send what is due."""
    for job in JOBS:
        if job.name == "call_requests":
            job.run(rt, lambda _: None)
    run_tick(rt)


def link(rt: Runtime, reader: Reader, part: str) -> str:
    """The newest link of a kind in the mail of a reader, as a path."""
    found = [
        path
        for mail in inbox(rt, reader)
        for path in re.findall(re.escape(rt.settings.base_url) + rf"({part}[^\s\"'<>]*)", mail.part("plain"))
    ]
    assert found, f"no link to {part}"
    return str(found[-1])


def a_reader_with_the_last_letter(rt: Runtime, clock: ManualClock) -> Reader:
    """Zoë, whose last letter, which has the link to ask for a call, is out."""
    reader = a_subscriber(rt, "robin@example.org", "Zoë")
    for _ in range(8):
        run_tick(rt)
        at = due(rt, reader)
        if at is None:
            break
        clock.at = at
    return reader


def start_again(rt: Runtime, reader: Reader) -> None:
    """They leave, think better of it, and sign up and confirm anew: the series runs from its beginning."""
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    sign_up(rt, reader.email, "Zoë")
    confirm(rt, reader)


def readers_of(rt: Runtime) -> list[object]:
    """Everything that a reader is: every table but requests and mail about them."""
    left_out = {"consultations", "deliveries", "delivery_history", "heartbeats", "app_state", "send_blocks", "limit_counters"}
    with rt.database.read() as db:
        return [
            (table.name, sorted(repr(row) for row in db.execute(select(table))))
            for table in metadata.sorted_tables
            if table.name not in left_out
        ]


def questions(rt: Runtime, reader: Reader) -> list[str]:
    """Texts of the mails that ask a reader whether it was them."""
    return [mail.part("plain") for mail in inbox(rt, reader) if "/consultation/confirm/" in mail.part("plain")]


def test_knowing_an_address_ends_nobodys_letters(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    promised, before = due(rt, reader), readers_of(rt)
    for email in ("robin@example.org", "ROBIN@example.org", " robin@EXAMPLE.org. "):
        assert client.post("/consultation", data=CALL | {"email": email}).status_code == 303
    work(rt)
    assert due(rt, reader) == promised is not None
    assert readers_of(rt) == before
    with rt.database.read() as db:
        assert list(db.scalars(select(consultations.c.subscriber_id))) == [None] * 3, "stored, and nobody's"


def test_known_and_unknown_addresses_get_the_same_answer_after_the_same_writes(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    planned = rows(rt)
    answers, written = [], []
    for email in (reader.email, "nobody@example.org"):
        answer = client.post("/consultation", data=CALL | {"email": email})
        answers.append((answer.status_code, answer.data, dict(answer.headers), client.get(answer.location).data))
        now = rows(rt)
        written.append([row[:2] for row in now if now.count(row) > planned.count(row)])
        planned = now
    assert answers[0] == answers[1]
    assert {row for each in written for row in each} == {(DeliveryKind.NOTICE, State.SCHEDULED)}


def test_a_reader_is_asked_by_mail_and_their_button_ends_the_letters(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    client.post("/consultation", data=CALL)
    work(rt)
    (question,) = questions(rt, reader)
    mail = next(each for each in inbox(rt, reader) if "/consultation/confirm/" in each.part("plain"))
    assert str(mail.message["Subject"]) == "Was this you?"
    assert "List-Unsubscribe" in mail.message
    for trace in ("Quill", "503", "0142", "Oregon", "Tuesdays"):
        assert trace not in mail.source
    assert question.count("/consultation/confirm/") == 1
    path = link(rt, reader, "/consultation/confirm/")
    promised = due(rt, reader)
    for method in ("GET", "HEAD", "OPTIONS"):
        client.open(path, method=method)
    assert due(rt, reader) == promised is not None
    assert client.post(path).status_code == 200
    assert due(rt, reader) is None
    assert rows(rt, reader, DeliveryKind.LETTER)[-1][1] is State.CANCELLED
    assert client.post(path).status_code == 200, "twice is fine"


def test_strangers_are_asked_nothing(client: FlaskClient, rt: Runtime) -> None:
    pending, left = sign_up(rt, "pending@example.org"), a_subscriber(rt, "left@example.org")
    run_tick(rt)
    undo = client.post(f"/unsubscribe/{rt.tokens.mint(Purpose.UNSUBSCRIBE, left.id)}")
    assert undo.status_code == 200
    run_tick(rt)
    before = inbox(rt)
    for email in ("nobody@example.org", pending.email, left.email):
        client.post("/consultation", data=CALL | {"email": email})
    work(rt)
    assert len(inbox(rt)) == len(before) + 3, "the notices"
    assert questions(rt, pending) == questions(rt, left) == []


def test_the_form_floods_no_reader(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    for _ in range(10):
        client.post("/consultation", data=CALL)
    work(rt)
    assert len(questions(rt, reader)) == 1
    for _ in range(6):
        clock.advance(days=1, hours=1)
        client.post("/consultation", data=CALL)
        work(rt)
    assert len(questions(rt, reader)) == 2, "two that stay unanswered in half a year"


def test_a_question_does_not_count_as_the_line_that_somebody_is_on_the_list_already(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    client.post("/consultation", data=CALL)
    work(rt)
    sign_up(rt, reader.email)
    work(rt)
    assert {"Was this you?", "You are on the list already"} < set(subjects(rt, reader))


def test_the_button_works_for_a_week_for_one_request_and_not_for_a_later_series(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    client.post("/consultation", data=CALL)
    work(rt)
    path = link(rt, reader, "/consultation/confirm/")
    assert client.post(path).status_code == 200
    start_again(rt, reader)
    assert due(rt, reader) is not None
    assert client.post(path).status_code == 200
    assert due(rt, reader) is not None, "what has begun since goes on"
    clock.advance(days=7, seconds=1)
    assert client.get(path).status_code == client.post(path).status_code == 404


def test_the_page_of_the_button_shows_nothing_in_clear(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    client.post("/consultation", data=CALL)
    work(rt)
    page = unescape(client.get(link(rt, reader, "/consultation/confirm/")).text)
    assert "R•••" in page
    assert "•••42" in page, "a number that is not theirs can be told by its end"
    for trace in ("Robin", "Quill", "robin@", "503", "0142", "Oregon", "Tuesdays"):
        assert trace not in page


def test_nobody_else_can_press_the_button(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    client.post("/consultation", data=CALL)
    work(rt)
    with rt.database.read() as db:
        request = db.scalar(select(consultations.c.id))
    assert request
    for purpose in Purpose:
        if purpose is not Purpose.CONFIRM_CONSULTATION:
            wrong = f"/consultation/confirm/{rt.tokens.mint(purpose, request)}"
            assert client.get(wrong).status_code == client.post(wrong).status_code == 404
    assert due(rt, reader) is not None


def test_an_erased_persons_button_is_dead_and_their_requests_are_gone(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    client.post("/consultation", data=CALL)
    work(rt)
    path = link(rt, reader, "/consultation/confirm/")
    assert [each["came_by"] for each in personal_data.export(rt, reader.id)["requests_for_a_call"]] == ["form"]
    personal_data.erase(rt, reader.id)
    assert client.get(path).status_code == client.post(path).status_code == 404
    with rt.database.read() as db:
        assert db.execute(select(consultations)).all() == []


def test_a_question_whose_request_is_gone_is_not_sent(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    client.post("/consultation", data=CALL)
    for job in JOBS:
        if job.name == "call_requests":
            job.run(rt, lambda _: None)
    with rt.database.begin() as db:
        db.execute(delete(consultations))
    run_tick(rt)
    assert questions(rt, reader) == []
    assert rows(rt, reader, DeliveryKind.CONSULTATION_QUESTION)[0][1] is State.CANCELLED


def test_the_link_of_a_forwarded_letter_shows_nothing_in_clear(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_reader_with_the_last_letter(rt, clock)
    path = link(rt, reader, r"/consultation\?t=")
    page = unescape(client.get(path).text)
    wrong = unescape(client.post(path, data=CALL | {"email": "", "name": "", "region": ""}).text)
    for shown in (page, wrong):
        assert "Zoë" not in shown
        assert "robin" not in shown.lower().replace("robin quill", "")
        assert "r•••@e•••.org" in shown
        assert "Z•••" in shown


def test_the_link_of_a_letter_says_who_asks_and_ends_the_letters(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_reader_with_the_last_letter(rt, clock)
    path = link(rt, reader, r"/consultation\?t=")
    start_again(rt, reader)
    assert due(rt, reader) is not None
    answer = client.post("/consultation", data=CALL | {"email": "", "name": "", "t": path.split("t=")[1]})
    assert (answer.status_code, answer.location) == (303, "/consultation/sent")
    assert due(rt, reader) is None
    enter(client, rt)
    shown = client.get("/desk/requests").text
    assert "Zoë" in shown
    assert "by a letter’s link" in unescape(shown)
    work(rt)
    assert questions(rt, reader) == [], "who came by a letter is asked nothing more"


def test_the_link_of_a_letter_expires(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_reader_with_the_last_letter(rt, clock)
    path = link(rt, reader, r"/consultation\?t=")
    clock.advance(days=90, seconds=1)
    start_again(rt, reader)
    assert "r•••" not in client.get(path).text
    assert client.post(path, data=CALL).status_code == 303, "and keeps nobody from asking"
    assert due(rt, reader) is not None


def test_links_of_letters_of_the_version_before_are_read_for_as_long_after_the_upgrade(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    reader = a_subscriber(rt, "robin@example.org", "Zoë")
    run_tick(rt)
    token = rt.tokens.mint(Purpose.CONSULTATION, reader.id)
    upgraded = update(app_state).where(app_state.c.key == "timed_letter_links_since")
    with rt.database.begin() as db:
        assert db.execute(upgraded.values(value=clock.real_now().isoformat())).rowcount == 1
    clock.advance(days=89)
    assert "r•••@e•••.org" in unescape(client.get(f"/consultation?t={token}").text)
    clock.advance(days=2)
    assert "r•••" not in client.get(f"/consultation?t={token}").text
    promised = due(rt, reader)
    client.post("/consultation", data=CALL | {"t": token})
    assert due(rt, reader) == promised is not None
    with rt.database.begin() as db:
        db.execute(upgraded.values(value=clock.real_now().isoformat()))
    client.post("/consultation", data=CALL | {"t": token})
    assert due(rt, reader) is None


@pytest.fixture
def request_url(rt: Runtime) -> Callable[[], str]:
    """Where the desk shows the newest request."""

    def url() -> str:
        with rt.database.read() as db:
            query = select(consultations.c.id).order_by(consultations.c.created_at.desc())
            return f"/desk/consultations/{db.scalars(query).first()}"

    return url


def test_the_desk_says_how_a_request_came(
    client: FlaskClient, rt: Runtime, clock: ManualClock, request_url: Callable[[], str]
) -> None:
    reader = a_reader_with_the_last_letter(rt, clock)
    enter(client, rt)

    def shown() -> tuple[str, str]:
        return unescape(client.get("/desk/requests").text), unescape(client.get(request_url()).text)

    client.post("/consultation", data=CALL | {"email": "nobody@example.org"})
    many, one = shown()
    assert "not on the list" in many
    assert "whose address is not on the list" in one
    assert "Their letters stopped" not in one
    clock.advance(minutes=1)
    client.post("/consultation", data=CALL)
    work(rt)
    many, one = shown()
    assert "not confirmed" in many
    assert "A mail asks them" in one
    assert f"/desk/people/{reader.id}/" in one
    assert "not confirmed" in client.get(f"/desk/people/{reader.id}/").text
    assert post(client, f"{request_url()}/state", state="booked").status_code == 303
    client.post(link(rt, reader, "/consultation/confirm/"))
    one = unescape(client.get(request_url()).text)
    assert "confirmed from their mailbox" in one
    assert "Their letters stopped" in one
    clock.advance(minutes=1)
    client.post("/consultation", data=CALL | {"t": link(rt, reader, r"/consultation\?t=").split("t=")[1]})
    assert "By the link in a letter to this address" in shown()[1]
    clock.advance(minutes=1)
    token = link(rt, reader, r"/consultation\?t=").split("t=")[1]
    client.post("/consultation", data=CALL | {"email": "x@example.org", "t": token})
    assert "which went to another address" in shown()[1]


def test_booking_an_unproven_request_changes_no_reader(
    client: FlaskClient, rt: Runtime, clock: ManualClock, request_url: Callable[[], str]
) -> None:
    reader = a_reader_with_the_last_letter(rt, clock)
    start_again(rt, reader)
    client.post("/consultation", data=CALL | {"t": link(rt, reader, r"/consultation\?t=").split("t=")[1]})
    before = readers_of(rt)
    clock.advance(minutes=1)
    client.post("/consultation", data=CALL)
    enter(client, rt)
    post(client, f"{request_url()}/state", state="booked")
    after = readers_of(rt)
    names = {"enrollments", "subscribers", "consents", "suppressions"}
    assert [each for each in after if each[0] in names] == [each for each in before if each[0] in names]  # type: ignore[index]


def test_an_undo_after_a_request_brings_nobody_back(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    """Letters that ended because of a request are not restored by taking back an unsubscribe that came after it."""
    reader = a_reader_with_the_last_letter(rt, clock)
    start_again(rt, reader)
    client.post("/consultation", data=CALL | {"t": link(rt, reader, r"/consultation\?t=").split("t=")[1]})
    client.post(f"/unsubscribe/{rt.tokens.mint(Purpose.UNSUBSCRIBE, reader.id)}")
    assert undo_unsubscribe(rt, reader.id)
    assert due(rt, reader) is None


def test_the_open_form_takes_three_requests_a_day_for_one_mailbox(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    spellings = ("robin@example.org", "Robin@Example.org", "robin+a@example.org", "robin+b@example.org")
    answers = [client.post("/consultation", data={**CALL, "email": email}) for email in spellings]
    assert [answer.status_code for answer in answers] == [303, 303, 303, 429]
    assert "Please try again tomorrow" in answers[-1].text
    assert CALL["times"] in answers[-1].text, "what was typed stays"
    with rt.database.read() as db:
        assert len(db.execute(select(consultations)).all()) == 3
    reader = a_reader_with_the_last_letter(rt, clock)
    assert client.post(link(rt, reader, "/consultation"), data=CALL).status_code == 303, "a letter's link needs no limit"
