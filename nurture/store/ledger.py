"""The ledger's way forward: plan, claim, mark, settle. The protocol's steps T0–T3 are marked; T4–T6 are in store.doubts.

What keeps it right with any number of processes and machines:
- a row is written once per enrollment and step (`uq_deliveries_step`), so planning twice changes nothing;
- `batch_id` is a fresh random fence for each claim, `request_id` for each request: a later write names it, and touches
  nothing once another holds the row;
- `sending` is committed before the request leaves, and nothing goes from there to `scheduled` without a definite refusal.

Statements of the hot path are built once per database and get their rows as one parameter (store.given).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from nurture.domain.delivery import IN_DOUBT, OPEN, Guards, Kind, State, before
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.sealing import Sealed
from nurture.store import given, history
from nurture.store.history import SETTLED, Settled, is_in
from nurture.store.schema import Id, Instant, deliveries, enrollments, steps, subscribers, suppressions
from nurture.words import (
    BatchId,
    ConsultationId,
    DeliveryId,
    EditionId,
    EnrollmentId,
    RequestId,
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


_PLAN = {
    name: dialect.insert(deliveries).on_conflict_do_nothing()
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}


def plan(db: Connection, rows: Sequence[NewDelivery], now: datetime) -> None:
    """T0: write rows to come; a (enrollment, step) that has one already keeps it."""
    if not rows:
        return
    values = [
        {
            "id": new_id(), "kind": row.kind, "state": State.SCHEDULED, "subscriber_id": row.subscriber,
            "email_bidx": row.email_bidx, "enrollment_id": row.enrollment, "step_key": row.step, "about_id": row.about,
            "planned_at": row.due, "due_at": row.due, "created_at": now,
        }
        for row in rows
    ]  # fmt: skip
    db.execute(_PLAN[db.dialect.name], values)


@cache
def _claim(dialect: str) -> Executable:
    edition = (
        select(steps.c.edition_id)
        .join(enrollments, E.sequence_id == steps.c.sequence_id)
        .where(E.id == D.enrollment_id, steps.c.key == D.step_key)
        .scalar_subquery()
    )
    due = select(D.id).where(is_in(State.SCHEDULED), D.due_at <= bindparam("now")).order_by(D.due_at, D.id)
    due = due.limit(bindparam("most"))
    if dialect == "postgresql":
        # SKIP LOCKED: another claimer's rows are not waited for. MATERIALIZED: LIMIT holds, the sub-query runs once.
        chosen = due.with_for_update(skip_locked=True).cte("due").prefix_with("MATERIALIZED")
        due = select(chosen.c.id)
    return (
        update(deliveries)
        .where(D.id.in_(due), is_in(State.SCHEDULED))
        .values(
            state=State.CLAIMED, batch_id=bindparam("batch"), owner=bindparam("by"), attempt=D.attempt + 1,
            claimed_at=bindparam("wall"), lease_until=bindparam("lease"), edition_id=edition, reason=null(),
        )
        .returning(D.id)
    )  # fmt: skip


def claim(
    db: Connection, batch: BatchId, owner: str, now: datetime, wall: datetime, lease_until: datetime, limit: int
) -> list[DeliveryId]:
    """T1: take up to `limit` rows due by `now` (timeline) for `batch`, oldest first, until `lease_until` (real, as `wall`).

    The edition that goes out is fixed here, so that a letter published a moment later cannot mix with it.
    """
    values = {"now": now, "most": limit, "batch": batch, "by": owner, "wall": wall, "lease": lease_until}
    return [DeliveryId(row) for row in db.scalars(_claim(db.dialect.name), values)]


_READ_BATCH = (
    select(
        D.id, D.kind, D.attempt, D.planned_at, D.subscriber_id, S.email_sealed, S.first_name_sealed, S.time_zone,
        S.confirmed_at, D.enrollment_id, E.sequence_id, D.step_key, D.edition_id, D.about_id,
    )
    .select_from(deliveries)
    .outerjoin(subscribers, S.id == D.subscriber_id)
    .outerjoin(enrollments, E.id == D.enrollment_id)
    .where(D.batch_id == bindparam("batch"), is_in(State.CLAIMED))
    .order_by(D.planned_at, D.id)
)  # fmt: skip


def read_batch(db: Connection, batch: BatchId) -> list[Claimed]:
    """What is claimed under `batch`, oldest promise first, joined with reader and place in the sequence."""
    return [Claimed(*tuple(row)) for row in db.execute(_READ_BATCH, {"batch": batch})]


def _may_be_sent() -> ColumnElement[bool]:
    """`domain.subscriber.hindrance` in SQL: the guard of T2."""
    reader = exists().where(
        S.id == D.subscriber_id,
        S.state == case((D.kind == Kind.CONFIRMATION, SubscriberState.PENDING), else_=SubscriberState.ACTIVE),
    )
    lifted = and_(D.kind == Kind.CONFIRMATION, suppressions.c.reason.in_([Suppression.UNSUBSCRIBED, Suppression.ERASED]))
    suppressed = exists().where(suppressions.c.email_bidx == D.email_bidx, not_(lifted))
    enrolled = exists().where(E.id == D.enrollment_id, E.state == EnrollmentState.ACTIVE)
    return or_(D.kind == Kind.NOTICE, and_(reader, not_(suppressed), or_(D.kind != Kind.LETTER, enrolled)))


def _too_soon(dialect: str) -> ColumnElement[bool]:
    """The guards of `domain.delivery.Guards` in SQL: what went to this person lately. `days`: zone → its day's beginning."""
    days, other = given.table_by_name(dialect, "days", began=Instant), deliveries.alias("other")
    o = other.c
    theirs = (o.subscriber_id == D.subscriber_id, o.id != D.id)
    reader = select(days.c.began).join(subscribers, S.time_zone == days.c.name).where(S.id == D.subscriber_id)
    today = o.sent_at >= reader.correlate(deliveries).scalar_subquery()
    recent = exists().where(*theirs, o.kind == Kind.LETTER, o.sent_at > bindparam("gap_since", type_=Instant))
    count = select(func.count()).select_from(other).where(*theirs, today).correlate(deliveries)
    letters = count.where(o.kind == Kind.LETTER).scalar_subquery() >= bindparam("letters", type_=Integer)
    others = count.where(o.kind != Kind.LETTER).scalar_subquery() >= bindparam("others", type_=Integer)
    letter_too_soon = or_(recent.correlate(deliveries), letters)
    return case((D.kind == Kind.LETTER, letter_too_soon), (D.kind == Kind.NOTICE, literal_column("1=0")), else_=others)


