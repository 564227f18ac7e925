"""The one way a delivery moves, other than straight forward: the move and its trace are one act.

Straight forward (planned, claimed, sending, accepted) is in the row's own columns, so that the hot path writes nothing twice.
Every other move writes a line that says when, by whom and why, and saves what the next attempt will overwrite.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, insert, literal, literal_column, select, update

from nurture.domain.delivery import State, before
from nurture.domain.event import outcome
from nurture.ids import DeliveryId, EnrollmentId, RequestId, SequenceId, StepKey
from nurture.store.core import bulk_params
from nurture.store.core.schema import deliveries, delivery_history, enrollments, provider_events, subscribers

D, H, V, E, S = deliveries.c, delivery_history.c, provider_events.c, enrollments.c, subscribers.c

TIMELINE, PROVIDER = "timeline", "provider"
"""Who plans a letter, and who reports what became of it."""
SKIPPED = "skipped: "
"""How the reason of a letter begins that was cancelled because it came far too late: its reader has gone on."""


@dataclass(frozen=True)
class Settled:
    """A row that has just moved, with what planning the next one needs."""

    id: DeliveryId
    enrollment: EnrollmentId | None
    sequence: SequenceId | None
    step: StepKey | None
    time_zone: str | None
    planned: datetime
    sent: datetime | None
    """When it was marked, on the timeline."""


_SETTLED = (
    D.id, D.enrollment_id, select(E.sequence_id).where(E.id == D.enrollment_id).scalar_subquery(), D.step_key,
    select(S.time_zone).where(S.id == D.subscriber_id).scalar_subquery(), D.planned_at, D.marked_at,
)  # fmt: skip
"""The columns of a `Settled`, in order."""
_PLAIN = (D.subscriber_id, D.attempt, D.request_id, D.owner, D.claimed_at, D.sending_at)


_PARTIAL = ((State.CLAIMED, State.SENDING), (State.UNKNOWN, State.HELD, State.FAILED))
"""The states of partial indexes over more than one (store.core.schema)."""


def is_in(*states: State) -> ColumnElement[bool]:
    """The row is in one of these states: written so that partial indexes serve. SQLite uses one only where its condition
    stands in the statement as it stands in the index, with literals.
    """
    wanted = _literal(states)
    covering = next((whole for whole in _PARTIAL if set(states) < set(whole)), None)
    return and_(wanted, _literal(covering)) if covering else wanted


def is_still(state: State) -> ColumnElement[bool]:
    """The row, found by its id, is in this state: written so that no index of states serves. Those are short when the
    planner last counted and long when the statement runs; taken for a way to the rows, one makes a join of all with all.
    """
    return D.state.concat("") == state


def _literal(states: Sequence[State]) -> ColumnElement[bool]:
    literals: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return D.state == literals[0] if len(literals) == 1 else D.state.in_(literals)


_BY_ID = {dialect: update(deliveries).where(bulk_params.in_ids(dialect, D.id, "moved")) for dialect in ("sqlite", "postgresql")}


def apply(
    db: Connection,
    to: State,
    by: str,
    real_now: datetime,
    why: str,
    *where: ColumnElement[bool],
    leave_locked: bool = False,
    **values: Any,
) -> list[Settled]:
    """Move every row that fits `where`, and may go there, to `to`. `by`: a process, a person or an event.
    `leave_locked`: pass by rows that somebody else is at, instead of waiting for them.
    """
    found = select(*_SETTLED, *_PLAIN).where(*where, is_in(*before(to))).order_by(D.id)
    found = found.with_for_update(skip_locked=leave_locked)
    rows = cast(Sequence[Row[Any]], db.execute(found).all())
    if not rows:
        return []
    if to is State.SCHEDULED:  # the next attempt begins with a clean row
        values |= {"claimed_at": None, "sending_at": None}
        _save_attempts(db, rows)
    ids = bulk_params.encode_ids(db, (row.id for row in rows))
    db.execute(_BY_ID[db.dialect.name].values({"state": to, "reason": why[:200]} | values), {"moved": ids})
    note(db, rows, to, by, real_now, why)
    return [Settled(*row[: len(_SETTLED)]) for row in rows]


def note(db: Connection, rows: Iterable[Any], state: State, by: str, real_now: datetime, why: str) -> None:
    """Write one line for each row; they carry id, subscriber_id, attempt and request_id."""
    _write(db, [_line(row, state, real_now, by, why) for row in rows])


def note_among(db: Connection, mine: ColumnElement[bool], by: str, real_now: datetime, why: str) -> None:
    """Write one line for each row that fits, which stays in its state."""
    said = (literal(real_now, H.at.type), literal(by[:120]), literal(why[:200]))
    lines = select(D.id, D.subscriber_id, D.state, *said, D.attempt, D.request_id).where(mine)
    into = ("delivery_id", "subscriber_id", "state", "at", "actor", "reason", "attempt", "request_id")
    db.execute(insert(delivery_history).from_select(into, lines))


def note_once(db: Connection, delivery: DeliveryId, why: str, real_now: datetime) -> bool:
    """Write one line into a delivery's history, as the provider's; False if it is there already."""
    if db.scalar(select(exists().where(H.delivery_id == delivery, H.reason == why))):
        return False
    found = select(D.id, D.subscriber_id, D.attempt, D.request_id, D.state).where(D.id == delivery)
    row = cast(Row[Any], db.execute(found).one())
    _write(db, [_line(row, row.state, real_now, PROVIDER, why)])
    return True


def _save_attempts(db: Connection, rows: Sequence[Row[Any]]) -> None:
    lines = [_line(row, State.CLAIMED, row.claimed_at, row.owner, None) for row in rows if row.claimed_at]
    lines += [_line(row, State.SENDING, row.sending_at, row.owner, None) for row in rows if row.sending_at]
    _write(db, lines)


def _line(row: Row[Any], state: State, at: datetime, by: str | None, why: str | None) -> dict[str, Any]:
    return {
        "delivery_id": row.id, "subscriber_id": row.subscriber_id, "state": state, "at": at, "actor": (by or "unknown")[:120],
        "reason": why and why[:200], "attempt": row.attempt, "request_id": row.request_id,
    }  # fmt: skip


def _write(db: Connection, lines: list[dict[str, Any]]) -> None:
    if lines:
        db.execute(insert(delivery_history), lines)


@dataclass(frozen=True)
class HistoryLine:
    """One change of a delivery's state, or a report about it: when (real time), by whom and why."""

    at: datetime
    state: State
    by: str
    why: str | None
    attempt: int
    request: RequestId | None


