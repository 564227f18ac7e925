"""Random edits, pauses and ticks on real databases: nobody gets a letter twice, nobody silently loses one, nothing re-runs."""

import contextlib
import threading
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from nurture.delivery.reconcile import reconcile
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.edit import Choice
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.domain.timeline import Rules, Window
from nurture.ids import EnrollmentId, UserId
from nurture.runtime import Runtime
from nurture.services.sequences import enrollments, schedule
from nurture.services.sequences.enrollments import ActRefused
from nurture.services.sequences.schedule import Edited, ScheduleConflict
from nurture.services.subscribers import unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core import schema
from nurture.store.sequences import sequences
from nurture.store.sequences.sequences import RUNNING
from tests.clocks import START, ManualClock
from tests.effort import examples
from tests.people import Reader, a_subscriber, due, enrollment_of, rows, run_tick, undo_unsubscribe

KEY = "ketamine-and-talk-therapy"
ME = UserId("a" * 32)
ZONES = ("America/New_York", "Europe/Berlin", "Asia/Kathmandu")
WAITS = ("at once", "6 hours", "1 day", "3 days", "8 days")
RULES = (Rules(), Rules(Window(days=frozenset({1, 3}))))

edits = st.tuples(
    st.sampled_from(list(Choice)),
    st.permutations(range(6)).map(tuple) | st.just(tuple(range(6))),  # another order
    st.tuples(st.integers(0, 5), st.sampled_from(WAITS)),
    st.sets(st.integers(0, 5), max_size=1).map(frozenset),  # steps taken out, or put back
    st.sampled_from(RULES),
)
SHIPPED = ["welcome", "history", "how-it-may-work", "why-talk", "what-to-expect", "invitation"]
SHIPPED_WAITS = ["at once", "3 days", "4 days", "3 days", "4 days", "4 days"]
ACTS = ("pause", "resume", "stop", "put back", "leave", "come back")
turn = st.tuples(
    st.just(0) | st.integers(1, 120),  # hours until the next tick
    st.sampled_from(ACTS) | st.none(),
    st.integers(0, 2),
    st.none() | edits,
    st.sampled_from((None, None, None, "release", "join")),
)


Change = tuple[Choice, tuple[int, ...], tuple[int, str], frozenset[int], Rules]
Turn = tuple[int, str | None, int, Change | None, str | None]


def edited(old: Edited, change: Change) -> Edited:
    _, order, (waits, wait), gone, rules = change
    slots = [old.slots[place] for place in order]
    for place in gone:
        slots[place] = replace(slots[place], removed=not slots[place].removed)
    slots[waits] = replace(slots[waits], wait=wait)
    if all(slot.removed for slot in slots):
        slots[0] = replace(slots[0], removed=False)
    return Edited(tuple(slots), rules)


def got(rt: Runtime, reader: Reader) -> list[str]:
    """What a reader has got, in the order in which it went out."""
    d = schema.deliveries.c
    query = select(d.step_key).where(d.subscriber_id == reader.id, d.kind == DeliveryKind.LETTER, d.state == State.ACCEPTED)
    with rt.database.read() as db:
        return [step or "" for step in db.scalars(query.order_by(d.marked_at, d.accepted_at))]


