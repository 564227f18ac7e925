"""Leaving and coming back."""

from datetime import timedelta

from sqlalchemy import select

from nurture.delivery.sender import send_batch
from nurture.delivery.tick import tick
from nurture.domain.delivery import DeliveryKind, Outcome, State
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.ids import BatchId, SubscriberId, new_id
from nurture.mailers.base import Mail
from nurture.runtime import Runtime
from nurture.services.subscribers import unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import consents, enrollments
from nurture.store.subscribers import subscribers
from tests.clocks import ManualClock
from tests.people import a_subscriber, due, inbox, rows, run_tick, sign_up, subjects, undo_unsubscribe
from tests.scripted import Answering


def test_leaving_stops_everything_at_once_and_twice_is_the_same_as_once(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    for _ in range(2):
        assert unsubscribe.unsubscribe(rt, reader.id, Exit.ONE_CLICK) is False
    clock.advance(days=60)
    run_tick(rt)
    assert len(inbox(rt, reader)) == 1
    with rt.database.read() as db:
        person = subscribers.get_unlocked(db, reader.id)
        assert subscribers.suppression(db, rt.cipher.blind_index(reader.email)) is Suppression.UNSUBSCRIBED
        assert db.execute(select(enrollments.c.state, enrollments.c.reason)).one() == (EnrollmentState.EXITED, "unsubscribed")
        assert list(db.scalars(select(consents.c.act))).count("withdrawn") == 1
    assert person and person.state is SubscriberState.UNSUBSCRIBED


def test_leaving_stops_a_batch_that_is_claimed_already(rt: Runtime) -> None:
    reader = a_subscriber(rt)

    def leaves_first(batch: BatchId) -> None:
        unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
        send_batch(rt, batch)

    tick(rt, leaves_first)
    assert inbox(rt, reader) == []
    assert {row[1] for row in rows(rt, reader)} == {State.CANCELLED}


def test_leaving_before_confirming_works_too(rt: Runtime) -> None:
    reader = sign_up(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    run_tick(rt)
    assert inbox(rt, reader) == []


def test_a_link_of_somebody_deleted_meanwhile_does_no_harm(rt: Runtime) -> None:
    assert unsubscribe.unsubscribe(rt, SubscriberId(new_id()), Exit.PAGE) is False
    assert undo_unsubscribe(rt, SubscriberId(new_id())) is False


def test_an_undone_unsubscribe_goes_on_where_it_stopped_and_repeats_nothing(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    promised = due(rt, reader)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    assert undo_unsubscribe(rt, reader.id) is True
    assert undo_unsubscribe(rt, reader.id) is True
    assert due(rt, reader) == promised
    for _ in range(8):
        at = due(rt, reader)
        if at:
            clock.at = at
        run_tick(rt)
    assert len(subjects(rt, reader)) == len(set(subjects(rt, reader))) == 6


def test_undone_after_the_promised_time_the_letter_waits_for_the_window(rt: Runtime, clock: ManualClock) -> None:
    clock.at = clock.at.replace(hour=22, minute=45)  # a quarter to six in the evening in New York
    reader = a_subscriber(rt)
    run_tick(rt)
    promised = due(rt, reader)
    assert promised is not None
    clock.at = promised - timedelta(minutes=15)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    clock.advance(minutes=45)
    assert undo_unsubscribe(rt, reader.id)
    at = due(rt, reader)
    assert at is not None
    assert at > clock.now()


def test_a_complaint_cannot_be_undone_by_a_link(rt: Runtime) -> None:
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    with rt.database.begin() as db:
        subscribers.suppress(db, rt.cipher.blind_index(reader.email), Suppression.COMPLAINED, rt.clock.now())
    assert undo_unsubscribe(rt, reader.id) is False
    run_tick(rt)
    assert inbox(rt, reader) == []


def test_a_letter_accepted_while_leaving_is_not_sent_again_after_coming_back(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    outbox = rt.mailer

    async def leaves_meanwhile(mail: Mail) -> Outcome:
        assert unsubscribe.unsubscribe(rt, reader.id, Exit.ONE_CLICK) is True, "said on the page: one may still arrive"
        return await outbox.post([outbox.prepare(mail)], 1)

    rt.mailer = Answering(leaves_meanwhile)
    run_tick(rt)
    rt.mailer = outbox
    assert due(rt, reader) is None
    undo_unsubscribe(rt, reader.id)
    assert [row[2] for row in rows(rt, reader, DeliveryKind.LETTER) if row[1] is State.SCHEDULED] == ["history"]
    clock.advance(days=30)
    clock.at = due(rt, reader) or clock.at
    run_tick(rt)
    assert len(subjects(rt, reader)) == len(set(subjects(rt, reader)))
