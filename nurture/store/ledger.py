"""Every statement on deliveries: plan, claim, mark, settle, release. The protocol's steps T0–T4 are marked.

What keeps it right with any number of processes and machines:
- a row is written once per enrollment and step (`uq_deliveries_step`), so planning twice changes nothing;
- `batch_id` is a fresh random fence: every later write names it, and touches nothing once another batch holds the row;
- `sending` is committed before the request leaves, and nothing goes from there to `scheduled` without a definite refusal.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, delete, exists, func, insert, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nurture.domain.delivery import IN_DOUBT, OPEN, Kind, State, before
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.sealing import Sealed
from nurture.store.schema import (
    deliveries,
    enrollments,
    heartbeats,
    pace,
    send_requests,
    steps,
    subscribers,
    suppressions,
)
from nurture.words import (
    BatchId,
    ConsultationId,
    DeliveryId,
    EditionId,
    EnrollmentId,
    SequenceId,
    StepKey,
    SubscriberId,
    new_id,
)

D, E, S = deliveries.c, enrollments.c, subscribers.c


@dataclass(frozen=True)
class NewDelivery:
    """A mail to be: everything T0 writes."""

    kind: Kind
    due: datetime
    subscriber: SubscriberId | None = None
    email_bidx: bytes | None = None
    enrollment: EnrollmentId | None = None
    step: StepKey | None = None
    about: ConsultationId | None = None


@dataclass(frozen=True)
class Claimed:
    """A claimed row with all that rendering needs. Personal values are still sealed."""

    id: DeliveryId
    kind: Kind
    attempt: int
    planned: datetime
    subscriber: SubscriberId | None
    email: Sealed | None
    first_name: Sealed | None
    time_zone: str | None
    confirmed: datetime | None
    enrollment: EnrollmentId | None
    sequence: SequenceId | None
    step: StepKey | None
    edition: EditionId | None
    about: ConsultationId | None


@dataclass(frozen=True)
class Settled:
    """A row that an outcome has just moved, with what planning the next one needs."""

    id: DeliveryId
    kind: Kind
    subscriber: SubscriberId | None
    email_bidx: bytes | None
    enrollment: EnrollmentId | None
    step: StepKey | None
    planned: datetime


def plan(db: Connection, rows: Sequence[NewDelivery], now: datetime) -> int:
    """T0: write rows to come; a (enrollment, step) that has one already keeps it. Returns how many were new."""
    if not rows:
        return 0
    dialect = sqlite if db.dialect.name == "sqlite" else postgresql
    values = [
        {
            "id": new_id(), "kind": row.kind, "state": State.SCHEDULED, "subscriber_id": row.subscriber,
            "email_bidx": row.email_bidx, "enrollment_id": row.enrollment, "step_key": row.step, "about_id": row.about,
            "planned_at": row.due, "due_at": row.due, "created_at": now,
        }
        for row in rows
    ]  # fmt: skip
    written = db.execute(dialect.insert(deliveries).values(values).on_conflict_do_nothing().returning(D.id))
    return len(written.all())


def claim(db: Connection, batch: BatchId, now: datetime, lease_until: datetime, limit: int) -> list[DeliveryId]:
    """T1: take up to `limit` rows due by `now` (timeline) for `batch`, oldest first, until `lease_until` (real time).

    The edition that goes out is fixed here, so that a letter published a moment later cannot mix with it.
    """
    edition = (
        select(steps.c.edition_id)
        .join(enrollments, E.sequence_id == steps.c.sequence_id)
        .where(E.id == D.enrollment_id, steps.c.key == D.step_key)
        .scalar_subquery()
    )
    due = select(D.id).where(D.state == State.SCHEDULED, D.due_at <= now).order_by(D.due_at, D.id).limit(limit)
    if db.dialect.name == "postgresql":
        # SKIP LOCKED: another claimer's rows are not waited for. MATERIALIZED: LIMIT holds, the sub-query runs once.
        chosen = due.with_for_update(skip_locked=True).cte("due").prefix_with("MATERIALIZED")
        due = select(chosen.c.id)
    taken = db.scalars(
        update(deliveries)
        .where(D.id.in_(due), D.state == State.SCHEDULED)
        .values(
            state=State.CLAIMED,
            batch_id=batch,
            attempt=D.attempt + 1,
            lease_until=lease_until,
            edition_id=edition,
            reason=None,
        )
        .returning(D.id)
    )
    return [DeliveryId(row) for row in taken]


def read_batch(db: Connection, batch: BatchId) -> list[Claimed]:
    """What is claimed under `batch`, oldest promise first, joined with reader and place in the sequence."""
    rows = db.execute(
        select(
            D.id, D.kind, D.attempt, D.planned_at, D.subscriber_id, S.email_sealed, S.first_name_sealed, S.time_zone,
            S.confirmed_at, D.enrollment_id, E.sequence_id, D.step_key, D.edition_id, D.about_id,
        )
        .select_from(deliveries)
        .outerjoin(subscribers, S.id == D.subscriber_id)
        .outerjoin(enrollments, E.id == D.enrollment_id)
        .where(D.batch_id == batch, D.state == State.CLAIMED)
        .order_by(D.planned_at, D.id)
    )  # fmt: skip
    return [Claimed(*tuple(row)) for row in rows.all()]


def _may_be_sent() -> Any:
    """`domain.subscriber.hindrance` in SQL: the guard of T2."""
    reader = exists().where(
        S.id == D.subscriber_id,
        S.state == case((D.kind == Kind.CONFIRMATION, SubscriberState.PENDING), else_=SubscriberState.ACTIVE),
    )
    lifted = and_(D.kind == Kind.CONFIRMATION, suppressions.c.reason.in_([Suppression.UNSUBSCRIBED, Suppression.ERASED]))
    suppressed = exists().where(suppressions.c.email_bidx == D.email_bidx, not_(lifted))
    enrolled = exists().where(E.id == D.enrollment_id, E.state == EnrollmentState.ACTIVE)
    return or_(D.kind == Kind.NOTICE, and_(reader, not_(suppressed), or_(D.kind != Kind.LETTER, enrolled)))


def mark(
    db: Connection, batch: BatchId, ids: Collection[DeliveryId], owner: str, at: datetime, lease_until: datetime
) -> set[DeliveryId]:
    """T2, the point of no return: move rows of `batch` to `sending`, real times `at` and `lease_until`.

    Only the rows returned may enter a request. Consent, suppression, pause and goal are checked in the same statement;
    a row that fails it is cancelled. The caller must commit before it sends.
    """
    if not ids:
        return set()
    mine = (D.batch_id == batch, D.state == State.CLAIMED, D.id.in_(ids))
    marked = db.scalars(
        update(deliveries)
        .where(*mine, _may_be_sent())
        .values(state=State.SENDING, sending_at=at, lease_until=lease_until)
        .returning(D.id)
    ).all()
    if len(marked) < len(ids):
        db.execute(update(deliveries).where(*mine).values(state=State.CANCELLED, reason="may not be mailed", lease_until=None))
    if marked:
        db.execute(
            insert(send_requests).values(
                id=new_id(), batch_id=batch, owner=owner, deliveries=len(marked), sending_at=at, deadline_at=lease_until
            )
        )
    return set(marked)


def _settle(db: Connection, batch: BatchId, ids: Collection[DeliveryId], to: State, **values: Any) -> list[Settled]:
    rows = db.execute(
        update(deliveries)
        .where(D.id.in_(ids), D.batch_id == batch, D.state.in_(before(to)))
        .values(state=to, **values)
        .returning(D.id, D.kind, D.subscriber_id, D.email_bidx, D.enrollment_id, D.step_key, D.planned_at)
    )
    return [Settled(*row) for row in rows.all()]


def accepted(db: Connection, batch: BatchId, messages: Mapping[DeliveryId, str | None], now: datetime) -> list[Settled]:
    """T3: the provider took these; `messages` maps each to the provider's id. Returns the rows that really moved."""
    named = [(D.id == delivery, message) for delivery, message in messages.items() if message]
    provider = case(*named, else_=None) if named else None
    return _settle(
        db,
        batch,
        messages,
        State.ACCEPTED,
        accepted_at=now,
        provider_message=provider,
        lease_until=None,
        unknown_since=None,
    )


