"""When letters of a sequence go out: the schedule as it is, the earlier ones readers are pinned to, and each reader's place.

Whoever plans letters holds the schedule shared, whoever changes it holds it alone: a row is planned either before a change,
and moved by it, or after it, and by it.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, select

from nurture.domain.delivery import State
from nurture.ids import EnrollmentId, ScheduleId, SequenceId, StepKey, new_id
from nurture.store.core import bulk_params
from nurture.store.core.schema import deliveries, enrollments, schedules, sequences, steps
from nurture.store.deliveries.transitions import SKIPPED

C, D, E = schedules.c, deliveries.c, enrollments.c

_PLANNING = 0x6E75727475726522
"""Advisory lock on PostgreSQL: shared by all who plan letters, taken alone by whoever changes a schedule."""
_SHARED = select(func.pg_advisory_xact_lock_shared(_PLANNING))
_ALONE = select(func.pg_advisory_xact_lock(_PLANNING))


def lock_shared(db: Connection) -> None:
    """From here to the end of the transaction nobody changes a schedule. Lock people before. SQLite has one writer anyway."""
    if db.dialect.name == "postgresql":
        db.execute(_SHARED)


def lock_exclusive(db: Connection) -> None:
    """From here to the end of the transaction nobody plans a letter."""
    if db.dialect.name == "postgresql":
        db.execute(_ALONE)


Timing = tuple[tuple[str, str, str, bool], ...]
"""Key, wait, lateness and whether it is removed, of each step in order."""


@dataclass(frozen=True)
class Schedule:
    """What decides when letters are due: the text of the rules, and the steps. `version` 0: never changed."""

    rules: str
    timing: Timing
    version: int


_TIMING = (
    select(
        sequences.c.rules, sequences.c.version, steps.c.key, steps.c.wait, func.coalesce(steps.c.if_late, ""), steps.c.removed
    )
    .outerjoin(steps, steps.c.sequence_id == sequences.c.id)
    .where(sequences.c.id == bindparam("sequence"))
    .order_by(steps.c.position)
)


def current(db: Connection, sequence: SequenceId) -> Schedule:
    """The schedule of a sequence as it is."""
    rows = db.execute(_TIMING, {"sequence": sequence}).all()
    timing = tuple((row[2], row[3], row[4], bool(row[5])) for row in rows if row[2] is not None)
    return Schedule(rows[0][0], timing, rows[0][1])


def read(db: Connection, schedule: ScheduleId) -> Schedule:
    """An earlier schedule that readers are pinned to."""
    row = db.execute(select(schedules.c.rules, schedules.c.steps).where(schedules.c.id == schedule)).one()
    return Schedule(row[0], tuple((key, wait, late, gone) for key, wait, late, gone in json.loads(row[1])), 0)


def archive(db: Connection, sequence: SequenceId, schedule: Schedule, by: str, real_now: datetime) -> None:
    """Keep a schedule that is being replaced, to go back to. Real time."""
    db.execute(
        insert(schedules).values(
            id=new_id(), sequence_id=sequence, rules=schedule.rules, steps=json.dumps(schedule.timing), made_at=real_now,
            made_by=by[:120], version=schedule.version,
        )
    )  # fmt: skip


def archived(db: Connection, sequence: SequenceId, limit: int) -> list[tuple[int, datetime, str]]:
    """The last schedules that were replaced, newest first: version, when (real time) and by whom."""
    query = select(C.version, C.made_at, C.made_by).where(C.sequence_id == sequence, C.version.is_not(None))
    return [(row[0], row[1], row[2]) for row in db.execute(query.order_by(C.version.desc()).limit(limit))]


def at_version(db: Connection, sequence: SequenceId, version: int) -> Schedule | None:
    """A schedule that was replaced."""
    kept = db.scalar(select(C.id).where(C.sequence_id == sequence, C.version == version))
    return replace(read(db, kept), version=version) if kept else None


@dataclass(frozen=True)
class PinnedPlace:
    """What an edit has made of one reader's way on."""

    schedule: ScheduleId | None
    """The schedule they are pinned to."""
    at: StepKey | None
    """Where they go on, if not after the step they got last."""


_GIVEN = (State.ACCEPTED, State.DELIVERED, State.BOUNCED, State.DROPPED, State.COMPLAINED)


_PLACES = {dialect: select(E.id, E.schedule_id, E.next_step).where(bulk_params.in_ids(dialect, E.id, "ids"))
           for dialect in ("sqlite", "postgresql")}  # fmt: skip
_SENT = {
    dialect: select(D.enrollment_id, D.step_key).where(
        bulk_params.in_ids(dialect, D.enrollment_id, "ids"),
        D.state.in_(_GIVEN) | ((D.state == State.CANCELLED) & D.reason.startswith(SKIPPED)),
    )
    for dialect in ("sqlite", "postgresql")
}


def places(db: Connection, ids: Iterable[EnrollmentId]) -> dict[EnrollmentId, PinnedPlace]:
    """Where readers go on."""
    return {
        row[0]: PinnedPlace(row[1], row[2])
        for row in db.execute(_PLACES[db.dialect.name], {"ids": bulk_params.encode_ids(db, ids)})
    }


def sent(db: Connection, ids: Collection[EnrollmentId]) -> dict[EnrollmentId, frozenset[StepKey]]:
    """What readers have got, or was skipped for them for good."""
    found: dict[EnrollmentId, set[StepKey]] = {enrollment: set() for enrollment in ids}
    for enrollment, step in db.execute(_SENT[db.dialect.name], {"ids": bulk_params.encode_ids(db, ids)}):
        found[enrollment].add(step)
    return {enrollment: frozenset(steps) for enrollment, steps in found.items()}
