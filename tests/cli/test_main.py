"""The command line, as processes."""

import json
import os
import pty
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.people import sign_up
from tests.processes import NURTURE, ROOT, answers, environment, free_port, nurture, running


def test_init_makes_a_database_with_the_shipped_letters_and_may_be_repeated(tmp_path: Path) -> None:
    env = environment(tmp_path)
    first, second = nurture("init", env=env), nurture("init", env=env)
    assert first.returncode == second.returncode == 0, first.stderr
    assert "Loaded 6 letters of ketamine-and-talk-therapy." in first.stdout
    assert "Loaded" not in second.stdout
    assert first.stderr == second.stderr == "", "what a person reads is on standard output, and nothing else is said"
    assert (tmp_path / "nurture.db").stat().st_mode & 0o077 == 0


def test_the_generated_key_is_for_its_owner_only_and_stays(tmp_path: Path) -> None:
    env = environment(tmp_path)
    del env["NURTURE_SECRET_KEY"]
    assert nurture("init", env=env).returncode == 0
    key = tmp_path / "secret.key"
    assert key.stat().st_mode & 0o077 == 0
    before = key.read_text()
    assert nurture("init", env=env).returncode == 0
    assert key.read_text() == before


def test_another_key_is_noticed_at_the_start(tmp_path: Path) -> None:
    assert nurture("init", env=environment(tmp_path)).returncode == 0
    wrong = nurture("tick", env=environment(tmp_path, secret_key="another secret, also long enough to pass"))
    assert wrong.returncode == 2
    assert "do not fit its database" in wrong.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mailer": "sendgrid"}, "NURTURE_SENDGRID_API_KEY, NURTURE_FROM_EMAIL, NURTURE_POSTAL_ADDRESS are missing"),
        ({"mailer": "smtp", "smtp_url": "smtp://x", "from_email": "a@b.org"}, "NURTURE_POSTAL_ADDRESS is missing"),
        ({"batch_size": "5000"}, "NURTURE_BATCH_SIZE is '5000'"),
        ({"broker_url": "redis://:hidden@x"}, "NURTURE_BROKER_URL is set, but the database is SQLite"),
        ({"database_url": "mysql://x:hidden@y"}, "NURTURE_DATABASE_URL is set, which is not a database"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "worker", "tick"])
def test_a_wrong_or_missing_setting_stops_the_start_with_code_two(
    tmp_path: Path, command: str, settings: dict[str, str], said: str
) -> None:
    refused = nurture(command, env=environment(tmp_path, **settings))
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "hidden" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_database_that_is_missing_or_old_says_what_to_run(tmp_path: Path) -> None:
    refused = nurture("tick", env=environment(tmp_path))
    assert refused.returncode == 2
    assert "Run `nurture init`" in refused.stderr
    gone = nurture("tick", env=environment(tmp_path, database_url="postgresql+psycopg://u:hidden@127.0.0.1:1/x"))
    assert gone.returncode == 2
    assert "does not answer" in gone.stderr
    assert "hidden" not in gone.stderr


def test_a_tick_sends_what_is_due_and_the_status_counts_it(tmp_path: Path) -> None:
    from nurture import runtime
    from tests.conftest import settings_for

    env = environment(tmp_path)
    assert nurture("init", env=env).returncode == 0
    rt = runtime.build(settings_for(tmp_path))
    sign_up(rt)
    rt.close()
    before = json.loads(nurture("tick", "--status", "--json", env=env).stdout)
    assert (before["scheduled"], before["due_now"], before["last_tick"]) == (1, 1, None)
    assert json.loads(nurture("tick", "--json", env=env).stdout)["claimed"] == 1
    after = json.loads(nurture("tick", "--status", "--json", env=env).stdout)
    assert (after["scheduled"], after["accepted"], after["due_now"]) == (0, 1, 0)
    assert after["last_tick"] is not None
    assert "accepted" in nurture("tick", "--status", env=env).stdout


