"""A database that cannot be used: one line with the driver's reason and the remedy, and never a password."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from nurture import runtime
from nurture.ids import new_id
from nurture.store.core.database import Database
from tests.cli.outside import call, run
from tests.conftest import SECRET as KEY
from tests.conftest import settings_for
from tests.servers.postgres import Postgres


def said(folder: Path, command: str, code: int = 2, **settings: object) -> str:
    with pytest.MonkeyPatch.context() as monkeypatch:
        refused = call(monkeypatch, folder, command, secret_key=KEY, **settings)
    assert refused.exit_code == code, refused.stderr
    assert len(refused.stderr.splitlines()) == 1, refused.stderr
    assert "hidden" not in refused.stderr
    return refused.stderr


@pytest.mark.parametrize("command", ["init", "tick"])
def test_a_server_that_is_not_there(tmp_path: Path, command: str) -> None:
    (tmp_path / "instance").mkdir()
    refused = said(tmp_path, command, database_url="postgresql+psycopg://u:hidden@127.0.0.1:1/letters")
    assert "letters at 127.0.0.1:1 does not answer" in refused
    assert "Connection refused; Is the server running" in refused
    assert "?." not in refused, "the driver's question and our sentence end once"
    assert "Check that the server runs" in refused
    nowhere = said(tmp_path, command, database_url="postgresql+psycopg://u:hidden@nowhere.invalid/letters")
    assert "nowhere.invalid" in nowhere


@pytest.mark.parametrize("command", ["init", "tick"])
def test_a_database_that_the_server_does_not_have(tmp_path: Path, postgres: Postgres, command: str) -> None:
    (tmp_path / "instance").mkdir()
    refused = said(tmp_path, command, database_url=postgres.url("no_such_database"))
    assert 'database "no_such_database" does not exist' in refused
    assert "createdb" in refused


def test_a_process_says_it_in_one_line(tmp_path: Path) -> None:
    refused = run(tmp_path, "init", secret_key=KEY, database_url="postgresql+psycopg://u:hidden@127.0.0.1:1/letters")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
    assert "Connection refused" in refused.stderr
    assert "hidden" not in refused.stderr


def test_a_user_that_the_server_does_not_let_in(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.url("postgres").replace("postgres@", "nobody:hidden@")
    refused = said(tmp_path, "init", database_url=url)
    assert 'role "nobody" does not exist' in refused
    assert "Check user and password" in refused


def test_a_program_that_is_older_than_the_schema(tmp_path: Path, postgres: Postgres) -> None:
    name = f"newer_{new_id()}"
    postgres.create(name)
    for url in (postgres.url(name), f"sqlite:///{tmp_path}/instance/nurture.db"):
        runtime.build(settings_for(tmp_path / "instance", url), migrate=True).close()
    for url in (postgres.url(name), f"sqlite:///{tmp_path}/instance/nurture.db"):
        database = Database(url)
        with database.begin() as db:
            db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        database.close()
        for command in ("init", "tick"):
            refused = said(tmp_path, command, database_url=url)
            assert "belongs to a newer version of this program: its revision is 9999" in refused
            assert "Start that newer version" in refused
    postgres.drop(name)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir()
    file = tmp_path / "instance" / "nurture.db"
    file.write_bytes(b"This is a letter, and no database at all. " * 100)
    for command in ("init", "tick"):
        refused = said(tmp_path, command)
        assert f"{file} does not answer as it should: file is not a database" in refused
        assert "restore a backup" in refused
    folder = said(tmp_path, "init", database_url=f"sqlite:///{tmp_path}")
    assert "unable to open database file" in folder


def test_a_file_that_another_program_holds(tmp_path: Path) -> None:
    runtime.build(settings_for(tmp_path / "instance"), migrate=True).close()
    with closing(sqlite3.connect(tmp_path / "instance" / "nurture.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = run(tmp_path, "init", secret_key=KEY)  # a process of its own: locks of a file belong to processes
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "database is locked" in refused.stderr
    assert "Another program holds it" in refused.stderr
