"""What the desk does to one reader loses nothing, repeats nothing, and can be taken back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from nurture.delivery.reconcile import reconcile
from nurture.delivery.sender import send_batch
from nurture.delivery.tick import tick
from nurture.domain.delivery import DeliveryKind, Outcome, Refused, State
from nurture.domain.sequence import EnrollmentState
from nurture.ids import BatchId, DeliveryId, EnrollmentId, UserId, new_id
from nurture.mailers.base import Mail
from nurture.runtime import Runtime
from nurture.services.sequences.enrollments import (
    ActRefused,
    EnrollmentAction,
    EnrollmentChange,
    TooLate,
    pause,
    put_back,
    resume,
    send_later,
    send_next_now,
    stop,
)
from nurture.services.subscribers import unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core import schema
from nurture.store.deliveries.transitions import history
from nurture.store.sequences import sequences
from tests.clocks import ManualClock
from tests.effort import examples
from tests.people import Reader, a_subscriber, due, enrollment_of, inbox, rows, run_tick, subjects, undo_unsubscribe
from tests.scripted import Answering

ME = UserId("a" * 32)
STEPS = ["welcome", "history", "how-it-may-work", "why-talk", "what-to-expect", "invitation"]


def a_reader(rt: Runtime) -> tuple[Reader, EnrollmentId]:
    """Somebody who has got the welcome, and waits three days for the history."""
    reader = a_subscriber(rt)
    run_tick(rt)
    return reader, enrollment_of(rt, reader)


def state_of(rt: Runtime, enrollment: EnrollmentId) -> tuple[EnrollmentState, str | None]:
    e = schema.enrollments.c
    with rt.database.read() as db:
        row = db.execute(select(e.state, e.reason).where(e.id == enrollment)).one()
    return row[0], row[1]


def letters(rt: Runtime, reader: Reader) -> list[tuple[State, str | None]]:
    return [(state, step) for kind, state, step, _ in rows(rt, reader) if kind is DeliveryKind.LETTER]


def live_on(rt: Runtime, clock: ManualClock, reader: Reader, limit: int = 12) -> None:
    """Until nothing is to come."""
    for _ in range(limit):
        at = due(rt, reader)
        if at is None:
            return
        clock.at = max(at, clock.at)
        run_tick(rt)


def test_a_pause_freezes_the_rest_of_the_wait_and_resuming_goes_on_with_it(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    assert due(rt, reader) == datetime(2026, 3, 5, 15, 0, tzinfo=UTC)
    clock.advance(days=1, hours=3)
    done = pause(rt, enrollment, ME)
    assert (done.changed, done.undo) == (True, EnrollmentAction.RESUME)
    clock.advance(days=10)
    assert run_tick(rt).claimed == 0
    done = resume(rt, enrollment, ME)
    # one day and 21 hours were left on Tuesday 13:00; from Friday the 13th, 13:00 (summer time since): Sunday 10:00, so Monday
    assert (done.changed, done.undo) == (True, EnrollmentAction.PAUSE)
    assert due(rt, reader) == done.due == datetime(2026, 3, 16, 13, 0, tzinfo=UTC)
    live_on(rt, clock, reader)
    assert len(subjects(rt, reader)) == len(set(subjects(rt, reader))) == len(STEPS)


def test_doing_it_twice_changes_nothing(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    pause(rt, enrollment, ME)
    clock.advance(days=2)
    again = pause(rt, enrollment, ME)
    assert (again.changed, again.undo) == (False, None)
    assert resume(rt, enrollment, ME).due == due(rt, reader)
    promised = due(rt, reader)
    clock.advance(hours=5)
    assert resume(rt, enrollment, ME).changed is False
    assert due(rt, reader) == promised
    assert stop(rt, enrollment, ME).changed is True
    assert stop(rt, enrollment, ME).changed is False
    assert put_back(rt, enrollment, ME).changed is True
    assert put_back(rt, enrollment, ME).changed is False


def test_a_paused_reader_is_left_alone_by_what_plans_forgotten_rows(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    pause(rt, enrollment, ME)
    reconcile(rt)
    assert due(rt, reader) is None


def test_a_claimed_letter_of_somebody_paused_meanwhile_does_not_go_and_is_not_lost(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    enrollment = enrollment_of(rt, reader)

    def paused_first(batch: BatchId) -> None:
        pause(rt, enrollment, ME)
        send_batch(rt, batch)

    tick(rt, paused_first)
    assert subjects(rt, reader) == []
    resume(rt, enrollment, ME)
    live_on(rt, clock, reader)
    assert [step for _, step in letters(rt, reader)] == STEPS


def test_a_letter_on_its_way_arrives_and_the_next_waits_for_the_resume(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    enrollment, outbox = enrollment_of(rt, reader), rt.mailer

    async def paused_meanwhile(mail: Mail) -> Outcome:
        pause(rt, enrollment, ME)
        return await outbox.post([outbox.prepare(mail)], 1)

    rt.mailer = Answering(paused_meanwhile)
    run_tick(rt)
    rt.mailer = outbox
    assert letters(rt, reader) == [(State.ACCEPTED, "welcome")]
    clock.advance(days=20)
    resume(rt, enrollment, ME)
    assert letters(rt, reader) == [(State.ACCEPTED, "welcome"), (State.SCHEDULED, "history")]
    assert due(rt, reader) == datetime(2026, 3, 25, 15, 0, tzinfo=UTC), "three days, all of them still to be waited"


def test_a_letter_refused_while_paused_comes_back_with_the_reader(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    enrollment, outbox = enrollment_of(rt, reader), rt.mailer

    async def paused_meanwhile(mail: Mail) -> Outcome:
        pause(rt, enrollment, ME)
        return Refused("no room", timedelta(seconds=30), everyone=False)

    rt.mailer = Answering(paused_meanwhile)
    run_tick(rt)
    rt.mailer = outbox
    clock.advance(hours=1)
    run_tick(rt)
    assert letters(rt, reader) == [(State.CANCELLED, "welcome")]
    resume(rt, enrollment, ME)
    live_on(rt, clock, reader)
    assert [step for _, step in letters(rt, reader)] == STEPS
    assert {state for state, _ in letters(rt, reader)} == {State.ACCEPTED}


def test_stopped_and_put_back_goes_on_where_it_was(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    promised = due(rt, reader)
    assert stop(rt, enrollment, ME).undo is EnrollmentAction.PUT_BACK
    assert state_of(rt, enrollment) == (EnrollmentState.EXITED, "desk")
    assert due(rt, reader) is None
    assert put_back(rt, enrollment, ME).due == promised == due(rt, reader)
    live_on(rt, clock, reader)
    assert len(subjects(rt, reader)) == len(set(subjects(rt, reader))) == len(STEPS)


def test_put_back_who_was_paused_is_paused_again(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    pause(rt, enrollment, ME)
    stop(rt, enrollment, ME)
    put_back(rt, enrollment, ME)
    assert state_of(rt, enrollment) == (EnrollmentState.PAUSED, "desk")
    assert due(rt, reader) is None
    resume(rt, enrollment, ME)
    assert due(rt, reader) is not None


def test_coming_back_after_an_unsubscribe_does_not_end_a_pause(rt: Runtime) -> None:
    reader, enrollment = a_reader(rt)
    pause(rt, enrollment, ME)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    undo_unsubscribe(rt, reader.id)
    assert state_of(rt, enrollment)[0] is EnrollmentState.PAUSED
    assert due(rt, reader) is None


def test_who_left_by_themselves_is_not_put_back(rt: Runtime) -> None:
    reader, enrollment = a_reader(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    for act in (pause, resume, send_next_now, put_back):
        with pytest.raises(ActRefused, match="left the sequence"):
            act(rt, enrollment, ME)
    stop(rt, enrollment, ME)
    assert state_of(rt, enrollment) == (EnrollmentState.EXITED, "unsubscribed")


def test_who_was_stopped_and_then_unsubscribed_is_not_put_back(rt: Runtime) -> None:
    reader, enrollment = a_reader(rt)
    stop(rt, enrollment, ME)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    with pytest.raises(ActRefused, match="not on the list"):
        put_back(rt, enrollment, ME)


def test_nobody_is_in_a_sequence_twice(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    stop(rt, enrollment, ME)
    with rt.database.begin() as db:
        sequence = db.scalar(select(schema.enrollments.c.sequence_id))
        assert sequence
        sequences.enroll(db, reader.id, sequence, clock.now())
    with pytest.raises(ActRefused, match="begun this sequence again"):
        put_back(rt, enrollment, ME)


def test_who_has_had_every_letter_is_left_alone(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    live_on(rt, clock, reader)
    for act in (pause, stop, send_next_now):
        with pytest.raises(ActRefused, match="every letter"):
            act(rt, enrollment, ME)


def test_somebody_unknown_is_refused(rt: Runtime) -> None:
    with pytest.raises(ActRefused, match="not here any more"):
        pause(rt, EnrollmentId(new_id()), ME)


def test_the_next_letter_goes_now_once_the_guards_allow_it(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    clock.advance(hours=2)
    with pytest.raises(ActRefused, match=r"less than 20 hours ago. The next may go from Tuesday 3 March, 06:00 on their clock"):
        send_next_now(rt, enrollment, ME)
    promised = due(rt, reader)
    clock.advance(hours=20)
    done = send_next_now(rt, enrollment, ME)
    assert (done.due, done.before, done.undo) == (clock.now(), promised, EnrollmentAction.SEND_LATER)
    assert send_next_now(rt, enrollment, ME).changed is False
    run_tick(rt)
    assert letters(rt, reader)[:2] == [(State.ACCEPTED, "welcome"), (State.ACCEPTED, "history")]
    with pytest.raises(ActRefused, match="less than 20 hours"):
        send_next_now(rt, enrollment, ME)
    live_on(rt, clock, reader)
    assert len(subjects(rt, reader)) == len(set(subjects(rt, reader))) == len(STEPS)


def test_one_letter_a_day_holds_for_what_is_sent_by_hand_too(rt: Runtime, clock: ManualClock) -> None:
    rt.frequency_caps = type(rt.frequency_caps)(timedelta(hours=1), 1)
    _, enrollment = a_reader(rt)
    clock.advance(hours=3)
    with pytest.raises(ActRefused, match=r"today already. The next may go from Tuesday 3 March, 00:00"):
        send_next_now(rt, enrollment, ME)


def test_sending_now_can_be_taken_back_until_it_has_left(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    promised = due(rt, reader)
    assert promised
    clock.advance(hours=22)
    done = send_next_now(rt, enrollment, ME)
    assert done.before
    assert done.delivery
    assert send_later(rt, enrollment, done.delivery, done.before, ME).due == promised == due(rt, reader)
    assert run_tick(rt).claimed == 0
    send_next_now(rt, enrollment, ME)
    clock.at = promised + timedelta(hours=1)
    with pytest.raises(ActRefused, match="is past"):
        send_later(rt, enrollment, done.delivery, promised, ME)


def test_an_undo_after_the_letter_has_left_says_when_and_moves_no_other_letter(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    clock.advance(hours=22)
    done = send_next_now(rt, enrollment, ME)
    assert done.before
    assert done.delivery
    run_tick(rt)
    assert [step for _, state, step, _ in rows(rt, reader) if state is State.ACCEPTED] == STEPS[:2]
    following, left = due(rt, reader), clock.now()
    clock.advance(minutes=1)
    with pytest.raises(TooLate) as refused:
        send_later(rt, enrollment, done.delivery, done.before, ME)
    assert refused.value.left == left
    assert due(rt, reader) == following, "the letter after it keeps its moment"


@pytest.mark.parametrize(("first", "act", "undo"), [(pause, resume, pause), (stop, put_back, stop)])
def test_going_on_is_not_taken_back_once_a_letter_has_left(
    rt: Runtime,
    clock: ManualClock,
    first: Callable[..., EnrollmentChange],
    act: Callable[..., EnrollmentChange],
    undo: Callable[..., EnrollmentChange],
) -> None:
    reader, enrollment = a_reader(rt)
    first(rt, enrollment, ME)
    clock.advance(minutes=5)
    done = act(rt, enrollment, ME)
    assert undo(rt, enrollment, ME, since=done.at).changed, "nothing has left since"
    act(rt, enrollment, ME)
    clock.advance(days=4)
    run_tick(rt)
    left, following = clock.now(), due(rt, reader)
    with pytest.raises(TooLate) as refused:
        undo(rt, enrollment, ME, since=done.at)
    assert refused.value.left == left
    assert (state_of(rt, enrollment)[0], due(rt, reader)) == (EnrollmentState.ACTIVE, following)
    assert undo(rt, enrollment, ME).changed, "whoever asks for it anew gets it"


def test_who_is_paused_gets_nothing_by_hand(rt: Runtime, clock: ManualClock) -> None:
    _, enrollment = a_reader(rt)
    clock.advance(days=1)
    pause(rt, enrollment, ME)
    with pytest.raises(ActRefused, match="Let them go on first"):
        send_next_now(rt, enrollment, ME)


def test_a_letters_history_says_who_did_it(rt: Runtime, clock: ManualClock) -> None:
    reader, enrollment = a_reader(rt)
    pause(rt, enrollment, ME)
    resume(rt, enrollment, ME)
    d = schema.deliveries.c
    with rt.database.read() as db:
        letter = db.scalar(select(d.id).where(d.subscriber_id == reader.id, d.step_key == "history"))
        lines = history(db, DeliveryId(letter or ""))
    assert [(line.state, line.by, line.why) for line in lines[1:]] == [
        (State.CANCELLED, ME, "paused"), (State.SCHEDULED, ME, "came back"),
    ]  # fmt: skip


ACTS = ("tick", "tick", "tick", "pause", "resume", "stop", "put back", "now")


@settings(max_examples=examples(20, 6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 4 * 24)), max_size=25))
def test_whatever_is_done_and_when_every_letter_comes_once_in_order_and_never_early(
    rt: Runtime, clock: ManualClock, life: list[tuple[str, int]]
) -> None:
    reader = a_subscriber(rt)
    enrollment = enrollment_of(rt, reader)
    by_hand = {"pause": pause, "resume": resume, "stop": stop, "put back": put_back, "now": send_next_now}
    stopped = False
    for act, hours in life:
        clock.advance(hours=hours)
        promised = due(rt, reader)
        if act == "tick":
            before = len(inbox(rt, reader))
            run_tick(rt)
            if promised is None or promised > clock.now():
                assert len(inbox(rt, reader)) == before, "nothing goes before its promise, or while it is stopped"
            continue
        try:
            by_hand[act](rt, enrollment, ME)
        except ActRefused:
            continue
        stopped = {"stop": True, "put back": False}.get(act, stopped)
        at = due(rt, reader)
        if act in ("pause", "stop") or stopped:
            assert at is None
        elif act == "resume" and promised is None and at is not None:
            assert at >= clock.now()
    if stopped:
        put_back(rt, enrollment, ME)
    if state_of(rt, enrollment)[0] is EnrollmentState.PAUSED:
        resume(rt, enrollment, ME)
    live_on(rt, clock, reader, limit=30)
    assert [step for _, step in letters(rt, reader)] == STEPS
    assert {state for state, _ in letters(rt, reader)} == {State.ACCEPTED}
    assert len(subjects(rt, reader)) == len(STEPS)
