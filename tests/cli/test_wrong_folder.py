"""Only `nurture init` makes anything; every other command in a wrong folder says where it looked."""

from pathlib import Path

import pytest

from tests.cli.outside import call, files, run

COMMANDS = (
    ("serve",),
    ("worker",),
    ("tick",),
    ("tick", "--status"),
    ("users", "list"),
    ("users", "add", "sam@example.org"),
    ("sending", "stop"),
    ("deliveries", "held"),
    ("letters", "publications"),
    ("simulate",),
    ("keys", "rotate"),
)
PORT = {"listen": "127.0.0.1:0"}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_in_a_wrong_folder_says_where_it_looked_and_makes_nothing(
    tmp_path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = call(monkeypatch, tmp_path, *command, **PORT)
    assert refused.exit_code == 2
    assert f"looked for the instance folder {tmp_path / 'instance'}." in refused.stderr
    assert "Run `nurture init` only to make a new installation." in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert files(tmp_path) == set()


def test_a_process_in_a_wrong_folder_ends_with_code_two_and_makes_nothing(tmp_path: Path) -> None:
    refused = run(tmp_path, "tick")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"looked for the instance folder {tmp_path / 'instance'}." in refused.stderr
    assert files(tmp_path) == set()


def test_what_needs_no_installation_works_without_one_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (("letters", "lint"), ("config",), ("--version",), ("tick", "--help")):
        assert call(monkeypatch, tmp_path, *command).exit_code == 0
    assert files(tmp_path) == set()


def test_a_key_or_a_database_alone_is_no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "instance"
    folder.mkdir()
    empty = call(monkeypatch, tmp_path, "tick")
    assert (empty.exit_code, f"no installation here: looked for the instance folder {folder}." in empty.stderr) == (2, True)
    (folder / "departures.journal").touch()
    no_key = call(monkeypatch, tmp_path, "tick")
    assert (no_key.exit_code, f"{folder / 'secret.key'} is not there" in no_key.stderr) == (2, True)
    no_database = call(monkeypatch, tmp_path, "tick", secret_key="s" * 40)
    assert (no_database.exit_code, f"looked for {folder / 'nurture.db'}." in no_database.stderr) == (2, True)
    named = call(monkeypatch, tmp_path, "tick", database_url=f"sqlite:///{tmp_path}/deep/er.db")
    assert (named.exit_code, f"looked for {tmp_path}/deep/er.db." in named.stderr) == (2, True)
    assert files(tmp_path) == {"instance", "instance/departures.journal"}


def test_init_makes_an_installation_and_the_other_commands_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(tmp_path, "init")
    assert made.returncode == 0, made.stderr
    key = tmp_path / "instance" / "secret.key"
    assert f"Made a new key: {key}. Keep a copy of it" in made.stdout
    assert files(tmp_path) == {"instance", "instance/secret.key", "instance/nurture.db"}
    again = call(monkeypatch, tmp_path, "init")
    assert (again.exit_code, "Made a new key" in again.stdout) == (0, False)
    assert call(monkeypatch, tmp_path, "users", "list").exit_code == 0
    key.write_text("short\n")
    damaged = call(monkeypatch, tmp_path, "users", "list")
    assert (damaged.exit_code, f"{key} holds less than 32 characters" in damaged.stderr) == (2, True)
    key.unlink()
    lost = call(monkeypatch, tmp_path, "init")
    assert lost.exit_code == 2
    assert "No new key was made" in lost.stderr
    assert not key.exists()


def test_an_instance_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("")
    refused = call(monkeypatch, tmp_path, "init", instance_dir="taken/instance")
    assert refused.exit_code == 2
    assert f"The instance folder {tmp_path}/taken/instance cannot be used (not a directory)" in refused.stderr
