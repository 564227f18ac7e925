"""Every command once on PostgreSQL, in this process: the other tests of the command line use SQLite."""

import secrets
import shlex
from pathlib import Path

import pytest

from nurture.cli.main import cli
from nurture.domain.delivery import Ambiguous
from nurture.runtime import Runtime
from tests.cli.outside import call
from tests.conftest import SECRET
from tests.house.test_rules import commands
from tests.people import run_tick, sign_up
from tests.scripted import Answering

SEQUENCE = "ketamine-and-talk-therapy"
MADE_ELSEWHERE = {"demo", "serve", "worker"}
"""They go on until they are stopped, and run on PostgreSQL in tests.cli.test_main, tests.test_stopping and others."""


def invocations(held: str) -> list[str]:
    """As somebody types them, in an order in which each finds what it needs."""
    return [
        "init",
        "config --json",
        f"letters export {SEQUENCE} letters",
        "letters lint letters",
        "letters import letters",
        "letters publications --json",
        "emails published --json",
        f"letters sequences --begin {SEQUENCE}",
        "subscribers import people.csv --where 'paper form, 12 March'",
        "simulate --why",
        "tick",
        "tick --status",
        "sending status",
        "sending stop --why tired",
        "sending start",
        "deliveries failed",
        "deliveries held",
        "deliveries unknown",
        f"deliveries history {held}",
        f"deliveries resolve {held} --again",
        "keys rotate",
        "users add sam@example.org",
        "users list",
        "users login-link sam@example.org",
        "users role sam@example.org viewer",
        "users reset sam@example.org",
        "users remove sam@example.org",
        "backup nurture.backup",
        "restore --rehearse nurture.backup",
    ]


def a_held_mail(rt: Runtime) -> str:
    """A mail of which nobody can say whether it left."""
    sign_up(rt)
    outbox, rt.mailer = rt.mailer, Answering(lambda _: Ambiguous("no SMTP reply after the mail"), gives_evidence=False)
    run_tick(rt)
    answering, rt.mailer = rt.mailer, outbox
    assert isinstance(answering, Answering)
    return answering.given[0].delivery


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_every_command_works_on_postgresql(rt: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("email\nann@example.org\n", "utf-8")
    lines = invocations(a_held_mail(rt))
    for name, _ in commands(cli):
        assert name in MADE_ELSEWHERE or any(line.startswith(name) for line in lines), f"nurture {name} is not tried"
    url = rt.database.url.render_as_string(hide_password=False)
    for line in lines:
        if line == "keys rotate":
            monkeypatch.setenv("NURTURE_FIELD_KEYS", secrets.token_hex(32))
        done = call(
            monkeypatch, tmp_path, *shlex.split(line), database_url=url, secret_key=SECRET, instance_dir=tmp_path / "instance"
        )
        wanted = (0, 1) if line == "tick --status" else (0,)  # 1: something stops the sending, and it says what
        assert done.exit_code in wanted, f"nurture {line}: {done.output} {done.exception}"
