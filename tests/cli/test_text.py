"""Text that no encoding or database takes as it is: bytes that are not UTF-8, NUL, terminals that know ASCII only."""

import json
import os
import re
import subprocess
from pathlib import Path

import click
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from nurture import runtime
from nurture.app import create_app
from nurture.characters import storable
from nurture.cli.main import cli
from nurture.cli.text import Command
from nurture.ids import new_id
from nurture.letters.source import LetterRefused, read_folder
from nurture.runtime import Runtime
from nurture.services.operations import send_blocks
from tests.conftest import settings_for
from tests.desk import csrf, enter
from tests.house.test_rules import commands
from tests.processes import NURTURE, ROOT, environment, nurture
from tests.servers.postgres import Postgres

LATIN_1 = b"M\xfcller"


def run(*arguments: str | bytes, env: dict[str, str], **more: bytes) -> subprocess.CompletedProcess[bytes]:
    """One command, its arguments and some of its environment as bytes."""
    variables = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
    variables |= {os.fsencode(name): value for name, value in more.items()}
    return subprocess.run([*NURTURE, *arguments], env=variables, cwd=ROOT, capture_output=True, timeout=120)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_sending_stops_whatever_the_text_is(database_url: str, tmp_path: Path, encoding: str) -> None:
    env = environment(tmp_path, database_url=database_url) | {"PYTHONIOENCODING": encoding}
    stopped = run("sending", "stop", "--why", LATIN_1, env=env, LOGNAME=b"Jos\xe9")
    assert (stopped.returncode, b"Traceback" in stopped.stderr) == (0, False), stopped.stderr
    (gate,) = json.loads(run("sending", "status", "--json", env=env).stdout)
    assert (gate["gate"], gate["stops"], gate["why"], gate["by"]) == ("stop", True, "M\ufffdller", "Jos\ufffd (command line)")
    shown = run("sending", "status", env=env)
    assert "M\ufffdller" in shown.stdout.decode("utf-8")
    assert "M\ufffdller" in run("sending", "start", env=env).stdout.decode("utf-8")


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_storable_text_is_text_that_every_encoding_takes_and_other_text_stays(text: str) -> None:
    clean = storable(text)
    assert clean.encode("utf-8").decode("utf-8") == clean
    assert "\0" not in clean
    assert storable(clean) == clean
    if "\0" not in text and not any(0xD800 <= ord(mark) < 0xE000 for mark in text):
        assert clean == text


@pytest.mark.parametrize("text", ["\udcfcM\0", "\ud800", "a" * 199 + "\ud83d\ude00", "\0" * 300])
def test_the_stop_switch_takes_any_reason_and_any_name(rt: Runtime, text: str) -> None:
    send_blocks.stop_sending(rt, text, text)
    assert [gate.kind for gate in send_blocks.what_stops(rt)] == ["stop"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("users", "add", "sam@example.org", "--name", LATIN_1), 0),
        (("users", "add", LATIN_1 + b"@example.org"), 1),
        (("users", "login-link", LATIN_1 + b"@example.org"), 1),
        (("users", "role", "sam@example.org", LATIN_1), 2),
        (("deliveries", "history", LATIN_1), 2),
        (("letters", "export", LATIN_1, b"/nowhere/" + LATIN_1), 1),
        (("letters", "lint", b"/nowhere/" + LATIN_1), 2),
        (("simulate", LATIN_1), 1),
        (("simulate", "--zone", LATIN_1), 2),
        ((LATIN_1,), 2),
        ((b"--" + LATIN_1,), 2),
    ],
)  # fmt: skip
def test_no_argument_ends_a_command_with_a_traceback(
    postgres: Postgres, postgres_template: str, tmp_path: Path, arguments: tuple[str | bytes, ...], code: int
) -> None:
    name = f"test_{new_id()}"
    postgres.create(name, template=postgres_template)
    env = environment(tmp_path, database_url=postgres.url(name)) | {"PYTHONIOENCODING": "ascii"}
    ended = run(*arguments, env=env)
    postgres.drop(name)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (code, False), ended.stderr


