"""`nurture backup` and `nurture restore` as an operator runs them: processes, files, another machine."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result
from sqlalchemy import select

from nurture import runtime
from nurture.cli.main import cli
from nurture.domain.delivery import State
from nurture.ids import new_id
from nurture.mailers.outbox import Outbox
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.services.operations import deliveries as service
from nurture.services.operations import send_blocks
from nurture.services.subscribers import departures, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.settings import load
from nurture.store.core.schema import deliveries
from nurture.store.subscribers.departures import JOURNAL_FILE
from tests.conftest import settings_for
from tests.people import Reader, a_subscriber, inbox, run_tick, sign_up
from tests.processes import NURTURE, ROOT, environment, running
from tests.servers.postgres import Postgres

PASSPHRASE = "four words of mine"


@pytest.fixture
def urls(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URLs of an empty database of each kind: SQLite, PostgreSQL."""
    name = f"backup_{new_id()}"
    postgres.create(name)
    yield f"sqlite:///{tmp_path}/only.db", postgres.url(name)
    postgres.drop(name)


def sent(rt: Runtime) -> list[str]:
    """Whom the outbox holds mail for, one entry for each mail."""
    return [str(mail.message["To"]) for mail in inbox(rt)]


@pytest.mark.timeout(1800)  # processes start slowly on a busy machine, and none of it waits for a clock
@pytest.mark.parametrize("way", ["sqlite to postgresql", "postgresql to sqlite"])
def test_a_backup_taken_while_mail_goes_out_loses_none_and_sends_none_again(
    tmp_path: Path, urls: tuple[str, str], way: str
) -> None:
    source, goal = urls if way.startswith("sqlite") else reversed(urls)
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "nurture.backup"
    env = environment(old, database_url=source, tick_seconds=0.1)
    rt = runtime.build(settings_for(old, source), migrate=True)
    publishing.load_shipped(rt)
    readers = [sign_up(rt) for _ in range(20)]
    with running([*NURTURE, "worker"], env, tmp_path / "log"):
        _until(rt, lambda: len(sent(rt)) >= 5)
        with subprocess.Popen([*NURTURE, "backup", str(file), "--json"], env=env, cwd=ROOT, stdout=subprocess.PIPE) as made:
            while made.poll() is None:  # people go on signing up, and mail goes on leaving, as long as it takes
                readers.append(sign_up(rt))
                rt.clock.sleep(0.1)
            rows = json.loads(made.communicate()[0])["rows"]
        readers += [sign_up(rt) for _ in range(5)]
        _until(rt, lambda: len(sent(rt)) >= len(readers))
        unsubscribe.unsubscribe(rt, readers[0].id, Exit.PAGE)
        departures.complete(rt)
    assert sorted(sent(rt)) == sorted(reader.email for reader in readers), "lost 0, doubled 0"
    assert 20 <= rows["subscribers"] <= len(readers) - 5
    elsewhere = environment(new, database_url=goal)
    journal = old / JOURNAL_FILE
    command = [*NURTURE, "restore", str(file), "--journal", str(journal), "--json"]
    restored = subprocess.run(command, env=elsewhere, cwd=ROOT, capture_output=True, text=True)
    assert restored.returncode == 0, restored.stderr
    report = json.loads(restored.stdout)
    assert report["rows"] == rows
    assert (report["due"], report["departures"]["stopped"], report["departures"]["lost"]) == (0, 1, False)
    after = runtime.build(settings_for(new, goal))
    assert run_tick(after).claimed == 0
    for row in service.list_doubts(after, State.UNKNOWN) + service.list_doubts(after, State.HELD):
        service.resolve(after, row.id, sent=True, who="dana")
    (stopped,) = send_blocks.start_sending(after)
    assert stopped.why.startswith("restored from the backup of")
    late = sign_up(after)
    run_tick(after)
    assert sent(after) == [late.email], "sent again 0, and what is new goes out"
    assert _states(after, readers[0]) <= {State.CANCELLED, State.ACCEPTED}
    rt.close()
    after.close()


def _until(rt: Runtime, is_so: Callable[[], bool]) -> None:
    for _ in range(4000):
        if is_so():
            return
        rt.clock.sleep(0.05)
    raise AssertionError("it did not come about")


def _states(rt: Runtime, reader: Reader) -> set[State]:
    with rt.database.read() as db:
        return set(db.scalars(select(deliveries.c.state).where(deliveries.c.subscriber_id == reader.id)))


