"""Readers in the middle of a sequence as an edit meets them, and what it does to their rows.

Statements take chunks of readers as one parameter (store.given). Whoever changes anything here holds the schedule alone
(store.schedules): no row is planned meanwhile; one that is being claimed is not locked here, and counts as under way.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Text, exists, insert, select, update

from nurture.domain.delivery import State
from nurture.domain.sequence import EnrollmentState
from nurture.store import given, history
from nurture.store.columns import Instant
from nurture.store.history import is_in
from nurture.store.schedules import Schedule
from nurture.store.schema import deliveries, enrollments, schedules, subscribers
from nurture.store.sequences import RUNNING
from nurture.words import DeliveryId, EnrollmentId, ScheduleId, SequenceId, StepKey, SubscriberId, new_id

D, E, S = deliveries.c, enrollments.c, subscribers.c


@dataclass(frozen=True)
class Standing:
    """One reader in the middle of a sequence."""

    enrollment: EnrollmentId
    state: EnrollmentState
    why: str | None
    anchor: datetime
    last: StepKey | None
    paused: datetime | None
    schedule: ScheduleId | None
    at: StepKey | None
    """Where they go on, if not after `last`."""
    time_zone: str


_STANDING = (E.id, E.state, E.why, E.anchor_at, E.last_step, E.paused_at, E.schedule_id, E.next_step, S.time_zone)


def standing(db: Connection, sequence: SequenceId, after: EnrollmentId | None, most: int, lock: bool) -> list[Standing]:
    """The next active and paused readers of a sequence, in the order of their ids; `lock`: until the transaction ends."""
    query = select(*_STANDING).join(subscribers, S.id == E.subscriber_id)
    query = query.where(E.sequence_id == sequence, E.state.in_(RUNNING)).order_by(E.id).limit(most)
    query = query if after is None else query.where(E.id > after)
    return [Standing(*row) for row in db.execute(query.with_for_update(of=enrollments) if lock else query)]


@dataclass(frozen=True)
class Row:
    """One letter of a reader in the ledger."""

    id: DeliveryId
    step: StepKey
    state: State
    planned: datetime
    skipped: bool
    """It was cancelled because it came far too late; its reader has gone on."""


def rows(db: Connection, of: Collection[EnrollmentId]) -> dict[EnrollmentId, list[Row]]:
    """Every letter of these readers."""
    found: dict[EnrollmentId, list[Row]] = {enrollment: [] for enrollment in of}
    query = select(D.enrollment_id, D.id, D.step_key, D.state, D.planned_at, D.reason)
    for row in db.execute(query.where(given.among(db.dialect.name, D.enrollment_id, "of", given.ids(db, of)))):
        skipped = row.state is State.CANCELLED and (row.reason or "").startswith(history.SKIPPED)
        found[row.enrollment_id].append(Row(row.id, row.step_key, row.state, row.planned_at, skipped))
    return found


def lock_scheduled(db: Connection, of: Collection[EnrollmentId]) -> set[DeliveryId]:
    """Lock the letters of these readers that are scheduled, and none that is on its way. Returns which."""
    theirs = given.among(db.dialect.name, D.enrollment_id, "of", given.ids(db, of))
    return set(db.scalars(select(D.id).where(theirs, is_in(State.SCHEDULED)).order_by(D.id).with_for_update()))


EDITED = "the sequence was edited"


def move(db: Connection, to: Mapping[DeliveryId, tuple[StepKey, datetime]], by: str, wall: datetime) -> None:
    """Give letters to come another step and promise, by their ids; what they were is in their history."""
    if not to:
        return
    noted = select(D.id, D.subscriber_id, D.attempt, D.request_id, D.state).where(
        given.among(db.dialect.name, D.id, "moved", given.ids(db, to))
    )
    for state in (State.SCHEDULED, State.CANCELLED):
        history.note(db, db.execute(noted.where(D.state == state)).all(), state, by, wall, EDITED)
    moved = given.table(db.dialect.name, "moved", step=Text, due=Instant)
    values = {"step_key": moved.c.step, "planned_at": moved.c.due, "due_at": moved.c.due}
    db.execute(update(deliveries).where(D.id == moved.c.id).values(values), {"moved": given.pack(db, to)})


def cancel(db: Connection, ids: Collection[DeliveryId], by: str, wall: datetime, why: str = EDITED) -> None:
    """Letters that are not to come now."""
    if ids:
        mine = given.among(db.dialect.name, D.id, "cancelled", given.ids(db, ids))
        history.move(db, State.CANCELLED, by, wall, why, mine, lease_until=None, batch_id=None)


def restore(db: Connection, row: DeliveryId, due: datetime, by: str, wall: datetime) -> None:
    """A letter that was cancelled once is to come again."""
    values: dict[str, Any] = {"due_at": due, "planned_at": due, "reason": None, "batch_id": None}
    history.move(db, State.SCHEDULED, by, wall, EDITED, D.id == row, **values)


def go_on_at(db: Connection, at: Mapping[EnrollmentId, StepKey | None]) -> None:
    """Where readers go on, if that is not simply after what they got last."""
    if at:
        places = given.table(db.dialect.name, "places", at=Text)
        packed = given.pack(db, {enrollment: (step,) for enrollment, step in at.items()})
        db.execute(update(enrollments).where(E.id == places.c.id).values(next_step=places.c.at), {"places": packed})


_COME_BACK = ("unsubscribed", "desk")
"""Who left because of this may come back: an unsubscribe is undone, or the desk puts them back."""


def pin(db: Connection, sequence: SequenceId, schedule: Schedule, running: bool, by: str, wall: datetime) -> int:
    """Let readers go by an earlier `schedule` from now on: those who have left and may come back, and with `running` those in
    the middle, too. Who is pinned already stays so. Returns how many of those in the middle.
    """
    theirs = (E.sequence_id == sequence, E.schedule_id.is_(None))
    gone = (*theirs, E.state == EnrollmentState.EXITED, E.why.in_(_COME_BACK))
    middle = (*theirs, E.state.in_(RUNNING))
    groups = [gone, middle] if running else [gone]
    if not any(db.scalar(select(exists().where(*group))) for group in groups):
        return 0
    fresh = ScheduleId(new_id())
    steps = json.dumps(schedule.timing)
    db.execute(
        insert(schedules).values(
            id=fresh, sequence_id=sequence, rules=schedule.rules, steps=steps, made_at=wall, made_by=by[:120]
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


def held(db: Connection, sequence: SequenceId, why: str, after: EnrollmentId | None, most: int) -> list[Held]:
    """Readers paused because of `why`, in the order of their ids."""
    query = select(E.id, E.subscriber_id, S.time_zone, E.paused_at).join(subscribers, S.id == E.subscriber_id)
    query = query.where(E.sequence_id == sequence, E.state == EnrollmentState.PAUSED, E.why == why).order_by(E.id).limit(most)
    return [Held(*row) for row in db.execute(query if after is None else query.where(E.id > after))]
