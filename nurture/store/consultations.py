"""Requests for a call."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from nurture.domain.consultation import RequestState
from nurture.domain.sequence import EnrollmentState
from nurture.sealing import Sealed
from nurture.store.schema import consultations, enrollments
from nurture.words import ConsultationId, SubscriberId

C = consultations.c
_COLUMNS = (C.id, C.created_at, C.state, C.details_sealed, C.subscriber_id, C.changed_at)


@dataclass(frozen=True)
class Row:
    """A request as stored; its details are still sealed. `who`: the person on the list who made it; `changed` is real time."""

    id: ConsultationId
    created: datetime
    state: RequestState
    details: Sealed
    who: SubscriberId | None = None
    changed: datetime | None = None


def add(db: Connection, consultation: ConsultationId, who: SubscriberId | None, details: Sealed, now: datetime) -> None:
    """Write a new request."""
    db.execute(
        insert(consultations).values(
            id=consultation, subscriber_id=who, details_sealed=details, state=RequestState.NEW, created_at=now
        )
    )


def newest(db: Connection, most: int, states: Collection[RequestState] = ()) -> list[Row]:
    """The newest requests, of all states or some."""
    query = select(*_COLUMNS).order_by(C.created_at.desc(), C.id).limit(most)
    return [Row(*row) for row in db.execute(query.where(C.state.in_(states)) if states else query).all()]


def get(db: Connection, consultation: ConsultationId, lock: bool = False) -> Row | None:
    """One request; locked until the transaction ends if asked."""
    query = select(*_COLUMNS).where(C.id == consultation)
    row = db.execute(query.with_for_update() if lock else query).first()
    return Row(*row) if row else None


def counts(db: Connection) -> dict[RequestState, int]:
    """How many requests there are of each state."""
    return {row[0]: row[1] for row in db.execute(select(C.state, func.count()).group_by(C.state)).all()}


def set_state(db: Connection, consultation: ConsultationId, state: RequestState, wall: datetime) -> None:
    """Move a request."""
    db.execute(update(consultations).where(C.id == consultation).values(state=state, changed_at=wall))


def change_why(db: Connection, who: SubscriberId, was: str, now: str) -> None:
    """Say anew why the letters of a person ended, where they ended for the reason it was."""
    mine = (enrollments.c.subscriber_id == who, enrollments.c.state == EnrollmentState.EXITED, enrollments.c.why == was)
    db.execute(update(enrollments).where(*mine).values(why=now))


def unassigned(db: Connection) -> list[Row]:
    """Requests of nobody on the list."""
    return [Row(*row) for row in db.execute(select(*_COLUMNS).where(C.subscriber_id.is_(None))).all()]


def remove(db: Connection, who: SubscriberId, more: Collection[ConsultationId]) -> list[ConsultationId]:
    """Delete the requests of a person, and `more`; returns which."""
    theirs = or_(C.subscriber_id == who, C.id.in_(more))
    return [ConsultationId(row) for row in db.scalars(delete(consultations).where(theirs).returning(C.id))]
