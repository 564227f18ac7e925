"""When a job last finished, or how far a stream has got: one real instant under a name."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from nurture.store.schema import heartbeats

H = heartbeats.c

TICK = "tick"
EVIDENCE = "evidence"
"""The latest moment at which a mail was sent that the provider has reported on since."""


def beat(db: Connection, name: str, at: datetime) -> None:
    """Note an instant."""
    db.execute(_noted(db, name, at).on_conflict_do_update(index_elements=[H.name], set_={"at": at}))


def reach(db: Connection, name: str, at: datetime) -> None:
    """Note how far a stream has got; what is earlier than the noted instant changes nothing."""
    db.execute(_noted(db, name, at).on_conflict_do_update(index_elements=[H.name], set_={"at": at}, where=H.at < at))


def _noted(db: Connection, name: str, at: datetime) -> Any:
    dialect = sqlite if db.dialect.name == "sqlite" else postgresql
    return dialect.insert(heartbeats).values(name=name, at=at)


def last_beat(db: Connection, name: str) -> datetime | None:
    """The noted instant, if there is one."""
    return db.scalar(select(H.at).where(H.name == name))