def refused(db: Connection, batch: BatchId, ids: Collection[DeliveryId], due: datetime, why: str) -> None:
    """T3: nothing of these left the house; look at them again at `due` (timeline)."""
    _settle(db, batch, ids, State.SCHEDULED, batch_id=None, lease_until=None, due_at=due, reason=why[:200])


def postponed(db: Connection, batch: BatchId, delivery: DeliveryId, to: datetime) -> None:
    """A claimed row that missed its window waits for the next opening."""
    _settle(db, batch, [delivery], State.SCHEDULED, batch_id=None, lease_until=None, due_at=to, planned_at=to)


def failed(db: Connection, batch: BatchId, whys: Mapping[DeliveryId, str]) -> None:
    """These can never go out as they are, each for its own reason."""
    for delivery, why in whys.items():
        _settle(db, batch, [delivery], State.FAILED, lease_until=None, reason=why[:200])


def in_doubt(db: Connection, batch: BatchId, ids: Collection[DeliveryId], to: State, at: datetime, why: str) -> None:
    """T3: these may have left; `to` is UNKNOWN where evidence can come, HELD where it cannot. `at` is real time."""
    _settle(db, batch, ids, to, unknown_since=at, lease_until=None, reason=why[:200])


def release(db: Connection, batch: BatchId, due: datetime | None = None) -> int:
    """Give back what is still claimed under `batch`, unsent, not before `due` (timeline) if given."""
    values: dict[str, Any] = {"state": State.SCHEDULED, "batch_id": None, "lease_until": None}
    if due is not None:
        values["due_at"] = due
    return db.execute(update(deliveries).where(D.batch_id == batch, D.state == State.CLAIMED).values(values)).rowcount


