"""An edit of a running sequence, carried through the readers in its middle: looked at before, or done, in one transaction.

What happens to each reader, domain.edit decides; here they are read in chunks, handed to it, and moved.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from itertools import chain
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture.delivery.plan import steps_of
from nurture.domain.delivery import State
from nurture.domain.edit import Choice, Edit, Impact, Move, Planned, Reader, Version, impact
from nurture.domain.sequence import EnrollmentState, next_step
from nurture.domain.timeline import NeverOpens, next_due
from nurture.ids import DeliveryId, EnrollmentId, ScheduleId, StepKey
from nurture.letters.source import read_sequence
from nurture.runtime import Runtime
from nurture.services.sequences.enrollments import BY_EDIT
from nurture.store.sequences import schedule_migration, schedules, sequences
from nurture.store.sequences.schedule_migration import ReaderLetters, ReaderPosition
from nurture.store.sequences.schedules import Schedule
from nurture.store.sequences.sequences import StoredSequence

_AT_ONCE = 1000
"""Readers in memory at a time."""


def schedule_of(sequence: StoredSequence) -> Schedule:
    """What decides when letters of a sequence are due."""
    timing = tuple((step.key, step.wait, step.if_late, step.removed) for step in sequence.listed)
    return Schedule(sequence.rules, timing, sequence.version)


def version_of(schedule: Schedule) -> Version:
    """The same, as an edit looks at it."""
    return Version(steps_of(schedule.timing), read_sequence(schedule.rules).rules)


def is_same(old: Version, new: Version) -> bool:
    """Whether an edit leaves every letter where it is."""

    def timing(version: Version) -> list[object]:
        return [(step.key, step.waits, step.removed) for step in version.steps]

    return timing(old) == timing(new) and old.rules == new.rules


def preview(rt: Runtime, db: Connection, old: StoredSequence, new: Version) -> Impact:
    """What an edit would do if it reached everyone, held ones counted as HOLD would hold them. Changes nothing."""
    walk = _Walk(rt, db, old, new, Choice.HOLD, by="", writes=False)
    return impact(chain.from_iterable(walk.chunks()))


def apply(rt: Runtime, db: Connection, old: StoredSequence | None, new: StoredSequence, choice: Choice, by: str) -> Impact:
    """Write a sequence as it now is. If that changes when letters go out, move the readers in its middle as `choice` says.

    The caller holds the schedule alone (`schedules.lock_exclusive`) since before it read `old`. Raises EditRefused, NeverOpens.
    """
    if old is None or is_same(version_of(schedule_of(old)), version_of(schedule_of(new))):
        sequences.put(db, new)
        return impact([])
    new = replace(new, version=old.version + 1)
    real_now = rt.clock.real_now()
    version = version_of(schedule_of(new))
    if choice is Choice.NEW_ONLY:
        Edit(version_of(schedule_of(old)), version, choice)  # is every step still listed?
        schedule_migration.pin(db, old.id, schedule_of(old), running=True, by=by, real_now=real_now)
        found = impact([])
    else:
        found = impact(chain.from_iterable(_Walk(rt, db, old, version, choice, by, writes=True).chunks()))
        schedule_migration.unpin(db, old.id)
        schedule_migration.pin(db, old.id, schedule_of(old), running=False, by=by, real_now=real_now)
    sequences.put(db, new)
    return found


@dataclass
class _Walk:
    """One pass over the readers of a sequence."""

    rt: Runtime
    db: Connection
    old: StoredSequence
    new: Version
    choice: Choice
    by: str
    writes: bool
    edits: dict[ScheduleId | None, Edit] = field(default_factory=dict)

    def chunks(self) -> Iterator[list[Move]]:
        """What the edit does to each reader, a chunk at a time; once a chunk is handed out, it is done."""
        for state in (EnrollmentState.PAUSED, EnrollmentState.ACTIVE):  # in this order: who is held is not met again, paused
            last: EnrollmentId | None = None
            while found := schedule_migration.standing(self.db, self.old.id, state, last, _AT_ONCE, lock=self.writes):
                last = found[-1].enrollment
                yield self._chunk(found)

    def _chunk(self, found: Sequence[ReaderPosition]) -> list[Move]:
        ids = [each.enrollment for each in found]
        locked = schedule_migration.lock_scheduled(self.db, ids) if self.writes else None
        letters, now = schedule_migration.letters(self.db, ids), self.rt.clock.now()
        made = list[tuple[_Person, Move]]()
        for each in found:
            edit = self.edits.get(each.schedule) or self._edit(each.schedule)
            person = _Person(each, letters[each.enrollment], edit.old, locked)
            move = edit.move(person.reader, person.frozen or now)
            if move is not None:
                # a paused reader's wait stands still, and so does time for what the edit does to it
                made.append((person, replace(move, held=False, at_once=False) if person.paused else move))
        if self.writes:
            _Writer(self.rt, self.db, self.by).write(made)
        return [move for _, move in made]

    def _edit(self, schedule: ScheduleId | None) -> Edit:
        found = schedules.read(self.db, schedule) if schedule else schedule_of(self.old)
        return self.edits.setdefault(schedule, Edit(version_of(found), self.new, self.choice))


class _Person:
    """A reader as stored, and as domain.edit sees them."""

    __slots__ = ("frozen", "letters", "paused", "reader", "row", "standing")

    def __init__(
        self, standing: ReaderPosition, letters: ReaderLetters, version: Version, locked: Collection[DeliveryId] | None
    ) -> None:
        """`locked`: the scheduled rows that may be moved; None: all."""
        self.standing, self.letters = standing, letters
        self.paused = standing.state == EnrollmentState.PAUSED
        zone, planned, movable = _zone(standing.time_zone), None, True
        self.frozen: datetime | None = None
        if self.paused and standing.why != BY_EDIT and standing.paused is not None:
            self.frozen = max(standing.paused, standing.anchor)
        self.row = letters.open
        if self.row is not None:
            movable = self.row.state == State.SCHEDULED and (locked is None or self.row.id in locked)
            planned = Planned(self.row.step, self.row.planned)
        elif self.paused:
            planned = self._stopped(version, zone)
        sent = letters.sent
        self.reader = Reader(standing.enrollment, zone, standing.anchor, sent, standing.last, planned, movable, standing.at)

    def _stopped(self, version: Version, zone: ZoneInfo) -> Planned | None:
        """What a paused reader would go on with."""
        step = next_step(version.steps, self.standing.last, self.letters.sent, self.standing.at)
        if step is None:
            return None
        self.row = self.letters.of(step.key)
        if self.row is not None:
            return Planned(step.key, self.row.planned)
        try:
            return Planned(step.key, next_due(self.standing.anchor, step, version.rules, zone))
        except NeverOpens:  # the rules they are pinned to; nothing was promised
            return None


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


class _Writer:
    """Does what the moves of one chunk say."""

    def __init__(self, rt: Runtime, db: Connection, by: str) -> None:
        self.rt, self.db, self.by, self.real_now = rt, db, by, rt.clock.real_now()
        self.moved: dict[DeliveryId, tuple[StepKey | None, datetime]] = {}
        self.cancelled: set[DeliveryId] = set()
        self.restored: dict[DeliveryId, datetime] = {}

    def write(self, made: Sequence[tuple[_Person, Move]]) -> None:
        """All of it, in a handful of statements."""
        at, over, held = dict[EnrollmentId, StepKey | None](), list[EnrollmentId](), set[EnrollmentId]()
        stopped: set[DeliveryId] = set()
        for person, move in made:
            who = person.standing.enrollment
            if move.resume_at_step != person.standing.at:
                at[who] = move.resume_at_step
            if not person.reader.movable:
                continue
            if move.after is None:
                over.append(who)
                self._end(person)
                continue
            if move.after != move.before:
                row = self._put(person, move.after)
                if move.held:
                    held.add(who)
                    stopped |= {row} if row else set()
        schedule_migration.cancel(self.db, self.cancelled, self.by, self.real_now)
        schedule_migration.move(self.db, self.moved, self.by, self.real_now)
        for row, due in self.restored.items():
            schedule_migration.restore(self.db, row, due, self.by, self.real_now)
        now = self.rt.clock.now()
        schedule_migration.cancel(self.db, stopped, self.by, self.real_now, "held: the sequence was edited")
        sequences.pause(self.db, held, BY_EDIT, now)
        sequences.complete(self.db, over, now)
        schedule_migration.go_on_at(self.db, at)

    def _end(self, person: _Person) -> None:
        """Nothing is left for them."""
        if person.row is not None and person.row.state == State.SCHEDULED:
            self.cancelled.add(person.row.id)

    def _put(self, person: _Person, after: Planned) -> DeliveryId | None:
        """The row that is the next letter from now on; None: it will be planned when they go on."""
        row, other = person.row, person.letters.of(after.step)
        if row is None:
            return None  # whoever is active is planned by delivery.plan.heal, whoever is paused when they go on
        if other is None or other is row:
            self.moved[row.id] = (after.step if other is None else None, after.due)
            return row.id
        if row.state != State.SCHEDULED:  # one step has one row: this letter was cancelled once
            self.moved[other.id] = (None, after.due)
            return other.id
        self.cancelled.add(row.id)
        self.restored[other.id] = after.due
        return other.id
