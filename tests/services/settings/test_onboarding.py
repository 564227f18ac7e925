"""The first run: nothing leaves for others before every line of the list is done and somebody says so."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nurture import dispatch, runtime
from nurture.config import waits_for_the_desk
from nurture.delivery.send_transaction import NOT_LIVE
from nurture.delivery.sender import Sender
from nurture.delivery.tick import tick
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.user import Role
from nurture.ids import BatchId, StepKey, UserId, new_id
from nurture.mailers.smtp import url_from_parts
from nurture.runtime import Runtime
from nurture.services.accounts import login
from nurture.services.accounts.accounts import Account
from nurture.services.addresses import parse_address
from nurture.services.letters import drafts, publishing
from nurture.services.operations import dashboard, send_blocks
from nurture.services.operations.retention import retain
from nurture.services.settings import desk_settings, launch, mailer_check, onboarding
from nurture.services.settings.onboarding import NotReady, Task
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.state import launch as live
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.desk import Colleague, a_colleague
from tests.people import a_subscriber, rows, run_tick, sign_up
from tests.servers.smtp import SmtpServer
from tests.services.settings.test_desk_settings import SENDER

ME = UserId(new_id())
WHO = {"practice_name": "Dana Oak", "practice_credential": "LCSW", "practice_state": "Oregon"}


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer("plain", auth=("dana", "s3cret word")) as running:
        yield running


def choose_smtp(rt: Runtime, smtp: SmtpServer) -> None:
    """At the desk, which has a sender by then."""
    desk_settings.save(rt, SENDER, ME)
    url = url_from_parts("127.0.0.1", str(smtp.port), "dana", "s3cret word", False)
    desk_settings.save_mailer(rt, {"mailer": "smtp", "smtp_url": url}, ME)


def account(who: Colleague) -> Account:
    return Account(who.id, Role.OWNER, "Dana", who.email, True, None)


def do_everything(rt: Runtime, smtp: SmtpServer) -> Account:
    me = account(a_colleague(rt))
    choose_smtp(rt, smtp)
    desk_settings.save(rt, WHO, me.id)
    mailer_check.send(rt, me)
    for each in onboarding.load_progress(rt, True).chapters:
        onboarding.mark_read(rt, each.edition, me.id, True)
    onboarding.send_series(rt, me)
    run_tick(rt)
    assert isinstance(rt.clock, ManualClock)
    rt.clock.advance(seconds=20)
    run_tick(rt)
    return me


def test_nothing_reaches_a_reader_before_somebody_says_so_and_everything_after(rt: Runtime, smtp: SmtpServer) -> None:
    early = a_subscriber(rt)  # while it was tried out with the outbox
    me = do_everything(rt, smtp)
    assert {mail.rcpt_tos for mail in smtp.mails} == {("dana@example.org",)}
    assert [row[1] for row in rows(rt, early)] == [State.SCHEDULED] * 2
    assert onboarding.load_progress(rt, True).missing == []
    onboarding.go_live(rt, me)
    run_tick(rt)
    assert [mail.rcpt_tos for mail in smtp.mails][-1] == (early.email,)
    assert launch.is_open(rt)
    assert onboarding.progress(rt, True) is None


def test_the_list_says_what_is_missing_and_what_is_missing_stops_it(rt: Runtime, smtp: SmtpServer) -> None:
    now = onboarding.load_progress(rt, False)
    assert now.done == frozenset()
    me = do_everything(rt, smtp)
    for undo, task in (
        (lambda: desk_settings.save(rt, {"practice_credential": ""}, ME), Task.PRACTICE),
        (lambda: onboarding.mark_read(rt, now.chapters[2].edition, ME, False), Task.READ),
    ):
        undo()
        assert task in onboarding.load_progress(rt, True).missing
    with pytest.raises(NotReady):
        onboarding.go_live(rt, me)
    with pytest.raises(NotReady):
        onboarding.go_live(rt, Account(me.id, Role.OWNER, "", "", False, None))
    assert not launch.is_open(rt)


def test_another_mail_service_must_be_tried_anew(rt: Runtime, smtp: SmtpServer, clock: ManualClock) -> None:
    do_everything(rt, smtp)
    clock.advance(minutes=1)
    url = url_from_parts("127.0.0.1", str(smtp.port), "dana", "another word", False)
    desk_settings.save_mailer(rt, {"mailer": "smtp", "smtp_url": url}, ME)
    assert onboarding.load_progress(rt, True).missing == [Task.TEST_EMAIL]


def test_a_letter_that_changes_is_to_be_read_and_sent_again_and_only_that_one(rt: Runtime, smtp: SmtpServer) -> None:
    me = do_everything(rt, smtp)
    key = dashboard.first_sequence(rt)
    now = drafts.open_letter(rt, key, StepKey("history"))
    changed = drafts.save(rt, key, StepKey("history"), replace(now.parts, subject="Letter 1: how it began"), now.version, me.id)
    drafts.publish(rt, key, StepKey("history"), changed.version, me)
    assert publishing.work(rt)
    assert onboarding.load_progress(rt, True).missing == [Task.READ, Task.SERIES]
    assert onboarding.send_series(rt, me) == 1


def test_what_was_claimed_for_the_outbox_does_not_slip_out_by_a_mailer_chosen_meanwhile(rt: Runtime, smtp: SmtpServer) -> None:
    reader = sign_up(rt)
    batches: list[BatchId] = []
    tick(rt, batches.append)
    choose_smtp(rt, smtp)
    sender = Sender(rt)
    sender.submit(batches[0])
    sender.finish()
    sender.close()
    assert smtp.mails == []
    assert [row[1] for row in rows(rt, reader)] == [State.SCHEDULED]
    with rt.database.read() as db:
        assert db.scalar(text("SELECT reason FROM delivery_history ORDER BY id DESC LIMIT 1")) == NOT_LIVE
    run_tick(rt)
    assert smtp.mails == []


def test_a_sender_works_by_the_settings_it_was_started_with_and_is_followed_by_another(rt: Runtime, smtp: SmtpServer) -> None:
    here = dispatch.create_dispatcher(rt)
    try:
        sign_up(rt)
        tick(rt, here.submit)
        here.finish()
        me = do_everything(rt, smtp)
        onboarding.go_live(rt, me)
        before = len(smtp.mails)
        reader = sign_up(rt)
        tick(rt, here.submit)
        here.finish()
        assert [mail.rcpt_tos for mail in smtp.mails[before:]] == [(reader.email,)]
    finally:
        here.close()


def test_a_first_run_that_takes_weeks_does_not_begin_anew(rt: Runtime, smtp: SmtpServer, clock: ManualClock) -> None:
    me = do_everything(rt, smtp)
    clock.advance(days=30)
    retain(rt)
    assert onboarding.load_progress(rt, True).missing == []
    onboarding.go_live(rt, me)
    retain(rt)
    assert onboarding.load_progress(rt, True).missing == [Task.TEST_EMAIL, Task.SERIES], "nobody asks for them any more"


def test_a_key_that_was_refused_stops_nothing_once_another_is_kept(rt: Runtime, smtp: SmtpServer) -> None:
    me = account(a_colleague(rt))
    desk_settings.save(rt, SENDER, ME)
    desk_settings.save_mailer(
        rt, {"mailer": "smtp", "smtp_url": url_from_parts("127.0.0.1", str(smtp.port), "dana", "x", False)}, ME
    )
    mailer_check.send(rt, me)
    run_tick(rt)
    assert [each.kind for each in send_blocks.what_stops(rt)] == [BlockKind.PROVIDER]
    choose_smtp(rt, smtp)
    which = mailer_check.send(rt, me)
    run_tick(rt)
    assert mailer_check.load_result(rt, which) == mailer_check.DeliveryResult(done=True, arrived=True)


def test_links_to_the_desk_come_also_before(rt: Runtime, smtp: SmtpServer) -> None:
    me = account(a_colleague(rt))
    choose_smtp(rt, smtp)
    login.mail_link(rt, parse_address(me.email))
    run_tick(rt)
    assert [mail.rcpt_tos for mail in smtp.mails] == [("dana@example.org",)]
    assert [row[0] for row in rows(rt)] == [DeliveryKind.LOGIN_LINK]


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        ({}, False),
        ({"mailer": "outbox"}, False),
        ({"mailer": "sendgrid", "sendgrid_api_key": "SG.x", "sendgrid_host": "http://127.0.0.1:4000"}, False),
        ({"mailer": "sendgrid", "sendgrid_api_key": "SG.x"}, True),
        ({"mailer": "smtp", "smtp_url": "smtp://localhost:25"}, False),
        ({"mailer": "smtp", "smtp_url": "smtp://mail.example.org:587"}, True),
    ],
)
def test_only_mail_that_can_reach_somebody_waits_for_the_desk(tmp_path: Path, given: dict[str, Any], waits: bool) -> None:
    settings = settings_for(tmp_path, from_email="dana@oak.example", postal_address="PO Box 12", **given)
    assert waits_for_the_desk(settings, settings) is waits


def test_an_installation_that_has_sent_before_goes_on_after_the_upgrade(rt: Runtime) -> None:
    with rt.database.read() as db:
        assert live.since(db) is None
    sign_up(rt)
    rt.database.migrate("0007")
    rt.database.migrate()
    with rt.database.read() as db:
        assert live.since(db) is not None


def test_a_production_mailer_of_the_environment_waits_too(database_url: str, tmp_path: Path) -> None:
    rt = runtime.build(
        settings_for(
            tmp_path, database_url, mailer="sendgrid", sendgrid_api_key="SG.x", from_email="dana@oak.example",
            postal_address="PO Box 12", base_url="https://letters.oak.example",
        )
    )  # fmt: skip
    sign_up(rt)
    assert run_tick(rt).claimed == 0
    assert not launch.is_open(rt)
    assert onboarding.load_progress(rt, True).missing == [
        Task.PRACTICE,
        Task.SENDER,
        Task.TEST_EMAIL,
        Task.DOMAIN,
        Task.READ,
        Task.SERIES,
    ]
    rt.close()
