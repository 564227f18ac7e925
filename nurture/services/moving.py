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
from nurture.domain.edit import Choice, Impact, Move, Planned, Reader, Version, impact, plan_edit
from nurture.domain.sequence import EnrollmentState, following
from nurture.domain.timeline import NeverOpens, next_due
from nurture.letters.source import read_sequence
from nurture.runtime import Runtime
from nurture.services.enrollments import BY_EDIT
from nurture.store import moves, schedules, sequences
from nurture.store.moves import Row, Standing
from nurture.store.schedules import Schedule
from nurture.store.sequences import StoredSequence
from nurture.words import DeliveryId, EnrollmentId, ScheduleId, StepKey

_AT_ONCE = 5000
"""Readers in memory at a time."""
_SENT = {State.ACCEPTED, State.DELIVERED, State.BOUNCED, State.DROPPED, State.COMPLAINED}


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


def look(rt: Runtime, db: Connection, old: StoredSequence, new: Version) -> Impact:
    """What an edit would do if it reached everyone, held ones counted as HOLD would hold them. Changes nothing."""
    walk = _Walk(rt, db, old, new, Choice.HOLD, by="", writes=False)
    return impact(chain.from_iterable(walk.chunks()))


def put(rt: Runtime, db: Connection, old: StoredSequence | None, new: StoredSequence, choice: Choice, by: str) -> Impact:
    """Write a sequence as it now is. If that changes when letters go out, move the readers in its middle as `choice` says.

    The caller holds the schedule alone (`schedules.hold_alone`) since before it read `old`. Raises EditRefused, NeverOpens.
    """
    if old is None or is_same(version_of(schedule_of(old)), version_of(schedule_of(new))):
        sequences.put(db, new)
        return impact([])
    new = replace(new, version=old.version + 1)
    wall = rt.clock.wall()
    version = version_of(schedule_of(new))
    if choice is Choice.NEW_ONLY:
        plan_edit(version_of(schedule_of(old)), version, [], rt.clock.now(), choice)  # is every step still listed?
        moves.pin(db, old.id, schedule_of(old), running=True, by=by, wall=wall)
        found = impact([])
    else:
        found = impact(chain.from_iterable(_Walk(rt, db, old, version, choice, by, writes=True).chunks()))
        moves.unpin(db, old.id)
        moves.pin(db, old.id, schedule_of(old), running=False, by=by, wall=wall)
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
    versions: dict[ScheduleId | None, Version] = field(default_factory=dict)

    def chunks(self) -> Iterator[list[Move]]:
        """What the edit does to each reader, a chunk at a time; once a chunk is handed out, it is done."""
        last: EnrollmentId | None = None
        while found := moves.standing(self.db, self.old.id, last, _AT_ONCE, lock=self.writes):
            last = found[-1].enrollment
            yield self._chunk({each.enrollment: each for each in found})

    def _chunk(self, found: dict[EnrollmentId, Standing]) -> list[Move]:
        locked = moves.lock_scheduled(self.db, found) if self.writes else None
        rows = moves.rows(self.db, found)
        people = [_Person(each, rows[each.enrollment], self._version(each.schedule), locked) for each in found.values()]
        made = {each.standing.enrollment: move for each in people if (move := self._move(each)) is not None}
        if self.writes:
            _Writer(self.rt, self.db, self.by).write([each for each in people if each.standing.enrollment in made], made)
        return list(made.values())

    def _version(self, schedule: ScheduleId | None) -> Version:
        if schedule not in self.versions:
            found = schedules.read(self.db, schedule) if schedule else schedule_of(self.old)
            self.versions[schedule] = version_of(found)
        return self.versions[schedule]

    def _move(self, person: "_Person") -> Move | None:
        """A paused reader's wait stands still, and so does time for what the edit does to it."""
        paused = person.standing.state is EnrollmentState.PAUSED
        now = person.frozen or self.rt.clock.now()
        found = plan_edit(person.version, self.new, [person.reader], now, self.choice)
        if not found:
            return None
        return replace(found[0], held=False, at_once=False) if paused else found[0]


class _Person:
    """A reader as stored, and as domain.edit sees them."""

    def __init__(
        self, standing: Standing, rows: Sequence[Row], version: Version, locked: Collection[DeliveryId] | None
    ) -> None:
        """`locked`: the scheduled rows that may be moved; None: all."""
        self.standing, self.version = standing, version
        self.rows = {row.step: row for row in rows}
        self.row: Row | None = None
        sent = frozenset(row.step for row in rows if row.state in _SENT or row.skipped)
        zone, planned, movable = _zone(standing.time_zone), None, True
        self.frozen: datetime | None = None
        if standing.state is EnrollmentState.PAUSED and standing.why != BY_EDIT and standing.paused is not None:
            self.frozen = max(standing.paused, standing.anchor)
        alive = next((row for row in rows if row.state is not State.CANCELLED and row.state not in _SENT), None)
        if alive is not None:
            movable = alive.state is State.SCHEDULED and (locked is None or alive.id in locked)
            self.row, planned = alive, Planned(alive.step, alive.planned)
        elif standing.state is EnrollmentState.PAUSED:
            planned = self._stopped(version, sent, zone)
        self.reader = Reader(standing.enrollment, zone, standing.anchor, sent, standing.last, planned, movable, standing.at)

    def _stopped(self, version: Version, sent: frozenset[StepKey], zone: ZoneInfo) -> Planned | None:
        """What a paused reader would go on with."""
        step = following(version.steps, self.standing.last, sent, self.standing.at)
        if step is None:
            return None
        self.row = self.rows.get(step.key)
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
        self.rt, self.db, self.by, self.wall = rt, db, by, rt.clock.wall()
        self.moved: dict[DeliveryId, tuple[StepKey, datetime]] = {}
        self.cancelled: set[DeliveryId] = set()
        self.restored: dict[DeliveryId, datetime] = {}

    def write(self, people: Sequence[_Person], made: dict[EnrollmentId, Move]) -> None:
        """All of it, in a handful of statements."""
        at, over, held = dict[EnrollmentId, StepKey | None](), list[EnrollmentId](), set[EnrollmentId]()
        stopped: set[DeliveryId] = set()
        for person in people:
            who = person.standing.enrollment
            move = made[who]
            if move.at != person.standing.at:
                at[who] = move.at
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
        moves.cancel(self.db, self.cancelled, self.by, self.wall)
        moves.move(self.db, self.moved, self.by, self.wall)
        for row, due in self.restored.items():
            moves.restore(self.db, row, due, self.by, self.wall)
        now = self.rt.clock.now()
        moves.cancel(self.db, stopped, self.by, self.wall, "held: the sequence was edited")
        sequences.pause(self.db, held, BY_EDIT, now)
        sequences.complete(self.db, over, now)
        moves.go_on_at(self.db, at)

    def _end(self, person: _Person) -> None:
        """Nothing is left for them."""
        if person.row is not None and person.row.state is State.SCHEDULED:
            self.cancelled.add(person.row.id)

    def _put(self, person: _Person, after: Planned) -> DeliveryId | None:
        """The row that is the next letter from now on; None: it will be planned when they go on."""
        row, other = person.row, person.rows.get(after.step)
        if row is None:
            return None  # whoever is active is planned by delivery.plan.heal, whoever is paused when they go on
        if other is None or other is row:
            self.moved[row.id] = (after.step, after.due)
            return row.id
        if row.state is not State.SCHEDULED:  # one step has one row: this letter was cancelled once
            self.moved[other.id] = (after.step, after.due)
            return other.id
        self.cancelled.add(row.id)
        self.restored[other.id] = after.due
        return other.id
