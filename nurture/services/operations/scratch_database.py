"""A database for a moment, to see whether a backup can be restored."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DatabaseError

from nurture.ids import new_id
from nurture.store.core.database import Database

_MAY_CREATE = text("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")


@dataclass(frozen=True)
class Scratch:
    """A scratch database, and a folder that goes with it."""

    database: Database
    folder: Path


@contextmanager
def scratch_database(beside: str) -> Iterator[Scratch]:
    """An empty database that is deleted when the block ends: on the PostgreSQL server of the URL `beside` if its role may
    create one there, else an SQLite file in a private folder.
    """
    with tempfile.TemporaryDirectory(prefix="nurture-rehearsal-") as name:
        folder = Path(name)
        url = make_url(beside)
        if url.get_backend_name() == "postgresql" and _may_create(url):
            with _on_postgresql(url) as database:
                yield Scratch(database, folder)
        else:
            database = Database(f"sqlite:///{folder / 'rehearsal.db'}")
            try:
                yield Scratch(database, folder)
            finally:
                database.close()


def _may_create(url: URL) -> bool:
    server = Database(_as_text(url), pool_size=1)
    try:
        with server.read() as db:
            return bool(db.scalar(_MAY_CREATE))
    except DatabaseError:  # a server that does not answer cannot be rehearsed on either
        return False
    finally:
        server.close()


@contextmanager
def _on_postgresql(url: URL) -> Iterator[Database]:
    name = f"nurture_rehearsal_{new_id()}"
    server = Database(_as_text(url), pool_size=1)
    try:
        _execute(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        database = Database(_as_text(url.set(database=name)))
        try:
            yield database
        finally:
            database.close()
            _execute(server, f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        server.close()


def _execute(server: Database, statement: str) -> None:
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.exec_driver_sql("SET statement_timeout TO 0")
        db.exec_driver_sql(statement)


def _as_text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
