"""Whom not to mail, kept the same here and at SendGrid: nothing missed, nothing lost, nobody put back by mistake."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from nurture import runtime
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.mailers.sendgrid.lists import SuppressionApi
from nurture.runtime import ProcessState, Runtime
from nurture.services.addresses import parse_address
from nurture.services.subscribers import sign_up_queue, signup, suppressions, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import enrollments, metadata
from nurture.store.core.schema import suppression_pushes as table
from nurture.store.core.schema import suppressions as suppressed_table
from nurture.store.deliveries import send_blocks
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.state import app_state, heartbeats
from nurture.store.subscribers import subscribers, suppression_pushes
from nurture.store.subscribers.suppression_pushes import PushAction
from tests.clocks import START, ManualClock
from tests.conftest import settings_for
from tests.people import NEW_YORK, Reader, a_subscriber, confirm, due, enrollment_of, rows, run_tick, sign_up, undo_unsubscribe
from tests.processes import NURTURE, environment, running
from tests.servers.sendgrid import KEY, Fault, late, refuse_429, reset, status
from tests.servers.sendgrid_lists import ListName, SendGridWithLists
from tests.test_log import written


@pytest.fixture
def server(clock: ManualClock) -> Iterator[SendGridWithLists]:
    with SendGridWithLists() as running_server:
        running_server.now = lambda: clock.at.timestamp()
        yield running_server


def build(folder: Path, url: str, server: SendGridWithLists) -> Runtime:
    return runtime.build(settings_for(folder, url, **settings(server)))


def settings(server: SendGridWithLists) -> dict[str, str]:
    return {
        "mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": server.url, "from_email": "dana@example.org",
        "from_name": "Dana from Oak Street", "postal_address": "PO Box 12",
    }  # fmt: skip


@pytest.fixture
def rt(database_url: str, tmp_path: Path, clock: ManualClock, server: SendGridWithLists) -> Iterator[Runtime]:
    """A runtime that sends by SendGrid."""
    built = build(tmp_path, database_url, server)
    built.clock = clock
    yield built
    built.close()


def standing(rt: Runtime, reader: Reader) -> tuple[SubscriberState | None, Suppression | None]:
    with rt.database.read() as db:
        person = subscribers.get_unlocked(db, reader.id)
        return person.state if person else None, subscribers.suppression(db, rt.cipher.blind_index(reader.email))


def waiting(rt: Runtime) -> list[tuple[str, datetime, int]]:
    """What SendGrid has not been told: act, when, attempt."""
    with rt.database.read() as db:
        return [(row[0], row[1], row[2]) for row in db.execute(select(table.c.act, table.c.due_at, table.c.attempt))]


def mark(rt: Runtime) -> datetime | None:
    with rt.database.read() as db:
        return heartbeats.last_beat(db, heartbeats.LISTS)


def spans(server: SendGridWithLists) -> list[tuple[datetime, datetime]]:
    """The spans asked for, one for each request about a list."""
    found = []
    for line in server.list_requests:
        values = dict(part.split("=") for part in line.partition("?")[2].split("&"))
        found.append(tuple(datetime.fromtimestamp(int(values[name]), START.tzinfo) for name in ("start_time", "end_time")))
    return found  # type: ignore[return-value]


# --- What SendGrid tells us


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("bounces", SubscriberState.BOUNCED), ("invalid_emails", SubscriberState.BOUNCED),
        ("spam_reports", SubscriberState.COMPLAINED), ("unsubscribes", SubscriberState.UNSUBSCRIBED),
    ],
)  # fmt: skip
def test_who_is_known_to_be_gone_only_from_a_list_gets_nothing_more(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists, name: ListName, state: SubscriberState
) -> None:
    reader, other = a_subscriber(rt, "robin@example.org"), a_subscriber(rt)
    run_tick(rt)
    server.fill(name, [("Robin@Example.ORG", clock.advance(hours=1).timestamp())])
    clock.advance(hours=1)
    assert suppressions.pull(rt)
    assert standing(rt, reader) == (state, Suppression(state.value))
    with rt.database.read() as db:
        theirs = enrollments.c.id == enrollment_of(rt, reader)
        assert db.execute(select(enrollments.c.state).where(theirs)).scalar_one() is EnrollmentState.EXITED
    assert [row[1] for row in rows(rt, reader, DeliveryKind.LETTER)] == [State.ACCEPTED, State.CANCELLED]
    clock.at = due(rt, other) or clock.at
    run_tick(rt)
    assert len(server.to(reader.email)) == 1, "the welcome"
    assert len(server.to(other.email)) == 2
    assert waiting(rt) == []


def test_a_block_is_of_one_mail_and_stops_nobody(rt: Runtime, clock: ManualClock, server: SendGridWithLists) -> None:
    reader = a_subscriber(rt)
    server.fill("blocks", [(reader.email, clock.at.timestamp())])
    assert suppressions.pull(rt)
    assert standing(rt, reader) == (SubscriberState.ACTIVE, None)


def test_an_address_nobody_signed_up_with_is_known_when_somebody_does(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    server.fill("bounces", [("Gone@Example.org", clock.at.timestamp())])
    suppressions.pull(rt)
    signup.subscribe(rt, signup.SignUp(parse_address("gone@example.org"), "Robin", NEW_YORK, "/"))
    run_tick(rt)
    assert sign_up_queue.decide_on_sign_ups(rt) == 0, "it was decided on"
    assert server.arrived() == []


def test_addresses_that_could_not_be_ours_are_counted_and_passed_over(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    reader = a_subscriber(rt)
    server.fill("invalid_emails", [(odd, clock.at.timestamp()) for odd in ("robin@", "", "@", "a b@c", reader.email)])
    with written() as lines:
        assert suppressions.pull(rt)
    (line,) = [line for line in lines.all if line["event"] == "suppressions_pulled"]
    assert (line["entries"], line["unreadable"], line["stopped"]) == (5, 4, 1)


def test_more_than_two_pages_are_read_whole(rt: Runtime, clock: ManualClock, server: SendGridWithLists) -> None:
    server.fill("bounces", [(f"reader{n}@example.com", clock.at.timestamp() - 60) for n in range(1201)])
    assert suppressions.pull(rt)
    with rt.database.read() as db:
        assert db.scalar(select(func.count()).select_from(suppressed_table)) == 1201


def test_nobody_is_put_back_or_seen_milder_by_a_list(rt: Runtime, clock: ManualClock, server: SendGridWithLists) -> None:
    left, bounced, complained = (a_subscriber(rt) for _ in range(3))
    unsubscribe.unsubscribe(rt, left.id, Exit.PAGE)
    at = clock.at.timestamp()
    server.fill("bounces", [(bounced.email, at), (complained.email, at)])
    server.fill("spam_reports", [(complained.email, at), ("stranger@example.org", at)])
    server.fill("bounces", [("stranger@example.org", at)])
    before = []
    for _ in range(3):
        suppressions.pull(rt)
        with rt.database.read() as db:
            before.append({tuple(row) for row in db.execute(select(suppressed_table))})
        clock.advance(days=1)
        server._lists["spam_reports"].clear()
        server.fill("unsubscribes", [(reader.email, clock.at.timestamp()) for reader in (left, bounced, complained)])
    assert before[0] == before[1] == before[2], "not even when it came to be known"
    assert standing(rt, left) == (SubscriberState.UNSUBSCRIBED, Suppression.UNSUBSCRIBED)
    assert standing(rt, bounced) == (SubscriberState.BOUNCED, Suppression.BOUNCED)
    assert standing(rt, complained) == (SubscriberState.COMPLAINED, Suppression.COMPLAINED)


def test_a_bounce_of_somebody_who_left_outweighs_their_leaving(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    server.fill("bounces", [(reader.email, clock.at.timestamp())])
    suppressions.pull(rt)
    assert standing(rt, reader) == (SubscriberState.BOUNCED, Suppression.BOUNCED)
    assert not undo_unsubscribe(rt, reader.id)


def comes_back(rt: Runtime, clock: ManualClock) -> Reader:
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    clock.advance(days=2)
    sign_up(rt, reader.email)
    confirm(rt, reader)
    return reader


def takes_it_back(rt: Runtime, clock: ManualClock) -> Reader:
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    clock.advance(minutes=10)
    assert undo_unsubscribe(rt, reader.id)
    return reader


@pytest.mark.parametrize("how", [comes_back, takes_it_back])
def test_who_came_back_after_leaving_stays_and_sendgrid_is_told(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists, how: Callable[[Runtime, ManualClock], Reader]
) -> None:
    left = clock.at.timestamp() + 60
    reader = how(rt, clock)
    server.fill("unsubscribes", [(reader.email, left)])
    with rt.database.begin() as db:
        suppression_pushes.forget(db, reader.id)  # as if SendGrid had been told, and restored a backup of its own
    assert suppressions.pull(rt)
    assert standing(rt, reader) == (SubscriberState.ACTIVE, None)
    assert due(rt, reader) is not None
    suppressions.push(rt)
    assert server.listed("unsubscribes") == []


@pytest.mark.parametrize("how", [comes_back, takes_it_back])
def test_who_leaves_again_after_coming_back_has_left(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists, how: Callable[[Runtime, ManualClock], Reader]
) -> None:
    reader = how(rt, clock)
    server.fill("unsubscribes", [(reader.email, clock.advance(minutes=1).timestamp())])
    assert suppressions.pull(rt)
    assert standing(rt, reader) == (SubscriberState.UNSUBSCRIBED, Suppression.UNSUBSCRIBED)
    assert due(rt, reader) is None
    suppressions.push(rt)
    assert server.listed("unsubscribes") == [reader.email], "that they had come back is not told any more"


@pytest.mark.parametrize("name", ["bounces", "spam_reports"])
def test_a_bounce_or_complaint_counts_also_for_who_came_back_after_it(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists, name: ListName
) -> None:
    at = clock.at.timestamp()
    reader = comes_back(rt, clock)
    server.fill(name, [(reader.email, at)])
    assert suppressions.pull(rt)
    assert standing(rt, reader)[0] in (SubscriberState.BOUNCED, SubscriberState.COMPLAINED)


def test_who_has_just_signed_up_may_confirm_whatever_sendgrid_remembers_and_is_taken_off_its_list(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    server.fill("unsubscribes", [("robin@example.org", clock.at.timestamp())])
    clock.advance(hours=1)
    reader = sign_up(rt, "robin@example.org")
    suppressions.pull(rt)
    assert standing(rt, reader) == (SubscriberState.PENDING, Suppression.UNSUBSCRIBED)
    confirm(rt, reader)
    assert standing(rt, reader) == (SubscriberState.ACTIVE, None)
    suppressions.push(rt)
    assert server.listed("unsubscribes") == []
    clock.advance(minutes=2)
    run_tick(rt)
    assert len([mail for mail in server.arrived() if mail.address == reader.email]) == 1


def signs_up(rt: Runtime, clock: ManualClock) -> Reader:
    return sign_up(rt)


def signs_up_again(rt: Runtime, clock: ManualClock) -> Reader:
    reader = sign_up(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    with rt.database.begin() as db:
        db.execute(metadata.tables["deliveries"].delete())  # long ago
    clock.advance(days=1)
    return sign_up(rt, reader.email)


@pytest.mark.parametrize("how", [signs_up, signs_up_again])
def test_who_signed_up_and_then_left_at_sendgrid_is_not_asked_any_more(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists, how: Callable[[Runtime, ManualClock], Reader]
) -> None:
    reader = how(rt, clock)
    assert standing(rt, reader)[0] is SubscriberState.PENDING
    server.fill("unsubscribes", [(reader.email, clock.advance(minutes=1).timestamp())])
    suppressions.pull(rt)
    assert standing(rt, reader) == (SubscriberState.UNSUBSCRIBED, Suppression.UNSUBSCRIBED)
    run_tick(rt)
    assert server.to(reader.email) == []


def test_it_is_read_once_a_day_from_two_days_before_the_last_time(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    first = clock.at
    assert suppressions.pull(rt)
    assert set(spans(server)) == {(first - timedelta(days=30), first)}
    assert len(server.list_requests) == 4
    for hours in (1, 12, 10.9):
        clock.advance(hours=hours)
        assert not suppressions.pull(rt)
    second = clock.advance(hours=0.2)
    server.list_requests.clear()
    assert suppressions.pull(rt)
    assert set(spans(server)) == {(first - timedelta(hours=48), second)}


def test_many_at_once_read_it_once(rt: Runtime, server: SendGridWithLists) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: suppressions.pull(rt), range(16))) == 1
    assert len(server.list_requests) == 4


@pytest.mark.parametrize("fault", [status(500), status(403), reset(accepted=True), status(400)], ids=lambda fault: fault.label)
def test_a_reading_that_fails_is_done_again_in_an_hour_and_misses_nothing(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists, fault: Fault
) -> None:
    assert suppressions.pull(rt)
    before = clock.at
    clock.advance(days=1)
    reader = a_subscriber(rt)
    server.fill("spam_reports", [(reader.email, clock.at.timestamp())])
    server.plan_lists(None, None, None, fault)
    with written() as lines:
        assert not suppressions.pull(rt)
    assert [line["event"] for line in lines.all] == ["suppression_pull_failed"]
    assert mark(rt) == before
    clock.advance(minutes=59)
    server.list_requests.clear()
    assert not suppressions.pull(rt)
    assert not server.list_requests
    clock.advance(minutes=2)
    assert suppressions.pull(rt)
    assert {start for start, _ in spans(server)} == {before - timedelta(hours=48)}
    assert mark(rt) == clock.at
    assert standing(rt, reader)[0] is SubscriberState.COMPLAINED


def test_a_process_that_stops_leaves_the_reading_to_another(rt: Runtime, clock: ManualClock, server: SendGridWithLists) -> None:
    server.fill("bounces", [("robin@example.org", clock.at.timestamp())])
    rt.stopping.set()
    assert not suppressions.pull(rt)
    assert mark(rt) is None


def test_after_a_restored_backup_it_is_read_at_once_and_stale_words_are_not_told(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    reader = takes_it_back(rt, clock)
    assert suppressions.pull(rt)
    clock.advance(hours=2)
    server.fill("unsubscribes", [(reader.email, clock.at.timestamp())])  # they left anew, and a backup from before is restored
    with rt.database.begin() as db:
        send_blocks.block(db, BlockKind.DATABASE_RESTORED, "the database was set back", "test", clock.at)
    assert suppressions.push(rt) == 0
    assert server.listed("unsubscribes") == [reader.email]
    assert suppressions.pull(rt)
    assert standing(rt, reader) == (SubscriberState.UNSUBSCRIBED, Suppression.UNSUBSCRIBED)
    with rt.database.begin() as db:
        send_blocks.unblock(db, BlockKind.DATABASE_RESTORED)
    suppressions.push(rt)
    assert server.listed("unsubscribes") == [reader.email]


def test_it_finds_out_itself_that_the_database_was_set_back(rt: Runtime, clock: ManualClock, server: SendGridWithLists) -> None:
    for _ in range(2):
        assert suppressions.pull(rt)
        clock.advance(days=1)
    assert suppressions.pull(rt)
    clock.advance(hours=2)
    with rt.database.begin() as db:
        app_state.replace(db, "generation", "0")
    assert suppressions.pull(rt)


def test_a_mark_that_lies_ahead_does_not_keep_it_from_reading(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    with rt.database.begin() as db:
        heartbeats.beat(db, heartbeats.LISTS, clock.at + timedelta(days=30))
    assert suppressions.pull(rt)
    assert set(spans(server)) == {(clock.at - timedelta(hours=48), clock.at)}
    assert mark(rt) == clock.at


def test_by_a_clock_that_jumped_nothing_is_read(rt: Runtime, clock: ManualClock, server: SendGridWithLists) -> None:
    with rt.database.begin() as db:
        send_blocks.block(db, BlockKind.CLOCK, "the clock jumped", "another machine", clock.at)
    assert not suppressions.pull(rt)
    assert suppressions.push(rt) == 0
    assert not server.list_requests


# --- What we tell SendGrid


def test_who_leaves_is_on_sendgrids_list_and_who_takes_it_back_is_not(rt: Runtime, server: SendGridWithLists) -> None:
    reader, other = a_subscriber(rt), a_subscriber(rt)
    for one in (reader, other):
        unsubscribe.unsubscribe(rt, one.id, Exit.ONE_CLICK)
    assert suppressions.push(rt) == 2
    assert set(server.listed("unsubscribes")) == {reader.email, other.email}
    assert len(server.list_requests) == 1
    assert undo_unsubscribe(rt, reader.id)
    assert suppressions.push(rt) == 1
    assert server.listed("unsubscribes") == [other.email]
    assert suppressions.push(rt) == 0
    assert waiting(rt) == []


def test_of_two_words_about_a_reader_only_the_newest_is_told(rt: Runtime, server: SendGridWithLists) -> None:
    reader = takes_it_back(rt, ManualClock())
    assert [act for act, _, _ in waiting(rt)] == ["remove"]
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    assert [act for act, _, _ in waiting(rt)] == ["add"]
    assert suppressions.push(rt) == 1
    assert server.listed("unsubscribes") == [reader.email]


def test_what_sendgrid_holds_for_somebody_who_left_is_dropped(rt: Runtime, server: SendGridWithLists) -> None:
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    suppressions.push(rt)
    with rt.database.begin() as db:
        subscribers.lift_suppression(
            db, rt.cipher.blind_index(reader.email), rt.clock.now()
        )  # a bug, or another sender of the account
    sign_up(rt, reader.email)
    run_tick(rt)
    assert [mail.dropped for mail in server.to(reader.email)] == ["Unsubscribed Address"]


@pytest.mark.parametrize("how", [comes_back, takes_it_back])
def test_nothing_is_sent_to_who_came_back_before_sendgrid_knows(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists, how: Callable[[Runtime, ManualClock], Reader]
) -> None:
    reader = how(rt, clock)
    server.fill("unsubscribes", [(reader.email, clock.at.timestamp() - 500)])
    at = due(rt, reader)
    assert at is not None
    assert at >= clock.at + timedelta(minutes=1)
    clock.advance(seconds=suppressions.PUSH_SECONDS)
    suppressions.push(rt)
    clock.at = at
    run_tick(rt)
    assert [mail.dropped for mail in server.to(reader.email) if "confirm" not in mail.subject] == [""]


FAULTS = [status(500), status(400), reset(accepted=True), reset(accepted=False), refuse_429(3600), status(401)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.label)
def test_what_could_not_be_told_is_told_later(rt: Runtime, clock: ManualClock, server: SendGridWithLists, fault: Fault) -> None:
    reader, back = a_subscriber(rt), takes_it_back(rt, clock)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    server.fill("unsubscribes", [(back.email, clock.at.timestamp())])
    server.plan_lists(*[fault] * 4)
    with written() as lines:
        while suppressions.push(rt) < 1:
            clock.advance(minutes=15)
            assert clock.at < START + timedelta(days=3)
    assert {line["event"] for line in lines.all} >= {"suppression_push_failed"}
    clock.advance(days=2)
    suppressions.push(rt)
    assert server.listed("unsubscribes") == [reader.email]
    assert waiting(rt) == []


def test_the_intervals_between_tries_grow_and_it_never_gives_up(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    server.plan_lists(*[status(503)] * 30)
    waits = []
    for _ in range(30):
        assert suppressions.push(rt) == 0
        ((_, at, _),) = waiting(rt)
        waits.append((at - clock.at).total_seconds())
        clock.at = at - timedelta(seconds=1)
        suppressions.push(rt)
        assert len(server.list_requests) == len(waits), "not a second too early"
        clock.at = at
    assert waits[0] <= 5
    assert waits[4] > 10 * waits[0] / 2
    assert all(7 * 60 < wait <= 15 * 60 for wait in waits[12:])
    assert suppressions.push(rt) == 1


def test_a_refused_key_is_left_in_peace_for_long_by_all_that_waits(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    readers = [sign_up(rt) for _ in range(150)]
    with rt.database.begin() as db:
        for number, reader in enumerate(readers):
            suppression_pushes.enqueue(db, reader.id, PushAction.REMOVE if number % 10 == 0 else PushAction.ADD, clock.at)
    server.plan_lists(status(403))
    assert suppressions.push(rt) == 0
    for _ in range(50):
        clock.advance(minutes=1)
        suppressions.push(rt)
    assert len(server.list_requests) == 1
    clock.advance(minutes=15)
    assert suppressions.push(rt) == 150


def test_one_address_sendgrid_does_not_take_holds_up_no_other(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    readers = [a_subscriber(rt) for _ in range(9)]
    for reader in readers:
        unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    server.unwanted = {readers[4].email}
    with written() as lines:
        assert suppressions.push(rt) == 8
    assert sorted(server.listed("unsubscribes")) == sorted({reader.email for reader in readers} - server.unwanted)
    ((_, at, _),) = waiting(rt)
    assert at >= clock.at + timedelta(hours=12)
    assert [line["count"] for line in lines.all if line["event"] == "suppression_push_failed"] == [1]


def test_an_address_that_cannot_be_opened_holds_up_no_other(rt: Runtime, server: SendGridWithLists) -> None:
    broken, reader = a_subscriber(rt), a_subscriber(rt)
    for one in (broken, reader):
        unsubscribe.unsubscribe(rt, one.id, Exit.PAGE)
    with rt.database.begin() as db:
        people = metadata.tables["subscribers"]
        db.execute(people.update().where(people.c.id == broken.id).values(email_encrypted=b"\x01broken"))
    assert suppressions.push(rt) == 1
    assert server.listed("unsubscribes") == [reader.email]
    assert len(waiting(rt)) == 1


@pytest.mark.parametrize("told", [True, False])
def test_a_word_that_was_overtaken_while_it_was_told_is_put_right(rt: Runtime, server: SendGridWithLists, told: bool) -> None:
    """One process is about to say that a reader left, when they take it back and another process says so first."""
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    real = rt.suppression_api
    assert real is not None

    def after_a_pause() -> SuppressionApi:
        rt.suppression_api = real
        assert undo_unsubscribe(rt, reader.id)
        assert not told or suppressions.push(rt) == 1
        return real()

    rt.suppression_api = after_a_pause
    suppressions.push(rt)
    while waiting(rt):
        suppressions.push(rt)
    assert server.listed("unsubscribes") == []
    assert standing(rt, reader) == (SubscriberState.ACTIVE, None)


def test_who_is_deleted_while_sendgrid_is_told_does_no_harm(rt: Runtime, clock: ManualClock, server: SendGridWithLists) -> None:
    reader = sign_up(rt)
    with rt.database.begin() as db:
        suppression_pushes.enqueue(db, reader.id, PushAction.ADD, clock.at)
    real = rt.suppression_api
    assert real is not None

    def after_deletion() -> SuppressionApi:
        with rt.database.begin() as db:
            subscribers.delete_unconfirmed(db, clock.at + timedelta(days=1))
        return real()

    rt.suppression_api = after_deletion
    suppressions.push(rt)
    assert waiting(rt) == []


def test_a_process_that_stops_gives_back_what_it_has_not_told(
    rt: Runtime, clock: ManualClock, server: SendGridWithLists
) -> None:
    for _ in range(3):
        takes_it_back(rt, ManualClock())
    real = rt.suppression_api
    assert real is not None

    def stopping() -> SuppressionApi:
        rt.stopping.set()
        return real()

    rt.suppression_api = stopping
    assert suppressions.push(rt) == 0
    assert [(act, at) for act, at, _ in waiting(rt)] == [("remove", clock.at)] * 3
    assert not server.list_requests


def test_with_another_mailer_nothing_is_noted_and_nobody_asked(database_url: str, tmp_path: Path, clock: ManualClock) -> None:
    rt = runtime.build(settings_for(tmp_path, database_url))
    rt.clock = clock
    reader = takes_it_back(rt, clock)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    assert waiting(rt) == []
    assert suppressions.push(rt) == 0
    assert not suppressions.pull(rt)
    rt.close()


# --- Real processes


@pytest.fixture
def living(database_url: str, tmp_path: Path) -> Iterator[tuple[Runtime, SendGridWithLists, dict[str, str]]]:
    """A runtime by the real clock, a server, and the environment of further processes on the same database."""
    with SendGridWithLists(latency=0.01) as server:
        rt = build(tmp_path, database_url, server)
        yield rt, server, environment(tmp_path, database_url=database_url, tick_seconds=1, **settings(server))
        rt.close()


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_many_processes_tell_everything_and_forget_nothing(
    living: tuple[Runtime, SendGridWithLists, dict[str, str]], tmp_path: Path
) -> None:
    rt, server, env = living
    readers = [a_subscriber(rt) for _ in range(250)]
    for reader in readers:
        unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    with ExitStack() as stack:
        for number in range(4):
            stack.enter_context(running([*NURTURE, "worker"], env, tmp_path / f"log{number}"))
        until(lambda: not waiting(rt))
    assert sorted(server.listed("unsubscribes")) == sorted(reader.email for reader in readers)
    for number in range(4):
        assert "@" not in (tmp_path / f"log{number}").read_text()


def test_killed_between_telling_and_writing_it_down_it_is_told_again(
    living: tuple[Runtime, SendGridWithLists, dict[str, str]], tmp_path: Path
) -> None:
    rt, server, env = living
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    server.fault_elsewhere = lambda head: late(60) if head.method == "POST" else None  # type: ignore[method-assign]
    with running([*NURTURE, "worker"], env, tmp_path / "log") as process:
        until(lambda: server.listed("unsubscribes") != [])
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    del server.fault_elsewhere
    ((_, at, attempt),) = waiting(rt)
    assert attempt == 1
    rt.clock = ManualClock(at)
    rt.process_state = ProcessState()
    assert suppressions.push(rt) == 1
    assert server.listed("unsubscribes") == [reader.email]
    assert waiting(rt) == []


# --- Nothing tells an address


def test_no_address_is_in_any_log_line_or_in_the_database(rt: Runtime, clock: ManualClock, server: SendGridWithLists) -> None:
    readers = [a_subscriber(rt, f"veryspecial{n}@example.org") for n in range(5)]
    names: list[ListName] = ["bounces", "invalid_emails", "spam_reports", "unsubscribes"]
    with written() as lines:
        for name, reader in zip(names, readers, strict=False):
            server.fill(name, [(reader.email, clock.at.timestamp()), (f"VerySpecial-{name}@example.org", clock.at.timestamp())])
        server.fill("bounces", [("veryspecial and odd", clock.at.timestamp())])
        for fault in (*FAULTS, None):
            server.plan_lists(fault)
            suppressions.pull(rt)
            clock.advance(hours=25)
        server.unwanted = {readers[4].email}
        unsubscribe.unsubscribe(rt, readers[4].id, Exit.PAGE)
        suppressions.push(rt)
        server.unwanted = set()
        for fault in (*FAULTS, None):
            undo_unsubscribe(rt, readers[4].id)
            server.plan_lists(fault)
            suppressions.push(rt)
            clock.advance(days=2)
            unsubscribe.unsubscribe(rt, readers[4].id, Exit.PAGE)
            suppressions.push(rt)
    assert lines.text.count("suppressions_pulled") == 1
    for event in ("suppression_pull_failed", "suppression_push_failed"):
        assert lines.text.count(event) >= len(FAULTS)
    assert "veryspecial" not in lines.text.lower()
    with rt.database.read() as db:
        stored = [value for name in metadata.tables.values() for row in db.execute(select(name)) for value in row]
    told = b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in stored)
    assert len(told) > 10_000
    assert b"veryspecial" not in told.lower()
    if rt.database.is_sqlite:
        files = [Path(f"{rt.database.url.database}{end}") for end in ("", "-wal")]
        assert not any(b"veryspecial" in file.read_bytes().lower() for file in files if file.exists())
