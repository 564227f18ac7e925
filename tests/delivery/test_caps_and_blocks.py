"""What stops mail: the guards on one person, the gates that stop everything, and letters that come too late."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from nurture.delivery.reconcile import reconcile
from nurture.delivery.sender import Sender
from nurture.delivery.tick import tick
from nurture.domain.delivery import Accepted, DeliveryKind, FrequencyCaps, Refused, State
from nurture.ids import BatchId, StepKey
from nurture.runtime import Runtime
from nurture.services.operations import deliveries as service
from nurture.store.core.schema import deliveries, steps
from nurture.store.deliveries import ledger, send_blocks
from nurture.store.deliveries.ledger import NewDelivery
from nurture.store.deliveries.send_blocks import BlockKind
from tests.clocks import ManualClock
from tests.people import Reader, a_subscriber, due, enrollment_of, inbox, rows, run_tick, sign_up
from tests.scripted import Answering


def two_letters_at_once(rt: Runtime) -> Reader:
    """What an edit or an import could do: a second letter due in the same minute as the first."""
    reader = a_subscriber(rt)
    with rt.database.begin() as db:
        db.execute(deliveries.delete().where(deliveries.c.kind != DeliveryKind.LETTER))
        email_index = rt.cipher.blind_index(reader.email)
        extra = NewDelivery(
            DeliveryKind.LETTER, rt.clock.now(), reader.id, email_index, enrollment_of(rt, reader), StepKey("history")
        )
        ledger.plan(db, [extra], rt.clock.now())
    return reader


def test_a_second_letter_in_the_same_minute_waits_for_the_gap_and_the_window(rt: Runtime, clock: ManualClock) -> None:
    reader = two_letters_at_once(rt)
    for _ in range(3):
        run_tick(rt)
    assert len(inbox(rt, reader)) == 1
    later = due(rt, reader)
    assert later is not None
    assert later >= clock.now() + timedelta(hours=20)
    clock.at = later
    run_tick(rt)
    assert len(inbox(rt, reader)) == 2


def test_the_guards_are_the_installations_own(rt: Runtime) -> None:
    rt.frequency_caps = FrequencyCaps(timedelta(0), letters=5)
    reader = two_letters_at_once(rt)
    run_tick(rt)
    assert len(inbox(rt, reader)) == 2


def test_no_more_than_five_other_mails_a_day(rt: Runtime, clock: ManualClock) -> None:
    reader = sign_up(rt)
    with rt.database.begin() as db:
        mails = [
            NewDelivery(DeliveryKind.CONFIRMATION, clock.now(), reader.id, rt.cipher.blind_index(reader.email))
            for _ in range(9)
        ]
        ledger.plan(db, mails, clock.now())
    run_tick(rt)
    assert len(inbox(rt, reader)) == 5
    clock.advance(hours=14)  # past midnight in New York
    run_tick(rt)
    assert len(inbox(rt, reader)) == 10


def test_the_stop_switch_stops_everything_until_it_is_opened(rt: Runtime) -> None:
    sign_up(rt)
    with rt.database.begin() as db:
        send_blocks.block(db, BlockKind.STOP, "a wrong letter", "dana", rt.clock.real_now())
    run_tick(rt)
    assert inbox(rt) == []
    assert [row[1] for row in rows(rt)] == [State.SCHEDULED]
    with rt.database.begin() as db:
        assert send_blocks.unblock(db, BlockKind.STOP)
    run_tick(rt)
    assert len(inbox(rt)) == 1


def test_the_stop_switch_stops_a_batch_that_is_claimed_already(rt: Runtime) -> None:
    for _ in range(6):
        sign_up(rt)
    rt.settings = rt.settings.model_copy(update={"send_concurrency": 1})

    def throws_the_switch(_: object) -> Accepted:
        with rt.database.begin() as db:
            send_blocks.block(db, BlockKind.STOP, "a wrong letter", "dana", rt.clock.real_now())
        return Accepted("m")

    mailer = Answering(throws_the_switch)
    rt.mailer = mailer
    run_tick(rt)
    sent = len(mailer.given)
    assert sent in (1, 2), "and perhaps the one that was marked ahead"
    assert sorted(row[1] for row in rows(rt)) == [*[State.ACCEPTED] * sent, *[State.SCHEDULED] * (6 - sent)]


def test_a_refused_key_stops_the_whole_fleet(rt: Runtime, clock: ManualClock) -> None:
    """One process learns it; another, which has claimed already, sends nothing."""
    for _ in range(6):
        sign_up(rt)
    other = Answering(lambda _: Accepted("m"))
    second = Sender(rt)
    try:
        batches: list[BatchId] = []
        rt.settings = rt.settings.model_copy(update={"batch_size": 3})
        tick(rt, batches.append)
        rt.mailer = Answering(lambda _: Refused("401", timedelta(minutes=5), alarm=True))
        first = Sender(rt)
        first.submit(batches[0])
        first.finish()
        first.close()
        rt.mailer = other
        second.submit(batches[1])
        second.finish()
    finally:
        second.close()
    assert other.given == []
    assert {row[1] for row in rows(rt)} == {State.SCHEDULED}


def late(rt: Runtime, words: str) -> None:
    with rt.database.begin() as db:
        db.execute(update(steps).where(steps.c.key == "history").values(if_late=words))


def an_outage(rt: Runtime, clock: ManualClock, days: float) -> Reader:
    reader = a_subscriber(rt)
    run_tick(rt)
    clock.at = due(rt, reader) or clock.at
    clock.advance(days=days)
    run_tick(rt)
    return reader


def test_a_letter_that_may_be_skipped_is_and_the_next_one_keeps_its_distance(rt: Runtime, clock: ManualClock) -> None:
    late(rt, "skip after 3 days")
    reader = an_outage(rt, clock, days=5)
    letters = rows(rt, reader, DeliveryKind.LETTER)
    assert [(row[1], row[2]) for row in letters] == [
        (State.ACCEPTED, "welcome"), (State.CANCELLED, "history"), (State.SCHEDULED, "how-it-may-work"),
    ]  # fmt: skip
    assert letters[2][3] >= clock.now() + timedelta(days=3)


def test_a_letter_to_ask_about_waits_for_a_person(rt: Runtime, clock: ManualClock) -> None:
    late(rt, "ask after 3 days")
    reader = an_outage(rt, clock, days=5)
    assert [row[1] for row in rows(rt, reader, DeliveryKind.LETTER)] == [State.ACCEPTED, State.HELD]
    (held,) = service.list_doubts(rt, State.HELD)
    assert held.why == "120 hours late: shall it still go out?"
    service.resolve(rt, held.id, False, "dana")
    clock.advance(minutes=1)
    run_tick(rt)
    assert len(inbox(rt, reader)) == 2


@pytest.mark.parametrize("words", ["", "send", "skip after 7 days"])
def test_a_letter_that_is_not_too_late_goes_out_at_the_next_opening(rt: Runtime, clock: ManualClock, words: str) -> None:
    late(rt, words)
    reader = an_outage(rt, clock, days=5)
    at = due(rt, reader)
    if [row[1] for row in rows(rt, reader, DeliveryKind.LETTER)][1] is State.SCHEDULED and at:
        clock.at = at
        run_tick(rt)
    assert [row[1] for row in rows(rt, reader, DeliveryKind.LETTER)][1] is State.ACCEPTED


def test_reconciling_while_the_switch_is_thrown_still_tidies_up(rt: Runtime, clock: ManualClock) -> None:
    sign_up(rt)
    tick(rt, lambda _: None)
    with rt.database.begin() as db:
        send_blocks.block(db, BlockKind.STOP, "x", "dana", clock.real_now())
    clock.advance(seconds=121)
    assert reconcile(rt).released == 1
