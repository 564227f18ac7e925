"""From a refusal on a real socket to what people see: rows, what stops sending, the command, the desk."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from nurture import log, runtime
from nurture.app import create_app
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.mailers.smtp import Smtp
from nurture.runtime import Runtime
from nurture.services.operations import deliveries as service
from nurture.services.operations import send_blocks
from nurture.store.core.schema import deliveries, subscribers, suppressions
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.operations import statistics
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.desk import log_in
from tests.people import Reader, a_subscriber, rows, run_tick, sign_up
from tests.processes import environment, nurture
from tests.servers.raw_smtp import Answer, RawSmtp


@pytest.fixture
def server() -> Iterator[RawSmtp]:
    with RawSmtp() as running:
        yield running


@pytest.fixture
def by_smtp(rt: Runtime, server: RawSmtp) -> Runtime:
    """A runtime whose mail goes to the scripted server."""
    rt.mailer = Smtp(server.url)
    return rt


Script = tuple[str, Sequence[Answer], str]
"""A stage, what the server answers there, and which of its words people must see."""


def states(rt: Runtime) -> list[State]:
    return sorted(row[1] for row in rows(rt))


def mails_tried(server: RawSmtp) -> int:
    return sum(line.raw.startswith(b"MAIL") for line in server.lines)


NOT_OWNED = "553 5.7.1 <dana@letters.example.org>: Sender address rejected: not owned by user 4f9a8b7c6d"
SENDER_REFUSED: list[Script] = [
    ("MAIL", [Answer(NOT_OWNED)], "Sender address rejected: not owned by user ‹id›"),
    ("MAIL", [Answer("530 5.7.0 Authentication required")], "Authentication required"),
    ("MAIL", [Answer("250 ok", times=2), Answer("550 5.4.5 Daily user sending limit exceeded")], "sending limit exceeded"),
    ("RCPT", [Answer("550 5.4.5 Daily user sending limit exceeded")], "sending limit exceeded"),
    ("RCPT", [Answer("554 5.7.1 <reader@example.org>: Relay access denied")], "Relay access denied"),
    ("DATA", [Answer("550 5.4.5 Daily user sending limit exceeded")], "sending limit exceeded"),
    ("END", [Answer("550 5.7.60 Client does not have permissions to send as this sender")], "permissions to send as this"),
    ("CONNECT", [Answer("554 5.7.1 no service for you")], "no service for you"),
]


def test_after_a_start_by_hand_what_was_refused_leaves_at_once(by_smtp: Runtime, server: RawSmtp) -> None:
    server.answer("MAIL", Answer("550 5.4.5 Daily user sending limit exceeded"))
    for _ in range(3):
        sign_up(by_smtp)
    run_tick(by_smtp)
    assert states(by_smtp) == [State.SCHEDULED] * 3
    server.answer("MAIL")
    send_blocks.start_sending(by_smtp)
    run_tick(by_smtp)
    assert states(by_smtp) == [State.ACCEPTED] * 3


@pytest.mark.parametrize("script", SENDER_REFUSED, ids=lambda script: f"{script[0]}-{script[2]}")
def test_a_refusal_of_the_sender_stops_the_fleet_in_the_servers_words_and_loses_no_mail(
    by_smtp: Runtime, server: RawSmtp, clock: ManualClock, client: FlaskClient, script: Script
) -> None:
    stage, answers, words = script
    server.answer(stage, *answers)
    readers = [sign_up(by_smtp) for _ in range(8)]
    run_tick(by_smtp)
    taken = len(server.mails)
    assert states(by_smtp) == sorted([State.ACCEPTED] * taken + [State.SCHEDULED] * (8 - taken))
    (stop,) = send_blocks.what_stops(by_smtp)
    assert (stop.kind, stop.stops(clock.real_now())) == (BlockKind.PROVIDER, True)
    assert words in stop.why
    assert not any(reader.email in stop.why for reader in readers)
    assert "@" not in stop.why
    log_in(client, by_smtp)
    assert words in client.get("/desk/").text
    before = mails_tried(server), server.connections
    run_tick(by_smtp)
    assert (mails_tried(server), server.connections) == before, "while it stops, nobody is asked"

    assert stop.until is not None
    clock.advance(seconds=(stop.until - clock.real_now()).total_seconds() + 1)
    log_in(client, by_smtp)
    assert words in client.get("/desk/").text
    run_tick(by_smtp)
    tried = mails_tried(server) - before[0] if stage != "CONNECT" else server.connections - before[1]
    assert tried == 1, "one mail tries whether it is over"
    (again,) = send_blocks.what_stops(by_smtp)
    assert (again.since, again.stops(clock.real_now())) == (stop.since, True)

    server.answer(stage)
    for _ in range(20):
        clock.advance(minutes=31)
        run_tick(by_smtp)
    assert states(by_smtp) == [State.ACCEPTED] * 8
    assert send_blocks.what_stops(by_smtp) == []
    assert sorted(mail.recipients[0] for mail in server.mails) == sorted(reader.email for reader in readers)


def test_the_alarm_in_the_log_is_the_servers_own_words(
    by_smtp: Runtime, server: RawSmtp, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure()  # onto the error stream as it is captured here
    server.answer("MAIL", Answer(NOT_OWNED))
    reader = sign_up(by_smtp)
    run_tick(by_smtp)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    (alarm,) = [line for line in lines if line["event"] == "sending_stopped"]
    assert alarm["level"] == "error"
    assert "not owned by user" in alarm["reason"]
    assert not any(reader.email in json.dumps(line) for line in lines)


def standing(rt: Runtime, reader: Reader) -> SubscriberState:
    with rt.database.read() as db:
        found: SubscriberState = db.execute(select(subscribers.c.state).where(subscribers.c.id == reader.id)).scalar_one()
    return found


UNKNOWN = [
    ("RCPT", "550 5.1.1 User unknown"),
    ("RCPT", "550 No such user"),
    ("RCPT", "556 5.1.10 null MX"),
    ("END", "550 5.1.1 User unknown"),
]


@pytest.mark.parametrize(("stage", "text"), UNKNOWN)
def test_a_refusal_of_the_recipient_suppresses_like_a_bounce(
    by_smtp: Runtime, server: RawSmtp, clock: ManualClock, stage: str, text: str
) -> None:
    gone, other = a_subscriber(by_smtp, "gone@example.org"), a_subscriber(by_smtp, "other@example.org")
    with by_smtp.database.begin() as db:
        db.execute(deliveries.delete().where(deliveries.c.kind != DeliveryKind.LETTER))
    server.answer(f"{stage}:{gone.email}", Answer(text))
    run_tick(by_smtp)
    assert [row[1] for row in rows(by_smtp, gone)] == [State.BOUNCED]
    assert standing(by_smtp, gone) is SubscriberState.BOUNCED
    email_index = by_smtp.cipher.blind_index(gone.email)
    with by_smtp.database.read() as db:
        reasons = list(db.scalars(select(suppressions.c.reason).where(suppressions.c.email_index == email_index)))
    assert reasons == [Suppression.BOUNCED]
    assert service.list_doubts(by_smtp, State.FAILED) == [], "no person is needed"
    with by_smtp.database.read() as db:
        assert statistics.returned(db, (clock.now() - timedelta(days=1), clock.now() + timedelta(days=1))) == {State.BOUNCED: 1}
    clock.advance(days=400)
    run_tick(by_smtp)
    assert len(rows(by_smtp, gone)) == 1, "no later letter"
    assert (standing(by_smtp, other), send_blocks.what_stops(by_smtp)) == (SubscriberState.ACTIVE, [])
    assert {mail.recipients[0] for mail in server.mails} == {other.email}


def test_a_notice_to_an_address_that_takes_no_mail_fails_and_changes_no_reader(by_smtp: Runtime, server: RawSmtp) -> None:
    from tests.delivery.test_subjects import a_request_for_a_call

    server.answer("RCPT", Answer("550 5.1.1 User unknown"))
    a_request_for_a_call(by_smtp)
    run_tick(by_smtp)
    (failed,) = service.list_doubts(by_smtp, State.FAILED)
    assert failed.why == "SMTP 550 5.1.1 at RCPT: User unknown"
    assert failed.since is not None


def test_a_probe_that_the_recipient_refuses_neither_ends_the_stop_nor_prolongs_it(
    by_smtp: Runtime, server: RawSmtp, clock: ManualClock
) -> None:
    server.answer("MAIL", Answer(NOT_OWNED))
    readers = [sign_up(by_smtp, f"probe{number}@example.org") for number in range(3)]
    run_tick(by_smtp)
    clock.advance(minutes=6)
    (stop,) = send_blocks.what_stops(by_smtp)
    server.answer("MAIL")
    for reader in readers:
        server.answer(f"RCPT:{reader.email}", Answer("550 5.1.1 User unknown"))
    run_tick(by_smtp)
    assert send_blocks.what_stops(by_smtp) == [stop], "it was not taken, so nothing is proved; nor was the sender refused"
    sign_up(by_smtp)
    run_tick(by_smtp)
    assert send_blocks.what_stops(by_smtp) == []
    assert len(server.mails) == 1


def test_a_mail_that_is_refused_itself_has_failed_and_the_others_go_on(by_smtp: Runtime, server: RawSmtp) -> None:
    first, _ = sign_up(by_smtp, "first@example.org"), sign_up(by_smtp)
    server.answer(f"END:{first.email}", Answer("554 5.6.0 first@example.org: cannot read part 4711"))
    run_tick(by_smtp)
    (failed,) = service.list_doubts(by_smtp, State.FAILED)
    assert failed.why == "SMTP 554 5.6.0 at end of data: ‹address›: cannot read part #"
    assert states(by_smtp) == sorted([State.FAILED, State.ACCEPTED])
    assert send_blocks.what_stops(by_smtp) == []


def test_greylisting_delays_one_mail_and_stops_nothing(by_smtp: Runtime, server: RawSmtp, clock: ManualClock) -> None:
    first, _ = sign_up(by_smtp, "first@example.org"), sign_up(by_smtp)
    server.answer(f"RCPT:{first.email}", Answer("450 4.2.0 Greylisted", times=1))
    run_tick(by_smtp)
    assert states(by_smtp) == sorted([State.SCHEDULED, State.ACCEPTED])
    assert send_blocks.what_stops(by_smtp) == []
    clock.advance(minutes=1)
    run_tick(by_smtp)
    assert states(by_smtp) == [State.ACCEPTED] * 2


def test_the_command_says_what_the_server_said(tmp_path: Path, server: RawSmtp) -> None:
    """An installation that sends by SMTP; its own process asks."""
    server.answer("MAIL", Answer(NOT_OWNED))
    given = {
        "mailer": "smtp", "smtp_url": server.url, "from_email": "dana@letters.example.org", "postal_address": "PO Box 12",
    }  # fmt: skip
    rt = runtime.build(settings_for(tmp_path, **given), migrate=True)
    try:
        sign_up(rt)
        run_tick(rt)
    finally:
        rt.close()
    env = environment(tmp_path, **given)
    said = nurture("sending", "status", env=env).stdout
    assert "Sender address rejected: not owned by user ‹id›" in said
    (found,) = json.loads(nurture("sending", "status", "--json", env=env).stdout)
    assert found["gate"] == "provider"
    assert "@" not in said


def test_home_shows_the_words_as_text(by_smtp: Runtime, server: RawSmtp) -> None:
    server.answer("MAIL", Answer("550 5.7.1 <script>alert(1)</script> refused"))
    sign_up(by_smtp)
    run_tick(by_smtp)
    browser = create_app(by_smtp).test_client()
    log_in(browser, by_smtp)
    shown = browser.get("/desk/").text
    assert "&lt;script&gt;" in shown
    assert "<script>alert" not in shown


def test_two_hours_of_refusals_ask_the_server_a_few_times_an_hour(
    by_smtp: Runtime, server: RawSmtp, clock: ManualClock
) -> None:
    server.answer("MAIL", Answer(NOT_OWNED))
    for _ in range(8):
        sign_up(by_smtp)
    end = clock.now() + timedelta(hours=2)
    while clock.now() < end:
        clock.advance(seconds=60)
        run_tick(by_smtp)
    assert mails_tried(server) <= 40
    assert states(by_smtp) == [State.SCHEDULED] * 8