def test_letters_go_out_and_in_by_the_command_line(tmp_path: Path) -> None:
    env = environment(tmp_path / "instance")
    nurture("init", env=env)
    out = tmp_path / "letters"
    assert "Wrote 6 letters" in nurture("letters", "export", "ketamine-and-talk-therapy", str(out), env=env).stdout
    assert "6 letters, 0 of them changed" in nurture("letters", "import", str(out), env=env).stdout
    (out / "01-history.md").write_text("no front matter")
    refused = nurture("letters", "import", str(out), env=env)
    assert refused.returncode == 1
    assert "01-history.md: A letter begins with" in refused.stderr


def test_letters_are_checked_in_a_folder_in_the_database_or_as_shipped(tmp_path: Path) -> None:
    env = environment(tmp_path / "instance")
    shipped = json.loads(nurture("letters", "lint", "--json", env=env).stdout)
    assert not (tmp_path / "instance").exists(), "to check letters makes no database"
    nurture("init", env=env)
    stored = json.loads(nurture("letters", "lint", "--json", env=env).stdout)
    out = tmp_path / "letters"
    nurture("letters", "export", "ketamine-and-talk-therapy", str(out), env=env)
    filed = json.loads(nurture("letters", "lint", str(out), "--json", env=env).stdout)
    names = [[Path(letter.pop("file")).parts[-2:] for letter in found["letters"]] for found in (shipped, stored, filed)]
    assert names[0] == names[1] == [("ketamine-and-talk-therapy", file) for _, file in names[2]]
    assert shipped == stored == filed
    assert len(filed["letters"]) == 6


def test_a_letter_is_checked_by_its_line_with_advice_and_an_error_is_code_one(tmp_path: Path) -> None:
    letter = """---
subject: Letter 2 of 5
preheader: A short letter that you can read in two quiet minutes.
wait: 3 days
review-by: 2027-05-22
waived: [{rule: C26, words: a trip, by: Dana, because: It is about the way there.}]
---
# Letter 2 of 5

You can take a trip to the clinic.

TEXT

{{ button("Ask for a call", links.consultation) }}
"""
    prose = "You can ask me what it was like, and I will tell you what I know about it. " * 18
    folder, env = tmp_path / "letters", environment(tmp_path)
    folder.mkdir()
    (folder / "sequence.yaml").write_text("key: a\ntitle: A\n")
    (folder / "01-try.md").write_text(letter.replace("TEXT", prose))
    sound = nurture("letters", "lint", str(folder), "--on", "2026-11-23", env=env)
    assert sound.returncode == 0, sound.stdout
    assert "01-try.md:10: waived by Dana (It is about the way there.) C26, line: “trip”" in sound.stdout
    assert sound.stdout.endswith("1 letter: 0 errors, 0 warnings, 1 waived.\n")
    warned = nurture("letters", "lint", str(folder), "--on", "2027-05-01", env=env)
    assert (warned.returncode, "warning T12" in warned.stdout) == (0, True)
    (folder / "01-try.md").write_text(letter.replace("TEXT", prose + "\nIt cures you."))
    refused = nurture("letters", "lint", str(folder), "--on", "2026-11-23", env=env)
    assert refused.returncode == 1
    for part in (
        "grade ",
        " words, 2 min",
        f"{folder}/01-try.md:13: error C01, line: “cures”",
        "Instead: It may ease symptoms",
    ):
        assert part in refused.stdout
    found = json.loads(nurture("letters", "lint", str(folder), "--on", "2027-08-01", "--json", env=env).stdout)
    assert (found["errors"], found["warnings"], found["waived"]) == (2, 0, 1)
    assert {finding["rule"] for finding in found["letters"][0]["findings"]} == {"C01", "C26", "T12"}


