"""INSERT with ON CONFLICT, which SQLAlchemy offers for each kind of database by itself."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

Insert = sqlite.Insert | postgresql.Insert


def insert_into(table: Table, dialect: str) -> Insert:
    """An INSERT that `on_conflict_do_nothing` and `on_conflict_do_update` can follow. `dialect`: `db.dialect.name`."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
