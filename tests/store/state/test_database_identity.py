"""What tells a database from its copy, where it can be known."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nurture.ids import new_id
from nurture.store.core.database import Database
from nurture.store.state.database_identity import machine_id, read_file_identity, read_identity
from tests.servers.postgres import Postgres


def machine(root: Path, content: str, *marks: str) -> Path:
    (root / "etc").mkdir()
    (root / "etc/machine-id").write_text(content)
    for mark in marks:
        (root / mark).parent.mkdir(exist_ok=True)
        (root / mark).touch()
    return root


def test_a_machine_is_known_by_a_hash_of_its_id(tmp_path: Path) -> None:
    found = machine_id(machine(tmp_path, "0123456789abcdef0123456789abcdef\n"))
    assert found is not None
    assert len(found) == 16
    assert found not in "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_a_container_has_the_id_of_its_image_which_says_nothing(tmp_path: Path, mark: str) -> None:
    assert machine_id(machine(tmp_path, "0123456789abcdef0123456789abcdef\n", mark)) is None


def test_an_empty_or_missing_id_is_none(tmp_path: Path) -> None:
    assert machine_id(tmp_path / "nowhere") is None
    assert machine_id(machine(tmp_path, "\n")) is None


def test_a_copied_file_has_another_identity_and_a_renamed_one_the_same(tmp_path: Path) -> None:
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    one.write_bytes(b"x")
    other.write_bytes(b"x")
    before = read_file_identity(str(one))
    assert before["file"] != read_file_identity(str(other))["file"]
    assert read_file_identity(str(one.rename(tmp_path / "renamed.db"))) == before


@pytest.fixture
def database(postgres: Postgres, postgres_template: str) -> Iterator[Database]:
    name = f"test_{new_id()}"
    postgres.create(name, template=postgres_template)
    found = Database(postgres.url(name))
    yield found
    found.close()
    postgres.drop(name)


def test_a_role_that_may_nothing_else_reads_the_whole_identity(database: Database) -> None:
    with database.read() as db:
        before = read_identity(db)
        assert set(before) == {"server", "timeline", "database", "tables"}
        db.exec_driver_sql("CREATE ROLE plain")
        db.exec_driver_sql("SET LOCAL ROLE plain")
        assert read_identity(db) == before
        db.rollback()


def test_where_a_function_is_forbidden_the_other_parts_are_known(database: Database) -> None:
    with database.engine.connect() as db:
        db.exec_driver_sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        db.exec_driver_sql("CREATE ROLE plain")
        db.exec_driver_sql("SET LOCAL ROLE plain")
        assert set(read_identity(db)) == {"timeline", "database", "tables"}
        db.rollback()
