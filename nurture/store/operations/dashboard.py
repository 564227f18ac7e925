"""What happens around today: who joined, and whose letter goes out."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from nurture.domain.delivery import DeliveryKind, State
from nurture.encryption import Encrypted
from nurture.ids import StepKey, SubscriberId
from nurture.store.core.schema import deliveries, enrollments, sequences, subscribers
from nurture.store.deliveries.transitions import is_in

D, S = deliveries.c, subscribers.c


@dataclass(frozen=True)
class Coming:
    """A letter that goes out soon, and to whom; name and address are still sealed."""

    subscriber: SubscriberId
    first_name: Encrypted | None
    email: Encrypted
    step: StepKey
    due: datetime
    sequence: str
    """The key of its sequence."""


def coming(db: Connection, since: datetime | None, until: datetime, limit: int) -> tuple[int, list[Coming]]:
    """How many letters are due from `since` (None: however long ago) until before `until` (UTC), and the first of them."""
    mine = [is_in(State.SCHEDULED), D.kind == DeliveryKind.LETTER, D.due_at < until]
    if since is not None:
        mine.append(D.due_at >= since)
    count = db.execute(select(func.count()).select_from(deliveries).where(*mine)).scalar_one()
    first = select(D.id).where(*mine).order_by(D.due_at, D.id).limit(limit)
    query = (
        select(D.subscriber_id, S.first_name_encrypted, S.email_encrypted, D.step_key, D.due_at, sequences.c.key)
        .join(subscribers, S.id == D.subscriber_id)
        .join(enrollments, enrollments.c.id == D.enrollment_id)
        .join(sequences, sequences.c.id == enrollments.c.sequence_id)
    )
    rows = db.execute(query.where(D.id.in_(first)).order_by(D.due_at, D.id))
    return count, [Coming(*row) for row in rows]


@dataclass(frozen=True)
class Joined:
    """Somebody who came lately; the name is still sealed."""

    subscriber: SubscriberId
    first_name: Encrypted | None
    email: Encrypted
    confirmed: datetime | None


def joined(db: Connection, limit: int) -> list[Joined]:
    """Who signed up last, newest first."""
    query = (
        select(S.id, S.first_name_encrypted, S.email_encrypted, S.confirmed_at).order_by(S.created_at.desc(), S.id).limit(limit)
    )
    return [Joined(*row) for row in db.execute(query)]


def joined_since(db: Connection, since: datetime) -> int:
    """How many signed up since then (UTC)."""
    return db.execute(select(func.count()).select_from(subscribers).where(S.created_at >= since)).scalar_one()


def attention(db: Connection) -> dict[State, int]:
    """Mails of which nobody knows whether they left, and mails that could not be made, by state."""
    needs = is_in(State.UNKNOWN, State.HELD, State.FAILED)
    rows = db.execute(select(D.state, func.count()).where(needs).group_by(D.state))
    return {row[0]: row[1] for row in rows}


def oldest_due(db: Connection, now: datetime) -> datetime | None:
    """Since when (UTC) the mail has been due that has waited longest."""
    found: datetime | None = db.scalar(select(func.min(D.due_at)).where(is_in(State.SCHEDULED), D.due_at <= now))
    return found
