"""`nurture backup` and `nurture restore` as an operator runs them: processes, files, another machine."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from nurture import runtime
from nurture.domain.delivery import State
from nurture.mailers.outbox import Outbox
from nurture.runtime import Runtime
from nurture.services import deliveries as service
from nurture.services import departures, preferences
from nurture.services.preferences import Exit
from nurture.store.departures import JOURNAL_FILE
from nurture.store.schema import deliveries
from nurture.words import new_id
from tests.conftest import settings_for
from tests.people import Reader, a_subscriber, inbox, sign_up
from tests.processes import NURTURE, ROOT, environment, nurture, running
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


@pytest.mark.parametrize("way", ["sqlite to postgresql", "postgresql to sqlite"])
def test_a_backup_taken_while_mail_goes_out_loses_none_and_sends_none_again(
    tmp_path: Path, urls: tuple[str, str], way: str
) -> None:
    source, goal = urls if way.startswith("sqlite") else reversed(urls)
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "nurture.backup"
    env = environment(old, database_url=source, tick_seconds=0.1, max_sends_per_second=60)
    assert nurture("init", env=env).returncode == 0
    rt = runtime.build(settings_for(old, source))
    readers = [sign_up(rt) for _ in range(200)]
    with running([*NURTURE, "worker"], env, tmp_path / "log"):
        _until(rt, lambda: len(sent(rt)) >= 40)
        made = json.loads(nurture("backup", str(file), "--json", env=env).stdout)
        during = len(sent(rt))
        _until(rt, lambda: len(sent(rt)) >= len(readers))
        preferences.unsubscribe(rt, readers[-1].id, Exit.PAGE)
        departures.complete(rt)
    assert 40 <= during < len(readers), "it was made in the middle"
    assert sorted(sent(rt)) == sorted(reader.email for reader in readers), "lost 0, doubled 0"
    elsewhere = environment(new, database_url=goal)
    journal = old / JOURNAL_FILE
    restored = nurture("restore", str(file), "--journal", str(journal), "--json", env=elsewhere)
    assert restored.returncode == 0, restored.stderr
    report = json.loads(restored.stdout)
    assert report["rows"] == made["rows"]
    assert (report["due"], report["departures"]["stopped"], report["departures"]["lost"]) == (0, 1, False)
    assert 0 < report["in_doubt"] < len(readers)
    assert json.loads(nurture("tick", "--json", env=elsewhere).stdout)["claimed"] == 0
    after = runtime.build(settings_for(new, goal))
    for row in service.list_doubts(after, State.UNKNOWN) + service.list_doubts(after, State.HELD):
        service.resolve(after, row.id, sent=True, who="dana")
    opened = nurture("sending", "start", env=elsewhere)
    assert "restored from the backup of" in opened.stdout
    late = sign_up(after)
    assert json.loads(nurture("tick", "--json", env=elsewhere).stdout)["claimed"] == 1
    assert sent(after) == [late.email], "sent again 0, and what is new goes out"
    assert _states(after, readers[-1]) <= {State.CANCELLED, State.ACCEPTED}
    rt.close()
    after.close()


def _until(rt: Runtime, is_so) -> None:  # type: ignore[no-untyped-def]
    for _ in range(3000):
        if is_so():
            return
        rt.clock.sleep(0.05)
    raise AssertionError("it did not come about")


def _states(rt: Runtime, reader: Reader) -> set[State]:
    with rt.database.read() as db:
        return set(db.scalars(select(deliveries.c.state).where(deliveries.c.subscriber_id == reader.id)))


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
        done = subprocess.run(["sh", "-ec", commands], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    run("nurture init")
    from nurture.settings import load

    rt = runtime.build(load(_env_file=None, instance_dir=tmp_path / "instance"))
    readers = [a_subscriber(rt) for _ in range(3)]
    rt.close()
    run("nurture tick")
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
    assert not list(Path("/tmp").glob("nurture-rehearsal-*/rehearsal.db-none"))
    new = runtime.build(load(_env_file=None, instance_dir=tmp_path / "new-instance"))
    assert isinstance(new.mailer, Outbox)
    env["NURTURE_INSTANCE_DIR"] = str(tmp_path / "new-instance")
    run("nurture tick")
    assert inbox(new) == [], "nothing went out again"
    assert len(_states(new, readers[0])) == 2
    new.close()


def test_a_file_that_is_there_is_not_replaced_and_wrong_use_is_code_two(tmp_path: Path) -> None:
    env = environment(tmp_path / "instance")
    nurture("init", env=env)
    file = tmp_path / "nurture.backup"
    first = nurture("backup", str(file), env=env)
    assert first.returncode == 0, first.stderr
    assert "The keys are not in it." in first.stdout
    assert first.stderr == ""
    before = file.read_bytes()
    again = nurture("backup", str(file), env=env)
    assert (again.returncode, file.read_bytes()) == (2, before)
    assert "--force" in again.stderr
    assert nurture("backup", str(file), "--force", env=env).returncode == 0
    bare = nurture("backup", str(tmp_path / "b"), "--keys", env=env)
    assert (bare.returncode, "--keys needs --encrypt" in bare.stderr) == (2, True)
    unasked = nurture("backup", str(tmp_path / "b"), "--encrypt", env=env)
    assert (unasked.returncode, "NURTURE_BACKUP_PASSPHRASE" in unasked.stderr) == (2, True)
    short = nurture("backup", str(tmp_path / "b"), "--encrypt", env=env | {"NURTURE_BACKUP_PASSPHRASE": "short"})
    assert (short.returncode, "shorter than 12" in short.stderr) == (1, True)
    nowhere = nurture("backup", str(tmp_path / "no" / "b"), env=env)
    assert (nowhere.returncode, "There is no folder" in nowhere.stderr) == (2, True)
    assert not (tmp_path / "b").exists()


def test_what_is_refused_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    env = environment(tmp_path / "instance")
    nurture("init", env=env)
    file, other = tmp_path / "nurture.backup", tmp_path / "new"
    with_passphrase = {"NURTURE_BACKUP_PASSPHRASE": PASSPHRASE}
    assert nurture("backup", str(file), "--encrypt", env=env | with_passphrase).returncode == 0
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
        refused = nurture("restore", str(tmp_path / name), env=environ)
        assert refused.returncode == code, refused.stderr
        assert said in refused.stderr
        assert "hidden" not in refused.stderr
        assert "Traceback" not in refused.stderr
        assert len([line for line in refused.stderr.splitlines() if line.startswith(("nurture:", "Error:"))]) == 1
        assert not other.exists() or not [path for path in other.rglob("*") if path.is_file()], name
