"""Real processes over a real database, a judge in a process of its own, and what the two ledgers say when all is quiet."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, delete, exists, func, not_, select, update
from sqlalchemy.exc import OperationalError

from nurture.domain.delivery import IN_DOUBT, OPEN, DeliveryKind, State
from nurture.domain.sequence import EnrollmentState
from nurture.runtime import Runtime
from nurture.store.core.schema import deliveries, delivery_history, enrollments, sequences, steps, subscribers
from tests.faults.model import PROVEN
from tests.faults.worker import Life, live
from tests.people import Reader, a_subscriber
from tests.processes import SECRET, is_up
from tests.servers.sendgrid import KEY, Judge

NURSERY = multiprocessing.get_context("forkserver")
NURSERY.set_forkserver_preload(
    [
        "alembic.command", "apscheduler.schedulers.background", "css_inline", "cryptography.hazmat.primitives.ciphers.aead",
        "email_validator", "flask", "markdown_it", "psycopg", "pydantic_settings", "sendgrid", "sendgrid.helpers.mail",
        "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite", "structlog", "httptools", "orjson",
        "werkzeug.serving", "yaml",
    ]
)  # fmt: skip
"""Every library the service uses, loaded once: a process is born in a tenth of a second instead of three."""

D = deliveries.c


class Worker:
    """One process of the service, to be killed, stopped and woken."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.process = NURSERY.Process(target=live, args=(life,))
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def alive(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> None:
        """kill -9, and wait until the kernel has taken it."""
        self.process.kill()
        self.process.join()

    def end(self) -> None:
        """SIGTERM: finish what is in flight, give back the rest."""
        self.ready().process.terminate()
        self.process.join(60)
        assert self.process.exitcode == 0, f"ended with {self.process.exitcode}:\n{self.words()}"

    def wake(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def ready(self) -> "Worker":
        """Wait until it is at work."""
        assert until(self.life.ready.exists, 60), self.words()
        return self

    def died(self, within: float) -> bool:
        """Wait for its death by its own hand: True if it came."""
        self.process.join(within)
        if self.process.exitcode is None:
            return False
        assert self.process.exitcode == -signal.SIGKILL, f"ended with {self.process.exitcode}:\n{self.words()}"
        return True

    def stopped(self, within: float) -> bool:
        """Wait until it stands still: True if it does."""

        def still() -> bool:
            assert self.alive(), f"ended with {self.process.exitcode}:\n{self.words()}"
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

        return until(still, within)

    def words(self) -> str:
        """The end of its log."""
        return self.life.log.read_text("utf-8", "replace")[-4000:] if self.life.log.exists() else ""


def until(true: Callable[[], bool], within: float, every: float = 0.02) -> bool:
    """Wait for something; whether it came."""
    end = time.monotonic() + within
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


@dataclass
class Fleet:
    """Processes over one database and one judge; all end with the `with` block."""

    rt: Runtime
    """The harness's own view of the database."""
    judge_url: str
    folder: Path
    lease_seconds: float = 1.0
    evidence_seconds: float = 2.0
    give_up_seconds: float = 10.0
    settings: Mapping[str, object] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self.workers:
            worker.kill()

    def start(self, crash_at: str | None = None, port: int | None = None, sends: bool = True) -> Worker:
        """One more process; `crash_at` as NURTURE_CRASH_AT."""
        given: dict[str, object] = {
            "instance_dir": self.folder, "secret_key": SECRET, "database_url": self.rt.settings.database,
            "mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": self.judge_url, "from_email": "dana@example.org",
            "postal_address": "PO Box 12", "batch_size": 20, **self.settings,
        }  # fmt: skip
        if crash_at is not None:
            given["crash_at"] = crash_at
        environment = {f"NURTURE_{name.upper()}": str(value) for name, value in given.items()}
        log = self.folder / f"worker-{len(self.workers)}.log"
        patience = (self.lease_seconds, self.evidence_seconds, self.give_up_seconds)
        worker = Worker(Life(environment, log, *patience, port=port, sends=sends))
        self.workers.append(worker)
        return worker

    def pages(self, port: int, crash_at: str | None = None) -> Worker:
        """A process that only answers, SendGrid's reports among other things; it does so when this returns, if a report that
        had waited for it has not killed it at its crash point.
        """
        worker = self.start(crash_at, port, sends=False)
        assert until(lambda: is_up(f"http://127.0.0.1:{port}/healthz") or not worker.alive(), 30), worker.words()
        return worker


_ALWAYS_OPEN = """\
key: ketamine-and-talk-therapy
title: Letters
window: {days: [mon, tue, wed, thu, fri, sat, sun], opens: "00:00", closes: "00:00"}
quiet: {from: "00:00", to: "00:00"}
"""


def stage(rt: Runtime, letters: int = 5, when_in_doubt: str = "resend") -> None:
    """Make the shipped sequence one of `letters` that are all due at once, one after the other, at any hour: a letter that
    was in doubt for more than a quarter of an hour would else wait for its window.
    """
    with rt.database.begin() as db:
        db.execute(delete(steps).where(steps.c.position >= letters))
        db.execute(update(steps).values(wait="at once"))
        db.execute(update(sequences).values(rules=_ALWAYS_OPEN + f"when-in-doubt: {when_in_doubt}\n"))


def come(rt: Runtime, readers: int) -> list[Reader]:
    """So many new readers, by the front door; the mail that asked them to confirm is taken for sent and done with."""
    found = [a_subscriber(rt) for _ in range(readers)]
    assert until(lambda: _confirmations_are_gone(rt), within=120, every=0.1)
    return found


def _confirmations_are_gone(rt: Runtime) -> bool:
    try:
        with rt.database.begin() as db:
            db.execute(delete(deliveries).where(D.kind == DeliveryKind.CONFIRMATION))
    except OperationalError:  # PostgreSQL: a worker wanted the same rows in another order
        return False
    return True


def come_later(rt: Runtime, readers: int) -> list[Reader]:
    """So many more whose first letter is due tomorrow."""
    found = come(rt, readers)
    with rt.database.begin() as db:
        tomorrow = rt.clock.now() + timedelta(days=1)
        db.execute(update(deliveries).where(D.subscriber_id.in_([reader.id for reader in found])).values(due_at=tomorrow))
    return found


def due_now(rt: Runtime, reader: Reader) -> None:
    """Tomorrow has come for one of them."""
    assert until(lambda: _is_due(rt, reader), within=120, every=0.1)


def _is_due(rt: Runtime, reader: Reader) -> bool:
    try:
        with rt.database.begin() as db:
            db.execute(update(deliveries).where(D.subscriber_id == reader.id).values(due_at=rt.clock.now()))
    except OperationalError:  # SQLite: four workers were quicker for ten seconds
        return False
    return True


def never_came(rt: Runtime, readers: list[Reader]) -> None:
    """Forget those who were not needed."""
    with rt.database.begin() as db:
        db.execute(delete(subscribers).where(subscribers.c.id.in_([reader.id for reader in readers])))


def is_locked(rt: Runtime) -> bool:
    """Whether somebody stands in the middle of a transaction of an SQLite database, and nobody else can write."""
    if not rt.database.is_sqlite:
        return False
    connection = rt.database.engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=300")
    try:
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("ROLLBACK")
    except rt.database.engine.dialect.loaded_dbapi.OperationalError:
        return True
    else:
        return False
    finally:
        cursor.execute("PRAGMA busy_timeout=10000")
        connection.close()


def reports_to(port: int) -> str:
    """Where a process with pages takes SendGrid's reports."""
    return f"http://127.0.0.1:{port}/webhooks/sendgrid/events"


@dataclass
class Ledgers:
    """What the service believes beside what the judge saw."""

    states: Counter[State]
    duplicates: list[str]
    """Deliveries accepted more than once, and letters that one address got more than once under different ids."""
    lost: list[str]
    """Deliveries that the service counts as sent and the judge never saw."""
    forgotten: int
    """Readers in the middle of the sequence with nothing to come, nothing in doubt and nothing in front of a person."""
    mails: int
    longest_unknown_seconds: float

    @property
    def held(self) -> int:
        return self.states[State.HELD]

    def check(self) -> None:
        """What holds whatever happened."""
        assert not self.duplicates, f"sent twice: {self.duplicates}"
        assert not self.lost, f"lost: {self.lost}"
        assert not self.forgotten, f"{self.forgotten} readers are forgotten"

    def check_all_went_out_once(self, mails: int) -> None:
        """What holds besides where SendGrid's events come in: nothing waits for a person, and nothing is missing."""
        self.check()
        assert set(self.states) <= {State.ACCEPTED, State.DELIVERED}, self.states
        assert self.mails == self.states.total() == mails, "each exactly once"


def compare(rt: Runtime, judge: Judge) -> Ledgers:
    """Both ledgers, side by side."""
    # A worker may be quicker to send a confirmation than `come` is to forget it.
    accepted = [mail for mail in judge.accepted if mail.subject != "Please confirm your address"]
    ids = Counter(mail.delivery_id for mail in accepted)
    letters = Counter((mail.address, mail.subject) for mail in accepted)
    with rt.database.read() as db:
        rows = db.execute(select(D.id, D.state)).all()
        alive = exists().where(D.enrollment_id == enrollments.c.id, D.state.in_((*OPEN, *IN_DOUBT, State.FAILED)))
        running = (
            select(func.count()).select_from(enrollments).where(enrollments.c.state == EnrollmentState.ACTIVE, not_(alive))
        )
        forgotten = db.execute(running).scalar_one()
        longest = _longest_unknown(db)
    return Ledgers(
        states=Counter(row.state for row in rows),
        duplicates=[id_ for id_, times in ids.items() if times > 1]
        + [f"{subject!r} to {address}" for (address, subject), times in letters.items() if times > 1],
        lost=[row.id for row in rows if row.state in PROVEN and row.id not in ids],
        forgotten=forgotten,
        mails=len(accepted),
        longest_unknown_seconds=longest,
    )


def _longest_unknown(db: Connection) -> float:
    """How long the longest doubt lasted, from the history of every delivery, in seconds."""
    h = delivery_history.c
    found = db.execute(select(h.delivery_id, h.state, h.at).order_by(h.at, h.id)).all()
    since: dict[str, datetime] = {}
    longest = timedelta()
    for delivery, state, at in found:
        if delivery in since:
            longest = max(longest, at - since.pop(delivery))
        if state is State.UNKNOWN:
            since[delivery] = at
    return longest.total_seconds()


def unfinished(rt: Runtime) -> int:
    """How many rows are neither settled nor in front of a person."""
    busy = (State.SCHEDULED, State.CLAIMED, State.SENDING, State.UNKNOWN)
    with rt.database.read() as db:
        return db.scalar(select(func.count()).where(D.state.in_(busy))) or 0


def in_doubt(rt: Runtime) -> int:
    """How many rows wait for evidence."""
    with rt.database.read() as db:
        return db.scalar(select(func.count()).where(D.state == State.UNKNOWN)) or 0


def drained(rt: Runtime) -> bool:
    """Whether nothing is left to do."""
    return unfinished(rt) == 0


def drain(rt: Runtime, within: float) -> float:
    """Wait until all is quiet; returns how long it took, in seconds."""
    began = time.monotonic()
    if not until(lambda: drained(rt), within, every=0.1):
        with rt.database.read() as db:
            left = db.execute(select(D.state, func.count()).group_by(D.state)).all()
        raise AssertionError(f"not drained after {within:.0f} s: {[(str(state), n) for state, n in left]}")
    return time.monotonic() - began
