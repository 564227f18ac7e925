"""The ledger: plan, claim, mark, settle. The steps PLAN to SETTLE are marked; RECLAIM to RESOLVE are in
store.deliveries.in_doubt.

What keeps it right with any number of processes and machines:
- a row is written once per enrollment and step (`uq_deliveries_step`), so planning twice changes nothing;
- `batch_id` is a fresh random fence for each claim, `request_id` for each request: a later write names it, and touches
  nothing once another holds the row;
- `sending` is committed before the request leaves, and nothing goes from there to `scheduled` without a definite refusal.

Statements of the hot path are built once per database and get their rows as one parameter (store.core.bulk_params).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Integer,
    Subquery,
    Text,
    Update,
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

from nurture.domain.delivery import IN_DOUBT, OPEN, TO_DESK, DeliveryKind, FrequencyCaps, State, before
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.ids import (
    AccountChangeId,
    BatchId,
    ConsultationId,
    DeliveryId,
    EnrollmentId,
    LoginLinkId,
    RequestId,
    StepKey,
    SubscriberId,
    TestEmailId,
    new_id,
)
from nurture.store.core import bulk_params
from nurture.store.core.columns import Id, Instant
from nurture.store.core.insert import insert_into
from nurture.store.core.schema import deliveries, enrollments, steps, subscribers, suppressions
from nurture.store.deliveries import subjects, transitions
from nurture.store.deliveries.transitions import is_in, is_still

D, E, S = deliveries.c, enrollments.c, subscribers.c


@dataclass(frozen=True)
class NewDelivery:
    """A mail to be: everything PLAN writes."""

    kind: DeliveryKind
    due: datetime
    subscriber: SubscriberId | None = None
    email_index: bytes | None = None
    enrollment: EnrollmentId | None = None
    step: StepKey | None = None
    consultation: ConsultationId | None = None
    login_link: LoginLinkId | None = None
    test_email: TestEmailId | None = None
    account_change: AccountChangeId | None = None
    id: DeliveryId | None = None


_PLAN = {name: insert_into(deliveries, name).on_conflict_do_nothing() for name in ("sqlite", "postgresql")}


def plan(db: Connection, rows: Sequence[NewDelivery], now: datetime) -> None:
    """PLAN: write rows to come; a (enrollment, step) that has one already keeps it."""
    if not rows:
        return
    values = [
        {
            "id": row.id or new_id(), "kind": row.kind, "state": State.SCHEDULED, "subscriber_id": row.subscriber,
            "email_index": row.email_index, "enrollment_id": row.enrollment, "step_key": row.step,
            "consultation_id": row.consultation, "login_link_id": row.login_link, "test_email_id": row.test_email,
            "account_change_id": row.account_change, "planned_at": row.due, "due_at": row.due, "created_at": now,
        }
        for row in rows
    ]  # fmt: skip
    db.execute(_PLAN[db.dialect.name], values)


@cache
def _plan_next(dialect: str) -> Executable:
    following = bulk_params.as_table(dialect, "following", fresh=Id, step=Text, due=Instant)
    columns = {
        "id": following.c.fresh, "kind": D.kind, "state": literal_column(f"'{State.SCHEDULED}'"),
        "subscriber_id": D.subscriber_id, "email_index": D.email_index, "enrollment_id": D.enrollment_id,
        "step_key": following.c.step, "planned_at": following.c.due, "due_at": following.c.due,
        "created_at": bindparam("now", type_=Instant),
    }  # fmt: skip
    rows = select(*columns.values()).where(D.id == following.c.id, E.id == D.enrollment_id, E.state == EnrollmentState.ACTIVE)
    return insert_into(deliveries, dialect).from_select(list(columns), rows).on_conflict_do_nothing()


def plan_next(db: Connection, following: Mapping[DeliveryId, tuple[StepKey, datetime]], now: datetime) -> None:
    """PLAN for readers who have just been sent a letter: by that letter's delivery, the step that follows and when it is due.

    Whoever has left or paused meanwhile gets none.
    """
    if following:
        rows = {sent: (new_id(), step, due) for sent, (step, due) in following.items()}
        db.execute(_plan_next(db.dialect.name), {"following": bulk_params.encode(db, rows), "now": now})


@cache
def _claim(dialect: str, readers_too: bool) -> Executable:
    edition = (
        select(steps.c.edition_id)
        .join(enrollments, E.sequence_id == steps.c.sequence_id)
        .where(E.id == D.enrollment_id, steps.c.key == D.step_key)
        .scalar_subquery()
    )
    key: ColumnElement[Any] = D.id
    if dialect == "sqlite":
        # The due index holds it: no look-up by id for each row (sqlite.org/rowidtable).
        key = literal_column("deliveries.rowid")
    due = select(key).where(is_in(State.SCHEDULED), D.due_at <= bindparam("now")).order_by(D.due_at, D.id)
    if not readers_too:
        due = due.where(D.kind.in_(TO_DESK))
    due = due.limit(bindparam("most"))
    if dialect == "postgresql":
        # SKIP LOCKED: another claimer's rows are not waited for. MATERIALIZED: LIMIT holds, the sub-query runs once.
        chosen = due.with_for_update(skip_locked=True).cte("due").prefix_with("MATERIALIZED")
        due = select(chosen.c.id)
    return (
        update(deliveries)
        .where(key.in_(due), is_in(State.SCHEDULED))
        .values(
            state=State.CLAIMED, batch_id=bindparam("batch"), owner=bindparam("by"), attempt=D.attempt + 1,
            claimed_at=bindparam("wall"), lease_until=bindparam("lease"), edition_id=edition, reason=null(),
        )
        .returning(D.id)
    )  # fmt: skip


def claim(
    db: Connection,
    batch: BatchId,
    owner: str,
    now: datetime,
    real_now: datetime,
    lease_until: datetime,
    limit: int,
    readers_too: bool = True,
) -> list[DeliveryId]:
    """CLAIM: take up to `limit` rows due by `now` (timeline) for `batch`, oldest first, until `lease_until` (real time).

    The edition that goes out is fixed here, so that a letter published a moment later cannot mix with it. `readers_too`:
    otherwise only mails to the desk.
    """
    values = {"now": now, "most": limit, "batch": batch, "by": owner, "wall": real_now, "lease": lease_until}
    return [DeliveryId(row) for row in db.scalars(_claim(db.dialect.name, readers_too), values)]


_LIFTED = (Suppression.UNSUBSCRIBED, Suppression.ERASED)
"""What a person's own new sign-up lifts."""


