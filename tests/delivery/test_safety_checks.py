"""A clock that jumps and a database that was set back: both stop the sending, and nothing goes out twice or early."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, make_url
from sqlalchemy.exc import OperationalError

from nurture import runtime
from nurture.delivery.reconcile import reconcile
from nurture.delivery.safety_checks import check
from nurture.domain.delivery import Accepted, DeliveryKind, State
from nurture.runtime import ProcessState, Runtime
from nurture.services.operations import deliveries as service
from nurture.services.operations import send_blocks
from nurture.services.operations.retention import retain
from nurture.store.deliveries import send_blocks as gates
from nurture.store.deliveries.send_blocks import BlockKind
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.people import a_subscriber, due, inbox, rows, run_tick, sign_up
from tests.scripted import Answering
from tests.servers.postgres import Postgres


class Settable(ManualClock):
    """A wall clock that can be set while the monotonic one goes on."""

    offset = timedelta()

    def real_now(self):  # type: ignore[no-untyped-def]
        return self.at + self.offset

    def boot_seconds(self) -> float:
        return self.at.timestamp()


@pytest.fixture
def clock() -> ManualClock:
    return Settable()


def shut(rt: Runtime) -> list[BlockKind]:
    with rt.database.read() as db:
        return [gate.kind for gate in gates.active_blocks(db)]


JUMPS = [timedelta(hours=1), timedelta(hours=-1), timedelta(days=30), timedelta(days=-30)]


@pytest.mark.parametrize("by", JUMPS, ids=str)
def test_a_clock_that_jumps_sends_nothing_early_and_deletes_nothing(rt: Runtime, clock: Settable, by: timedelta) -> None:
    reader, newcomer = a_subscriber(rt), sign_up(rt)
    run_tick(rt)
    before = len(inbox(rt))
    clock.offset = by
    for _ in range(3):
        assert run_tick(rt).claimed == 0
        reconcile(rt)
        assert retain(rt) == 0
        clock.advance(seconds=5)
    assert shut(rt) == [BlockKind.CLOCK]
    assert len(inbox(rt)) == before
    assert [row[1] for row in rows(rt, reader, DeliveryKind.LETTER)] == [State.ACCEPTED, State.SCHEDULED]
    assert rows(rt, newcomer)


def test_a_clock_that_is_put_right_again_opens_its_gate_itself(rt: Runtime, clock: Settable) -> None:
    run_tick(rt)
    clock.offset = timedelta(hours=1)
    run_tick(rt)
    clock.offset = timedelta()
    sign_up(rt)
    assert run_tick(rt).claimed == 1
    assert shut(rt) == []


def test_a_person_may_trust_the_new_time(rt: Runtime, clock: Settable) -> None:
    run_tick(rt)
    clock.offset = timedelta(hours=1)
    run_tick(rt)
    with rt.database.begin() as db:
        gates.unblock(db, BlockKind.CLOCK)
    sign_up(rt)
    assert run_tick(rt).claimed == 1
    assert run_tick(rt).claimed == 0
    assert shut(rt) == []


def test_a_process_that_starts_with_a_clock_behind_the_last_tick_says_so(rt: Runtime, clock: Settable) -> None:
    run_tick(rt)
    sign_up(rt)
    rt.process_state = ProcessState()
    clock.offset = timedelta(hours=-1)
    assert run_tick(rt).claimed == 0
    assert shut(rt) == [BlockKind.CLOCK]


def test_a_slow_drift_and_a_long_sleep_are_no_jumps(rt: Runtime, clock: Settable) -> None:
    for _ in range(50):
        clock.advance(minutes=30)
        clock.offset += timedelta(seconds=20)
        run_tick(rt)
    clock.advance(days=3)  # suspended: the boot clock counts that
    run_tick(rt)
    assert shut(rt) == []


class Copies:
    """Back-ups of the database a test runs on."""

    def __init__(self, rt: Runtime, postgres: Postgres, folder: Path) -> None:
        self.rt, self.postgres, self.kept = rt, postgres, folder / "backup.db"

    def take(self) -> None:
        self.rt.database.close()
        if self.rt.database.is_sqlite:
            shutil.copy(make_url(self.rt.settings.database).database or "", self.kept)
        else:
            self.postgres.create("backup_" + self._name, template=self._name)

    def put_back(self) -> None:
        self.rt.database.close()
        if self.rt.database.is_sqlite:
            for ending in ("-wal", "-shm"):
                Path(str(self.rt.database.url.database) + ending).unlink(missing_ok=True)
            shutil.copy(self.kept, make_url(self.rt.settings.database).database or "")
        else:
            self.postgres.drop(self._name)
            self.postgres.create(self._name, template="backup_" + self._name)
            self.postgres.drop("backup_" + self._name)

    @property
    def _name(self) -> str:
        return self.rt.database.url.database or ""


@pytest.fixture
def copies(rt: Runtime, postgres: Postgres, tmp_path: Path) -> Copies:
    return Copies(rt, postgres, tmp_path)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_restored_backup_sends_nothing_again(rt: Runtime, clock: ManualClock, copies: Copies, restarted: bool) -> None:
    """Three hours are lost: letters that went out in them are due again in the copy, and none of them is sent twice."""
    readers = [a_subscriber(rt) for _ in range(5)]
    mailer = Answering(lambda _: Accepted("m"))
    rt.mailer = mailer
    run_tick(rt)
    clock.at = max(at for at in (due(rt, reader) for reader in readers) if at) - timedelta(minutes=30)
    run_tick(rt)
    copies.take()
    for _ in range(18):
        clock.advance(minutes=10)
        run_tick(rt)
    sent = [mail.delivery for mail in mailer.given]
    copies.put_back()
    if restarted:
        rt.process_state = ProcessState()
    assert {row[1] for row in rows(rt, kind=DeliveryKind.LETTER)} == {State.ACCEPTED, State.SCHEDULED}
    for _ in range(18):
        run_tick(rt)
        reconcile(rt)
        clock.advance(minutes=10)
    assert [mail.delivery for mail in mailer.given] == sent, "nothing more, nothing again"
    assert shut(rt) == [BlockKind.DATABASE_RESTORED]
    unknown = service.list_doubts(rt, State.UNKNOWN)
    assert len(unknown) == 5
    for row in unknown:
        service.resolve(rt, row.id, True, "dana")
    assert [gate.kind for gate in send_blocks.start_sending(rt)] == [BlockKind.DATABASE_RESTORED]
    reconcile(rt)
    run_tick(rt)
    assert len(mailer.given) == len(sent)
    assert sum(row[1] is State.SCHEDULED for row in rows(rt, kind=DeliveryKind.LETTER)) == 5, "each has a next letter again"


def check_and_lose_the_commit(rt: Runtime) -> None:
    def lost(_: object) -> None:
        raise OperationalError("COMMIT", None, Exception("the connection is gone"))

    event.listen(rt.database.engine, "commit", lost)
    with pytest.raises(OperationalError):
        check(rt)
    event.remove(rt.database.engine, "commit", lost)


@pytest.mark.parametrize("after", ["its first look", "an hour"])
def test_a_count_that_was_never_committed_accuses_nobody(rt: Runtime, clock: ManualClock, after: str) -> None:
    """The process that counted was killed, or the database went away, just before the commit."""
    reader = sign_up(rt)
    if after == "an hour":
        check(rt)
        clock.advance(hours=1)

    check_and_lose_the_commit(rt)
    assert check(rt), "by the one who lived on"
    rt.process_state = ProcessState()
    assert check(rt), "by the next to start"
    assert shut(rt) == []
    run_tick(rt)
    assert len(inbox(rt, reader)) == 1


def test_an_alarm_that_was_never_committed_is_raised_again(rt: Runtime, clock: Settable) -> None:
    run_tick(rt)
    clock.offset = timedelta(hours=1)

    check_and_lose_the_commit(rt)
    assert not check(rt)
    assert shut(rt) == [BlockKind.CLOCK]


def test_a_new_database_in_the_same_folder_is_no_restored_one(rt: Runtime, clock: ManualClock, tmp_path: Path) -> None:
    for _ in range(5):
        run_tick(rt)
        clock.advance(minutes=1)
    fresh = runtime.build(settings_for(tmp_path, f"sqlite:///{tmp_path}/other.db"), migrate=True)
    fresh.clock = clock
    run_tick(fresh)
    assert shut(fresh) == []
    fresh.close()
