"""`nurture simulate`, as a therapist's helper types it."""

import json
from pathlib import Path

import pytest

from tests.processes import environment, nurture


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = environment(tmp_path_factory.mktemp("instance"))
    assert nurture("init", env=found).returncode == 0
    return found


HALLOWEEN = ("--at", "2026-10-30T10:12", "--zone", "Europe/Berlin", "--pause", "2026-11-02..2026-11-09")


def test_the_letters_are_listed_with_their_local_time(env: dict[str, str]) -> None:
    lines = nurture("simulate", *HALLOWEEN, env=env).stdout.splitlines()
    assert lines[0] == "Ketamine and talk therapy (ketamine-and-talk-therapy)"
    assert lines[1].startswith("  1. Fri 2026-10-30 10:12 UTC+01:00  Thanks for signing up")
    assert lines[2].startswith("  2. Mon 2026-11-09 10:12 UTC+01:00  Letter 1")
    assert len(lines) == 7


def test_why_says_it_rule_by_rule(env: dict[str, str]) -> None:
    told = nurture("simulate", "ketamine-and-talk-therapy", *HALLOWEEN, "--why", env=env).stdout
    assert (
        "       3 days after the letter before: Monday 2 November, 10:12\n       paused from Monday 2 November, 00:00" in told
    )


def test_a_program_gets_json(env: dict[str, str]) -> None:
    found = json.loads(nurture("simulate", *HALLOWEEN, "--json", env=env).stdout)
    assert (found["zone"], found["signed_up"]) == ("Europe/Berlin", "2026-10-30T09:12:00+00:00")
    assert found["letters"][1]["local"] == "2026-11-09T10:12:00+01:00"
    assert found["letters"][1]["due"] == "2026-11-09T09:12:00+00:00"
    assert found["letters"][1]["weekday"] == "Monday"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nope",), 1, "There is no sequence 'nope'. Use one of these: ketamine-and-talk-therapy."),
        (("--zone", "Europe"), 2, "'Europe' is no time zone. Write one like Europe/Berlin"),
        (("--zone", "Mars/Base"), 2, "'Mars/Base' is no time zone"),
        (("--at", "tomorrow"), 2, "'tomorrow' is no day and time. Write them like 2026-10-30T10:00."),
        (
            ("--at", "2026-03-29T02:30", "--zone", "Europe/Berlin"),
            2,
            "does not exist in Europe/Berlin: the clocks jump over it",
        ),
        (("--pause", "2026-11-02"), 2, "'2026-11-02' is no pause. Write its first day and the day it is over"),
        (("--pause", "2026-11-09..2026-11-02"), 2, "is over before it has begun"),
        (
            ("--pause", "2026-11-02..2026-11-09", "--pause", "2026-11-03..2026-11-04"),
            1,
            "A second pause begins within the first",
        ),
    ],
)
def test_what_cannot_be_understood_is_said_with_what_to_write(
    env: dict[str, str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    answer = nurture("simulate", *arguments, env=env)
    assert answer.returncode == code
    assert said in answer.stderr
    assert answer.stdout == ""


def test_without_letters_it_says_where_they_come_from(tmp_path: Path) -> None:
    answer = nurture("simulate", env=environment(tmp_path))
    assert answer.returncode != 0
    assert "nurture init" in answer.stderr
