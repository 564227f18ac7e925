"""`nurture deliveries …` and `nurture sending …`, as an operator types them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nurture import runtime
from nurture.cli.main import cli
from nurture.domain.delivery import Ambiguous, Rejected, State
from nurture.runtime import Runtime
from tests.conftest import settings_for
from tests.people import rows, run_tick, sign_up
from tests.processes import environment, nurture
from tests.scripted import Answering


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[Runtime]:
    built = runtime.build(settings_for(tmp_path), migrate=True)
    yield built
    built.close()


def test_that_readers_wait_for_the_first_run_is_said(rt: Runtime, tmp_path: Path) -> None:
    env = environment(
        tmp_path, mailer="smtp", smtp_url="smtp://mail.oak.example", from_email="dana@oak.example", postal_address="PO Box 12",
        base_url="https://letters.oak.example",
    )  # fmt: skip
    assert "until the first run at the desk" in nurture("sending", "status", env=env).stdout
    (found,) = json.loads(nurture("sending", "status", "--json", env=env).stdout)
    assert (found["gate"], found["stops"]) == ("first run", True)
    assert json.loads(nurture("tick", "--status", "--json", env=env).stdout)["stopped_by"] == ["first run"]


def a_held_mail(rt: Runtime) -> str:
    """A confirmation of which nobody can say whether it left, by a mailer that will never know."""
    sign_up(rt)
    outbox, rt.mailer = rt.mailer, Answering(lambda _: Ambiguous("no SMTP reply after the mail"), gives_evidence=False)
    run_tick(rt)
    rt.mailer = outbox
    return rt_delivery(rt)


def rt_delivery(rt: Runtime) -> str:
    from nurture.services.operations.deliveries import list_doubts

    (held,) = list_doubts(rt, State.HELD)
    return held.id


def test_what_is_held_is_listed_told_and_sent_again(rt: Runtime, env: dict[str, str]) -> None:
    delivery = a_held_mail(rt)
    listed = nurture("deliveries", "held", env=env)
    assert delivery in listed.stdout
    assert "no SMTP reply after the mail" in listed.stdout
    assert json.loads(nurture("deliveries", "held", "--json", env=env).stdout)[0]["id"] == delivery
    assert nurture("deliveries", "unknown", env=env).stdout == "Nothing is in doubt.\n"
    assert nurture("deliveries", "resolve", delivery, "--again", env=env).stdout == "1 will be sent again.\n"
    assert nurture("tick", env=env).returncode == 0
    assert [row[1] for row in rows(rt)] == [State.ACCEPTED]
    told = json.loads(nurture("deliveries", "history", delivery, "--json", env=env).stdout)
    assert [line["state"] for line in told] == [
        "scheduled", "claimed", "sending", "held", "scheduled", "claimed", "sending", "accepted",
    ]  # fmt: skip
    assert told[4]["by"].endswith("(command line)")
    assert "to be sent again" in nurture("deliveries", "history", delivery, env=env).stdout


def test_what_arrived_is_counted_as_sent(rt: Runtime, env: dict[str, str]) -> None:
    delivery = a_held_mail(rt)
    assert nurture("deliveries", "resolve", delivery, "--sent", env=env).returncode == 0
    assert [row[1] for row in rows(rt)] == [State.ACCEPTED]
    again = nurture("deliveries", "resolve", delivery, "--sent", env=env)
    assert again.returncode == 1
    assert "nothing to settle" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resolve", "x" * 32, "--sent"], "is not the id of a delivery"),
        (["resolve", "0" * 32], "Say --sent or --again."),
        (["history", "0" * 32], "There is no delivery"),
    ],
)
def test_wrong_use_says_what_is_wrong(rt: Runtime, env: dict[str, str], arguments: list[str], said: str) -> None:
    refused = nurture("deliveries", *arguments, env=env)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_the_stop_switch_from_the_command_line(rt: Runtime, env: dict[str, str]) -> None:
    sign_up(rt)
    assert nurture("sending", "status", env=env).stdout == "Nothing stops the sending.\n"
    assert nurture("sending", "stop", "--why", "a wrong letter", env=env).returncode == 0
    assert "a wrong letter" in nurture("sending", "status", env=env).stdout
    nurture("tick", env=env)
    assert [row[1] for row in rows(rt)] == [State.SCHEDULED]
    assert json.loads(nurture("tick", "--status", "--json", env=env).stdout)["stopped_by"] == ["stop"]
    assert json.loads(nurture("sending", "status", "--json", env=env).stdout)[0]["stops"] is True
    assert "Opened: a wrong letter" in nurture("sending", "start", env=env).stdout
    nurture("tick", env=env)
    assert [row[1] for row in rows(rt)] == [State.ACCEPTED]


Typed = Callable[..., Result]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Type a command; it runs in this process."""
    for name, value in environment(tmp_path).items():
        if name.startswith("NURTURE_"):
            monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(cli, arguments)


def failed_mails(rt: Runtime, *reasons: str) -> None:
    """Confirmations that the provider will not take as they are, for these reasons."""
    answers = {sign_up(rt).email: Rejected(reason) for reason in reasons}
    outbox, rt.mailer = rt.mailer, Answering(lambda mail: answers[mail.to])
    run_tick(rt)
    rt.mailer = outbox


def test_what_failed_is_listed_and_taken_back_by_its_reason(rt: Runtime, typed: Typed) -> None:
    assert "Nothing has failed." in typed("deliveries", "failed").output
    failed_mails(rt, "SMTP 554 5.7.1 at end of data: 100% spam", "SMTP 554 5.7.1 at end of data: 100% spam", "413")
    listed = typed("deliveries", "failed").output
    assert listed.count("100% spam") == 2
    assert "3 in all." in listed
    told = json.loads(typed("deliveries", "failed", "--json").stdout)
    assert {row["why"] for row in told} == {"413", "SMTP 554 5.7.1 at end of data: 100% spam"}
    assert all(row["since"] for row in told)
    none = typed("deliveries", "resolve", "--again", "--all-with", "5_7_1")
    assert (none.exit_code, "No mail has failed with such a reason" in none.output) == (1, True)
    done = typed("deliveries", "resolve", "--again", "--all-with", "100% SPAM")
    assert (done.exit_code, done.stdout) == (0, "2 will be sent again.\n"), "it asks nothing: this is no terminal"
    assert sorted(row[1] for row in rows(rt)) == [State.FAILED, State.SCHEDULED, State.SCHEDULED]
    run_tick(rt)
    assert sorted(row[1] for row in rows(rt)) == [State.ACCEPTED, State.ACCEPTED, State.FAILED]
    assert "Failed mails: 1." in typed("sending", "start").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sent", "--all-with", "x"), ("--again", "--all-with", " "), ("--again",),
        ("--again", "--all-with", "x", "0123456789abcdef0123456789abcdef"),
    ],
)  # fmt: skip
def test_taking_many_back_must_be_meant(rt: Runtime, typed: Typed, arguments: tuple[str, ...]) -> None:
    assert typed("deliveries", "resolve", *arguments).exit_code == 2


def test_mail_in_doubt_is_never_taken_back_in_bulk(rt: Runtime, typed: Typed) -> None:
    delivery = a_held_mail(rt)
    assert typed("deliveries", "resolve", "--again", "--all-with", "no SMTP reply").exit_code == 1
    assert delivery in typed("deliveries", "held").output
