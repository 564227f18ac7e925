"""A sender that lives on, as in production: it is refused, its commits fail, it is stopped, and it goes on when it can."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from nurture import runtime, scheduler
from nurture.delivery.plan import SET_BACK_UNTIL
from nurture.delivery.sender import Sender
from nurture.delivery.tick import tick
from nurture.domain.circuit_breaker import RUN_OF_REJECTIONS
from nurture.domain.delivery import Accepted, Ambiguous, Concern, DeliveryKind, Outcome, Refused, Rejected, State
from nurture.ids import BatchId
from nurture.mailers.base import Mail, Mailer
from nurture.mailers.outbox import Outbox
from nurture.mailers.sendgrid.mailer import SendGrid
from nurture.mailers.smtp import Smtp
from nurture.runtime import Runtime
from nurture.store.core.schema import deliveries, steps, subscribers
from nurture.store.deliveries import send_blocks
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.state import app_state
from nurture.store.subscribers.subscribers import email_field
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.faults.points import meeting
from tests.people import Reader, a_subscriber, rows, run_tick, sign_up
from tests.scripted import Answering
from tests.servers.sendgrid import KEY, SendGridServer, refuse_429
from tests.servers.smtp import SmtpServer

SOON = 20.0
"""Seconds within which a living sender has long done what it does at once."""


@contextmanager
def a_sender(rt: Runtime) -> Iterator[Sender]:
    """One that lives through the block, and ends soon when it is over."""
    sender = Sender(rt)
    try:
        yield sender
    finally:
        soon(sender.close)


def soon(act: Callable[[], object]) -> None:
    """Do something that must not hang."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(SOON)
    assert not thread.is_alive(), "it hangs"


def send(rt: Runtime, sender: Sender) -> None:
    """One tick, to its end."""
    tick(rt, sender.submit)
    soon(sender.finish)


def block_of(rt: Runtime) -> str | None:
    with rt.database.read() as db:
        return next((block.why for block in send_blocks.active_blocks(db) if block.kind is BlockKind.PROVIDER), None)


def states(rt: Runtime) -> Counter[State]:
    return Counter(row[1] for row in rows(rt))


# It goes on


def test_after_a_probe_with_nothing_waiting_it_goes_on_and_ends_when_told(rt: Runtime, clock: ManualClock) -> None:
    with rt.database.begin() as db:  # everything was refused a while ago; the wait is over
        real_now = clock.real_now()
        send_blocks.block(
            db, BlockKind.PROVIDER, "429", "a test", real_now - timedelta(minutes=2), real_now - timedelta(minutes=1)
        )
    with a_sender(rt) as sender:
        sign_up(rt)
        send(rt, sender)
        assert states(rt) == {State.ACCEPTED: 1}
        for _ in range(5):
            sign_up(rt)
        send(rt, sender)
        assert states(rt) == {State.ACCEPTED: 6}


def test_a_provider_that_refuses_a_third_of_the_requests_for_a_while_gets_everything_afterwards(
    database_url: str, tmp_path: Path
) -> None:
    """In real time, over HTTP; a refusal asks for one second of patience."""
    with SendGridServer() as server:
        given = {
            "mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": server.url, "from_email": "dana@example.org",
            "postal_address": "PO Box 12",
        }  # fmt: skip
        rt = runtime.build(settings_for(tmp_path, database_url, tick_seconds=0.1, **given))
        for _ in range(40):
            sign_up(rt)
        server.plan_chaos(1 / 3, [refuse_429(reset_in=0.1)], seed=3)
        with a_sender(rt) as sender:
            ticking = scheduler.start(rt, sender.submit)
            server.wait_for(12, timeout=120)
            server.plan_chaos(0, [], seed=3)
            server.wait_for(40, timeout=120)
            scheduler.stop(rt, ticking)
        assert server.duplicates() == {}
        assert states(rt) == {State.ACCEPTED: 40}
        assert block_of(rt) is None
        rt.close()