@cache
def _mark(dialect: str) -> Executable:
    offered = given.table(dialect, "offered", request=Id)
    return (
        update(deliveries)
        .where(
            D.id == offered.c.id, D.batch_id == bindparam("batch"), is_in(State.CLAIMED), _may_be_sent(),
            not_(_too_soon(dialect)),
        )
        .values(
            state=State.SENDING, request_id=offered.c.request, owner=bindparam("by"), sending_at=bindparam("wall"),
            sent_at=bindparam("now"), lease_until=bindparam("lease"),
        )
        .returning(D.id)
    )  # fmt: skip


def mark(
    db: Connection,
    batch: BatchId,
    offered: Mapping[DeliveryId, RequestId],
    zones: Iterable[str],
    guards: Guards,
    owner: str,
    now: datetime,
    wall: datetime,
    lease_until: datetime,
) -> set[DeliveryId]:
    """T2, the point of no return: move rows of `batch` to `sending`, each under the request it will enter.

    Only the rows returned may enter a request. Consent, suppression, pause, goal and the guards on one person are checked
    in the same statement, `offered` holding at most one row of a person; `lock_readers` comes before, so that nobody
    else's change to a person can slip between. The caller must commit before it sends, and say `turned_away` of the rest.
    """
    days = {zone: (_midnight(now, zone),) for zone in {"UTC", *zones}}
    marked = db.scalars(
        _mark(db.dialect.name),
        {
            "offered": given.pack(db, {row: (request,) for row, request in offered.items()}), "days": given.pack(db, days),
            "batch": batch, "by": owner, "now": now, "wall": wall, "lease": lease_until, "gap_since": now - guards.gap,
            "letters": guards.letters, "others": guards.others,
        },
    )  # fmt: skip
    return {DeliveryId(row) for row in marked}


def _midnight(now: datetime, zone: str) -> datetime:
    return now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)


