"""The engine: which SQLite is trusted, who waits for whom, and what survives."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text

from nurture.domain.delivery import DeliveryKind
from nurture.runtime import Runtime
from nurture.store.core.database import Database, DatabaseRefused, wal_is_safe
from nurture.store.core.schema import app_state, deliveries
from nurture.store.deliveries import ledger
from nurture.store.deliveries.ledger import NewDelivery
from tests.servers.postgres import Postgres


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("3.6.23", True), ("3.7.0", False), ("3.40.1", False), ("3.44.5", False), ("3.44.6", True), ("3.45.1", False),
        ("3.50.6", False), ("3.50.7", True), ("3.51.2", False), ("3.51.3", True), ("3.52.0", True), ("3.53.4", True),
    ],
)  # fmt: skip
def test_which_sqlite_may_use_wal(version: str, safe: bool) -> None:
    assert wal_is_safe(tuple(int(part) for part in version.split("."))) is safe


def test_sqlite_is_set_up_to_forget_no_commit(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.read() as db:
        found = {name: db.execute(text(f"PRAGMA {name}")).scalar() for name in ("synchronous", "foreign_keys", "secure_delete")}
        mode = db.execute(text("PRAGMA journal_mode")).scalar()
    database.close()
    assert found == {"synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert mode in ("wal", "truncate")


def test_an_error_undoes_the_whole_act(rt: Runtime) -> None:
    with pytest.raises(ZeroDivisionError), rt.database.begin() as db:
        ledger.plan(db, [NewDelivery(DeliveryKind.NOTICE, rt.clock.now())], rt.clock.now())
        raise ZeroDivisionError
    with rt.database.read() as db:
        assert db.execute(select(func.count()).select_from(deliveries)).scalar_one() == 0


def test_a_reader_does_not_wait_for_a_writer(rt: Runtime) -> None:
    with rt.database.begin() as writing:
        writing.execute(insert(app_state).values(key="x", value="y"))
        with rt.database.read() as reading:
            assert reading.execute(select(app_state.c.value).where(app_state.c.key == "x")).scalar() is None


def test_writers_wait_for_each_other_instead_of_failing(rt: Runtime) -> None:
    errors: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(20):
                with rt.database.begin() as db:
                    ledger.plan(db, [NewDelivery(DeliveryKind.NOTICE, rt.clock.now())], rt.clock.now())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with rt.database.read() as db:
        assert db.execute(select(func.count()).select_from(deliveries)).scalar_one() == 120


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database, but long enough to be read as the head of one " * 20)
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(DatabaseRefused):
        database.check()
    database.close()
    assert sqlite3.sqlite_version


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_the_server_ended_while_it_was_idle_is_replaced(database_url: str, postgres: Postgres) -> None:
    database = Database(database_url)
    for one in (database.read, database.read_once, database.begin):
        with one() as db:
            before = db.scalar(text("SELECT pg_backend_pid()"))
        assert postgres.end_connections(database.url.database or "") == 1
        time.sleep(0.3)
        with one() as db:
            assert db.scalar(text("SELECT pg_backend_pid()")) != before
    database.close()