@pytest.mark.parametrize("requests_at_once", [1, 4])
def test_after_any_refusal_it_is_as_fast_as_before(rt: Runtime, clock: ManualClock, requests_at_once: int) -> None:
    rt.settings = rt.settings.model_copy(update={"send_concurrency": requests_at_once})
    at_once, most = 0, 0

    async def accept(_: Mail) -> Outcome:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        while at_once < requests_at_once and most < requests_at_once:  # the others come too, or this never ends
            await asyncio.sleep(0.001)
        at_once -= 1
        return Accepted("m")

    rt.mailer = mailer = Answering(lambda _: Refused("429", timedelta(seconds=30)))
    for _ in range(30):
        sign_up(rt)
    with a_sender(rt) as sender:
        for _ in range(4):
            send(rt, sender)
            clock.advance(seconds=31)
        assert block_of(rt) == "429"
        mailer.answer = lambda _: Accepted("m")
        send(rt, sender)
        for _ in range(30):
            sign_up(rt)
        mailer.answer = accept
        send(rt, sender)
    assert states(rt) == {State.ACCEPTED: 60}
    assert most == requests_at_once


# A refusal of everything


def test_a_refusal_that_comes_during_a_commit_keeps_back_what_the_commit_marked(rt: Runtime) -> None:
    for _ in range(8):
        sign_up(rt)
    rt.settings = rt.settings.model_copy(update={"send_concurrency": 2})
    first, refused = threading.Event(), threading.Event()

    async def answer(mail: Mail) -> Outcome:
        if mail is mailer.given[0]:
            return Accepted("m")
        await asyncio.to_thread(first.wait, SOON)
        refused.set()
        return Refused("429", timedelta(seconds=30))

    def hold_the_commit() -> None:
        """The second one: it settles the first answer, and marks two more."""
        first.set()
        assert refused.wait(SOON)
        until = time.monotonic() + SOON
        while sender._cycle.refusal is None:  # the sender's loop, which is free, takes the answer in
            assert time.monotonic() < until
            time.sleep(0.01)

    rt.mailer = mailer = Answering(answer)
    with a_sender(rt) as sender, meeting("mark.before_commit", hold_the_commit, nth=2):
        send(rt, sender)
    assert len(mailer.given) == 2, "nothing left after the refusal"
    assert states(rt) == {State.ACCEPTED: 1, State.SCHEDULED: 7}


def test_an_answer_to_an_older_request_does_not_end_a_block(rt: Runtime, clock: ManualClock) -> None:
    """Only what was sent as a probe says that the provider takes mail again."""
    for _ in range(8):
        sign_up(rt)
    refused = threading.Event()

    async def answer(mail: Mail) -> Outcome:
        if mail is mailer.given[0]:
            while len(mailer.given) < 2:
                await asyncio.sleep(0.001)
            return Refused("401", timedelta(minutes=5))
        while block_of(rt) is None:
            await asyncio.sleep(0.01)
        refused.set()
        return Accepted("m")

    rt.settings = rt.settings.model_copy(update={"send_concurrency": 2})
    rt.mailer = mailer = Answering(answer)
    with a_sender(rt) as sender:
        send(rt, sender)
        assert refused.is_set()
        assert block_of(rt) == "401"
        clock.advance(minutes=6)
        mailer.answer = lambda _: Accepted("m")
        send(rt, sender)
    assert block_of(rt) is None
    assert states(rt) == {State.ACCEPTED: 8}


# Rejections in a row


def test_ten_rejections_in_a_row_for_one_reason_stop_sending_and_the_other_mails_stay(rt: Runtime, clock: ManualClock) -> None:
    for _ in range(40):
        sign_up(rt)
    rt.mailer = mailer = Answering(lambda _: Rejected("553 5.7.1 sender not allowed"))
    with a_sender(rt) as sender:
        send(rt, sender)
        assert states(rt) == {State.FAILED: RUN_OF_REJECTIONS - 1, State.SCHEDULED: 40 - RUN_OF_REJECTIONS + 1}
        assert block_of(rt) == "553 5.7.1 sender not allowed"
        for _ in range(3):
            given = len(mailer.given)
            clock.advance(minutes=6)
            send(rt, sender)
            assert len(mailer.given) == given + 1, "one probe"
        assert states(rt)[State.FAILED] == RUN_OF_REJECTIONS - 1
        mailer.answer = lambda _: Accepted("m")
        clock.advance(minutes=6)
        send(rt, sender)
    assert states(rt) == {State.FAILED: RUN_OF_REJECTIONS - 1, State.ACCEPTED: 40 - RUN_OF_REJECTIONS + 1}
    assert block_of(rt) is None


