"""Deliveries whose owner fell silent, deliveries in doubt, evidence, and what a person decides (RECLAIM, EVENT, RESOLVE)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, exists, func, not_, select, update

from nurture.domain.delivery import IN_DOUBT, OPEN, DeliveryKind, State, before
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.ids import DeliveryId, EnrollmentId, RequestId, SequenceId, StepKey, SubscriberId
from nurture.store.core import bulk_params
from nurture.store.core.schema import deliveries, delivery_history, enrollments, provider_events, sequences, subscribers
from nurture.store.deliveries import transitions
from nurture.store.deliveries.transitions import Settled, is_in

D, E, S = deliveries.c, enrollments.c, subscribers.c

SILENT = "its owner fell silent"


def reclaim(db: Connection, by: str, real_now: datetime) -> int:
    """RECLAIM: rows claimed by an owner that fell silent were provably not sent; they are due again."""
    silent = (is_in(State.CLAIMED), D.lease_until < real_now)
    again: dict[str, Any] = {"batch_id": None, "lease_until": None}
    return len(transitions.apply(db, State.SCHEDULED, by, real_now, SILENT, *silent, leave_locked=True, **again))


def mark_in_doubt(db: Connection, by: str, real_now: datetime, to: State) -> int:
    """RECLAIM: rows whose owner fell silent while sending may have left. `to` is UNKNOWN or HELD; SCHEDULED, and so another
    try, only where the mailer makes a repeated delivery change nothing.
    """
    silent = (is_in(State.SENDING), D.lease_until < real_now)
    if to is State.SCHEDULED:
        again = {"batch_id": None, "lease_until": None, "marked_at": None}
        return len(transitions.apply(db, to, by, real_now, SILENT, *silent, leave_locked=True, **again))
    return len(
        transitions.apply(db, to, by, real_now, SILENT, *silent, leave_locked=True, lease_until=None, unknown_since=real_now)
    )


@dataclass(frozen=True)
class InDoubtDelivery:
    """A delivery that is UNKNOWN, HELD or FAILED. Real times."""

    id: DeliveryId
    kind: DeliveryKind
    state: State
    sequence: SequenceId | None
    rules: str | None
    """Text of the sequence's rules, which hold its policy."""
    step: StepKey | None
    attempt: int
    sending: datetime | None
    since: datetime | None
    """Since when it is in doubt, or when it failed."""
    why: str | None


_FAILED_AT = (
    select(func.max(delivery_history.c.at))
    .where(delivery_history.c.delivery_id == D.id, delivery_history.c.state == State.FAILED)
    .scalar_subquery()
)
_DOUBTS = (
    select(
        D.id, D.kind, D.state, E.sequence_id, sequences.c.rules, D.step_key, D.attempt, D.sending_at,
        case((D.state == State.FAILED, _FAILED_AT), else_=D.unknown_since), D.reason,
    )
    .select_from(deliveries)
    .outerjoin(enrollments, E.id == D.enrollment_id)
    .outerjoin(sequences, sequences.c.id == E.sequence_id)
    .order_by(D.unknown_since, D.id)
)  # fmt: skip


def in_doubt(db: Connection, state: State, limit: int) -> list[InDoubtDelivery]:
    """Rows that are UNKNOWN, HELD or FAILED, longest in doubt first."""
    return [InDoubtDelivery(*tuple(row)) for row in db.execute(_DOUBTS.where(is_in(state)).limit(limit))]


def decide(db: Connection, ids: Collection[DeliveryId], to: State, by: str, real_now: datetime, why: str) -> int:
    """RESOLVE: take rows out of UNKNOWN: SCHEDULED (sent again, at once) or HELD (a person decides). One of which a report
    is on file is in no doubt.
    """
    mine = (_among(db, ids), is_in(State.UNKNOWN), not_(_ON_FILE))
    again = {"batch_id": None, "marked_at": None} if to is State.SCHEDULED else {}
    return len(transitions.apply(db, to, by, real_now, why, *mine, leave_locked=True, **again))


def resolve(
    db: Connection, delivery: DeliveryId, sent: bool, by: str, now: datetime, real_now: datetime
) -> list[Settled] | None:
    """A person settles a row that is unknown, held or failed: it was `sent`, or is to be sent again, due `now`.

    Returns the row as it moved; None if it is in no such state.
    """
    mine = (D.id == delivery, is_in(State.UNKNOWN, State.HELD, State.FAILED))
    if sent:
        return transitions.apply(db, State.ACCEPTED, by, real_now, "counted as sent", *mine, accepted_at=now) or None
    again: dict[str, Any] = {"batch_id": None, "marked_at": None, "due_at": now, "planned_at": now, "unknown_since": None}
    return transitions.apply(db, State.SCHEDULED, by, real_now, "to be sent again", *mine, **again) or None


