"""A broker carries batch ids. Whatever it does with them, each letter goes out once; and without it, mail goes on."""

import base64
import itertools
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from nurture import runtime
from nurture.clock import SystemClock
from nurture.delivery.reconcile import reconcile
from nurture.delivery.tick import tick
from nurture.dispatch import CeleryDispatcher
from nurture.domain.delivery import State
from nurture.ids import BatchId, new_id
from nurture.runtime import Runtime
from nurture.store.core.database import process_name
from nurture.store.core.schema import deliveries, subscribers
from tests.benchmarks.ours import crowd
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.people import inbox, sign_up
from tests.processes import NURTURE, ROOT, Process, environment, free_port, nurture, running
from tests.servers import self_signed
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis
from tests.servers.sendgrid import KEY, SendGridServer

LETTERS = 200
WORKERS = 4


@pytest.fixture
def database_url(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    """Workers on several machines share a PostgreSQL; on SQLite a broker is refused."""
    name = f"test_{new_id()}"
    postgres.create(name, template=postgres_template)
    yield postgres.url(name)
    postgres.drop(name)


@dataclass
class House:
    """An installation with a broker, seen from a process that may publish; its workers are processes of their own."""

    rt: Runtime
    env: dict[str, str]
    server: SendGridServer
    redis: Redis
    folder: Path

    def due_letters(self, count: int) -> None:
        crowd(self.rt, count)

    def promise(self, at: datetime) -> None:
        """Let all letters be due at a moment."""
        with self.rt.database.begin() as db:
            db.execute(update(deliveries).values(planned_at=at, due_at=at))

    def states(self) -> dict[str, int]:
        with self.rt.database.read() as db:
            rows = db.execute(select(deliveries.c.state, func.count()).group_by(deliveries.c.state)).all()
        return {state: count for state, count in rows}  # noqa: C416 - rows, not tuples

    def settled(self, count: int) -> None:
        """Wait until `count` letters are accepted, here as there; then see that each was accepted once."""
        self.server.wait_for(count, timeout=60)
        until = time.monotonic() + 30
        while self.states().get(State.ACCEPTED, 0) < count and time.monotonic() < until:  # answers are being written down
            time.sleep(0.05)
        time.sleep(0.5)  # for one too many
        assert len(self.server.accepted) == self.server.requests == count
        assert set(self.server.by_delivery().values()) == {1}
        assert self.states() == {State.ACCEPTED: count, State.SCHEDULED: count}, "each welcome sent, each next letter planned"
        with self.rt.database.read() as db:
            senders = set(db.scalars(select(deliveries.c.owner).where(deliveries.c.state == State.ACCEPTED)))
        assert len(senders) > 1, "more than one process took part"
        assert process_name() not in senders, "and not the one that published"

    def log(self, worker: int) -> list[dict[str, Any]]:
        path = self.folder / f"worker{worker}"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def logs(self) -> list[dict[str, Any]]:
        return [line for worker in range(WORKERS) for line in self.log(worker)]

    def batches(self, event: str, worker: int) -> list[str]:
        return [line["batch"] for line in self.log(worker) if line["event"] == event]

    def taken(self) -> Counter[str]:
        return Counter(line["batch"] for line in self.logs() if line["event"] == "batch_taken")


@contextmanager
def house(folder: Path, database_url: str, redis: Redis, **settings: object) -> Iterator[House]:
    with SendGridServer(latency=0.02) as server:
        given: dict[str, Any] = {
            "broker_url": redis.url, "mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": server.url,
            "from_email": "dana@example.org", "postal_address": "PO Box 12", "batch_size": 10, "tick_seconds": 3600,
        } | settings  # fmt: skip
        rt = runtime.build(settings_for(folder, database_url, **given))
        yield House(rt, environment(folder, database_url=database_url, **given), server, redis, folder)
        rt.close()


@contextmanager
def workers(here: House, count: int) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        command = [*NURTURE, "worker"]
        yield [stack.enter_context(running(command, here.env, here.folder / f"worker{n}")) for n in range(count)]


def all_take_part(here: House, publisher: CeleryDispatcher) -> set[str]:
    """Wait until every worker has taken one more batch; the ids published for that, which hold nothing."""
    published: set[str] = set()
    before = [len(here.batches("batch_taken", n)) for n in range(WORKERS)]
    until = time.monotonic() + 60
    while not all(len(here.batches("batch_taken", n)) > before[n] for n in range(WORKERS)):
        empty = BatchId(new_id())
        publisher.submit(empty)
        published.add(empty)
        assert time.monotonic() < until, "four workers take part"
    return published


@contextmanager
def fleet(rt: Runtime, url: str) -> Iterator[CeleryDispatcher]:
    """A part in the fleet that publishes."""
    made = CeleryDispatcher(rt, url)
    yield made
    made.finish()
    made.close()


# A broker that works


def test_four_workers_share_the_batches_and_each_letter_goes_out_once(database_url: str, redis: Redis, tmp_path: Path) -> None:
    with house(tmp_path, database_url, redis, tick_seconds=0.2) as here:
        here.due_letters(LETTERS)
        here.promise(here.rt.clock.now() + timedelta(hours=1))
        with workers(here, WORKERS) as processes:
            with fleet(here.rt, redis.url) as publisher:
                empty = all_take_part(here, publisher)
            here.promise(here.rt.clock.now())
            here.settled(LETTERS)
            for process in processes:
                process.send_signal(signal.SIGTERM)
            assert [process.wait(15) for process in processes] == [0] * WORKERS
        taken = [[batch for batch in here.batches("batch_taken", n) if batch not in empty] for n in range(WORKERS)]
        claimed = [here.batches("batch_claimed", n) for n in range(WORKERS)]
        assert sorted(chain(*taken)) == sorted(chain(*claimed)), "every batch travelled"
        assert any(set(taken[n]) - set(claimed[n]) for n in range(WORKERS)), "and was sent by another than its claimer"


@pytest.mark.parametrize("command", ["tick", "serve"])
def test_who_only_ticks_publishes_and_sends_nothing(command: str, database_url: str, redis: Redis, tmp_path: Path) -> None:
    port = free_port()
    with house(tmp_path, database_url, redis, listen=f"127.0.0.1:{port}") as here:
        here.due_letters(25)
        with fleet(here.rt, redis.url) as publisher:
            if command == "tick":
                assert json.loads(nurture("tick", "--json", env=here.env).stdout)["claimed"] == 25
            else:
                with running([*NURTURE, "serve"], here.env, tmp_path / "log", f"http://127.0.0.1:{port}/healthz"):
                    wait_until(lambda: publisher.waiting() == 3)
            assert publisher.waiting() == 3
        assert here.states() == {State.CLAIMED: 25}
        assert here.server.requests == 0


def test_a_message_is_the_id_of_a_batch_and_nothing_else(rt: Runtime, redis: Redis) -> None:
    queue = f"nurture.{rt.cipher.fingerprint()}"
    batch = BatchId(new_id())
    with fleet(rt, redis.url) as publisher:
        publisher.submit(batch)
        (raw,) = redis.client.lrange(queue, 0, -1)
    message = json.loads(raw)
    assert json.loads(base64.b64decode(message["body"])) == [
        [batch], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    ]  # fmt: skip
    headers = message["headers"]
    assert (headers["task"], headers["eta"], headers["expires"]) == ("nurture.send_batch", None, None)
    assert json.dumps(message).count("@") == json.dumps(headers["origin"]).count("@") == 1, "no address: a process and its host"


def test_a_process_without_a_broker_does_not_load_celery(tmp_path: Path) -> None:
    env = environment(tmp_path)
    assert nurture("init", env=env).returncode == 0
    loaded = "print([name for name in sys.modules if name.split('.')[0] in ('celery', 'kombu', 'redis')])"
    ticking = f"import sys; from nurture.cli.main import cli; cli(['tick'], standalone_mode=False); {loaded}"
    done = subprocess.run([sys.executable, "-c", ticking], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_nobody_claims_more_while_enough_batches_wait(rt: Runtime, redis: Redis) -> None:
    with fleet(rt, redis.url) as publisher:

        def publish() -> None:
            for _ in range(30):
                publisher.submit(BatchId(new_id()))

        published = threading.Thread(target=publish)
        published.start()
        wait_until(lambda: publisher.waiting() >= 9)
        time.sleep(0.5)
        assert publisher.waiting() == 9
        redis.client.flushdb()  # somebody took them all
        wait_until(lambda: publisher.waiting() >= 9)
        rt.stopping.set()
        published.join(10)
    assert not published.is_alive()


# A broker that does not


class Earlier(SystemClock):
    """The machine's clock, three minutes and twenty seconds slow: what it leases has run out by everybody else's."""

    def real_now(self) -> datetime:
        return super().real_now() - timedelta(seconds=200)


@pytest.fixture(scope="module")
def at_work(postgres: Postgres, postgres_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Four workers that take batches, and claim none themselves."""
    name = f"test_{new_id()}"
    postgres.create(name, template=postgres_template)
    with (
        Redis() as redis,
        house(tmp_path_factory.mktemp("fleet"), postgres.url(name), redis) as here,
        workers(here, WORKERS),
        fleet(here.rt, redis.url) as publisher,
    ):
        all_take_part(here, publisher)
        yield here
    postgres.drop(name)


@pytest.fixture
def four(at_work: House) -> House:
    """The same, with nothing to do."""
    with at_work.rt.database.begin() as db:
        db.execute(delete(subscribers))
    at_work.server.reset()
    at_work.redis.client.flushall()
    at_work.rt.clock = Earlier()
    at_work.due_letters(LETTERS)
    return at_work


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


def test_messages_that_are_lost_come_back_with_their_leases(four: House) -> None:
    with fleet(four.rt, four.redis.url) as publisher:
        at_once = itertools.cycle((True, False))

        def carry_and_lose(batch: BatchId) -> None:
            if next(at_once):
                return  # the broker has said yes, and has died with it
            publisher.submit(batch)
            four.redis.client.flushall()  # what no worker has taken yet is gone, and so is what Redis knew of the others

        assert tick(four.rt, carry_and_lose).claimed == LETTERS
        four.rt.clock = SystemClock()
        assert reconcile(four.rt).released > 0, "some were lost"
        tick(four.rt, publisher.submit)
        four.settled(LETTERS)


def test_messages_that_are_doubled_send_nothing_twice(four: House) -> None:
    before = four.taken()
    four.rt.clock = SystemClock()
    with fleet(four.rt, four.redis.url) as publisher:

        def carry_twice(batch: BatchId) -> None:
            publisher.submit(batch)
            publisher.submit(batch)

        assert tick(four.rt, carry_twice).claimed == LETTERS
        four.settled(LETTERS)
        wait_until(lambda: publisher.waiting() == 0)
    assert set((four.taken() - before).values()) == {2}, "each batch was taken twice"


def test_messages_that_come_after_their_lease_send_nothing_twice(four: House) -> None:
    late: list[BatchId] = []
    assert tick(four.rt, late.append).claimed == LETTERS
    four.rt.clock = SystemClock()
    assert reconcile(four.rt).released == LETTERS
    with fleet(four.rt, four.redis.url) as publisher:

        def carry_both(batch: BatchId) -> None:
            for each in (late.pop(), batch):
                publisher.submit(each)

        tick(four.rt, carry_both)
        four.settled(LETTERS)
    assert late == []


def test_workers_come_back_to_a_broker_that_was_gone(four: House) -> None:
    four.redis.stop()
    four.redis.start()
    with fleet(four.rt, four.redis.url) as publisher:
        all_take_part(four, publisher)
        four.rt.clock = SystemClock()
        tick(four.rt, publisher.submit)
        four.settled(LETTERS)


FORGED: dict[str, dict[str, Any]] = {
    "an argument that is no id": {"body": [["robin@example.org"], {}, {}]},
    "an id and more": {"body": [["0" * 32, "robin@example.org"], {}, {}]},
    "a name for the argument": {"body": [[], {"batch": "0" * 32}, {}]},
    "more to do afterwards": {"body": [["0" * 32], {}, {"chain": [{"task": "robin@example.org"}]}]},
    "no list": {"body": 5},
    "another content": {"content-type": "application/x-python-serialize"},
    "another task": {"headers": {"task": "robin@example.org"}},
    "a later time": {"headers": {"eta": "2099-01-01T00:00:00+00:00"}},
    "no headers": {"headers": None},
    "no properties": {"properties": {}},
}


def test_anything_but_a_batch_is_dropped_and_its_content_stays_out_of_the_log(four: House) -> None:
    queue = f"nurture.{four.rt.cipher.fingerprint()}"
    with Redis() as aside, fleet(four.rt, aside.url) as publisher:
        publisher.submit(BatchId("0" * 32))
        genuine = json.loads(aside.client.lrange(queue, 0, 0)[0])
    for change in FORGED.values():
        forged = genuine | {name: value for name, value in change.items() if name not in ("body", "headers")}
        if "headers" in change:
            forged["headers"] = genuine["headers"] | change["headers"] if change["headers"] else None
        if "body" in change:
            forged["body"] = base64.b64encode(json.dumps(change["body"]).encode()).decode()
        for _ in range(2 * WORKERS):  # more than there are hands, if they did not come free again
            four.redis.client.lpush(queue, json.dumps(forged))
    four.redis.client.lpush(queue, "robin@example.org")
    four.rt.clock = SystemClock()
    with fleet(four.rt, four.redis.url) as publisher:
        tick(four.rt, publisher.submit)
        four.settled(LETTERS)
        wait_until(lambda: publisher.waiting() == 0)
    events = four.logs()
    assert sum(event["event"] == "message_dropped" for event in events) >= 7 * 2 * WORKERS
    assert "robin" not in json.dumps(events)
    assert "0" * 32 not in [event.get("batch") for event in events]


# No broker

SOON = 2.5
"""Two seconds, and half a one for a machine that is busy."""


def seconds_of(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


@contextmanager
def silence() -> Iterator[int]:
    """A port on which everything is accepted and nothing is answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp", "amqps"])
@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "is silent"])
def test_what_the_broker_does_not_take_is_sent_here_at_once(
    rt: Runtime, clock: ManualClock, scheme: str, refuses: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with silence() as port, fleet(rt, f"{scheme}://127.0.0.1:{free_port() if refuses else port}") as cut_off:
        sign_up(rt)
        tick(rt, cut_off.submit)
        sign_up(rt)
        tick(rt, cut_off.submit)
        assert capsys.readouterr().err.count('"broker_unreachable"') == 1, "for a while nobody tries it again"
        cut_off.finish()
        assert len(inbox(rt)) == 2
        clock.advance(seconds=11)
        sign_up(rt)
        tick(rt, cut_off.submit)
        cut_off.finish()
        assert len(inbox(rt)) == 3


def test_a_broker_that_comes_back_is_used_again(rt: Runtime, clock: ManualClock, redis: Redis) -> None:
    with fleet(rt, redis.url) as publisher:
        sign_up(rt)
        tick(rt, publisher.submit)
        with redis.frozen():
            sign_up(rt)
            assert seconds_of(lambda: tick(rt, publisher.submit)) < SOON
        publisher.finish()
        clock.advance(seconds=11)
        sign_up(rt)
        tick(rt, publisher.submit)
        assert (publisher.waiting(), len(inbox(rt))) == (2, 1)


def test_an_impostor_with_a_certificate_of_its_own_gets_nothing(
    rt: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    believed: list[str] = []

    def greet(listening: socket.socket) -> None:
        while True:
            try:
                with context.wrap_socket(listening.accept()[0], server_side=True) as caller:
                    believed.append(caller.version() or "")
            except ssl.SSLError:
                pass
            except OSError:
                return

    def calls(url: str) -> int:
        believed.clear()
        with fleet(rt, url) as publisher:
            publisher.submit(BatchId(new_id()))
        return len(believed)

    with socket.create_server(("0.0.0.0", 0)) as listening:
        port = listening.getsockname()[1]
        threading.Thread(target=greet, args=(listening,), daemon=True).start()
        for scheme in ("rediss", "amqps"):
            assert calls(f"{scheme}://localhost:{port}") == 0, "nobody vouches for it"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))
        for scheme in ("rediss", "amqps"):
            assert calls(f"{scheme}://localhost:{port}") > 0, "now somebody does"
            assert calls(f"{scheme}://127.0.0.2:{port}") == 0, "but not for this name"


def test_a_worker_without_its_broker_sends_for_itself_and_never_says_its_password(
    database_url: str, redis: Redis, tmp_path: Path
) -> None:
    gone = f"redis://nurture:hunter2@127.0.0.1:{free_port()}/0"
    with house(tmp_path, database_url, redis, broker_url=gone, tick_seconds=0.2) as here:
        sign_up(here.rt)
        with workers(here, 1) as (worker,):
            here.server.wait_for(1, timeout=30)
            wait_until(lambda: "broker_unreachable" in {line["event"] for line in here.log(0)})
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(15) == 0
    said = (tmp_path / "worker0").read_text("utf-8")
    assert '"library_message"' in said, "Celery says that it cannot connect"
    assert "hunter2" not in said


def test_a_worker_told_to_stop_finishes_what_is_under_way_and_gives_back_the_rest(
    database_url: str, redis: Redis, tmp_path: Path
) -> None:
    with house(tmp_path, database_url, redis, tick_seconds=0.2, batch_size=100) as here:
        here.server.latency = 0.3
        here.due_letters(100)
        with workers(here, 1) as (worker,):
            here.server.wait_for(5, timeout=30)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(10) == 0
        sent = len(here.server.accepted)
        assert sent == here.server.requests < 100
        assert here.states() == {State.ACCEPTED: sent, State.SCHEDULED: 100}, "those not sent, and the next of those sent"