_LOCK_READERS = {
    dialect: select(S.id)
    .where(S.id.in_(select(given.table(dialect, "people").c.id)))
    .order_by(S.id)
    .with_for_update(key_share=True)
    for dialect in ("sqlite", "postgresql")
}


def lock_readers(db: Connection, people: Iterable[SubscriberId]) -> None:
    """Lock people until the transaction ends, always in the same order: their leaving and our sending come one after the
    other. SQLite has one writer at a time anyway.
    """
    if db.dialect.name == "postgresql":
        db.execute(_LOCK_READERS["postgresql"], {"people": given.pack(db, people)}).all()


def turned_away(
    db: Connection, batch: BatchId, ids: Collection[DeliveryId], by: str, wall: datetime
) -> list[tuple[DeliveryId, SubscriberId, str]]:
    """Rows that T2 left claimed: those that may not be mailed are cancelled; the others came too soon after another mail.

    Returns the latter, with whom they are for and that person's zone.
    """
    mine = (D.batch_id == batch, is_in(State.CLAIMED), D.id.in_(ids))
    history.move(db, State.CANCELLED, by, wall, "may not be mailed", *mine, not_(_may_be_sent()), lease_until=None)
    rows = db.execute(select(D.id, S.id, S.time_zone).join(subscribers, S.id == D.subscriber_id).where(*mine))
    return [(DeliveryId(row[0]), SubscriberId(row[1]), row[2]) for row in rows]


def last_sent(db: Connection, who: SubscriberId, letters: bool) -> datetime | None:
    """When something last went to a person, on the timeline: a letter, or another mail."""
    kind = D.kind == Kind.LETTER if letters else D.kind != Kind.LETTER
    found: datetime | None = db.scalar(select(func.max(D.sent_at)).where(D.subscriber_id == who, kind))
    return found


@cache
def _accepted(dialect: str) -> Executable:
    answered = given.table(dialect, "answered", request=Id, message=Text)
    return (
        update(deliveries)
        .where(D.id == answered.c.id, D.request_id == answered.c.request, is_in(*before(State.ACCEPTED)))
        .values(
            state=State.ACCEPTED, accepted_at=bindparam("now"), provider_message=answered.c.message, lease_until=null(),
            reason=null(),
        )
        .returning(*SETTLED, D.attempt, D.request_id, D.unknown_since)
    )  # fmt: skip


def accepted(
    db: Connection, answered: Mapping[DeliveryId, tuple[RequestId, str | None]], by: str, now: datetime, wall: datetime
) -> list[Settled]:
    """T3: the provider took these; each with its request and the provider's id. Returns the rows that really moved."""
    rows = db.execute(_accepted(db.dialect.name), {"answered": given.pack(db, answered), "now": now}).all()
    late = [row for row in rows if row.unknown_since is not None]
    if late:  # in doubt before: the row's columns alone do not tell that story
        history.note(db, late, State.ACCEPTED, by, wall, "the provider's answer came late")
    return [Settled(*row[: len(SETTLED)]) for row in rows]


def refused(db: Connection, requests: Collection[RequestId], due: datetime, by: str, wall: datetime, why: str) -> None:
    """T3: nothing of these left the house; look at them again at `due` (timeline)."""
    mine = (D.request_id.in_(requests), is_in(State.SENDING, State.UNKNOWN))
    history.move(
        db, State.SCHEDULED, by, wall, why, *mine,
        batch_id=None, lease_until=None, sent_at=None, unknown_since=None, due_at=due,
    )  # fmt: skip


def failed(db: Connection, requests: Collection[RequestId], by: str, wall: datetime, why: str) -> None:
    """T3: the provider will never take these as they are."""
    mine = (D.request_id.in_(requests), is_in(State.SENDING, State.UNKNOWN))
    history.move(db, State.FAILED, by, wall, why, *mine, lease_until=None, sent_at=None)


def in_doubt(db: Connection, requests: Collection[RequestId], to: State, by: str, wall: datetime, why: str) -> None:
    """T3: these may have left; `to` is UNKNOWN where evidence can come, HELD where it cannot."""
    mine = (D.request_id.in_(requests), is_in(State.SENDING))
    history.move(db, to, by, wall, why, *mine, unknown_since=wall, lease_until=None)