def history(db: Connection, delivery: DeliveryId) -> list[HistoryLine]:
    """Everything that happened to one delivery, in order; empty if there is none."""
    columns = (D.created_at, D.accepted_at, D.state, D.attempt, D.request_id, D.owner, D.claimed_at, D.sending_at)
    row = db.execute(select(*columns).where(D.id == delivery)).first()
    if row is None:
        return []
    kept = select(H.at, H.state, H.actor, H.reason, H.attempt, H.request_id).where(H.delivery_id == delivery)
    lines = [HistoryLine(*found) for found in db.execute(kept.order_by(H.at, H.id))]
    lines += [
        HistoryLine(at, outcome(kind), PROVIDER, detail or kind.value, row.attempt, request)
        for at, kind, detail, request in db.execute(
            select(V.at, V.kind, V.detail, V.request_id).where(V.delivery_id == delivery).order_by(V.at, V.id)
        )
    ]
    told = {line.state for line in lines if line.attempt == row.attempt and line.by != PROVIDER}
    owner = row.owner or "unknown"
    plain = [(row.claimed_at, State.CLAIMED), (row.sending_at, State.SENDING), (row.accepted_at, State.ACCEPTED)]
    forward = [
        HistoryLine(at, state, owner, None, row.attempt, row.request_id if state is not State.CLAIMED else None)
        for at, state in plain
        if at is not None and state not in told
    ]
    story = sorted([*forward, *lines], key=lambda line: (line.at, line.attempt))
    return [HistoryLine(row.created_at, State.SCHEDULED, TIMELINE, None, 0, None), *story]
