"""What happened to accounts, for their owners to look at."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from nurture.ids import UserId
from nurture.store.core.desk_schema import security_events

E = security_events.c

_TOGETHER = timedelta(hours=1)


@dataclass(frozen=True)
class SecurityEvent:
    """Something that happened to an account, once or `times` times within an hour of `at` (UTC, real time)."""

    id: int
    user: UserId | None
    kind: str
    at: datetime
    times: int


def add(db: Connection, user_id: UserId | None, kind: str, real_now: datetime) -> None:
    """Write down what happened."""
    db.execute(insert(security_events).values(user_id=user_id, kind=kind, at=real_now))


def add_up(db: Connection, user_id: UserId | None, kind: str, real_now: datetime) -> None:
    """Write down what strangers can cause at will: what happened to the same account within the hour is one row."""
    same = (E.kind == kind, E.at > real_now - _TOGETHER, E.user_id == user_id if user_id else E.user_id.is_(None))
    latest = db.scalar(select(func.max(E.id)).where(*same))
    if latest is None:
        add(db, user_id, kind, real_now)
    else:
        db.execute(update(security_events).where(E.id == latest).values(times=E.times + 1))


def newest(db: Connection, kinds: Collection[str], limit: int, before: int | None = None) -> list[SecurityEvent]:
    """What happened of these kinds, newest first; `before`: only what was written down before the event with this id."""
    query = select(E.id, E.user_id, E.kind, E.at, E.times).where(E.kind.in_(kinds)).order_by(E.id.desc()).limit(limit)
    rows = db.execute(query if before is None else query.where(E.id < before))
    return [SecurityEvent(*row) for row in rows]


def how_often(db: Connection, kinds: Collection[str], since: datetime) -> int:
    """How often something of these kinds has happened since then."""
    happened = select(func.coalesce(func.sum(E.times), 0)).where(E.kind.in_(kinds), E.at > since)
    return int(db.execute(happened).scalar_one())


def forget(db: Connection, before: datetime) -> None:
    """Delete what happened before then."""
    db.execute(delete(security_events).where(E.at < before))