@pytest.mark.timeout(1800)
def test_the_drill_of_the_documents_works_as_it_is_written(tmp_path: Path) -> None:
    """With a key that was generated, and on a machine where there is none."""
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (script,) = re.findall(r"### The drill\n.*?```sh\n(.*?)```", operations, re.DOTALL)
    env = environment(tmp_path / "instance")
    del env["NURTURE_INSTANCE_DIR"], env["NURTURE_SECRET_KEY"]
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nurture").write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{NURTURE[2]}" "$@"\n')
    (programs / "nurture").chmod(0o755)
    env["PATH"] = f"{programs}{os.pathsep}{env['PATH']}"

    def run(commands: str) -> str:
        done = subprocess.run(["sh", "-ec", commands], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    rt = runtime.build(load(_env_file=None, instance_dir=tmp_path / "instance"), migrate=True)
    publishing.load_shipped(rt)
    readers = [a_subscriber(rt) for _ in range(3)]
    run_tick(rt)
    departures.complete(rt)
    rt.close()
    said = run(script)
    for part in (
        "Would go out again: 0 while sending is stopped, 0 after `nurture sending start`.",
        "The scratch database is deleted; nothing else was changed.",
        "Who left is known up to",
        "secret.key",
        "until `nurture sending start`: restored from the backup of",
        "Opened: restored from the backup of",
    ):
        assert part in said, said
    new = runtime.build(load(_env_file=None, instance_dir=tmp_path / "new-instance"))
    assert isinstance(new.mailer, Outbox)
    run_tick(new)
    assert inbox(new) == [], "nothing went out again"
    assert State.SCHEDULED in _states(new, readers[0]), "and nobody is forgotten"
    new.close()


@pytest.fixture
def run() -> Iterator[Callable[..., Result]]:
    """Runs one command in this process; what it changed of the log is put back."""
    saved = structlog.get_config()
    yield lambda *arguments, env: CliRunner().invoke(cli, arguments, env=env)
    structlog.configure(**saved)


def test_a_file_that_is_there_is_not_replaced_and_wrong_use_is_code_two(tmp_path: Path, run: Callable[..., Result]) -> None:
    env = environment(tmp_path / "instance")
    runtime.build(settings_for(tmp_path / "instance"), migrate=True).close()
    file = tmp_path / "nurture.backup"
    first = run("backup", str(file), env=env)
    assert first.exit_code == 0, first.stderr
    assert "The keys are not in it." in first.stdout
    assert first.stderr == ""
    before = file.read_bytes()
    again = run("backup", str(file), env=env)
    assert (again.exit_code, file.read_bytes()) == (2, before)
    assert "--force" in again.stderr
    assert run("backup", str(file), "--force", env=env).exit_code == 0
    bare = run("backup", str(tmp_path / "b"), "--keys", env=env)
    assert (bare.exit_code, "--keys needs --encrypt" in bare.stderr) == (2, True)
    unasked = run("backup", str(tmp_path / "b"), "--encrypt", env=env)
    assert (unasked.exit_code, "NURTURE_BACKUP_PASSPHRASE" in unasked.stderr) == (2, True)
    short = run("backup", str(tmp_path / "b"), "--encrypt", env=env | {"NURTURE_BACKUP_PASSPHRASE": "short"})
    assert (short.exit_code, "shorter than 12" in short.stderr) == (1, True)
    nowhere = run("backup", str(tmp_path / "no" / "b"), env=env)
    assert (nowhere.exit_code, "There is no folder" in nowhere.stderr) == (2, True)
    assert not (tmp_path / "b").exists()


def test_what_is_refused_is_one_line_and_leaves_nothing(tmp_path: Path, run: Callable[..., Result]) -> None:
    env = environment(tmp_path / "instance")
    rt = runtime.build(settings_for(tmp_path / "instance"), migrate=True)
    publishing.load_shipped(rt)
    rt.close()
    file, other = tmp_path / "nurture.backup", tmp_path / "new"
    with_passphrase = {"NURTURE_BACKUP_PASSPHRASE": PASSPHRASE}
    assert run("backup", str(file), "--encrypt", env=env | with_passphrase).exit_code == 0
    (tmp_path / "half").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (tmp_path / "letter").write_text("Dear Robin")
    there = environment(other)
    wrong = with_passphrase | {"NURTURE_BACKUP_PASSPHRASE": "another one, as long"}
    cases = [
        ("nurture.backup", there | wrong, 1, "The passphrase does not open this backup"),
        ("half", there | with_passphrase, 1, "damaged or cut off"),
        ("letter", there, 1, "is no backup"),
        ("nurture.backup", there, 2, "A passphrase is needed"),
        ("nurture.backup", env | with_passphrase, 1, "is not empty"),
        ("nurture.backup", there | with_passphrase | {"NURTURE_SECRET_KEY": "k" * 40}, 1, "not those of this backup"),
        ("nowhere", there, 2, "does not exist"),
        (
            "nurture.backup",
            there | with_passphrase | {"NURTURE_DATABASE_URL": "postgresql+psycopg://u:hidden@127.0.0.1:1/x"},
            2,
            "does not answer",
        ),
    ]
    for name, environ, code, said in cases:
        refused = run("restore", str(tmp_path / name), env=environ)
        assert refused.exit_code == code, refused.stderr
        assert said in refused.stderr
        assert "hidden" not in refused.stderr
        assert isinstance(refused.exception, SystemExit)
        assert len([line for line in refused.stderr.splitlines() if line.startswith(("nurture:", "Error:"))]) == 1
        assert not other.exists() or not [path for path in other.rglob("*") if path.is_file()], name