def retry_failed(db: Connection, reason: str, by: str, now: datetime, real_now: datetime) -> int:
    """A person takes back all rows that FAILED with a reason that holds these words, in any case. Returns how many."""
    mine = (is_in(State.FAILED), func.lower(D.reason).contains(reason.lower(), autoescape=True))
    again: dict[str, Any] = {"batch_id": None, "marked_at": None, "due_at": now, "planned_at": now, "unknown_since": None}
    return len(transitions.apply(db, State.SCHEDULED, by, real_now, "to be sent again", *mine, **again))


def count(db: Connection, state: State) -> int:
    """How many rows are UNKNOWN, HELD or FAILED."""
    return int(db.scalar(select(func.count()).select_from(deliveries).where(is_in(state))) or 0)


def prove(db: Connection, ids: Iterable[DeliveryId], by: str, now: datetime, real_now: datetime) -> list[Settled]:
    """EVENT: the provider has these, whatever we thought. Returns the rows that were not known to be accepted before."""
    where = _among(db, ids)
    return transitions.apply(
        db, State.ACCEPTED, by, real_now, "the provider reports it", where, accepted_at=now, lease_until=None
    )


_ON_FILE = exists().where(provider_events.c.delivery_id == D.id)
"""The provider has reported on the row, so it has it. A report that is settled leaves nothing UNKNOWN."""


def noted(db: Connection, limit: int) -> dict[DeliveryId, SubscriberId | None]:
    """Rows still UNKNOWN of which a report is on file, and whom they are for."""
    found = select(D.id, D.subscriber_id).where(is_in(State.UNKNOWN), _ON_FILE).order_by(D.unknown_since).limit(limit)
    return {row[0]: row[1] for row in db.execute(found)}


def report(db: Connection, ids: Iterable[DeliveryId], to: State) -> None:
    """EVENT: the fate of accepted mail: DELIVERED, BOUNCED, DROPPED or COMPLAINED; never backwards. Its event is the trace."""
    db.execute(update(deliveries).where(_among(db, ids), is_in(*before(to))).values(state=to))


def _among(db: Connection, ids: Iterable[DeliveryId]) -> ColumnElement[bool]:
    return bulk_params.in_ids(db.dialect.name, D.id, "among", bulk_params.encode_ids(db, ids))


def siblings(db: Connection, requests: Collection[RequestId]) -> list[DeliveryId]:
    """Rows in doubt that went into these requests: what is true of one mail of a request is true of all."""
    by_index = (is_in(State.SENDING), is_in(State.UNKNOWN, State.HELD))  # two, because each has a partial index of its own
    found = [db.scalars(select(D.id).where(D.request_id.in_(requests), part)) for part in by_index]
    return [DeliveryId(row) for part in found for row in part]


def mark_set_back(db: Connection, by: str, until: datetime, real_now: datetime) -> int:
    """The database was set back in time: whatever was due by `until` (timeline) may have been sent in the time it forgot."""
    why = "the database was set back: it may have been sent since"
    where = (is_in(*OPEN, State.SENDING), D.due_at <= until)
    values: dict[str, Any] = {"unknown_since": real_now, "lease_until": None, "batch_id": None, "sending_at": None}
    return len(transitions.apply(db, State.UNKNOWN, by, real_now, why, *where, **values))


def stalled(db: Connection, limit: int) -> list[tuple[EnrollmentId, StepKey | None, bytes]]:
    """Active enrollments with nothing to come and nothing in doubt: their next row could not be planned when it was due."""
    alive = exists().where(D.enrollment_id == E.id, is_in(*OPEN, *IN_DOUBT, State.FAILED))
    rows = db.execute(
        select(E.id, E.last_step, S.email_index)
        .join(subscribers, S.id == E.subscriber_id)
        .where(E.state == EnrollmentState.ACTIVE, S.state == SubscriberState.ACTIVE, not_(alive))
        .order_by(E.id)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in rows.all()]


def count_abandoned(db: Connection, before: datetime) -> int:
    """How many rows were claimed or being sent by an owner that fell silent, their lease over since `before` (real time)."""
    silent = select(func.count()).where(is_in(State.CLAIMED, State.SENDING), D.lease_until < before)
    return db.execute(silent).scalar_one()


def accepted_since(db: Connection, since: datetime) -> bool:
    """Whether the provider has accepted any mail since then (timeline)."""
    return bool(db.scalar(select(exists().where(D.accepted_at >= since))))


@dataclass(frozen=True)
class LedgerCounts:
    """How the ledger stands: rows per state, rows due and not claimed, and how long the oldest has been due (seconds)."""

    states: dict[str, int]
    due: int
    oldest_due_seconds: float


def ledger_counts(db: Connection, now: datetime) -> LedgerCounts:
    """Count the ledger for people."""
    states: dict[str, int] = {row[0]: row[1] for row in db.execute(select(D.state, func.count()).group_by(D.state)).all()}
    due, oldest = db.execute(select(func.count(), func.min(D.due_at)).where(is_in(State.SCHEDULED), D.due_at <= now)).one()
    behind = (now - oldest) if oldest else timedelta()
    return LedgerCounts(states, due, behind.total_seconds())
