"""INSERT with ON CONFLICT, which SQLAlchemy offers for each kind of database by itself."""

from typing import TYPE_CHECKING

from sqlalchemy import Table

if TYPE_CHECKING:  # each is loaded where it is used: a third of a second of CPU that the other database need not pay
    from sqlalchemy.dialects import postgresql, sqlite


def insert_into(table: Table, dialect: str) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that `on_conflict_do_nothing` and `on_conflict_do_update` can follow. `dialect`: `db.dialect.name`."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as into_sqlite

        return into_sqlite(table)
    from sqlalchemy.dialects.postgresql import insert as into_postgresql

    return into_postgresql(table)
