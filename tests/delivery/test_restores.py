"""A copy of the database that comes to life: whatever way it was restored, no mail of it leaves again; and no ordinary start
is taken for a restore. Real files, a real PostgreSQL, and a real SMTP server that counts what arrives.
"""

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, make_url

from nurture import runtime
from nurture.delivery.reconcile import reconcile
from nurture.delivery.safety_checks import check, record_clean_stop
from nurture.domain.delivery import State
from nurture.ids import new_id
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.services.operations import deliveries as service
from nurture.services.operations import send_blocks
from nurture.services.subscribers import departures, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import app_state as facts
from nurture.store.state import app_state
from nurture.store.subscribers import subscribers
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.people import a_subscriber, run_tick
from tests.servers.postgres import Postgres
from tests.servers.smtp import SmtpServer


@dataclass(frozen=True)
class Site:
    """Where an installation runs: its instance folder, its database, and the state folder of the user it runs as."""

    folder: Path
    url: str
    state: Path

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return Path(make_url(self.url).database or "")


class World:
    """Machines, a provider, and the time."""

    def __init__(self, tmp_path: Path, smtp: SmtpServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tmp_path, self.smtp, self.clock, self._monkeypatch = tmp_path, smtp, clock, monkeypatch

    def site(self, name: str, url: str | None = None) -> Site:
        """A machine that has run nothing yet."""
        folder = self.tmp_path / name / "instance"
        folder.mkdir(parents=True)
        return Site(folder, url or f"sqlite:///{folder}/nurture.db", self.tmp_path / name / "state")

    @contextmanager
    def start(self, site: Site) -> Iterator[Runtime]:
        """The service, running there until the block ends: without a word, as if killed."""
        self._monkeypatch.setenv("XDG_STATE_HOME", str(site.state))
        settings = settings_for(
            site.folder, site.url, mailer="smtp", smtp_url=self.smtp.url, from_email="dana@example.org",
            postal_address="1 Oak Street, Salem",
        )  # fmt: skip
        rt = runtime.build(settings)
        rt.clock = self.clock
        yield rt
        rt.close()

    @property
    def arrived(self) -> int:
        """How many mails the provider has."""
        return len(self.smtp.mails)


@pytest.fixture
def world(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with SmtpServer() as smtp:
        yield World(tmp_path, smtp, clock, monkeypatch)


@pytest.fixture
def sqlite_site(world: World, sqlite_template: Path) -> Site:
    site = world.site("practice")
    shutil.copy(sqlite_template, site.file)
    return site


def work(rt: Runtime) -> None:
    """What the scheduler does in a while."""
    run_tick(rt)
    reconcile(rt)
    run_tick(rt)


def live(world: World, site: Site, make_copy: Callable[[], None]) -> None:
    """The installation works, a copy of it is made, and seconds later it sends letters of which the copy knows nothing."""
    with world.start(site) as rt:
        a_subscriber(rt)
        work(rt)
        world.clock.advance(seconds=11)
        for _ in range(3):
            a_subscriber(rt)
        run_tick(rt)
        readers = [a_subscriber(rt) for _ in range(3)]
        make_copy()
        before = world.arrived
        world.clock.advance(seconds=2)
        run_tick(rt)
        assert world.arrived == before + len(readers)
    world.clock.advance(seconds=2)


def what_stops(rt: Runtime) -> list[str]:
    return [shut.why for shut in send_blocks.what_stops(rt)]


def check_restored(world: World, site: Site, reason: str) -> None:
    """The copy sends nothing again, says why, and goes on once a person has looked."""
    before = world.arrived
    with world.start(site) as rt:
        work(rt)
        (why,) = what_stops(rt)
        assert reason in why
        assert len(service.list_doubts(rt, State.UNKNOWN)) == 6, "what those three were sent, or would have been"
    world.clock.advance(minutes=5)
    with world.start(site) as rt:
        work(rt)
        assert what_stops(rt) == [why], "a second start finds nothing new"
        assert world.arrived == before
        for row in service.list_doubts(rt, State.UNKNOWN):
            service.resolve(rt, row.id, True, "dana")
        send_blocks.start_sending(rt)
        work(rt)
    world.clock.advance(minutes=5)
    with world.start(site) as rt:
        work(rt)
        assert what_stops(rt) == []
        assert world.arrived == before, "nothing again"
        a_subscriber(rt)
        work(rt)
        assert world.arrived == before + 1


def copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite file and its log, over what is there."""
    for ending in ("-wal", "-shm"):
        Path(f"{target}{ending}").unlink(missing_ok=True)
    for ending in ("", "-wal"):
        if Path(f"{source}{ending}").exists():
            shutil.copyfile(f"{source}{ending}", f"{target}{ending}")


def _file_back(world: World, site: Site, copy: Path) -> Site:
    copy_file(copy / "nurture.db", site.file)
    return site


def _file_replaced(world: World, site: Site, copy: Path) -> Site:
    fresh = site.file.with_name("restored.db")
    copy_file(copy / "nurture.db", fresh)
    for ending in ("-wal", "-shm"):
        Path(f"{site.file}{ending}").unlink(missing_ok=True)
    if Path(f"{fresh}-wal").exists():
        Path(f"{fresh}-wal").rename(f"{site.file}-wal")
    fresh.rename(site.file)
    return site


def _file_elsewhere(world: World, site: Site, copy: Path) -> Site:
    other = world.site("another machine")
    copy_file(copy / "nurture.db", other.file)
    return other


def _folder_elsewhere(world: World, site: Site, copy: Path) -> Site:
    other = world.site("another machine")
    shutil.copytree(copy, other.folder, dirs_exist_ok=True)
    return other


def _folder_back(world: World, site: Site, copy: Path) -> Site:
    copy_file(copy / "nurture.db", site.file)
    shutil.copyfile(copy / "generation.json", site.folder / "generation.json")
    return site


def _backup_of_the_library(world: World, site: Site, copy: Path) -> Site:
    """As `sqlite3 .backup`, `VACUUM INTO` and Litestream do."""
    other = world.site("another machine")
    with sqlite3.connect(copy / "nurture.db") as source, sqlite3.connect(other.file) as target:
        source.backup(target)
    return other


def _snapshot_hours_later(world: World, site: Site, copy: Path) -> Site:
    """Of a whole disk: nothing is left that knows better."""
    _folder_back(world, site, copy)
    world.clock.advance(hours=2)
    return replace(site, state=world.tmp_path / "nothing")


WAYS = {
    "the file back in its place": (_file_back, "forgotten what this machine has seen"),
    "another file in its place": (_file_replaced, "its file is another one"),
    "the file on another machine": (_file_elsewhere, "its file is another one"),
    "the whole folder on another machine": (_folder_elsewhere, "its file is another one"),
    "the whole folder back in its place": (_folder_back, "forgotten what this machine has seen"),
    "a backup by the library on another machine": (_backup_of_the_library, "its file is another one"),
    "a snapshot of the disk, hours later": (_snapshot_hours_later, "no clean stop is recorded"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_restored_file_sends_nothing_again(world: World, sqlite_site: Site, way: str) -> None:
    restore, reason = WAYS[way]
    copy = world.tmp_path / "copy"

    def make_copy() -> None:
        copy.mkdir()
        copy_file(sqlite_site.file, copy / "nurture.db")
        for name in ("generation.json", "witness.json"):
            if (sqlite_site.folder / name).exists():
                shutil.copyfile(sqlite_site.folder / name, copy / name)

    live(world, sqlite_site, make_copy)
    check_restored(world, restore(world, sqlite_site, copy), reason)


def test_a_copy_without_its_witness_is_a_restore_even_in_the_same_file(world: World, sqlite_site: Site) -> None:
    live(world, sqlite_site, lambda: copy_file(sqlite_site.file, world.tmp_path / "copy.db"))
    copy_file(world.tmp_path / "copy.db", sqlite_site.file)
    (sqlite_site.folder / "generation.json").unlink()
    check_restored(world, replace(sqlite_site, state=world.tmp_path / "nothing"), "generation.json is not beside it")


def test_a_file_replaced_under_a_running_process_sends_nothing_again(world: World, sqlite_site: Site) -> None:
    """The process has the old file open, and would go on in it."""
    copy = world.tmp_path / "copy"
    copy.mkdir()
    live(world, sqlite_site, lambda: copy_file(sqlite_site.file, copy / "nurture.db"))
    with world.start(sqlite_site) as rt:
        work(rt)
        before = world.arrived
        _file_replaced(world, sqlite_site, copy)
        work(rt)
        assert "its file is another one" in what_stops(rt)[0]
        assert world.arrived == before


@pytest.mark.parametrize("elsewhere", [False, True])
def test_who_left_since_is_off_the_list_or_that_nobody_knows_it_is_said(
    world: World, sqlite_site: Site, elsewhere: bool
) -> None:
    copy = world.tmp_path / "copy"
    copy.mkdir()
    with world.start(sqlite_site) as rt:
        reader = a_subscriber(rt)
        work(rt)
        world.clock.advance(seconds=11)
        work(rt)
        copy_file(sqlite_site.file, copy / "nurture.db")
        unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
        departures.complete(rt)
        world.clock.advance(seconds=11)
        work(rt)
    site = (_file_elsewhere if elsewhere else _file_back)(world, sqlite_site, copy)
    with world.start(site) as rt:
        work(rt)
        (why,) = what_stops(rt)
        assert ("who left since is unknown: no journal of departures" in why) is elsewhere
        with rt.database.read() as db:
            assert (rt.cipher.blind_index(reader.email) in subscribers.suppressed(db)) is not elsewhere


# PostgreSQL


@pytest.fixture
def postgres_site(world: World, postgres: Postgres, postgres_template: str) -> Iterator[Site]:
    """An installation on the server that all tests share."""
    name = f"practice_{new_id()}"
    postgres.create(name, template=postgres_template)
    yield world.site("practice", postgres.url(name))
    postgres.drop(name)


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL server that a test may stop, copy and promote."""
    with Postgres(options={"wal_level": "replica"}) as running:
        yield running


@pytest.fixture
def server_site(world: World, server: Postgres) -> Site:
    """An installation on a server of its own."""
    server.create("practice")
    site = world.site("practice", server.url("practice"))
    runtime.build(settings_for(site.folder, site.url), migrate=True).close()
    with world.start(site) as rt:
        publishing.load_shipped(rt)
    return site


def name_of(site: Site) -> str:
    return make_url(site.url).database or ""


def with_suffix(site: Site, server: Postgres) -> str:
    """A new database beside the site's; returns its name."""
    server.create(name := f"{name_of(site)}_restored")
    return name


def _dumped_into_a_new_database(world: World, site: Site, server: Postgres, dump: Path) -> Site:
    name = with_suffix(site, server)
    server.tool("pg_restore", "-d", name, str(dump))
    return replace(site, url=server.url(name))


def _dumped_into_the_same_name(world: World, site: Site, server: Postgres, dump: Path) -> Site:
    server.drop(name_of(site))
    server.create(name_of(site))
    server.tool("pg_restore", "-d", name_of(site), str(dump))
    return site


def _dumped_over_the_tables(world: World, site: Site, server: Postgres, dump: Path) -> Site:
    server.tool("pg_restore", "--clean", "-d", name_of(site), str(dump))
    return site


def _dumped_elsewhere(world: World, site: Site, server: Postgres, dump: Path) -> Site:
    return replace(world.site("another machine"), url=_dumped_into_a_new_database(world, site, server, dump).url)


DUMPS = {
    "into a new database": (_dumped_into_a_new_database, "created as a copy or from a dump"),
    "into one of the same name": (_dumped_into_the_same_name, "created as a copy or from a dump"),
    "over its tables": (_dumped_over_the_tables, "tables were loaded from a dump"),
    "on another machine": (_dumped_elsewhere, "created as a copy or from a dump"),
}


@pytest.mark.parametrize("way", DUMPS)
def test_a_restored_dump_sends_nothing_again(world: World, postgres: Postgres, postgres_site: Site, way: str) -> None:
    restore, reason = DUMPS[way]
    dump = postgres.folder / f"dump-{new_id()}"
    live(world, postgres_site, lambda: postgres.tool("pg_dump", "-Fc", "-f", str(dump), name_of(postgres_site)))
    check_restored(world, restore(world, postgres_site, postgres, dump), reason)


def test_a_database_copied_within_its_server_sends_nothing_again(world: World, postgres: Postgres, postgres_site: Site) -> None:
    name = name_of(postgres_site)

    def make_copy() -> None:
        postgres.end_connections(name)
        postgres.create(f"{name}_copy", template=name)
        time.sleep(0.2)  # a connection that was used a moment ago is not asked whether it still stands

    live(world, postgres_site, make_copy)
    other = world.site("another machine", postgres.url(f"{name}_copy"))
    check_restored(world, other, "created as a copy or from a dump")


def snapshot_of(server: Postgres) -> Callable[[], None]:
    def make_copy() -> None:
        server.stop()
        server.copy_data()
        server.start()

    return make_copy


def test_a_snapshot_of_the_server_sends_nothing_again(world: World, server: Postgres, server_site: Site) -> None:
    """Everything in it is as it was: only the machine that sent since knows better, and knows each commit."""
    live(world, server_site, snapshot_of(server))
    server.stop(at_once=True)
    server.put_back_data()
    server.start()
    check_restored(world, server_site, "forgotten what this machine has seen")


def test_a_snapshot_of_everything_sends_nothing_again_after_an_hour(world: World, server: Postgres, server_site: Site) -> None:
    live(world, server_site, snapshot_of(server))
    server.stop(at_once=True)
    server.put_back_data()
    server.start()
    world.clock.advance(hours=2)
    other = replace(world.site("another machine"), url=server_site.url)
    check_restored(world, other, "no clean stop is recorded")


def test_a_promoted_replica_sends_nothing_again(world: World, server: Postgres, server_site: Site) -> None:
    """It had not got everything; on a machine that knows nothing."""
    live(world, server_site, snapshot_of(server))
    server.stop(at_once=True)
    server.put_back_data()
    server.become_standby()
    server.start()
    server.promote()
    other = replace(world.site("another machine"), url=server_site.url)
    check_restored(world, other, "was promoted, or recovered to a point in time")


# What is no restore.


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found


def goes_on(world: World, site: Site) -> None:
    """Started there, the service sends what is due."""
    with world.start(site) as rt:
        work(rt)
        assert what_stops(rt) == []
        before = world.arrived
        a_subscriber(rt)
        work(rt)
        assert world.arrived == before + 1
        assert service.list_doubts(rt, State.UNKNOWN) == []


def has_lived(world: World, site: Site, clean: bool = False) -> None:
    with world.start(site) as rt:
        a_subscriber(rt)
        for _ in range(3):
            work(rt)
            world.clock.advance(seconds=11)
        if clean:
            record_clean_stop(rt)


def test_a_crash_and_a_quick_restart_stop_nothing(world: World, site: Site) -> None:
    has_lived(world, site)
    world.clock.advance(minutes=40)
    goes_on(world, site)


def test_a_weekend_cleanly_off_stops_nothing(world: World, site: Site) -> None:
    has_lived(world, site, clean=True)
    world.clock.advance(days=2, hours=14)
    goes_on(world, site)


def test_a_weekend_after_a_loss_of_power_asks(world: World, site: Site) -> None:
    has_lived(world, site)
    world.clock.advance(days=2, hours=14)
    with world.start(site) as rt:
        work(rt)
        assert "no clean stop is recorded" in what_stops(rt)[0]
        send_blocks.start_sending(rt)
        for row in service.list_doubts(rt, State.UNKNOWN):
            service.resolve(rt, row.id, False, "dana")
    world.clock.advance(hours=3)
    goes_on(world, site)


def test_a_machine_that_joins_stops_nothing(world: World, postgres_site: Site) -> None:
    joining = replace(world.site("another machine"), url=postgres_site.url)
    with world.start(postgres_site) as first:
        a_subscriber(first)
        for _ in range(3):
            run_tick(first)
            world.clock.advance(seconds=11)
        with world.start(joining) as second:
            for _ in range(3):
                for rt in (second, first):
                    work(rt)
                    assert what_stops(rt) == []
                world.clock.advance(seconds=11)
    goes_on(world, joining)
    goes_on(world, postgres_site)


def test_a_recreated_container_stops_nothing(world: World, site: Site) -> None:
    """Of its folders none is left but the volume that holds an embedded database."""
    has_lived(world, site)
    for name in range(3):
        fresh = world.site(f"container {name}", site.url)
        with_volume = replace(fresh, folder=site.folder) if site.url.startswith("sqlite") else fresh
        goes_on(world, with_volume)
        world.clock.advance(minutes=1)


def test_a_container_with_only_the_database_on_a_volume_stops_nothing(world: World, sqlite_site: Site) -> None:
    has_lived(world, sqlite_site)
    for name in range(3):
        goes_on(world, world.site(f"container {name}", sqlite_site.url))
        world.clock.advance(minutes=1)


def test_a_folder_that_is_renamed_stops_nothing(world: World, sqlite_site: Site) -> None:
    has_lived(world, sqlite_site)
    moved = sqlite_site.folder.rename(world.tmp_path / "moved")
    goes_on(world, replace(sqlite_site, folder=moved, url=f"sqlite:///{moved}/nurture.db"))


def make_older(world: World, site: Site) -> None:
    """As version 0.1.0 of October 2026 left it: it counted, and kept a file of another name."""
    with world.start(site) as rt, rt.database.begin() as db:
        database, generation = app_state.get(db, "database_id"), app_state.get(db, "generation")
        older = ("database_id", "generation", "key_fingerprint")
        db.execute(delete(facts).where(facts.c.key.not_in(older)))
    shutil.rmtree(site.state, ignore_errors=True)
    (site.folder / "generation.json").unlink()
    content = {"database": database, "generation": int(generation or 0)}
    (site.folder / "witness.json").write_text(json.dumps(content))


@pytest.mark.parametrize("pause", [timedelta(seconds=20), timedelta(days=3)], ids=str)
def test_an_upgrade_stops_nothing(world: World, site: Site, pause: timedelta) -> None:
    has_lived(world, site)
    make_older(world, site)
    world.clock.at += pause
    goes_on(world, site)
    goes_on(world, site)


def test_a_backup_from_before_the_upgrade_sends_nothing_again(world: World, sqlite_site: Site) -> None:
    has_lived(world, sqlite_site)
    make_older(world, sqlite_site)
    other = world.site("another machine")
    copy_file(sqlite_site.file, other.file)
    with world.start(other) as rt:
        work(rt)
        assert "generation.json is not beside it" in what_stops(rt)[0]


def test_a_copy_beside_the_living_database_does_not_disturb_it(world: World, sqlite_site: Site) -> None:
    """Somebody tries a copy out, on the same machine, as the same user."""
    has_lived(world, sqlite_site)
    trial = replace(world.site("trial"), state=sqlite_site.state)
    copy_file(sqlite_site.file, trial.file)
    with world.start(trial) as rt:
        for _ in range(20):
            check(rt)
            world.clock.advance(seconds=11)
    goes_on(world, sqlite_site)
