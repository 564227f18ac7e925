"""Facts about this installation that every process must agree on."""

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nurture.store.schema import instance


def agree(db: Connection, key: str, value: str) -> str:
    """The stored value of `key`; `value` becomes it when there is none. The first process decides."""
    dialect = sqlite if db.dialect.name == "sqlite" else postgresql
    db.execute(dialect.insert(instance).values(key=key, value=value).on_conflict_do_nothing())
    stored: str = db.execute(select(instance.c.value).where(instance.c.key == key)).scalar_one()
    return stored


def replace(db: Connection, key: str, value: str) -> None:
    """Set a fact that exists."""
    db.execute(update(instance).where(instance.c.key == key).values(value=value))
