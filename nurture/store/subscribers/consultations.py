"""Requests for a call."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, insert, select, update

from nurture.domain.consultation import RequestOrigin, RequestState
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.encryption import Encrypted
from nurture.ids import ConsultationId, DeliveryId, SubscriberId
from nurture.store.core.schema import consultations, deliveries, enrollments, subscribers

C, D, S = consultations.c, deliveries.c, subscribers.c


@dataclass(frozen=True)
class ConsultationRow:
    """A request as stored; its details are still sealed."""

    id: ConsultationId
    created: datetime
    state: RequestState
    details: Encrypted
    who: SubscriberId | None = None
    """The person on the list who made it, where that is proven."""
    changed: datetime | None = None
    """Real time."""
    origin: RequestOrigin | None = None
    email_index: bytes | None = None
    looked_up: datetime | None = None
    """Real time."""
    listed: SubscriberId | None = None
    """The person on the list who has the address that was typed, whoever typed it."""


def _rows() -> Select[Any]:
    columns = (
        C.id, C.created_at, C.state, C.details_encrypted, C.subscriber_id, C.changed_at, C.origin, C.email_index,
        C.looked_up_at, S.id,
    )  # fmt: skip
    has_it = and_(S.email_index == C.email_index, S.state != SubscriberState.PENDING)
    return select(*columns).select_from(consultations.outerjoin(subscribers, has_it))


def add(
    db: Connection, consultation: ConsultationId, subscriber_id: SubscriberId | None, details: Encrypted, now: datetime,
    origin: RequestOrigin | None = None, email_index: bytes | None = None,
) -> None:  # fmt: skip
    """Write a new request."""
    db.execute(
        insert(consultations).values(
            id=consultation, subscriber_id=subscriber_id, details_encrypted=details, state=RequestState.NEW, created_at=now,
            origin=origin,
            email_index=email_index,
        )
    )  # fmt: skip


def newest(db: Connection, limit: int, states: Collection[RequestState] = ()) -> list[ConsultationRow]:
    """The newest requests, of all states or some."""
    query = _rows().order_by(C.created_at.desc(), C.id).limit(limit)
    return [ConsultationRow(*row) for row in db.execute(query.where(C.state.in_(states)) if states else query).all()]


def get(db: Connection, consultation: ConsultationId, lock: bool = False) -> ConsultationRow | None:
    """One request; locked until the transaction ends if asked."""
    query = _rows().where(C.id == consultation)
    row = db.execute(query.with_for_update(of=consultations) if lock else query).first()
    return ConsultationRow(*row) if row else None


def to_look_up(db: Connection, limit: int) -> list[ConsultationRow]:
    """Requests by the open form of which nobody has looked yet whether their address is on the list, oldest first."""
    query = _rows().where(C.origin == RequestOrigin.FORM, C.looked_up_at.is_(None))
    return [ConsultationRow(*row) for row in db.execute(query.order_by(C.created_at).limit(limit))]


def set_looked_up(db: Connection, consultation: ConsultationId, real_now: datetime) -> None:
    """Note that it has been looked whether the address of a request is on the list."""
    db.execute(update(consultations).where(C.id == consultation).values(looked_up_at=real_now))


def set_confirmed(db: Connection, consultation: ConsultationId, subscriber_id: SubscriberId) -> None:
    """A person has said, from their mailbox, that a request is theirs."""
    db.execute(update(consultations).where(C.id == consultation).values(subscriber_id=subscriber_id, origin=RequestOrigin.MAIL))


def is_asked(db: Connection, consultation: ConsultationId) -> bool:
    """Whether the person with the address of a request has been, or will be, asked by mail if it was theirs."""
    mine = (D.consultation_id == consultation, D.subscriber_id.is_not(None))
    return db.execute(select(D.id).where(*mine).limit(1)).first() is not None


def reader_of_mail(db: Connection, delivery: DeliveryId) -> SubscriberId | None:
    """Whom a mail was for."""
    return db.scalar(select(D.subscriber_id).where(D.id == delivery))


def counts(db: Connection) -> dict[RequestState, int]:
    """How many requests there are of each state."""
    return {row[0]: row[1] for row in db.execute(select(C.state, func.count()).group_by(C.state)).all()}


def set_state(db: Connection, consultation: ConsultationId, state: RequestState, real_now: datetime) -> None:
    """Move a request."""
    db.execute(update(consultations).where(C.id == consultation).values(state=state, changed_at=real_now))


def change_why(db: Connection, subscriber_id: SubscriberId, was: str, now: str) -> None:
    """Say anew why the letters of a person ended, where they ended for the reason it was."""
    mine = (
        enrollments.c.subscriber_id == subscriber_id,
        enrollments.c.state == EnrollmentState.EXITED,
        enrollments.c.reason == was,
    )
    db.execute(update(enrollments).where(*mine).values(reason=now))


def unassigned(db: Connection) -> list[ConsultationRow]:
    """Requests of nobody on the list."""
    return [ConsultationRow(*row) for row in db.execute(_rows().where(C.subscriber_id.is_(None))).all()]


def of_subscriber(db: Connection, subscriber_id: SubscriberId) -> list[ConsultationId]:
    """The requests that are proven to be a person's."""
    return list(db.scalars(select(C.id).where(C.subscriber_id == subscriber_id)))


def remove(db: Connection, ids: Collection[ConsultationId]) -> None:
    """Delete requests."""
    db.execute(delete(consultations).where(C.id.in_(ids)))