def test_a_process_started_anew_writes_nothing_more_off(rt: Runtime, clock: ManualClock) -> None:
    for _ in range(20):
        sign_up(rt)
    rt.mailer = Answering(lambda _: Rejected("400 from"))
    for _ in range(4):
        with a_sender(rt) as sender:
            send(rt, sender)
        clock.advance(minutes=6)
    assert states(rt) == {State.FAILED: RUN_OF_REJECTIONS - 1, State.SCHEDULED: 20 - RUN_OF_REJECTIONS + 1}


def test_mail_that_fails_for_its_own_sake_is_written_off_in_the_end_and_the_rest_goes_out(
    rt: Runtime, clock: ManualClock
) -> None:
    """A probe is never the same mail again while there is one that was not tried."""
    bad = set()
    for _ in range(16):
        bad.add(sign_up(rt).email)
        clock.advance(seconds=1)
    for _ in range(3):
        sign_up(rt)
        clock.advance(seconds=1)
    rt.settings = rt.settings.model_copy(update={"send_concurrency": 1})
    rt.mailer = Answering(lambda mail: Rejected("400 content") if mail.to in bad else Accepted("m"))
    with a_sender(rt) as sender:
        for _ in range(16):
            send(rt, sender)
            clock.advance(minutes=6)
    assert states(rt)[State.ACCEPTED] == 3


def test_recipients_that_do_not_exist_stop_nothing(rt: Runtime) -> None:
    for _ in range(30):
        sign_up(rt)
    rt.mailer = mailer = Answering(lambda _: Rejected("550 5.1.1", Concern.RECIPIENT))
    run_tick(rt)
    assert len(mailer.given) == 30
    assert block_of(rt) is None


# Mail that cannot be built

ODD = ["a@", "=?utf-8?q?=0D=0ABcc:_x?=@example.org", "a:b;@example.org", "\u00fc@example.org"]
"""Addresses that no sign-up takes any more, as an older version may have stored them: none can be written in a mail."""


@contextmanager
def mailers(rt: Runtime) -> Iterator[dict[str, Mailer]]:
    """Each real mailer, before a server of our own."""
    with SendGridServer() as server, SmtpServer() as smtp:
        yield {
            "outbox": Outbox(rt.settings.instance_dir / "outbox"),
            "sendgrid": SendGrid(KEY, server.url, rt.clock.real_now),
            "smtp": Smtp(smtp.url),
        }


def live_at(rt: Runtime, reader: Reader, email: str) -> None:
    """Give somebody another address, past every check."""
    sealed = rt.cipher.encrypt(email, email_field(reader.id))
    with rt.database.begin() as db:
        db.execute(update(subscribers).where(subscribers.c.id == reader.id).values(email_encrypted=sealed))


@pytest.mark.parametrize("name", ["outbox", "sendgrid", "smtp"])
@pytest.mark.parametrize("email", ODD)
def test_a_mail_that_cannot_be_built_has_failed_and_needs_nobody_and_the_others_go_out(
    rt: Runtime, name: str, email: str
) -> None:
    bad, good = sign_up(rt), sign_up(rt)
    live_at(rt, bad, email)
    with mailers(rt) as found:
        rt.mailer = found[name]
        run_tick(rt)
    assert [row[1] for row in rows(rt, bad)] == [State.FAILED]
    assert [row[1] for row in rows(rt, good)] == [State.ACCEPTED]
    with rt.database.read() as db:
        why, sending = db.execute(
            select(deliveries.c.reason, deliveries.c.sending_at).where(deliveries.c.subscriber_id == bad.id)
        ).one()
    assert why and email not in why
    assert sending is None, "it was never marked"