def reclaim(db: Connection, wall: datetime) -> int:
    """T4: rows claimed by an owner that fell silent were provably not sent; they are due again."""
    silent = (D.state == State.CLAIMED, D.lease_until < wall)
    return db.execute(update(deliveries).where(*silent).values(state=State.SCHEDULED, batch_id=None, lease_until=None)).rowcount


def doubt(db: Connection, wall: datetime, to: State) -> int:
    """T4: rows whose owner fell silent while sending may have left. `to` is UNKNOWN or HELD; SCHEDULED, and so another
    try, only where the mailer makes a repeated delivery change nothing.
    """
    silent = (D.state == State.SENDING, D.lease_until < wall)
    values: dict[str, Any] = {"state": to, "lease_until": None, "reason": "its sender fell silent"}
    values |= {"batch_id": None} if to is State.SCHEDULED else {"unknown_since": wall}
    return db.execute(update(deliveries).where(*silent).values(values)).rowcount


def cancel_open(db: Connection, reason: str, subscriber: SubscriberId, enrollment: EnrollmentId | None = None) -> int:
    """Stop what has not been handed to a mailer, of a person or one enrollment. Returns how many rows were stopped."""
    whose = D.enrollment_id == enrollment if enrollment else D.subscriber_id == subscriber
    return db.execute(
        update(deliveries)
        .where(whose, D.state.in_(OPEN))
        .values(state=State.CANCELLED, reason=reason, lease_until=None, batch_id=None)
    ).rowcount


