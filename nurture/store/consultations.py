"""Requests for a call."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from nurture.sealing import Sealed
from nurture.store.schema import consultations
from nurture.words import ConsultationId, SubscriberId

C = consultations.c
_COLUMNS = (C.id, C.created_at, C.state, C.details_sealed)


@dataclass(frozen=True)
class Row:
    """A request as stored; its details are still sealed."""

    id: ConsultationId
    created: datetime
    state: str
    details: Sealed


def add(db: Connection, consultation: ConsultationId, who: SubscriberId | None, details: Sealed, now: datetime) -> None:
    """Write a new request."""
    db.execute(
        insert(consultations).values(id=consultation, subscriber_id=who, details_sealed=details, state="new", created_at=now)
    )


def newest(db: Connection, most: int) -> list[Row]:
    """The newest requests."""
    return [Row(*row) for row in db.execute(select(*_COLUMNS).order_by(C.created_at.desc(), C.id).limit(most)).all()]


def get(db: Connection, consultation: ConsultationId) -> Row | None:
    """One request."""
    row = db.execute(select(*_COLUMNS).where(C.id == consultation)).first()
    return Row(*row) if row else None