@pytest.mark.parametrize("name", ["outbox", "sendgrid", "smtp"])
def test_a_sender_with_whom_no_mail_can_be_built_stops_sending_and_writes_nothing_off(
    rt: Runtime, clock: ManualClock, name: str
) -> None:
    """An environment that is no UTF-8 gives such a name (PEP 383)."""
    for _ in range(3):
        sign_up(rt)
    good = rt.sender
    with mailers(rt) as found:
        rt.mailer, rt.sender = found[name], replace(good, name="Dana \udce4")
        for _ in range(2):
            run_tick(rt)
            assert states(rt) == {State.SCHEDULED: 3}
            assert "sender" in (block_of(rt) or "")
            clock.advance(minutes=6)
        rt.sender = good
        run_tick(rt)
    assert states(rt) == {State.ACCEPTED: 3}
    assert block_of(rt) is None


def test_a_reader_in_a_time_zone_that_is_gone_stops_nobody_elses_mail(rt: Runtime) -> None:
    """As after a move to a machine whose time zones are older."""
    lost, other = a_subscriber(rt, zone="America/New_York"), a_subscriber(rt)
    with rt.database.begin() as db:
        db.execute(update(subscribers).where(subscribers.c.id == lost.id).values(time_zone="Mars/Olympus"))
    run_tick(rt)
    assert {row[1] for row in rows(rt, lost, DeliveryKind.LETTER)} == {State.FAILED}
    assert [row[1] for row in rows(rt, other, DeliveryKind.LETTER)] == [State.ACCEPTED, State.SCHEDULED]


def test_words_that_no_database_takes_settle_their_mail_all_the_same(rt: Runtime) -> None:
    first, second, third = sign_up(rt), sign_up(rt), sign_up(rt)
    answers: dict[str, Outcome] = {
        first.email: Rejected("400 \0 from"), second.email: Ambiguous("500 \ud83d"), third.email: Accepted("id \0"),
    }  # fmt: skip
    rt.mailer = Answering(lambda mail: answers[mail.to])
    with a_sender(rt) as sender:
        send(rt, sender)
    assert [rows(rt, each)[0][1] for each in (first, second, third)] == [State.FAILED, State.UNKNOWN, State.ACCEPTED]


# Told to stop


def test_a_process_told_to_stop_while_everything_waits_gives_it_back_at_once(rt: Runtime) -> None:
    """By the rate, the next mail leaves in an hour, and more batches are claimed than the sender has room for."""
    for _ in range(12):
        sign_up(rt)
    rt.settings = rt.settings.model_copy(update={"max_sends_per_second": 1 / 3600, "batch_size": 1, "send_concurrency": 1})
    began = threading.Event()

    def accept(_: Mail) -> Outcome:
        began.set()
        return Accepted("m")

    rt.mailer = Answering(accept)
    with a_sender(rt) as sender:
        ticking = threading.Thread(target=tick, args=(rt, sender.submit))
        ticking.start()
        assert began.wait(SOON)
        time.sleep(0.5)  # by now everything waits; where it does not, this proves less, and is no less true
        rt.stopping.set()
        ticking.join(SOON)
        assert not ticking.is_alive()
        soon(sender.finish)
    assert states(rt) == {State.ACCEPTED: 1, State.SCHEDULED: 11}


def test_a_batch_claimed_just_before_a_process_stops_is_given_back(rt: Runtime) -> None:
    sign_up(rt)
    with a_sender(rt) as sender:

        def submit_late(batch: BatchId) -> None:
            rt.stopping.set()
            soon(sender.finish)
            sender.submit(batch)

        tick(rt, submit_late)
        soon(sender.finish)
    assert states(rt) == {State.SCHEDULED: 1}


# Time


def test_a_doubt_that_settling_finds_has_begun_in_real_time(rt: Runtime, clock: ManualClock) -> None:
    """A fast clock's timeline runs ahead of real time; how long a doubt lasts is counted in real time."""
    a_subscriber(rt)
    with rt.database.begin() as db:
        app_state.set_value(db, SET_BACK_UNTIL, (clock.now() + timedelta(days=400)).isoformat())
        db.execute(update(steps).values(wait="at once"))
    rt.clock = Ahead(clock.at)
    run_tick(rt)
    with rt.database.read() as db:
        since = db.scalars(select(deliveries.c.unknown_since).where(deliveries.c.state == State.UNKNOWN)).all()
    assert since == [rt.clock.real_now()]


class Ahead(ManualClock):
    """The timeline is a year ahead."""

    def now(self) -> datetime:
        return self.real_now() + timedelta(days=365)