def _may_be_sent() -> ColumnElement[bool]:
    """`domain.subscriber.hindrance` in SQL: the guard of MARK. A mail about something has a guard of its own as well,
    `store.deliveries.subjects`.
    """
    reader = exists().where(
        S.id == D.subscriber_id,
        S.state == case((D.kind == DeliveryKind.CONFIRMATION, SubscriberState.PENDING), else_=SubscriberState.ACTIVE),
    )
    lifted = and_(D.kind == DeliveryKind.CONFIRMATION, suppressions.c.reason.in_(_LIFTED))
    suppressed = exists().where(suppressions.c.email_index == D.email_index, not_(lifted))
    enrolled = exists().where(E.id == D.enrollment_id, E.state == EnrollmentState.ACTIVE)
    return or_(D.kind.in_(TO_DESK), and_(reader, not_(suppressed), or_(D.kind != DeliveryKind.LETTER, enrolled)))


def _hindered_not(kind: DeliveryKind) -> list[ColumnElement[bool]]:
    """`_may_be_sent` for rows known to be of one kind: what the database has to look at, and no more."""
    about = subjects.is_there(kind, bindparam("wall", type_=Instant))
    if kind in TO_DESK:
        return about
    wanted = SubscriberState.PENDING if kind is DeliveryKind.CONFIRMATION else SubscriberState.ACTIVE
    weighs = suppressions.c.email_index == D.email_index
    if kind is DeliveryKind.CONFIRMATION:
        weighs = and_(weighs, suppressions.c.reason.not_in(_LIFTED))
    found = [exists().where(S.id == D.subscriber_id, S.state == wanted), not_(exists().where(weighs))]
    if kind is DeliveryKind.LETTER:
        found.append(exists().where(E.id == D.enrollment_id, E.state == EnrollmentState.ACTIVE))
    return [*found, *about]


def _in_time(kind: DeliveryKind, offered: Subquery) -> list[ColumnElement[bool]]:
    """The guards of `domain.delivery.Guards` in SQL: how lately, and how often today, something went to this person."""
    if kind in TO_DESK:
        return []
    other = deliveries.alias("other")
    o, letter = other.c, kind is DeliveryKind.LETTER
    today = func.count().filter(o.marked_at >= offered.c.day) < bindparam("most", type_=Integer)
    lately = func.count().filter(o.marked_at > bindparam("gap_since", type_=Instant)) == 0
    same = (o.kind == DeliveryKind.LETTER) if letter else (o.kind != DeliveryKind.LETTER)
    theirs = (o.subscriber_id == D.subscriber_id, o.id != D.id, o.marked_at.is_not(None), same)
    return [select(and_(today, lately) if letter else today).where(*theirs).correlate(deliveries, offered).scalar_subquery()]