class World:
    """Readers of one sequence, and what is owed to each: letters that were to come, and were not taken out since."""

    def __init__(self, rt: Runtime, clock: ManualClock) -> None:
        self.rt, self.clock = rt, clock
        self.readers: list[Reader] = []
        self.enrollments: list[EnrollmentId] = []
        self.owed: list[set[str]] = []
        self.left: set[int] = set()

    def join(self, number: int) -> None:
        reader = a_subscriber(self.rt, zone=ZONES[number])
        self.readers.append(reader)
        self.enrollments.append(enrollment_of(self.rt, reader))
        self.owed.append({card.slot.key for card in schedule.load(self.rt, KEY).cards if not card.slot.removed})

    def tick(self, hours: int) -> None:
        before, owed_now = [got(self.rt, reader) for reader in self.readers], [due(self.rt, reader) for reader in self.readers]
        self.clock.advance(hours=hours)
        run_tick(self.rt)
        for reader, past, at in zip(self.readers, before, owed_now, strict=True):
            now = got(self.rt, reader)
            assert now[: len(past)] == past, "the past re-ran"
            if now != past:
                assert at is not None
                assert at <= self.clock.now(), "a letter came before its promise"

    def edit(self, change: Change) -> None:
        shown = schedule.load(self.rt, KEY)
        new, choice = edited(shown.edited, change), change[0]
        promised = [due(self.rt, reader) for reader in self.readers]
        middle = [self.state(number) in RUNNING for number in range(len(self.readers))]
        said = schedule.preview(self.rt, KEY, new)
        saved = schedule.save(self.rt, KEY, new, choice, ME, shown.version)
        assert saved.sentences == said.sentences[choice], "it did something else than it said"
        if choice is Choice.NEW_ONLY:
            assert [due(self.rt, reader) for reader in self.readers] == promised
        elif saved.changed:
            gone = {slot.key for slot in new.slots if slot.removed}
            for number, owed in enumerate(self.owed):
                if middle[number]:
                    owed -= gone - set(got(self.rt, self.readers[number]))

    def state(self, number: int) -> EnrollmentState:
        e = schema.enrollments.c
        with self.rt.database.read() as db:
            found: EnrollmentState = db.execute(select(e.state).where(e.id == self.enrollments[number])).scalar_one()
        return found

    def has_left(self, number: int) -> bool:
        s = schema.subscribers.c
        with self.rt.database.read() as db:
            state = db.execute(select(s.state).where(s.id == self.readers[number].id)).scalar_one()
        return state is SubscriberState.UNSUBSCRIBED

    def act(self, what: str, number: int) -> None:
        if number >= len(self.readers):
            return
        acts = {
            "pause": enrollments.pause,
            "resume": enrollments.resume,
            "stop": enrollments.stop,
            "put back": enrollments.put_back,
        }
        if what == "leave":
            unsubscribe.unsubscribe(self.rt, self.readers[number].id, Exit.PAGE)
        elif what == "come back":
            undo_unsubscribe(self.rt, self.readers[number].id)
        else:
            with contextlib.suppress(ActRefused):
                acts[what](self.rt, self.enrollments[number], ME)

    def finish(self) -> None:
        """Everybody who still can comes back and goes on to the end; who left more than an hour ago gets nothing more."""
        schedule.release(self.rt, KEY, ME)
        for number in range(len(self.readers)):
            for what in ("come back", "put back", "resume"):
                self.act(what, number)
        for _ in range(60):
            moments = [at for reader in self.readers if (at := due(self.rt, reader)) is not None]
            if not moments:
                break
            self.clock.at = max(self.clock.at, min(moments))
            run_tick(self.rt)
        for number, reader in enumerate(self.readers):
            found = got(self.rt, reader)
            assert len(found) == len(set(found)), "a letter came twice"
            if self.state(number) is EnrollmentState.EXITED:
                assert self.has_left(number)
                continue
            assert self.owed[number] <= set(found), f"silently skipped: {self.owed[number] - set(found)}"
            assert self.state(number) is EnrollmentState.COMPLETED
            left = {state for _, state, _, _ in rows(self.rt, reader, DeliveryKind.LETTER)}
            assert left <= {State.ACCEPTED, State.CANCELLED}


