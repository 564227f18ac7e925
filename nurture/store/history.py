"""The one way a delivery moves, other than straight forward: the move and its trace are one act.

Straight forward (planned, claimed, sending, accepted) is in the row's own columns, so that the hot path writes nothing twice.
Every other move writes a line that says when, by whom and why, and saves what the next attempt will overwrite.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Row, insert, literal_column, select, update

from nurture.domain.delivery import Kind, State, before
from nurture.store import given
from nurture.store.schema import deliveries, delivery_history
from nurture.words import DeliveryId, EnrollmentId, RequestId, StepKey, SubscriberId

D, H = deliveries.c, delivery_history.c

TIMELINE = "timeline"
"""Who plans a letter."""


@dataclass(frozen=True)
class Settled:
    """A row that has just moved, with what planning the next one needs."""

    id: DeliveryId
    kind: Kind
    subscriber: SubscriberId | None
    email_bidx: bytes | None
    enrollment: EnrollmentId | None
    step: StepKey | None
    planned: datetime
    sent: datetime | None
    """When it was marked, on the timeline."""


SETTLED = (D.id, D.kind, D.subscriber_id, D.email_bidx, D.enrollment_id, D.step_key, D.planned_at, D.sent_at)
"""The columns of a `Settled`, in order."""
_PLAIN = (D.attempt, D.request_id, D.owner, D.claimed_at, D.sending_at)


def is_in(*states: State) -> ColumnElement[bool]:
    """The row is in one of these states: as literals, so that partial indexes serve."""
    return D.state.in_([literal_column(f"'{state}'") for state in states])


_BY_ID = {dialect: update(deliveries).where(given.among(dialect, D.id, "moved")) for dialect in ("sqlite", "postgresql")}


def move(
    db: Connection, to: State, by: str, wall: datetime, why: str, *where: ColumnElement[bool], **values: Any
) -> list[Settled]:
    """Move every row that fits `where`, and may go there, to `to`. `by`: a process, a person or an event; `wall`: real time."""
    found = select(*SETTLED, *_PLAIN).where(*where, is_in(*before(to))).order_by(D.id).with_for_update()
    rows = cast(Sequence[Row[Any]], db.execute(found).all())
    if not rows:
        return []
    if to is State.SCHEDULED:  # the next attempt begins with a clean row
        values |= {"claimed_at": None, "sending_at": None}
        _save_attempts(db, rows)
    ids = given.ids(db, (row.id for row in rows))
    db.execute(_BY_ID[db.dialect.name].values({"state": to, "reason": why[:200]} | values), {"moved": ids})
    note(db, rows, to, by, wall, why)
    return [Settled(*row[: len(SETTLED)]) for row in rows]


def note(db: Connection, rows: Iterable[Row[Any]], state: State, by: str, wall: datetime, why: str) -> None:
    """Write one line for each row; they carry id, subscriber_id, attempt and request_id."""
    _write(db, [_line(row, state, wall, by, why) for row in rows])


def _save_attempts(db: Connection, rows: Sequence[Row[Any]]) -> None:
    lines = [_line(row, State.CLAIMED, row.claimed_at, row.owner, None) for row in rows if row.claimed_at]
    lines += [_line(row, State.SENDING, row.sending_at, row.owner, None) for row in rows if row.sending_at]
    _write(db, lines)


def _line(row: Row[Any], state: State, at: datetime, by: str | None, why: str | None) -> dict[str, Any]:
    return {
        "delivery_id": row.id, "subscriber_id": row.subscriber_id, "state": state, "at": at, "by": (by or "unknown")[:120],
        "why": why and why[:200], "attempt": row.attempt, "request_id": row.request_id,
    }  # fmt: skip


def _write(db: Connection, lines: list[dict[str, Any]]) -> None:
    if lines:
        db.execute(insert(delivery_history), lines)


@dataclass(frozen=True)
class Line:
    """One change of a delivery's state: when (real time), by whom and why."""

    at: datetime
    state: State
    by: str
    why: str | None
    attempt: int
    request: RequestId | None


def story(db: Connection, delivery: DeliveryId) -> list[Line]:
    """Everything that happened to one delivery, in order; empty if there is none."""
    columns = (D.created_at, D.accepted_at, D.state, D.attempt, D.request_id, D.owner, D.claimed_at, D.sending_at)
    row = db.execute(select(*columns).where(D.id == delivery)).first()
    if row is None:
        return []
    kept = select(H.at, H.state, H.by, H.why, H.attempt, H.request_id).where(H.delivery_id == delivery)
    lines = [Line(*found) for found in db.execute(kept.order_by(H.at, H.id))]
    told = {line.state for line in lines if line.attempt == row.attempt}
    owner = row.owner or "unknown"
    plain = [(row.claimed_at, State.CLAIMED), (row.sending_at, State.SENDING), (row.accepted_at, State.ACCEPTED)]
    forward = [
        Line(at, state, owner, None, row.attempt, row.request_id if state is not State.CLAIMED else None)
        for at, state in plain
        if at is not None and state not in told
    ]
    story = sorted([*forward, *lines], key=lambda line: (line.at, line.attempt))
    return [Line(row.created_at, State.SCHEDULED, TIMELINE, None, 0, None), *story]