@cache
def _mark(dialect: str, kind: DeliveryKind) -> Update:
    offered = bulk_params.as_table(dialect, "offered", request=Id, day=Instant)
    return (
        update(deliveries)
        .where(
            D.id == offered.c.id, D.batch_id == bindparam("batch"), is_still(State.CLAIMED), D.kind == kind,
            *_hindered_not(kind), *_in_time(kind, offered),
        )
        .values(
            state=State.SENDING, request_id=offered.c.request, owner=bindparam("by"), sending_at=bindparam("wall"),
            marked_at=bindparam("now"),
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Offered:
    """A claimed row about to enter a request."""

    kind: DeliveryKind
    request: RequestId
    day: datetime
    """When the day began on which it would go out, by the reader's own clock (UTC)."""


def mark(
    db: Connection,
    batch: BatchId,
    offered: Mapping[DeliveryId, Offered],
    caps: FrequencyCaps,
    owner: str,
    now: datetime,
    real_now: datetime,
) -> set[DeliveryId]:
    """MARK, the point of no return: move rows of `batch` to `sending`, each under the request it will enter.

    Only the rows returned may enter a request. Consent, suppression, pause, goal and the guards on one person are checked
    in the same statement, `offered` holding at most one row of a person; `lock_readers` comes before, so that nobody
    else's change to a person can slip between. The caller must commit before it sends, and say `cancel_ineligible` of the rest.
    """
    marked: set[DeliveryId] = set()
    for kind in {each.kind for each in offered.values()}:
        mine = {row: (each.request, each.day) for row, each in offered.items() if each.kind is kind}
        values: dict[str, Any] = {
            "offered": bulk_params.encode(db, mine),
            "batch": batch,
            "by": owner,
            "now": now,
            "wall": real_now,
        }
        if kind is DeliveryKind.LETTER:
            values |= {"most": caps.letters, "gap_since": now - caps.gap}
        elif kind not in TO_DESK:
            values |= {"most": caps.others}
        if db.execute(_mark(db.dialect.name, kind), values).rowcount == len(mine):
            marked |= mine.keys()  # nearly always; asking for each costs as much as marking it
        else:
            requests = {request for request, _ in mine.values()}
            marked |= set(db.scalars(select(D.id).where(D.request_id.in_(requests), is_in(State.SENDING))))
    return marked


_LOCK_READERS = (
    select(S.id).where(bulk_params.in_ids("postgresql", S.id, "people")).order_by(S.id).with_for_update(key_share=True)
)


def lock_readers(db: Connection, people: Collection[SubscriberId]) -> None:
    """Lock people until the transaction ends, always in the same order: their leaving and our sending come one after the
    other. SQLite has one writer at a time anyway.
    """
    if people and db.dialect.name == "postgresql":
        db.execute(_LOCK_READERS, {"people": bulk_params.encode_ids(db, people)}).all()


def cancel_ineligible(
    db: Connection, batch: BatchId, ids: Collection[DeliveryId], by: str, real_now: datetime
) -> list[tuple[DeliveryId, SubscriberId, str]]:
    """Rows that MARK left claimed: those that may not be mailed are cancelled; the others came too soon after another mail.

    Returns the latter, with whom they are for and that person's zone.
    """
    mine = (D.batch_id == batch, is_in(State.CLAIMED), D.id.in_(ids))
    transitions.apply(db, State.CANCELLED, by, real_now, subjects.GONE, *mine, subjects.is_gone(real_now), lease_until=None)
    transitions.apply(db, State.CANCELLED, by, real_now, "may not be mailed", *mine, not_(_may_be_sent()), lease_until=None)
    rows = db.execute(select(D.id, S.id, S.time_zone).join(subscribers, S.id == D.subscriber_id).where(*mine))
    return [(DeliveryId(row[0]), SubscriberId(row[1]), row[2]) for row in rows]


def last_sent(db: Connection, subscriber_id: SubscriberId, letters: bool) -> datetime | None:
    """When something last went to a person, on the timeline: a letter, or another mail."""
    kind = D.kind == DeliveryKind.LETTER if letters else D.kind != DeliveryKind.LETTER
    found: datetime | None = db.scalar(select(func.max(D.marked_at)).where(D.subscriber_id == subscriber_id, kind))
    return found


@cache
def _accepted(dialect: str, straight: bool) -> Executable:
    answered = bulk_params.as_table(dialect, "answered", request=Id, message=Text)
    moving = (
        update(deliveries)
        .where(
            D.id == answered.c.id, D.request_id == answered.c.request,
            is_still(State.SENDING) if straight else is_in(*before(State.ACCEPTED)),
        )
        .values(
            state=State.ACCEPTED, accepted_at=bindparam("now"), provider_message=answered.c.message, lease_until=null(),
            reason=null(),
        )
    )  # fmt: skip
    return moving if straight else moving.returning(D.id, D.subscriber_id, D.attempt, D.request_id, D.unknown_since)


def accepted(
    db: Connection, answered: Mapping[DeliveryId, tuple[RequestId, str | None]], by: str, now: datetime, real_now: datetime
) -> Collection[DeliveryId]:
    """SETTLE: the provider took these; each with its request and the provider's id. Returns the rows that really moved."""
    values = {"answered": bulk_params.encode(db, answered), "now": now}
    if db.dialect.name == "sqlite":  # where each row it tells of gives the interpreter away once more
        with db.begin_nested() as attempt:
            if db.execute(_accepted("sqlite", straight=True), values).rowcount == len(answered):
                return answered.keys()  # nearly always
            attempt.rollback()
    rows = db.execute(_accepted(db.dialect.name, straight=False), values).all()
    late = [row for row in rows if row.unknown_since is not None]
    if late:  # in doubt before: the row's columns alone do not tell that story
        transitions.note(db, late, State.ACCEPTED, by, real_now, "the provider's answer came late")
    return {DeliveryId(row.id) for row in rows}


def _of(db: Connection, requests: Mapping[DeliveryId, RequestId], *states: State) -> list[ColumnElement[bool]]:
    """Rows of these requests, and of no other they may be in by now."""
    mine = bulk_params.in_ids(db.dialect.name, D.id, "mine", bulk_params.encode_ids(db, requests))
    return [mine, D.request_id.in_(set(requests.values())), is_in(*states)]


def refused(
    db: Connection, requests: Mapping[DeliveryId, RequestId], due: datetime, by: str, real_now: datetime, why: str
) -> None:
    """SETTLE: none of these was sent; look at them again at `due` (timeline)."""
    mine = _of(db, requests, State.SENDING, State.UNKNOWN)
    transitions.apply(
        db, State.SCHEDULED, by, real_now, why, *mine,
        batch_id=None, lease_until=None, marked_at=None, unknown_since=None, due_at=due,
    )  # fmt: skip


def failed(
    db: Connection, requests: Mapping[DeliveryId, RequestId], by: str, real_now: datetime, why: str, to: State = State.FAILED
) -> None:
    """SETTLE: the provider will never take these as they are; `to` is BOUNCED where that is because of the recipient."""
    mine = _of(db, requests, State.SENDING, State.UNKNOWN)
    transitions.apply(db, to, by, real_now, why, *mine, lease_until=None, marked_at=None)


def in_doubt(
    db: Connection, requests: Mapping[DeliveryId, RequestId], to: State, by: str, real_now: datetime, why: str
) -> None:
    """SETTLE: these may have left; `to` is UNKNOWN where evidence can come, HELD where it cannot."""
    mine = _of(db, requests, State.SENDING)
    transitions.apply(db, to, by, real_now, why, *mine, unknown_since=real_now, lease_until=None)


def split(
    db: Connection,
    request: RequestId,
    parts: Mapping[DeliveryId, RequestId],
    by: str,
    real_now: datetime,
    lease_until: datetime,
) -> set[DeliveryId]:
    """MARK once more for a request refused as a whole: its rows go on in smaller ones. Only those returned may."""
    moved: set[DeliveryId] = set()
    for part in set(parts.values()):
        ids = [row for row, its in parts.items() if its == part]
        mine = (D.request_id == request, is_in(State.SENDING), D.id.in_(ids), _may_be_sent())
        values = {"request_id": part, "sending_at": real_now, "lease_until": lease_until}
        moved |= {DeliveryId(row) for row in db.scalars(update(deliveries).where(*mine).values(values).returning(D.id))}
    left = (D.request_id == request, is_in(State.SENDING))
    transitions.apply(db, State.CANCELLED, by, real_now, "may not be mailed", *left, lease_until=None, marked_at=None)
    return moved


def cancel_open(
    db: Connection,
    reason: str,
    subscriber: SubscriberId,
    real_now: datetime,
    enrollment: EnrollmentId | None = None,
    by: str = "reader",
) -> int:
    """Stop what has not been handed to a mailer, of a person or one enrollment. Returns how many rows were stopped."""
    whose = D.enrollment_id == enrollment if enrollment else D.subscriber_id == subscriber
    return len(
        transitions.apply(db, State.CANCELLED, by, real_now, reason, whose, is_in(*OPEN), lease_until=None, batch_id=None)
    )


def may_still_arrive(db: Connection, subscriber: SubscriberId) -> bool:
    """Whether something of this person is in a request, or in doubt, right now."""
    return bool(db.scalar(select(exists().where(D.subscriber_id == subscriber, is_in(*IN_DOUBT)))))
