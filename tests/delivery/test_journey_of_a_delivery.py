"""From plan to settled: what the post office does with every kind of answer. Both databases, an outbox, scripted mailers."""

import asyncio
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from nurture import dispatch
from nurture.delivery.reconcile import plan_missing, reconcile
from nurture.delivery.sender import Sender, send_batch
from nurture.delivery.tick import tick
from nurture.domain.delivery import Accepted, Ambiguous, DeliveryKind, Outcome, Refused, Rejected, State
from nurture.domain.sequence import EnrollmentState
from nurture.ids import BatchId
from nurture.mailers.base import Mail, PreparedMail
from nurture.mailers.outbox import Outbox
from nurture.runtime import Runtime
from nurture.services.subscribers import unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import deliveries, editions, enrollments, sequences
from nurture.store.deliveries import rate_limit
from tests.clocks import ManualClock
from tests.people import a_subscriber, due, inbox, rows, run_tick, sign_up, subjects
from tests.scripted import Answering


def test_a_reader_gets_every_letter_once_at_the_promised_local_time(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt, zone="Australia/Adelaide")
    zone, arrived = ZoneInfo("Australia/Adelaide"), []
    run_tick(rt)
    while (at := due(rt, reader)) is not None:
        clock.at = at - timedelta(seconds=1)
        assert run_tick(rt).claimed == 0, "nothing goes out before its time"
        clock.at = at + timedelta(seconds=3)
        assert run_tick(rt).claimed == 1
        arrived.append(at.astimezone(zone))
    clock.advance(days=60)
    assert run_tick(rt).claimed == 0
    assert len(arrived) == 5
    assert all(9 <= at.hour < 18 and at.weekday() < 6 for at in arrived), arrived
    assert len(subjects(rt, reader)) == len(set(subjects(rt, reader))) == 6, "a welcome and five letters"
    with rt.database.read() as db:
        assert db.execute(select(enrollments.c.state)).scalar_one() is EnrollmentState.COMPLETED


def test_seconds_of_delay_do_not_add_up_over_a_sequence(rt: Runtime, clock: ManualClock) -> None:
    clock.advance(days=1)  # a Tuesday: no wait of three or four days ends on a Sunday
    reader = a_subscriber(rt)
    run_tick(rt)
    first = due(rt, reader)
    assert first is not None
    clock.at = first + timedelta(minutes=2)
    run_tick(rt)
    second = due(rt, reader)
    assert second is not None
    assert second.astimezone(ZoneInfo("America/New_York")).time() == first.astimezone(ZoneInfo("America/New_York")).time()