def may_still_arrive(db: Connection, subscriber: SubscriberId) -> bool:
    """Whether something of this person is in a request, or in doubt, right now."""
    return bool(db.scalar(select(exists().where(D.subscriber_id == subscriber, D.state.in_(IN_DOUBT)))))


def restore_cancelled(db: Connection, enrollment: EnrollmentId, step: StepKey, due: datetime) -> bool:
    """Put a cancelled letter back on the timeline (an unsubscribe undone). False if that step has no cancelled row."""
    return bool(
        db.execute(
            update(deliveries)
            .where(D.enrollment_id == enrollment, D.step_key == step, D.state == State.CANCELLED)
            .values(state=State.SCHEDULED, due_at=due, planned_at=due, reason=None, batch_id=None)
        ).rowcount
    )


def planned_before(db: Connection, subscriber: SubscriberId, kind: Kind) -> list[datetime]:
    """When mails of `kind` were planned for a person, in any state."""
    return list(db.scalars(select(D.planned_at).where(D.subscriber_id == subscriber, D.kind == kind)))


def stalled(db: Connection, limit: int) -> list[tuple[EnrollmentId, StepKey | None, bytes]]:
    """Active enrollments with nothing to come and nothing in doubt: their next row could not be planned when it was due."""
    alive = exists().where(D.enrollment_id == E.id, D.state.in_((*OPEN, *IN_DOUBT, State.FAILED)))
    rows = db.execute(
        select(E.id, E.last_step, S.email_bidx)
        .join(subscribers, S.id == E.subscriber_id)
        .where(E.state == EnrollmentState.ACTIVE, S.state == SubscriberState.ACTIVE, not_(alive))
        .order_by(E.id)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in rows.all()]


def reserve(db: Connection, count: int, per_second: float, wall: datetime) -> datetime:
    """Take the fleet's next `count` sending slots at `per_second`; returns the real instant at which they begin."""
    dialect = sqlite if db.dialect.name == "sqlite" else postgresql
    db.execute(dialect.insert(pace).values(name="sends", next_at=wall).on_conflict_do_nothing())
    free: datetime = db.execute(select(pace.c.next_at).where(pace.c.name == "sends").with_for_update()).scalar_one()
    begin = max(free, wall)
    db.execute(update(pace).where(pace.c.name == "sends").values(next_at=begin + timedelta(seconds=count / per_second)))
    return begin


@dataclass(frozen=True)
class Standing:
    """How the ledger stands: rows per state, rows due and not claimed, and how long the oldest has been due (seconds)."""

    states: dict[str, int]
    due: int
    oldest_due_seconds: float
    last_tick: datetime | None


def standing(db: Connection, now: datetime) -> Standing:
    """Count the ledger for people."""
    states: dict[str, int] = {row[0]: row[1] for row in db.execute(select(D.state, func.count()).group_by(D.state)).all()}
    due, oldest = db.execute(select(func.count(), func.min(D.due_at)).where(D.state == State.SCHEDULED, D.due_at <= now)).one()
    behind = (now - oldest) if oldest else timedelta()
    return Standing(states, due, behind.total_seconds(), last_beat(db, "tick"))


def beat(db: Connection, name: str, wall: datetime) -> None:
    """Note that a job has just finished, in real time."""
    dialect = sqlite if db.dialect.name == "sqlite" else postgresql
    db.execute(
        dialect.insert(heartbeats)
        .values(name=name, at=wall)
        .on_conflict_do_update(index_elements=[heartbeats.c.name], set_={"at": wall})
    )


def last_beat(db: Connection, name: str) -> datetime | None:
    """When a job last finished, in real time."""
    return db.scalar(select(heartbeats.c.at).where(heartbeats.c.name == name))


def forget_requests(db: Connection, before_wall: datetime) -> int:
    """Delete notes on requests made before an instant (real time)."""
    return db.execute(delete(send_requests).where(send_requests.c.sending_at < before_wall)).rowcount
