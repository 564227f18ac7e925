"""PLAN: write the next row of an enrollment. The instant comes from domain.timeline; here it becomes a promise."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import cast
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import failpoints, log
from nurture.domain.delivery import DeliveryKind
from nurture.domain.sequence import Step, next_step, read_step
from nurture.domain.timeline import NeverOpens, Rules, next_anchor, next_due
from nurture.ids import DeliveryId, EnrollmentId, ScheduleId, SequenceId, StepKey
from nurture.letters.source import read_sequence
from nurture.store.core.database import process_name
from nurture.store.deliveries import in_doubt, ledger, rescheduling
from nurture.store.deliveries.ledger import NewDelivery
from nurture.store.deliveries.transitions import Settled
from nurture.store.sequences import schedules, sequences
from nurture.store.sequences.schedules import Timing
from nurture.store.sequences.sequences import Advance, Enrolled
from nurture.store.state import app_state

_log = log.get(__name__)
_HEAL_AT_ONCE = 500
SET_BACK_UNTIL = "set_back_until"
"""Until when, on the timeline, the database has once been set back."""


@lru_cache(maxsize=256)
def steps_of(timing: Timing) -> tuple[Step, ...]:
    """The steps of a schedule, in order."""
    return tuple(replace(read_step(StepKey(key), wait, late), removed=removed) for key, wait, late, removed in timing)


@dataclass(frozen=True)
class ReaderSchedule:
    """How one reader goes on: by which steps and rules, from where, and past what."""

    steps: Sequence[Step]
    rules: Rules
    at: StepKey | None = None
    """Where they go on, if an edit made that another step than the one after the last they got."""
    given: frozenset[StepKey] = frozenset()
    """What they have got already, in whatever order."""

    def after(self, last: StepKey | None) -> Step | None:
        """The step to come for a reader who got `last` last; None when the sequence is over for them."""
        return next_step(self.steps, last, self.given, self.at if self.at != last else None)


class ScheduleLookup:
    """Steps and rules of sequences, read once per transaction; nobody changes them until it ends."""

    def __init__(self, db: Connection) -> None:
        """`db`: the transaction whose view of the sequences counts."""
        self._db = db
        self._known: dict[SequenceId | ScheduleId, ReaderSchedule] = {}
        self._edited: set[SequenceId] = set()

    def of(self, sequence: SequenceId) -> ReaderSchedule:
        """The way of somebody who begins a sequence now."""
        if sequence not in self._known:
            if not self._known:
                schedules.lock_shared(self._db)
            found = schedules.current(self._db, sequence)
            self._known[sequence] = ReaderSchedule(steps_of(found.timing), read_sequence(found.rules).rules)
            if found.version:
                self._edited.add(sequence)
        return self._known[sequence]

    def ways(self, readers: Mapping[EnrollmentId, SequenceId]) -> dict[EnrollmentId, ReaderSchedule]:
        """The way of each reader, by the sequence they are in. A sequence never edited costs no look at its readers."""
        ways = {enrollment: self.of(sequence) for enrollment, sequence in readers.items()}
        edited = [enrollment for enrollment, sequence in readers.items() if sequence in self._edited]
        if edited:
            sent = schedules.sent(self._db, edited)
            for enrollment, place in schedules.places(self._db, edited).items():
                way = self._pinned(place.schedule) if place.schedule else ways[enrollment]
                ways[enrollment] = replace(way, at=place.at, given=sent[enrollment])
        return ways

    def _pinned(self, schedule: ScheduleId) -> ReaderSchedule:
        if schedule not in self._known:
            found = schedules.read(self._db, schedule)
            self._known[schedule] = ReaderSchedule(steps_of(found.timing), read_sequence(found.rules).rules)
        return self._known[schedule]


_Next = tuple[StepKey, datetime]
"""A step, and when its letter is due."""


def _next(way: ReaderSchedule, last: StepKey | None, anchor: datetime, zone: str) -> _Next | None:
    """The step that comes next for a reader, and when; None when the sequence is over. Raises NeverOpens."""
    step = way.after(last)
    return None if step is None else (step.key, next_due(anchor, step, way.rules, ZoneInfo(zone)))


def _next_or_alarm(
    enrollment: EnrollmentId, sequence: SequenceId, way: ReaderSchedule, last: StepKey | None, anchor: datetime, zone: str
) -> _Next | None:
    """None and an alarm too where rules never open: they must not undo the outcome of a letter already sent."""
    try:
        return _next(way, last, anchor, zone)
    except NeverOpens:
        _log.error("sequence_never_opens", enrollment=enrollment, sequence=sequence)
        return None


def plan_after(db: Connection, settled: Iterable[Settled], now: datetime, real_now: datetime, grace: timedelta) -> None:
    """Advance the readers whose letter was sent, or skipped at `now` (timeline), and write their next rows, in the same
    transaction. `real_now`: real time; `grace`: how late, on the timeline, still counts as on time.
    """
    letters = [row for row in settled if row.enrollment is not None and row.sequence is not None and row.step is not None]
    if not letters:
        return
    ways = ScheduleLookup(db).ways({row.enrollment: row.sequence for row in letters})  # type: ignore[misc]
    advances, following_rows = list[Advance](), dict[DeliveryId, _Next]()
    for row in letters:
        enrollment, sequence, step = cast(tuple[EnrollmentId, SequenceId, StepKey], (row.enrollment, row.sequence, row.step))
        anchor, way = next_anchor(row.planned, row.sent or now, grace), ways[enrollment]
        advances.append(Advance(enrollment, step, anchor, done=way.after(step) is None))
        new = _next_or_alarm(enrollment, sequence, way, step, anchor, row.time_zone or "UTC")
        if new is not None:
            following_rows[row.id] = new
    sequences.advance(db, advances)
    failpoints.point("settle.between")
    ledger.plan_next(db, following_rows, now)
    if any(due <= now for _, due in following_rows.values()):
        _doubt_promises(db, real_now)


def _doubt_promises(db: Connection, real_now: datetime) -> None:
    """A promise that lies in the time the database has forgotten (delivery.safety_checks) may have been kept then."""
    until = app_state.get(db, SET_BACK_UNTIL)
    if until:
        in_doubt.mark_set_back(db, process_name(), datetime.fromisoformat(until), real_now)


def plan_requested(db: Connection, new: NewDelivery, asked: datetime, now: datetime, real_now: datetime) -> None:
    """Plan a mail that somebody asked for at `asked` (timeline). It is in doubt if the database has forgotten what came after
    that: it may have been sent then.
    """
    until = app_state.get(db, SET_BACK_UNTIL)
    forgotten = until is not None and asked <= datetime.fromisoformat(until)
    ledger.plan(db, [replace(new, due=asked) if forgotten else new], now)
    if forgotten:
        _doubt_promises(db, real_now)


def backfill_missing(db: Connection, now: datetime) -> int:
    """Write rows for active readers who have none to come: a sequence whose rules never opened has been put right, say."""
    from_store = in_doubt.stalled(db, _HEAL_AT_ONCE)
    places = sequences.enrolled(db, [enrollment for enrollment, _, _ in from_store])
    ways = ScheduleLookup(db).ways({place.id: place.sequence for place in places.values()})
    rows = list[NewDelivery]()
    for enrollment, _, email_index in from_store:
        place = places[enrollment]
        new = _next_or_alarm(place.id, place.sequence, ways[place.id], place.last_step, place.anchor, place.time_zone)
        if new is not None:
            rows.append(_row(place, email_index, *new))
    ledger.plan(db, rows, now)
    return len(rows)


def plan_first(db: Connection, enrollment: EnrollmentId, email_index: bytes, now: datetime) -> None:
    """Write the first row of a reader who has just been enrolled. Raises NeverOpens."""
    place = sequences.enrolled(db, [enrollment])[enrollment]
    first = _next(ScheduleLookup(db).of(place.sequence), place.last_step, place.anchor, place.time_zone)
    ledger.plan(db, [_row(place, email_index, *first)] if first else [], now)
    failpoints.point("plan.before_commit")


Moment = Callable[[datetime, Rules, ZoneInfo], datetime]
"""When a letter goes, from when it was promised (UTC), the rules and the reader's zone."""


def plan_resumed(
    db: Connection, place: Enrolled, email_index: bytes, when: Moment, by: str, now: datetime, real_now: datetime
) -> None:
    """Put the next letter of a reader who comes back on the timeline: the very row that was stopped, if there is one.

    Whose last letter is still under way gets the next planned when that is out. Raises NeverOpens.
    """
    if rescheduling.has_open_letter(db, place.id):
        return
    way = ScheduleLookup(db).ways({place.id: place.sequence})[place.id]
    step = way.after(place.last_step)
    if step is None:
        sequences.complete(db, [place.id], now)
        return
    zone = ZoneInfo(place.time_zone)
    promised = rescheduling.stopped_promise(db, place.id, step.key) or next_due(place.anchor, step, way.rules, zone)
    due = when(promised, way.rules, zone)
    if not rescheduling.restore_cancelled(db, place.id, step.key, due, by, real_now):
        ledger.plan(db, [_row(place, email_index, step.key, due)], now)


def _row(place: Enrolled, email_index: bytes, step: StepKey, due: datetime) -> NewDelivery:
    return NewDelivery(DeliveryKind.LETTER, due, place.subscriber, email_index, place.id, step)