def test_a_folder_whose_name_is_not_utf_8_is_read_and_written(tmp_path: Path) -> None:
    env = environment(tmp_path) | {"PYTHONIOENCODING": "ascii"}
    folder = os.fsencode(tmp_path) + b"/" + LATIN_1
    assert run("init", env=env).returncode == 0
    written = run("letters", "export", "ketamine-and-talk-therapy", folder, env=env)
    assert (written.returncode, b"Wrote 6 letters to" in written.stdout) == (0, True), written.stderr
    assert run("letters", "import", folder, env=env).returncode == 0
    linted = run("letters", "lint", folder, env=env)
    assert (linted.returncode, b"Traceback" in linted.stderr) == (0, False), linted.stderr


@pytest.mark.parametrize(
    "limits",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "iso-8859-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_what_ascii_cannot_say_is_printed_all_the_same(tmp_path: Path, limits: dict[str, str]) -> None:
    env = environment(tmp_path) | limits
    assert nurture("init", env=env).returncode == 0
    linted = run("letters", "lint", env=env)
    assert linted.returncode == 0, linted.stderr
    assert "“" in linted.stdout.decode("utf-8") or b"0 waived" in linted.stdout
    stopped = run("sending", "stop", "--why", "ein Müller", env=env)
    assert (stopped.returncode, b"Traceback" in stopped.stderr) == (0, False)
    assert "Müller" in run("sending", "status", env=env).stdout.decode("utf-8")


def test_every_command_reads_its_text_by_the_class_that_makes_it_storable() -> None:
    loose = [name for name, command in commands(cli) if not isinstance(command, Command)]
    assert loose == []
    assert isinstance(cli, click.Group)


def test_a_letter_with_a_nul_is_refused_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "sequence.yaml").write_text("key: a\ntitle: A\n")
    (tmp_path / "01-try.md").write_bytes(b"---\nsubject: A\npreheader: B\nwait: at once\n---\nText\0.\n")
    with pytest.raises(LetterRefused, match=r"01-try\.md: The file holds a NUL character"):
        read_folder(tmp_path)


NUL = "a\0b"


@pytest.fixture(scope="module")
def pages(postgres: Postgres, postgres_template: str, tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """A browser that is at the desk, over PostgreSQL."""
    postgres.create("nul", template=postgres_template)
    rt = runtime.build(settings_for(tmp_path_factory.mktemp("nul"), postgres.url("nul")))
    app = create_app(rt)
    client = app.test_client()
    enter(client, rt)
    return client


def test_no_page_fails_over_a_nul(pages: FlaskClient) -> None:
    """Every route, with a NUL in its path, its query and every field of its forms."""
    token = csrf(pages, "/desk/account/")
    fields = (
        "email",
        "name",
        "first_name",
        "q",
        "time_zone",
        "consent",
        "text",
        "note",
        "tag",
        "body",
        "subject",
        "title",
        "key",
    )
    form = dict.fromkeys(fields, NUL) | {"csrf": token}
    failed = []
    for rule in pages.application.url_map.iter_rules():
        if rule.endpoint == "static" or "logout" in rule.rule or rule.rule.startswith(("/readyz", "/webhooks/")):
            continue  # not in this state: they answer 503 whatever is asked
        for value in ("a%00b", "0" * 32):
            path = re.sub(r"<[^>]*>", value, re.sub(r"<int:[^>]*>", "1", rule.rule))
            answers = [pages.get(path, query_string=form)] if "GET" in (rule.methods or ()) else []
            answers += [pages.post(path, data=form)] if "POST" in (rule.methods or ()) else []
            failed += [f"{answer.request.method} {path}" for answer in answers if answer.status_code >= 500]
    assert failed == []
