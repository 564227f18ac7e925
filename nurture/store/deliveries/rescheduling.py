"""Letters that were stopped before they left, and come back: the ledger's row is the same, so nothing is sent twice."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, exists, func, select, update

from nurture.domain.delivery import IN_DOUBT, OPEN, DeliveryKind, State
from nurture.ids import DeliveryId, EnrollmentId, StepKey, SubscriberId
from nurture.store.core.schema import deliveries
from nurture.store.deliveries import transitions
from nurture.store.deliveries.transitions import is_in

D = deliveries.c
_LIVELY = (*OPEN, *IN_DOUBT, State.FAILED)


def has_open_letter(db: Connection, enrollment: EnrollmentId) -> bool:
    """Whether a letter is to come for an enrollment, or is under way, or waits for a person."""
    return bool(db.scalar(select(exists().where(D.enrollment_id == enrollment, D.state.in_(_LIVELY)))))


def stopped_promise(db: Connection, enrollment: EnrollmentId, step: StepKey) -> datetime | None:
    """When a letter had been promised that was stopped since (timeline)."""
    mine = (D.enrollment_id == enrollment, D.step_key == step, D.state == State.CANCELLED)
    found: datetime | None = db.scalar(select(D.planned_at).where(*mine))
    return found


def restore_cancelled(
    db: Connection, enrollment: EnrollmentId, step: StepKey, due: datetime, by: str, real_now: datetime
) -> bool:
    """Put a cancelled letter back on the timeline (its reader has come back). False if that step has no cancelled row."""
    mine = (D.enrollment_id == enrollment, D.step_key == step, is_in(State.CANCELLED))
    back = transitions.apply(
        db, State.SCHEDULED, by, real_now, "came back", *mine, due_at=due, planned_at=due, reason=None, batch_id=None
    )
    return bool(back)


def scheduled(db: Connection, enrollment: EnrollmentId) -> tuple[DeliveryId, datetime, datetime] | None:
    """The letter to come of an enrollment, locked until the transaction ends: its id, when it is promised, and when it is
    looked at next (timeline). None if there is none, or it is under way.
    """
    mine = (D.enrollment_id == enrollment, is_in(State.SCHEDULED))
    row = db.execute(select(D.id, D.planned_at, D.due_at).where(*mine).with_for_update()).first()
    return None if row is None else (row[0], row[1], row[2])


@dataclass(frozen=True)
class Promised:
    """A letter of an enrollment as the ledger has it."""

    state: State
    planned: datetime
    left: datetime | None
    """When it left, or may have left (timeline); None while it has not."""


def promised(db: Connection, enrollment: EnrollmentId, delivery: DeliveryId) -> Promised | None:
    """One letter of an enrollment, locked until the transaction ends; None if there is none of that id."""
    query = select(D.state, D.planned_at, func.coalesce(D.accepted_at, D.marked_at))
    row = db.execute(query.where(D.id == delivery, D.enrollment_id == enrollment).with_for_update()).first()
    return None if row is None else Promised(row[0], row[1], row[2])


def last_left(db: Connection, enrollment: EnrollmentId, since: datetime) -> datetime | None:
    """When the last letter of an enrollment left, or may have left, of those that did since then (real time); the answer is on
    the timeline. None if there was none.
    """
    theirs = (D.enrollment_id == enrollment, D.marked_at.is_not(None), D.sending_at >= since)
    found: datetime | None = db.scalar(select(func.max(func.coalesce(D.accepted_at, D.marked_at))).where(*theirs))
    return found


def promise(db: Connection, delivery: DeliveryId, due: datetime, by: str, real_now: datetime, why: str) -> bool:
    """Give a letter that is still scheduled a new promise (timeline). False if it is not scheduled any more."""
    mine = (D.id == delivery, is_in(State.SCHEDULED))
    found = db.execute(select(D.id, D.subscriber_id, D.attempt, D.request_id).where(*mine).with_for_update()).all()
    if found:
        db.execute(update(deliveries).where(D.id == delivery).values(planned_at=due, due_at=due))
        transitions.note(db, found, State.SCHEDULED, by, real_now, why)
    return bool(found)


def letters_sent(db: Connection, subscriber_id: SubscriberId, since: datetime) -> tuple[datetime | None, int]:
    """When a letter last went to a person, and how many since `since` (timeline): what the guards look at."""
    theirs = (D.subscriber_id == subscriber_id, D.kind == DeliveryKind.LETTER, D.marked_at.is_not(None))
    row = db.execute(select(func.max(D.marked_at), func.count().filter(D.marked_at >= since)).where(*theirs)).one()
    return row[0], row[1]


def is_tried_waiting(db: Connection) -> bool:
    """Whether mail waits for its next try."""
    return bool(db.scalar(select(exists().where(is_in(State.SCHEDULED), D.attempt > 0))))


def bring_forward(db: Connection, now: datetime, until: datetime) -> int:
    """Make mail due now that has been tried and waits for its next try, until `until` at the latest. Returns how many.

    What waits for another reason, the gap between two letters above all, is turned away again when it is marked.
    """
    waiting = update(deliveries).where(is_in(State.SCHEDULED), D.attempt > 0, D.due_at > now, D.due_at <= until)
    return db.execute(waiting.values(due_at=now)).rowcount
