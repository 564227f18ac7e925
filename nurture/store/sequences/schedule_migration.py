"""Readers in the middle of a sequence as an edit meets them, and what it does to their rows.

Statements take chunks of readers as one parameter (store.core.bulk_params). Whoever changes anything here holds the schedule
alone (store.sequences.schedules): no row is planned meanwhile; one that is being claimed is not locked and is under way.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Select,
    String,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
    type_coerce,
    update,
)

from nurture.domain.delivery import State
from nurture.domain.sequence import EnrollmentState
from nurture.ids import DeliveryId, EnrollmentId, ScheduleId, SequenceId, StepKey, SubscriberId, new_id
from nurture.store.core import bulk_params
from nurture.store.core.columns import Id, Instant
from nurture.store.core.schema import deliveries, enrollments, schedules, sequences, subscribers
from nurture.store.deliveries import transitions
from nurture.store.deliveries.transitions import is_in
from nurture.store.sequences.schedules import Schedule
from nurture.store.sequences.sequences import RUNNING

D, E, S = deliveries.c, enrollments.c, subscribers.c


class ReaderPosition(NamedTuple):
    """One reader in the middle of a sequence."""

    enrollment: EnrollmentId
    state: str
    why: str | None
    anchor: datetime
    last: StepKey | None
    paused: datetime | None
    schedule: ScheduleId | None
    at: StepKey | None
    """Where they go on, if not after `last`."""
    time_zone: str


_STANDING = (
    E.id, type_coerce(E.state, String), E.reason, E.anchor_at, E.last_step, E.paused_at, E.schedule_id, E.next_step,
    S.time_zone,
)  # fmt: skip


def standing(
    db: Connection, sequence: SequenceId, state: EnrollmentState, after: EnrollmentId | None, limit: int, lock: bool
) -> list[ReaderPosition]:
    """The next active, or paused, readers of a sequence, in the order of their ids; `lock`: until the transaction ends."""
    there = E.state == literal_column(f"'{state}'")  # as the index has it: SQLite uses a partial index only for its very words
    query = select(*_STANDING).join(subscribers, S.id == E.subscriber_id)
    query = query.where(E.sequence_id == sequence, there).order_by(E.id).limit(limit)
    query = query if after is None else query.where(E.id > after)
    rows = db.execute(query.with_for_update(of=enrollments) if lock else query).all()
    return [ReaderPosition(*row) for row in rows]


class ScheduledRow(NamedTuple):
    """One letter of a reader in the ledger that they have not got."""

    id: DeliveryId
    step: StepKey
    state: str
    planned: datetime


class ReaderLetters(NamedTuple):
    """Every letter of one reader: what they have got, or was skipped for them for good; the one that is to come or on its
    way; and the others, that were cancelled.
    """

    sent: frozenset[StepKey]
    open: ScheduledRow | None = None
    others: tuple[ScheduledRow, ...] = ()

    def of(self, step: StepKey) -> ScheduledRow | None:
        """The row of that step, which they have not got."""
        if self.open is not None and self.open.step == step:
            return self.open
        return next((row for row in self.others if row.step == step), None)


_SENT = (State.ACCEPTED, State.DELIVERED, State.BOUNCED, State.DROPPED, State.COMPLAINED)
_CANCELLED = D.state == State.CANCELLED
_SKIPPED = and_(_CANCELLED, func.coalesce(D.reason, "").startswith(transitions.SKIPPED))
_OPEN = D.state.not_in((*_SENT, State.CANCELLED))
_NOT_GOT = or_(_OPEN, and_(_CANCELLED, not_(_SKIPPED)))
_STATE = type_coerce(D.state, String)


def _letters(dialect: str) -> Select[Any]:
    """One row for each reader: what they have got is most of the ledger, and of it only the steps matter."""
    lowest = func.min(case((_OPEN, D.id))) if dialect == "sqlite" else func.min(case((_OPEN, cast(D.id, Text))))
    return (
        select(
            D.enrollment_id,
            func.aggregate_strings(case((or_(D.state.in_(_SENT), _SKIPPED), D.step_key)), _BETWEEN),
            type_coerce(lowest, Id), func.min(case((_OPEN, D.step_key))), func.min(case((_OPEN, _STATE))),
            func.min(case((_OPEN, D.planned_at)), type_=Instant),
            func.count(case((_NOT_GOT, 1))),
        )
        .where(bulk_params.in_ids(dialect, D.enrollment_id, "of"))
        .group_by(D.enrollment_id)
    )  # fmt: skip


_BETWEEN = "\n"
_LETTERS = {dialect: _letters(dialect) for dialect in ("sqlite", "postgresql")}


def letters(db: Connection, of: Collection[EnrollmentId]) -> dict[EnrollmentId, ReaderLetters]:
    """Every letter of these readers."""
    rows = db.execute(_LETTERS[db.dialect.name], {"of": bulk_params.encode_ids(db, of)}).all()
    several = _not_got(db, [row[0] for row in rows if row[-1] > (row[2] is not None)])
    nothing = frozenset[StepKey]()
    known: dict[str | None, frozenset[StepKey]] = {None: nothing}
    found = dict.fromkeys(of, ReaderLetters(nothing))
    for enrollment, got, row, step, state, planned, _ in rows:
        sent = known.get(got)
        if sent is None:
            sent = known[got] = frozenset(map(StepKey, got.split(_BETWEEN)))
        others = several.get(enrollment)
        if others is None:
            found[enrollment] = ReaderLetters(sent, None if row is None else ScheduledRow(row, step, state, planned))
        else:
            there = next((each for each in others if each.state != State.CANCELLED), None)
            found[enrollment] = ReaderLetters(sent, there, tuple(each for each in others if each is not there))
    return found


def _not_got(db: Connection, of: Collection[EnrollmentId]) -> dict[EnrollmentId, list[ScheduledRow]]:
    """Each letter of these readers that they have not got: one was stopped, or there are several."""
    found = defaultdict[EnrollmentId, list[ScheduledRow]](list)
    if of:
        theirs = (bulk_params.in_ids(db.dialect.name, D.enrollment_id, "of", bulk_params.encode_ids(db, of)), _NOT_GOT)
        for row in db.execute(select(D.enrollment_id, D.id, D.step_key, _STATE, D.planned_at).where(*theirs)).all():
            found[row[0]].append(ScheduledRow(*row[1:]))
    return found


def lock_scheduled(db: Connection, of: Collection[EnrollmentId]) -> set[DeliveryId] | None:
    """Lock the letters of these readers that are scheduled, and none that is on its way. Returns which; None: all, since
    nobody else writes now (SQLite).
    """
    if db.dialect.name == "sqlite":
        return None
    theirs = bulk_params.in_ids(db.dialect.name, D.enrollment_id, "of", bulk_params.encode_ids(db, of))
    return set(db.scalars(select(D.id).where(theirs, is_in(State.SCHEDULED)).order_by(D.id).with_for_update()))


EDITED = "the sequence was edited"


def move(db: Connection, to: Mapping[DeliveryId, tuple[StepKey | None, datetime]], by: str, real_now: datetime) -> None:
    """Give letters to come another promise, and another step unless that is None, by their ids; what they were is in their
    history.
    """
    dialect, moved = db.dialect.name, bulk_params.as_table(db.dialect.name, "moved", step=Text, due=Instant)
    mine, values = D.id == moved.c.id, {"planned_at": moved.c.due, "due_at": moved.c.due}
    # a column that is named is written into every index of it, whether it changes or not
    kept = {row: where for row, where in to.items() if where[0] is None}
    for rows, more in ((kept, {}), ({row: to[row] for row in to.keys() - kept.keys()}, {"step_key": moved.c.step})):
        if rows:
            transitions.note_among(
                db, bulk_params.in_ids(dialect, D.id, "noted", bulk_params.encode_ids(db, rows)), by, real_now, EDITED
            )
            db.execute(update(deliveries).where(mine).values(values | more), {"moved": bulk_params.encode(db, rows)})


def cancel(db: Connection, ids: Collection[DeliveryId], by: str, real_now: datetime, why: str = EDITED) -> None:
    """Letters that are not to come now."""
    if ids:
        mine = bulk_params.in_ids(db.dialect.name, D.id, "cancelled", bulk_params.encode_ids(db, ids))
        transitions.apply(db, State.CANCELLED, by, real_now, why, mine, lease_until=None, batch_id=None)


def restore(db: Connection, row: DeliveryId, due: datetime, by: str, real_now: datetime) -> None:
    """A letter that was cancelled once is to come again."""
    values: dict[str, Any] = {"due_at": due, "planned_at": due, "reason": None, "batch_id": None}
    transitions.apply(db, State.SCHEDULED, by, real_now, EDITED, D.id == row, **values)


def go_on_at(db: Connection, at: Mapping[EnrollmentId, StepKey | None]) -> None:
    """Where readers go on, if that is not simply after what they got last."""
    if at:
        places = bulk_params.as_table(db.dialect.name, "places", at=Text)
        packed = bulk_params.encode(db, {enrollment: (step,) for enrollment, step in at.items()})
        db.execute(update(enrollments).where(E.id == places.c.id).values(next_step=places.c.at), {"places": packed})


_COME_BACK = ("unsubscribed", "desk")
"""Who left because of this may come back: an unsubscribe is undone, or the desk puts them back."""


def pin(db: Connection, sequence: SequenceId, schedule: Schedule, running: bool, by: str, real_now: datetime) -> int:
    """Let readers go by an earlier `schedule` from now on: those who have left and may come back, and with `running` those in
    the middle, too. Who is pinned already stays so. Returns how many of those in the middle.
    """
    theirs = (E.sequence_id == sequence, E.schedule_id.is_(None))
    gone = (*theirs, E.state == EnrollmentState.EXITED, E.reason.in_(_COME_BACK))
    middle = (*theirs, E.state.in_(RUNNING))
    groups = [gone, middle] if running else [gone]
    if not any(db.scalar(select(exists().where(*group))) for group in groups):
        return 0
    fresh = ScheduleId(new_id())
    steps = json.dumps(schedule.timing)
    db.execute(
        insert(schedules).values(
            id=fresh, sequence_id=sequence, rules=schedule.rules, steps=steps, made_at=real_now, made_by=by[:120]
        )
    )
    counts = [db.execute(update(enrollments).where(*group).values(schedule_id=fresh)).rowcount for group in groups]
    return counts[-1] if running else 0


def unpin(db: Connection, sequence: SequenceId) -> None:
    """Everybody in the middle goes by the schedule as it is."""
    pinned = (E.sequence_id == sequence, E.state.in_(RUNNING), E.schedule_id.is_not(None))
    db.execute(update(enrollments).where(*pinned).values(schedule_id=None))


@dataclass(frozen=True)
class Held:
    """A reader whose next letter waits until a person lets it go."""

    enrollment: EnrollmentId
    subscriber: SubscriberId
    time_zone: str
    since: datetime


def held(db: Connection, sequence: SequenceId, why: str, after: EnrollmentId | None, limit: int) -> list[Held]:
    """Readers paused because of `why`, in the order of their ids."""
    query = select(E.id, E.subscriber_id, S.time_zone, E.paused_at).join(subscribers, S.id == E.subscriber_id)
    query = (
        query.where(E.sequence_id == sequence, E.state == EnrollmentState.PAUSED, E.reason == why).order_by(E.id).limit(limit)
    )
    return [Held(*row) for row in db.execute(query if after is None else query.where(E.id > after))]


def count_held(db: Connection, why: str) -> dict[str, int]:
    """How many readers are paused because of `why`, by the key of their sequence; sequences without any are left out."""
    theirs = (E.state == EnrollmentState.PAUSED, E.reason == why)
    counted = select(E.sequence_id, func.count().label("readers")).where(*theirs).group_by(E.sequence_id).subquery()
    query = select(sequences.c.key, counted.c.readers).join(counted, counted.c.sequence_id == sequences.c.id)
    return {row[0]: row[1] for row in db.execute(query.order_by(sequences.c.key))}
