"""When a job last finished, or how far a stream has got: one real instant under a name."""

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, or_, select

from nurture.store.core.insert import insert_into
from nurture.store.core.schema import heartbeats

H = heartbeats.c

TICK = "tick"
EVIDENCE = "evidence"
"""The latest moment at which a mail was sent that the provider has reported on since."""
TURNED_AWAY = "turned_away"
"""When a report last came that could not be settled at once, because of locks that others held."""
PING = "ping"
"""When the monitor was last called (NURTURE_PING_URL)."""
LISTS = "suppression_lists"
"""Up to when the provider's suppression lists have been read."""
LISTS_TURN = "suppression_lists_turn"
"""When somebody last began to read them."""

JOB = "job."
"""Before the name of a job: when `nurture tick` last began it."""


def beat(db: Connection, name: str, at: datetime) -> None:
    """Note an instant."""
    db.execute(_beat(db.dialect.name), {"name": name, "at": at})


@cache
def _beat(dialect: str) -> Executable:
    noted = insert_into(heartbeats, dialect)
    statement: Executable = noted.on_conflict_do_update(index_elements=[H.name], set_={"at": noted.excluded.at})
    return statement


def reach(db: Connection, name: str, at: datetime) -> None:
    """Note how far a stream has got; what is earlier than the noted instant changes nothing."""
    db.execute(_noted(db, name, at).on_conflict_do_update(index_elements=[H.name], set_={"at": at}, where=H.at < at))


def take_turn(db: Connection, name: str, at: datetime, every: timedelta) -> bool:
    """Whether it is this process's turn: of all that ask within `every`, the first is told so and the instant noted."""
    free = or_(H.at <= at - every, H.at > at)  # ahead of us: noted by a clock that was wrong
    taken = _noted(db, name, at).on_conflict_do_update(index_elements=[H.name], set_={"at": at}, where=free)
    return db.execute(taken.returning(H.name)).first() is not None


def _noted(db: Connection, name: str, at: datetime) -> Any:
    return insert_into(heartbeats, db.dialect.name).values(name=name, at=at)


def last_beat(db: Connection, name: str) -> datetime | None:
    """The noted instant, if there is one."""
    return db.scalar(select(H.at).where(H.name == name))