def start_anew(rt: Runtime, clock: ManualClock) -> None:
    """The shipped schedule again, and nobody in it."""
    clock.at = START
    with rt.database.begin() as db:
        found = sequences.load(db, KEY)
        assert found
        as_shipped = sorted(found.listed, key=lambda step: SHIPPED.index(step.key))
        listed = (
            replace(step, position=n, wait=wait, removed=False)
            for n, (step, wait) in enumerate(zip(as_shipped, SHIPPED_WAITS, strict=True))
        )
        sequences.put(db, replace(found, listed=tuple(listed), rules=f"key: {KEY}\ntitle: A\n", version=0))
        for table in (
            schema.delivery_history, schema.deliveries, schema.enrollments, schema.consents, schema.subscribers,
            schema.suppressions, schema.schedules, schema.sign_ups,
        ):  # fmt: skip
            db.execute(table.delete())


def live(rt: Runtime, clock: ManualClock, life: list[Turn]) -> None:
    start_anew(rt, clock)
    world = World(rt, clock)
    world.join(0)
    world.join(1)
    for hours, what, number, change, more in life:
        if what:
            world.act(what, number)
        if change:
            world.edit(change)
        if more == "release":
            schedule.release(rt, KEY, ME)
        elif more == "join":
            world.join(number)
        world.tick(hours)
    world.finish()


@settings(max_examples=examples(40, 10), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(turn, min_size=3, max_size=12))
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nobody_loses_or_repeats_a_letter_whatever_is_edited(rt: Runtime, clock: ManualClock, life: list[Turn]) -> None:
    live(rt, clock, life)


@settings(max_examples=examples(10, 3), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(turn, min_size=3, max_size=12))
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nor_on_postgresql(rt: Runtime, clock: ManualClock, life: list[Turn]) -> None:
    live(rt, clock, life)


def test_edits_while_letters_go_out_lose_nothing_and_overwrite_nothing(rt: Runtime, clock: ManualClock) -> None:
    """Two people edit, ticks go on, readers pause and go on: all at once, in threads of their own."""
    readers = [a_subscriber(rt) for _ in range(12)]
    places = [enrollment_of(rt, reader) for reader in readers]
    over, failed = threading.Event(), list[BaseException]()
    saved, refused = [0], [0]

    def edit(number: int) -> None:
        for turn in range(12):
            shown = schedule.load(rt, KEY)
            slots = list(shown.edited.slots)
            slots.insert(1 + turn % 5, slots.pop(1 + (turn + number) % 5))
            slots[3] = replace(slots[3], wait=WAITS[2 + turn % 3])
            try:
                schedule.save(rt, KEY, Edited(tuple(slots), shown.rules), Choice.EVERYONE, ME, shown.version)
                saved[0] += 1
            except ScheduleConflict:
                refused[0] += 1

    def pause() -> None:
        for turn in range(30):
            enrollments.pause(rt, places[turn % 12], ME)
            enrollments.resume(rt, places[turn % 12], ME)

    def guarded(act: object, *given: object) -> None:
        try:
            act(*given)  # type: ignore[operator]
        except BaseException as error:
            failed.append(error)

    def tick() -> None:
        while not over.is_set():
            clock.advance(hours=7)
            run_tick(rt)

    threads = [threading.Thread(target=guarded, args=(edit, n)) for n in range(2)]
    threads.append(threading.Thread(target=guarded, args=(pause,)))
    ticking = threading.Thread(target=guarded, args=(tick,))
    for thread in (*threads, ticking):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    ticking.join()
    assert failed == []
    assert saved[0] >= 12
    for _ in range(12 * 6 * 4):  # each letter of each reader, some of them deferred now and then
        moments: list[datetime] = [at for reader in readers if (at := due(rt, reader)) is not None]
        if not moments:  # on a busy machine a claim may have met a time-out of the database: its lease brings it back
            clock.advance(minutes=5)
            reconcile(rt)
            moments = [at for reader in readers if (at := due(rt, reader)) is not None]
        if not moments:
            break
        clock.at = max(clock.at, min(moments))
        run_tick(rt)
    every = sorted(card.slot.key for card in schedule.load(rt, KEY).cards)
    assert [sorted(got(rt, reader)) for reader in readers] == [every] * 12