def test_a_folder_that_cannot_be_checked_says_why(tmp_path: Path) -> None:
    empty = nurture("letters", "lint", str(tmp_path), env=environment(tmp_path / "instance"))
    assert (empty.returncode, "There is no sequence.yaml here." in empty.stderr) == (1, True)
    assert nurture("letters", "lint", str(tmp_path / "nowhere"), env=environment(tmp_path / "instance")).returncode == 2
    assert nurture("letters", "lint", "--on", "tomorrow", env=environment(tmp_path / "instance")).returncode == 2


def test_wrong_use_is_code_two(tmp_path: Path) -> None:
    assert nurture("nonsense", env=environment(tmp_path)).returncode == 2
    assert nurture("--help", env=environment(tmp_path)).returncode == 0


def test_serving_prints_where_to_go_on_a_terminal_and_stops_when_told(tmp_path: Path) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    env = environment(tmp_path, listen=f"127.0.0.1:{port}", base_url=base, tick_seconds=0.2)
    nurture("init", env=env)
    ours, theirs = pty.openpty()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*NURTURE, "serve"], env=env, cwd=ROOT, stdout=theirs, stderr=log, start_new_session=True)
    os.close(theirs)
    answers(base + "/readyz")
    process.terminate()
    assert process.wait(60) == 0
    said = b""
    with suppress(OSError):  # the end of a terminal that nobody holds any more
        while read := os.read(ours, 65536):
            said += read
    os.close(ours)
    for part in (
        f"{base}/\r\n",
        f"{base}/desk/\r\n",
        f"{base}/outbox\r\n",
        f"{base}/api/v1/openapi.json",
        f"{base}/desk/login/",
    ):
        assert part in said.decode()
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert {"serving", "scheduler_stopped"} <= set(events)


def test_the_first_owners_link_is_a_command_where_nobody_sees_the_start(tmp_path: Path) -> None:
    env = environment(tmp_path)
    nurture("init", env=env)
    first = nurture("users", "login-link", "--first", env=env)
    assert "http://127.0.0.1:8000/desk/login/" in first.stdout
    assert nurture("users", "login-link", env=env).returncode == 2
    assert nurture("users", "login-link", "--first", "sam@example.org", env=env).returncode == 2
    nurture("users", "add", "sam@example.org", env=env)
    for name in ("login-link", "link"):
        assert "/desk/login/" in nurture("users", name, "sam@example.org", env=env).stdout


def test_a_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = nurture("serve", env=environment(tmp_path, listen=f"127.0.0.1:{port}"))
    assert refused.returncode == 2
    assert f"NURTURE_LISTEN is '127.0.0.1:{port}', but that address cannot be used: address already in use" in refused.stderr


def test_a_worker_sends_without_serving_and_stops_when_told(tmp_path: Path) -> None:
    from nurture import runtime
    from tests.conftest import settings_for
    from tests.people import inbox

    env = environment(tmp_path, tick_seconds=0.2)
    nurture("init", env=env)
    rt = runtime.build(settings_for(tmp_path))
    sign_up(rt)
    with running([*NURTURE, "worker"], env, tmp_path / "log") as process:
        for _ in range(200):
            if inbox(rt):
                break
            rt.clock.sleep(0.05)
    assert len(inbox(rt)) == 1
    assert process.returncode == 0
    rt.close()


def test_the_demo_walks_the_whole_sequence_in_under_a_minute(tmp_path: Path) -> None:
    env = environment(tmp_path)
    del env["NURTURE_INSTANCE_DIR"], env["NURTURE_SECRET_KEY"]
    shown = nurture("demo", "--speed", "500000", env=env)
    assert shown.returncode == 0, shown.stderr
    lines = [line for line in shown.stdout.splitlines() if ".eml" in line]
    assert len(lines) == 7
    assert "The sequence is complete." in shown.stdout
    assert shown.stderr == ""
    readme = (ROOT / "README.md").read_text("utf-8")
    subjects = [line.split("mail: ")[1].split("  ")[0] for line in lines]
    assert [subject for subject in subjects if subject not in readme] == [], "README shows what the demo prints"