def test_a_letter_that_missed_its_day_waits_for_the_window(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    promised = due(rt, reader)
    assert promised is not None
    clock.at = promised + timedelta(hours=14)  # the outage ends late in the evening
    before = len(inbox(rt, reader))
    run_tick(rt)
    later = due(rt, reader)
    assert len(inbox(rt, reader)) == before
    assert later is not None
    assert later.astimezone(ZoneInfo("America/New_York")).hour == 9
    clock.at = later
    run_tick(rt)
    assert len(inbox(rt, reader)) == before + 1


def test_a_refusal_brings_the_letter_back_later_and_loses_nothing(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    outbox, rt.mailer = rt.mailer, Answering(lambda _: Refused("busy", timedelta(seconds=40)))
    run_tick(rt)
    assert due(rt, reader) == clock.now() + timedelta(seconds=40)
    rt.mailer = outbox
    clock.advance(seconds=39)
    assert run_tick(rt).claimed == 0
    clock.advance(seconds=1)
    run_tick(rt)
    assert len(inbox(rt, reader)) == 1


def test_a_refusal_of_everyone_stops_the_batch_after_one_window(rt: Runtime, clock: ManualClock) -> None:
    for _ in range(12):
        sign_up(rt)
    mailer = Answering(lambda _: Refused("401 the API key was refused", timedelta(minutes=5)))
    rt.mailer = mailer
    run_tick(rt)
    assert 0 < len(mailer.given) <= rt.settings.send_concurrency
    assert {row[1] for row in rows(rt)} == {State.SCHEDULED}
    clock.advance(minutes=4)
    assert run_tick(rt).claimed == 0, "nobody tries before the provider wants to hear of us"
    clock.advance(minutes=2)
    given = len(mailer.given)
    run_tick(rt)
    assert len(mailer.given) == given + 1, "the first mail afterwards is a trial"
    mailer.answer = lambda _: Accepted("m")
    clock.advance(minutes=6)
    run_tick(rt)
    assert {row[1] for row in rows(rt)} == {State.ACCEPTED}


def test_an_unclear_answer_waits_for_evidence_and_is_never_repeated(rt: Runtime, clock: ManualClock) -> None:
    sign_up(rt)
    mailer = Answering(lambda _: Ambiguous("no answer"))
    rt.mailer = mailer
    for _ in range(5):
        run_tick(rt)
        reconcile(rt)
        clock.advance(hours=5)
    assert [row[1] for row in rows(rt)] == [State.UNKNOWN]
    assert len(mailer.given) == 1


def test_without_a_channel_of_evidence_an_unclear_answer_is_held(rt: Runtime) -> None:
    sign_up(rt)
    rt.mailer = Answering(lambda _: Ambiguous("no reply"), gives_evidence=False)
    run_tick(rt)
    assert [row[1] for row in rows(rt)] == [State.HELD]


def test_a_rejected_mail_fails_alone(rt: Runtime) -> None:
    bad, good = sign_up(rt), sign_up(rt)
    rt.mailer = Answering(lambda mail: Rejected("400 to") if mail.to == bad.email else Accepted("m"))
    run_tick(rt)
    assert [row[1] for row in rows(rt, bad)] == [State.FAILED]
    assert [row[1] for row in rows(rt, good)] == [State.ACCEPTED]


def test_a_letter_that_cannot_be_filled_fails_alone(rt: Runtime) -> None:
    first, second = a_subscriber(rt), a_subscriber(rt)
    run_tick(rt)
    with rt.database.begin() as db:
        db.execute(update(editions).values(text=editions.c.text + "{{ reader.shoe_size }}"))
    for reader in (first, second):
        assert due(rt, reader) is not None
    clock = rt.clock
    assert isinstance(clock, ManualClock)
    clock.advance(days=4)
    clock.at = max(at for at in (due(rt, first), due(rt, second)) if at)
    sign_up(rt, "third@example.org")
    run_tick(rt)
    assert [row[1] for row in rows(rt, first, DeliveryKind.LETTER)] == [State.ACCEPTED, State.FAILED]
    assert "third@example.org" in {str(mail.message["To"]) for mail in inbox(rt)}


class Suspended(ManualClock):
    """The machine sleeps for eleven seconds between the mark and the request."""

    slept = False

    def real_now(self) -> datetime:
        self.slept |= threading.current_thread().name.startswith("ledger")  # while the window was being marked
        return super().real_now()

    def boot_seconds(self) -> float:
        return 11.0 if self.slept else 0.0


def test_a_process_that_was_held_up_after_marking_lets_go_instead_of_sending(rt: Runtime) -> None:
    sign_up(rt)
    mailer = Answering(lambda _: Accepted("m"))
    rt.mailer, rt.clock = mailer, Suspended()
    run_tick(rt)
    assert mailer.given == []
    assert [row[1] for row in rows(rt)] == [State.SCHEDULED]


class Killed(BaseException):
    """The process dies here."""


def test_a_process_that_dies_in_a_request_leaves_a_doubt_not_a_second_mail(rt: Runtime, clock: ManualClock) -> None:
    sign_up(rt)
    outbox = rt.mailer

    def dies(mail: Mail) -> Outcome:
        assert isinstance(outbox, Outbox)
        outbox._post([outbox.prepare(mail)])
        raise Killed

    rt.mailer = Answering(dies)
    with pytest.raises(Killed):
        run_tick(rt)
    clock.advance(seconds=rt.settings.lease_seconds + 1)
    report = reconcile(rt)
    assert (report.released, report.unknown) == (0, 1)
    rt.mailer = outbox
    run_tick(rt)
    assert len(inbox(rt)) == 1
    assert [row[1] for row in rows(rt)] == [State.UNKNOWN]


def test_with_the_outbox_a_killed_process_leaves_no_doubt_and_no_second_mail(rt: Runtime, clock: ManualClock) -> None:
    sign_up(rt)
    outbox = rt.mailer
    assert isinstance(outbox, Outbox)

    class Dying(Outbox):
        async def post(self, mails: Sequence[PreparedMail], within: float) -> Outcome:
            await super().post(mails, within)
            raise Killed

    rt.mailer = Dying(outbox.folder)
    with pytest.raises(Killed):
        run_tick(rt)
    rt.mailer = outbox
    clock.advance(seconds=rt.settings.lease_seconds + 1)
    assert reconcile(rt).released == 1
    run_tick(rt)
    assert len(inbox(rt)) == 1
    assert [row[1] for row in rows(rt)] == [State.ACCEPTED]


def test_a_process_that_dies_after_claiming_loses_nothing(rt: Runtime, clock: ManualClock) -> None:
    reader = sign_up(rt)

    def dies(_: BatchId) -> None:
        raise Killed

    with pytest.raises(Killed):
        tick(rt, dies)
    clock.advance(seconds=rt.settings.lease_seconds + 1)
    assert reconcile(rt).released == 1
    run_tick(rt)
    assert len(inbox(rt, reader)) == 1


def test_a_batch_carried_twice_is_sent_once(rt: Runtime) -> None:
    for _ in range(10):
        sign_up(rt)

    def twice(batch: BatchId) -> None:
        send_batch(rt, batch)
        send_batch(rt, batch)

    tick(rt, twice)
    assert len(inbox(rt)) == 10
    assert {row[1] for row in rows(rt)} == {State.ACCEPTED}


def test_asked_to_stop_a_process_finishes_what_is_in_flight_and_gives_back_the_rest(rt: Runtime) -> None:
    for _ in range(12):
        sign_up(rt)

    def stop(_: Mail) -> Outcome:
        rt.stopping.set()
        return Accepted("m")

    rt.mailer = Answering(stop)
    run_tick(rt)
    states = [row[1] for row in rows(rt)]
    sent = states.count(State.ACCEPTED)
    assert 1 <= sent <= 2 * rt.settings.send_concurrency, "no more than was marked"
    assert states.count(State.SCHEDULED) == 12 - sent


def test_a_batch_that_comes_again_while_it_is_going_out_changes_nothing(rt: Runtime) -> None:
    """A broker may hand a message to the same worker twice."""
    for _ in range(6):
        sign_up(rt)

    async def slowly(_: Mail) -> Outcome:
        await asyncio.sleep(0.05)
        return Accepted("m")

    rt.mailer = mailer = Answering(slowly)
    rt.settings = rt.settings.model_copy(update={"send_concurrency": 1})
    batches: list[BatchId] = []
    tick(rt, batches.append)
    sender = Sender(rt)
    try:
        for _ in range(3):
            sender.submit(batches[0])
        sender.finish()
    finally:
        sender.close()
    assert len(mailer.given) == 6
    assert [row[1] for row in rows(rt)] == [State.ACCEPTED] * 6


class Faulty(Answering):
    """With a fault that no part of ours expects."""

    @property
    def per_request(self) -> int:  # type: ignore[override]
        raise ZeroDivisionError


def test_after_a_fault_of_ours_the_next_batch_goes_out_all_the_same(rt: Runtime, clock: ManualClock) -> None:
    for _ in range(2):
        sign_up(rt)
    good = Answering(lambda _: Accepted("m"))
    rt.settings = rt.settings.model_copy(update={"batch_size": 1})
    batches: list[BatchId] = []
    tick(rt, batches.append)
    rt.mailer = Faulty(lambda _: Accepted("m"))  # type: ignore[assignment]
    here = dispatch.create_dispatcher(rt)
    try:
        here.submit(batches[0])
        with pytest.raises(ZeroDivisionError):
            here.finish()
        rt.mailer = good
        with pytest.raises(ZeroDivisionError):
            here.submit(batches[1])
        here.submit(batches[1])
        here.finish()
    finally:
        here.close()
    assert len(good.given) == 1
    clock.advance(hours=1)
    reconcile(rt)
    run_tick(rt)
    assert [row[1] for row in rows(rt)] == [State.ACCEPTED] * 2, "the other came back with its lease"


def test_asked_to_stop_batches_that_nobody_has_looked_into_are_given_back_too(rt: Runtime) -> None:
    for _ in range(12):
        sign_up(rt)

    def stop(_: Mail) -> Outcome:
        time.sleep(0.2)  # so that batches wait
        rt.stopping.set()
        return Accepted("m")

    rt.mailer = Answering(stop)
    rt.settings = rt.settings.model_copy(update={"send_concurrency": 1, "batch_size": 2})
    run_tick(rt)
    states = sorted(row[1] for row in rows(rt))
    assert states in ([State.ACCEPTED] * sent + [State.SCHEDULED] * (12 - sent) for sent in (1, 2))


def test_leaving_while_a_batch_is_under_way_stops_what_is_not_yet_marked(rt: Runtime) -> None:
    readers = [a_subscriber(rt) for _ in range(6)]
    with rt.database.begin() as db:
        db.execute(deliveries.delete().where(deliveries.c.kind != DeliveryKind.LETTER))
    last: list[str] = []

    def others_leave(mail: Mail) -> Outcome:
        for reader in readers:
            if not last and reader.email != mail.to:
                unsubscribe.unsubscribe(rt, reader.id, Exit.ONE_CLICK)
        last.append(mail.to)
        return Accepted("m")

    mailer = Answering(others_leave)
    rt.mailer = mailer
    rt.settings = rt.settings.model_copy(update={"send_concurrency": 1})
    run_tick(rt)
    sent = len(mailer.given)
    assert sent in (1, 2), "and perhaps the one that was marked ahead"
    assert sorted(row[1] for row in rows(rt, kind=DeliveryKind.LETTER) if row[1] is not State.SCHEDULED) == [
        *[State.ACCEPTED] * sent,
        *[State.CANCELLED] * (6 - sent),
    ]


def test_a_reader_whose_next_row_could_not_be_planned_goes_on_once_the_rules_are_right(rt: Runtime) -> None:
    reader = a_subscriber(rt)
    with rt.database.begin() as db:
        good = db.execute(select(sequences.c.rules)).scalar_one()
        db.execute(
            update(sequences).values(
                rules='key: x\ntitle: x\nwindow: {opens: "09:00", closes: "10:00", days: [mon]}\n'
                'quiet: {from: "08:00", to: "12:00"}\n'
            )
        )
    run_tick(rt)
    assert due(rt, reader) is None
    assert plan_missing(rt) == 0
    with rt.database.begin() as db:
        db.execute(update(sequences).values(rules=good))
    assert plan_missing(rt) == 1
    assert due(rt, reader) is not None


def test_mail_is_limited_over_all_processes(rt: Runtime, clock: ManualClock) -> None:
    for _ in range(8):
        sign_up(rt)
    rt.settings = rt.settings.model_copy(update={"max_sends_per_second": 1000.0})
    run_tick(rt)
    with rt.database.begin() as db:
        assert rate_limit.reserve(db, 1, 1000.0, clock.real_now()) == clock.real_now() + timedelta(milliseconds=8)
    assert len(inbox(rt)) == 8


def test_many_readers_may_come_to_the_end_in_the_same_moment(rt: Runtime, clock: ManualClock) -> None:
    readers = [a_subscriber(rt) for _ in range(6)]
    for _ in range(60):
        run_tick(rt)
        clock.advance(days=1)
    assert all(len(subjects(rt, reader)) == 6 for reader in readers)
    with rt.database.read() as db:
        assert set(db.scalars(select(enrollments.c.state))) == {EnrollmentState.COMPLETED}
