"""Facts about this installation that every process must agree on."""

from sqlalchemy import Connection, bindparam, column, delete, inspect, select, table, update

from nurture.store.core.insert import insert_into
from nurture.store.core.schema import app_state

_GET = select(app_state.c.value).where(app_state.c.key == bindparam("of"))


def get(db: Connection, key: str) -> str | None:
    """The stored value of `key`, if there is one."""
    found: str | None = db.scalar(_GET, {"of": key})
    return found


def get_in_any_schema(db: Connection, key: str) -> str | None:
    """The same before the schema is upgraded: the table may have the name it had up to 0019, or be missing."""
    name = next((name for name in (app_state.name, "instance") if inspect(db).has_table(name)), None)
    if name is None:
        return None
    old = table(name, column("key"), column("value"))
    found: str | None = db.scalar(select(old.c.value).where(old.c.key == key))
    return found


def get_or_set(db: Connection, key: str, value: str, lock: bool = False) -> str:
    """The stored value of `key`; `value` becomes it when there is none. The first process decides.

    `lock`: nobody else changes it before this transaction ends.
    """
    db.execute(insert_into(app_state, db.dialect.name).values(key=key, value=value).on_conflict_do_nothing())
    query = select(app_state.c.value).where(app_state.c.key == key)
    stored: str = db.execute(query.with_for_update() if lock else query).scalar_one()
    return stored


def set_value(db: Connection, key: str, value: str) -> None:
    """Set a fact, whether or not there is one."""
    fresh = insert_into(app_state, db.dialect.name).values(key=key, value=value)
    db.execute(fresh.on_conflict_do_update(index_elements=[app_state.c.key], set_={"value": value}))


def count(db: Connection, key: str) -> None:
    """Count something that has happened."""
    number = int(get_or_set(db, key, "0", lock=True))
    replace(db, key, str(number + 1))


def replace(db: Connection, key: str, value: str) -> None:
    """Set a fact that exists."""
    db.execute(update(app_state).where(app_state.c.key == key).values(value=value))


def remove(db: Connection, key: str) -> None:
    """Set a fact to nothing."""
    db.execute(delete(app_state).where(app_state.c.key == key))