def split(
    db: Connection, request: RequestId, parts: Mapping[DeliveryId, RequestId], by: str, wall: datetime, lease_until: datetime
) -> set[DeliveryId]:
    """T2 once more for a request refused as a whole: its rows go on in smaller ones. Only those returned may."""
    moved: set[DeliveryId] = set()
    for part in set(parts.values()):
        ids = [row for row, its in parts.items() if its == part]
        mine = (D.request_id == request, is_in(State.SENDING), D.id.in_(ids), _may_be_sent())
        values = {"request_id": part, "sending_at": wall, "lease_until": lease_until}
        moved |= {DeliveryId(row) for row in db.scalars(update(deliveries).where(*mine).values(values).returning(D.id))}
    left = (D.request_id == request, is_in(State.SENDING))
    history.move(db, State.CANCELLED, by, wall, "may not be mailed", *left, lease_until=None, sent_at=None)
    return moved


def unfit(db: Connection, batch: BatchId, whys: Mapping[DeliveryId, str], by: str, wall: datetime) -> None:
    """These can never go out as they are, each for its own reason; the others of the batch can."""
    for delivery, why in whys.items():
        mine = (D.id == delivery, D.batch_id == batch, is_in(State.CLAIMED))
        history.move(db, State.FAILED, by, wall, why, *mine, lease_until=None)


def postponed(db: Connection, batch: BatchId, delivery: DeliveryId, to: datetime, by: str, wall: datetime, why: str) -> None:
    """A claimed row whose moment is not now: a new promise, at `to` (timeline)."""
    mine = (D.id == delivery, D.batch_id == batch, is_in(State.CLAIMED))
    history.move(db, State.SCHEDULED, by, wall, why, *mine, batch_id=None, lease_until=None, due_at=to, planned_at=to)


def put_aside(
    db: Connection, batch: BatchId, delivery: DeliveryId, to: State, by: str, wall: datetime, why: str
) -> list[Settled]:
    """A claimed row that came far too late: CANCELLED, or HELD for a person. Returns it if it moved."""
    mine = (D.id == delivery, D.batch_id == batch, is_in(State.CLAIMED))
    return history.move(db, to, by, wall, why, *mine, lease_until=None)


def release(db: Connection, batch: BatchId, by: str, wall: datetime, why: str) -> int:
    """Give back what is still claimed under `batch`: provably unsent."""
    mine = (D.batch_id == batch, is_in(State.CLAIMED))
    return len(history.move(db, State.SCHEDULED, by, wall, why, *mine, batch_id=None, lease_until=None))


def extend(db: Connection, batch: BatchId, lease_until: datetime) -> None:
    """Its owner is alive and still at it."""
    db.execute(update(deliveries).where(D.batch_id == batch, is_in(State.CLAIMED)).values(lease_until=lease_until))


def cancel_open(
    db: Connection, reason: str, subscriber: SubscriberId, wall: datetime, enrollment: EnrollmentId | None = None
) -> int:
    """Stop what has not been handed to a mailer, of a person or one enrollment. Returns how many rows were stopped."""
    whose = D.enrollment_id == enrollment if enrollment else D.subscriber_id == subscriber
    moved = history.move(db, State.CANCELLED, "reader", wall, reason, whose, is_in(*OPEN), lease_until=None, batch_id=None)
    return len(moved)


def may_still_arrive(db: Connection, subscriber: SubscriberId) -> bool:
    """Whether something of this person is in a request, or in doubt, right now."""
    return bool(db.scalar(select(exists().where(D.subscriber_id == subscriber, is_in(*IN_DOUBT)))))


def restore_cancelled(db: Connection, enrollment: EnrollmentId, step: StepKey, due: datetime, wall: datetime) -> bool:
    """Put a cancelled letter back on the timeline (an unsubscribe undone). False if that step has no cancelled row."""
    mine = (D.enrollment_id == enrollment, D.step_key == step, is_in(State.CANCELLED))
    back = history.move(
        db, State.SCHEDULED, "reader", wall, "came back", *mine, due_at=due, planned_at=due, reason=None, batch_id=None
    )
    return bool(back)


def planned_before(db: Connection, subscriber: SubscriberId, kind: Kind) -> list[datetime]:
    """When mails of `kind` were planned for a person, in any state."""
    return list(db.scalars(select(D.planned_at).where(D.subscriber_id == subscriber, D.kind == kind)))
