"""Faults 4 and 5: the database restarts, ends its connections, loses a commit or its answer, or has no room left."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from nurture import runtime
from nurture.app import create_app
from nurture.delivery import provider_events
from nurture.domain.delivery import Accepted, DeliveryKind, Outcome, State
from nurture.domain.event import Event, EventKind
from nurture.failpoints import Point
from nurture.mailers.base import Mail
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.services.subscribers import sign_up_queue
from nurture.store.subscribers import sign_ups
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.faults.conftest import Record
from tests.faults.cuts import CuttingProxy
from tests.faults.harness import Fleet, come, compare, drain, reports_to, stage
from tests.faults.points import meeting
from tests.people import rows, run_tick
from tests.processes import free_port
from tests.scripted import Answering
from tests.servers.postgres import Postgres
from tests.servers.sendgrid import RemoteSendGrid, another_process

LETTERS = 5
Say = Callable[[str], None]


# PostgreSQL goes away


@pytest.fixture
def durable() -> Iterator[Postgres]:
    """A server that keeps what it has committed."""
    with Postgres(durable=True) as server:
        server.create("nurture")
        yield server


@pytest.fixture
def slow_judge() -> Iterator[RemoteSendGrid]:
    """One that takes its time, so that there is something to disturb."""
    with another_process("--latency-ms", "60") as judge:
        yield judge


def _staged(folder: Path, url: str) -> Runtime:
    rt = runtime.build(settings_for(folder, url), migrate=True)
    publishing.load_shipped(rt)
    stage(rt, LETTERS)
    return rt


def _fleet(rt: Runtime, judge: RemoteSendGrid, folder: Path, url: str) -> Fleet:
    port = free_port()
    given = {"sendgrid_webhook_key": judge.webhook_key, "database_url": url}
    fleet = Fleet(rt, judge.url, folder, evidence_seconds=6, give_up_seconds=600, settings=given)
    fleet.pages(port)
    judge.report_to(reports_to(port))
    return fleet


def test_a_server_that_restarts_and_ends_connections_costs_no_letter(
    durable: Postgres, slow_judge: RemoteSendGrid, tmp_path: Path, full: bool, seed: int, say: Say, record: Record
) -> None:
    dice, url, readers = random.Random(seed), durable.url("nurture"), 0
    rt = _staged(tmp_path, url)
    done = {"restarts": 0, "crashes": 0, "connections_ended": 0}
    with _fleet(rt, slow_judge, tmp_path, url) as fleet:
        workers = [fleet.start().ready() for _ in range(2)]
        for number in range(100 if full else 4):
            readers += len(come(rt, readers=15))
            time.sleep(dice.uniform(0.1, 0.6))
            if number % 2:
                done["connections_ended"] += durable.end_connections("nurture")
            else:
                crash = number % 4 == 0
                durable.stop(at_once=crash)
                time.sleep(dice.uniform(0, 0.5))
                durable.start()
                done["crashes" if crash else "restarts"] += 1
            rt.database.close()
            say(f"  {done}")
        drain(rt, within=300)
        slow_judge.wait_for_events(60)
        for worker in workers:
            worker.end()
    found = compare(rt, slow_judge)
    rt.close()
    found.check_all_went_out_once(readers * LETTERS)
    record(seed=seed, mails=found.mails, duplicates=0, lost=0, held=0, **done,
           longest_unknown_seconds=round(found.longest_unknown_seconds, 1))  # fmt: skip


def test_a_commit_that_is_lost_or_whose_answer_is_lost_costs_no_letter(
    durable: Postgres, slow_judge: RemoteSendGrid, tmp_path: Path, full: bool, seed: int, say: Say, record: Record
) -> None:
    rt, wanted, readers = _staged(tmp_path, durable.url("nurture")), 100 if full else 6, 0
    with CuttingProxy(durable.socket, share=0.15, seed=seed) as proxy:
        url = f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/nurture?sslmode=disable&gssencmode=disable"
        with _fleet(rt, slow_judge, tmp_path, url) as fleet:
            workers = [fleet.start().ready() for _ in range(2)]
            proxy.cutting = True
            while proxy.unheard + proxy.unanswered < wanted or not (proxy.unheard and proxy.unanswered):
                readers += len(come(rt, readers=10))
                time.sleep(0.5)
                say(f"  {proxy.unheard} commits lost, {proxy.unanswered} without an answer")
            proxy.cutting = False
            drain(rt, within=300)
            slow_judge.wait_for_events(60)
            for worker in workers:
                worker.end()
        found = compare(rt, slow_judge)
    rt.close()
    found.check_all_went_out_once(readers * LETTERS)
    record(seed=seed, mails=found.mails, duplicates=0, lost=0, held=0, commits_lost=proxy.unheard,
           commits_without_an_answer=proxy.unanswered,
           longest_unknown_seconds=round(found.longest_unknown_seconds, 1))  # fmt: skip


# SQLite has no room left


class Disk:
    """The room that a SQLite database has."""

    def __init__(self, rt: Runtime) -> None:
        self._database, self._full = rt.database, False
        with rt.database.begin() as db:
            db.execute(text("CREATE TABLE filler (x BLOB)"))
        event.listen(rt.database.engine, "begin", self._limit)

    def _limit(self, db: Any) -> None:
        """After BEGIN: this transaction may not make the file any longer, or may again (sqlite.org, max_page_count)."""
        db.exec_driver_sql(f"PRAGMA max_page_count = {1 if self._full else 4294967294}")

    def fill(self) -> None:
        """Nothing more goes in, not even where pages had some air."""
        packed = self._database.engine.raw_connection()
        packed.cursor().execute("VACUUM")
        packed.close()
        self._full = True
        for size in (100_000, 3_000, 100, 1):
            with pytest.raises(OperationalError, match="full"):
                while True:
                    with self._database.begin() as db:
                        db.execute(text("INSERT INTO filler VALUES (zeroblob(:size))"), {"size": size})

    def make_room(self) -> None:
        """Somebody has tidied up."""
        self._full = False

    def is_sound(self) -> bool:
        with self._database.read() as db:
            return db.scalars(text("PRAGMA integrity_check")).all() == ["ok"]


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
CROWD = 60
BEFORE: dict[str, Point | None] = {"claim": None, "mark": "claim.after_commit", "settle": "post.before"}


def _tick(rt: Runtime) -> None:
    with suppress(OperationalError):  # the scheduler tries again
        run_tick(rt)


@on_sqlite
@pytest.mark.parametrize("step", BEFORE)
def test_a_full_disk_sends_nothing_twice_and_nothing_unrecorded(rt: Runtime, clock: ManualClock, step: str) -> None:
    readers = come(rt, CROWD)
    disk, went = Disk(rt), list[Mail]()

    def accept(mail: Mail) -> Outcome:
        went.append(mail)
        return Accepted("m")

    rt.mailer = Answering(accept)
    rt.settings = rt.settings.model_copy(update={"send_concurrency": CROWD, "batch_size": CROWD})
    if step == "claim":
        disk.fill()
    with meeting(BEFORE[step], disk.fill):
        ticking = threading.Thread(target=_tick, args=(rt,))
        ticking.start()
        time.sleep(2.5)  # it tries again every second
        assert len(went) == (CROWD if step == "settle" else 0), "what could not be written down first did not leave"
        found = {row[1] for row in rows(rt)}
        assert found <= {State.SENDING} if step == "settle" else found <= {State.SCHEDULED, State.CLAIMED}
        disk.make_room()
        ticking.join(30)
        assert not ticking.is_alive()
    assert disk.is_sound()
    run_tick(rt)
    assert Counter(mail.delivery for mail in went).most_common(1)[0][1] == 1
    assert len(went) == CROWD
    assert sorted(row[1] for row in rows(rt)) == [State.ACCEPTED] * CROWD + [State.SCHEDULED] * CROWD
    assert len({mail.to for mail in went}) == len(readers)


@on_sqlite
def test_reports_that_a_full_disk_has_no_room_for_are_taken_when_they_come_again(rt: Runtime, clock: ManualClock) -> None:
    come(rt, CROWD)
    disk, mailer = Disk(rt), Answering(lambda _: Accepted("m"))
    rt.mailer = mailer
    rt.settings = rt.settings.model_copy(update={"send_concurrency": CROWD, "batch_size": CROWD})
    with meeting("post.before", disk.fill):
        ticking = threading.Thread(target=run_tick, args=(rt,))
        ticking.start()
        time.sleep(1.5)
    reports = [
        Event(EventKind.DELIVERED, clock.real_now(), bytes.fromhex(mail.request), mail.delivery, mail.delivery, mail.request)
        for mail in mailer.given
    ]
    assert len(reports) == CROWD
    with pytest.raises(OperationalError, match="full"):
        provider_events.record_events(rt, reports)
    disk.make_room()
    provider_events.record_events(rt, reports)
    ticking.join(30)
    assert not ticking.is_alive()
    assert len(mailer.given) == CROWD
    assert sorted(row[1] for row in rows(rt)) == [State.DELIVERED] * CROWD + [State.SCHEDULED] * CROWD
    assert disk.is_sound()


@on_sqlite
def test_sign_ups_on_a_full_disk_are_told_so_and_work_later(rt: Runtime) -> None:
    client, disk = create_app(rt).test_client(), Disk(rt)
    disk.fill()

    def sign_up(number: int) -> int:
        form = {"email": f"robin{number}@example.org", "first_name": "Robin", "time_zone": "", "consent": "on"}
        told = client.post("/subscribe", data=form)
        assert b"robin" not in told.data
        return told.status_code

    told = {number: sign_up(number) for number in range(40)}
    assert set(told.values()) == {303, 503}, "the first still find a place in half-empty pages"
    taken = [status for status in told.values() if status == 303]
    with rt.database.read() as db:
        assert sign_ups.count_waiting(db) == len(taken)
    disk.make_room()
    assert {sign_up(number) for number, status in told.items() if status == 503} == {303}
    sign_up_queue.decide_on_sign_ups(rt)
    assert [row[:2] for row in rows(rt)] == [(DeliveryKind.CONFIRMATION, State.SCHEDULED)] * len(told)
    assert disk.is_sound()
