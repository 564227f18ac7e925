"""`nurture restore`: a backup into an empty place, with sending stopped; or into a scratch database, to see that it works."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError

from nurture import log, runtime
from nurture.delivery import departures
from nurture.delivery.departures import ReplayReport
from nurture.delivery.plan import SET_BACK_UNTIL
from nurture.encryption import links_fingerprint
from nurture.errors import NurtureError
from nurture.ids import BatchId, new_id
from nurture.runtime import SECRET_FILE, Runtime
from nurture.services.operations.archive import Archive, Keys, Manifest
from nurture.services.operations.scratch_database import scratch_database
from nurture.services.subscribers import personal_data
from nurture.settings import PREFIX, Settings
from nurture.store.core import table_copy
from nurture.store.core.database import Database, DatabaseRefused, process_name
from nurture.store.deliveries import in_doubt, ledger, send_blocks
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.state import app_state, restored
from nurture.store.state.restored import RestoreOutlook
from nurture.store.subscribers.departures import JOURNAL_FILE, DepartureJournal

_log = log.get(__name__)

FIELD_KEYS_FILE = "restored-keys.env"
"""Where a restored key ring is put: no file of the instance folder is read for it, it belongs into the environment."""
_SEEDED = {"send_blocks", "app_state", "heartbeats", "rate_limit"}
"""Tables that have rows before anybody has used the database."""
_EVERY_MAIL = 1 << 31

OnProgress = Callable[[int, int], object]
"""Called with rows loaded so far and rows in all."""


class RestoreRefused(NurtureError):
    """A backup that is not restored here. Nothing was written; the message says why, and what to do."""


@dataclass(frozen=True)
class RestoreReport:
    """What was restored, and what a person must know of it."""

    manifest: Manifest
    replay: ReplayReport
    outlook: RestoreOutlook
    installed: tuple[Path, ...] = ()
    """Files in which keys of the archive were put."""
    claimed: int = 0
    """In a rehearsal: mails that a sender took while sending is stopped. Anything but 0 is a fault."""
    claimed_after_start: int = 0
    """In a rehearsal: mails that a sender took after somebody had started sending and settled nothing."""

    @property
    def is_journal_lost(self) -> bool:
        """Whether nobody who left since the backup was made can be known."""
        return self.replay.is_lost(self.manifest.created)


@dataclass(frozen=True)
class _Source:
    """A verified archive, and with which keys it is loaded."""

    archive: Archive
    manifest: Manifest
    settings: Settings
    key: bytes
    to_install: Keys | None
    """Keys of the archive that must be kept here, because there are none."""


def restore(
    settings: Settings, archive: Archive, journals: Sequence[Path] = (), on_progress: OnProgress = lambda done, total: None
) -> RestoreReport:
    """Load a backup into the database of `settings`, which must be empty, in one transaction. Sending is stopped until a person
    starts it; what was due since is in doubt; who left since, by this instance's journal and `journals`, is off the list.

    Raises RestoreRefused, ArchiveRefused, DecryptionRefused, SettingRefused, DatabaseRefused and OSError; then nothing was
    written.
    """
    source = _verify(settings, archive)
    with _target(settings) as database:
        journal = DepartureJournal(settings.instance_dir / JOURNAL_FILE, source.manifest.fields_fingerprint)
        database.departures = journal
        with _installed_keys(source) as installed, _loading(database) as db:
            report = replace(_load(source, database, db, journals, on_progress)[1], installed=installed)
    _log.info("backup_restored", count=source.manifest.total)
    return report


def rehearse(
    settings: Settings, archive: Archive, journals: Sequence[Path] = (), on_progress: OnProgress = lambda done, total: None
) -> RestoreReport:
    """The same into a scratch database, which is deleted afterwards; nothing else is written. Raises what `restore` raises."""
    source = _verify(settings, archive)
    paths = [settings.instance_dir / JOURNAL_FILE, *journals]
    with scratch_database(settings.database) as scratch:
        apart = source.settings.model_copy(update={"instance_dir": scratch.folder})
        with _loading(scratch.database) as db:
            rt, report = _load(replace(source, settings=apart), scratch.database, db, paths, on_progress)
            claimed = _claim(rt, db)
            for block in send_blocks.active_blocks(db):
                send_blocks.unblock(db, block.kind)
            return replace(report, claimed=claimed, claimed_after_start=_claim(rt, db))


def _verify(settings: Settings, archive: Archive) -> _Source:
    manifest, keys = archive.verify()
    if not Database.knows(manifest.revision):
        raise RestoreRefused(
            f"This backup has a newer schema ({manifest.revision}): version {manifest.version} made it. Restore it with that."
        )
    return _with_keys(settings, archive, manifest, keys)


def _with_keys(settings: Settings, archive: Archive, manifest: Manifest, keys: Keys | None) -> _Source:
    key, to_install = _present_secret(settings), None
    if key is None:
        if keys is None:
            raise RestoreRefused(
                f"There is no key here, and none in this backup. Put the {SECRET_FILE} of the installation it was made of into "
                f"{settings.instance_dir}, or set {PREFIX}SECRET_KEY (and {PREFIX}FIELD_KEYS, if it was set there)."
            )
        key, to_install = keys.secret_key.encode(), keys
        if settings.field_keys is None and keys.field_keys is not None:
            settings = settings.model_copy(update={"field_keys": SecretStr(keys.field_keys)})
    # the key of the look-up index comes with the rows, encrypted with the newest field key; loading checks that it fits
    if (
        not runtime.cipher_of(settings, key).knows_key(manifest.newest_key)
        or links_fingerprint(key) != manifest.links_fingerprint
    ):
        raise RestoreRefused(
            "The keys here are not those of this backup: addresses in it could not be read, or links in letters would not "
            f"work. Set {PREFIX}SECRET_KEY (or {SECRET_FILE} in {settings.instance_dir}) and {PREFIX}FIELD_KEYS as they were "
            f"where it was made.{' The backup holds them: it installs them where there are none.' if keys is not None else ''}"
        )
    return _Source(archive, manifest, settings, key, to_install)


def _present_secret(settings: Settings) -> bytes | None:
    """The installation's secret, if there is one already: none is made."""
    has_one = settings.secret_key is not None or (settings.instance_dir / SECRET_FILE).exists()
    return runtime.secret(settings) if has_one else None


def _write_secret(path: Path, value: str) -> Path:
    """A new file for its owner only. Raises FileExistsError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    return path


@contextmanager
def _installed_keys(source: _Source) -> Iterator[tuple[Path, ...]]:
    """Keys of the archive are here before any row is; when the block fails they are gone again."""
    folder, written = source.settings.instance_dir, list[Path]()
    try:
        if source.to_install is not None:
            written.append(_write_secret(folder / SECRET_FILE, source.to_install.secret_key))
            if source.to_install.field_keys is not None:
                line = f"{PREFIX}FIELD_KEYS={source.to_install.field_keys}\n"
                written.append(_write_secret(folder / FIELD_KEYS_FILE, line))
        yield tuple(written)
    except FileExistsError as error:
        raise RestoreRefused(f"{error.filename} is in {folder} already. Move it away first.") from None
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def _target(settings: Settings) -> Iterator[Database]:
    """The database to restore into. A SQLite file that was not there is gone again when the block fails."""
    database = Database(settings.database)
    files = _files(database)
    made = [file for file in files if not file.exists()]
    if files and files[0] in made and len(made) < len(files):
        raise RestoreRefused(f"{files[1].name} or {files[2].name} is there without its database. Move it away first.")
    try:
        yield database
    except BaseException:
        database.close()
        for file in made:
            file.unlink(missing_ok=True)
        raise
    database.close()
    for file in files[:1]:
        file.chmod(0o600)


def _files(database: Database) -> list[Path]:
    if not database.is_sqlite or not database.url.database:
        return []
    file = Path(database.url.database)
    return [file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")]


@contextmanager
def _loading(database: Database) -> Iterator[Connection]:
    """One transaction, from an empty database to a restored one. What the database refuses is said in a line."""
    try:
        with database.read():
            pass
    except DatabaseError as error:
        place = database.url.render_as_string(hide_password=True)
        raise DatabaseRefused(
            f"The database {place} does not answer ({type(error.orig).__name__}). Check {PREFIX}DATABASE_URL, and that the "
            "server runs and has a database of that name."
        ) from None
    try:
        with database.begin() as db:
            yield db
    except (DatabaseError, ValueError, KeyError) as error:
        cause = error.orig if isinstance(error, DatabaseError) else error
        _log.error("restore_failed", error=type(cause).__name__, exc_info=error)
        raise RestoreRefused(
            f"The backup is whole, but could not be loaded ({type(cause).__name__}). Nothing was changed."
        ) from None


def _load(
    source: _Source, database: Database, db: Connection, journals: Sequence[Path], on_progress: OnProgress
) -> tuple[Runtime, RestoreReport]:
    manifest = source.manifest
    _refuse_used(database, db)
    table_copy.prepare_load(db)
    database.migrate_within(db, manifest.revision)
    _load_tables(db, source, on_progress)
    database.migrate_within(db)
    restored.forget_identity(db)
    restored.end_sessions(db)
    rt = runtime.assemble(source.settings, source.key, database, db)
    replay = departures.replay(rt, db, journals)  # first: the mail of who has left is cancelled, not in doubt
    personal_data.finish(rt, db)
    _stop_sending(rt, db, manifest)
    return rt, RestoreReport(manifest, replay, restored.outlook(db, rt.clock.now()))


def _refuse_used(database: Database, db: Connection) -> None:
    used = sorted(table_copy.count_rows(db).keys() - _SEEDED)
    if used:
        place = database.url.render_as_string(hide_password=True)
        raise RestoreRefused(
            f"The database {place} is not empty (it has {used[0]}). A backup is restored into an empty place only: set "
            f"{PREFIX}DATABASE_URL to a new database, or stop the service and move this one away."
        )


def _load_tables(db: Connection, source: _Source, on_progress: OnProgress) -> None:
    manifest = source.manifest
    table_copy.delete_all(db, manifest.tables)
    shapes, done = {shape.name: shape for shape in manifest.tables}, 0
    for name, blocks in source.archive.tables():
        done += table_copy.write_blocks(db, shapes[name], blocks)
        on_progress(done, manifest.total)
    if done != manifest.total:
        raise RestoreRefused("The backup was changed while it was read. Nothing was changed here.")
    table_copy.continue_numbers(db, manifest.tables)


def _stop_sending(rt: Runtime, db: Connection, manifest: Manifest) -> None:
    """What was due since the backup was made may have been sent."""
    now, real_now = rt.clock.now(), rt.clock.real_now()
    why = f"restored from the backup of {manifest.created:%Y-%m-%d %H:%M} UTC: what was due since may have been sent"
    send_blocks.block(db, BlockKind.DATABASE_RESTORED, why, process_name(), real_now)
    app_state.set_value(db, SET_BACK_UNTIL, now.isoformat())
    in_doubt.mark_set_back(db, process_name(), now, real_now)


def _claim(rt: Runtime, db: Connection) -> int:
    """How many mails a sender would take now; takes them."""
    now, real_now = rt.clock.now(), rt.clock.real_now()
    if send_blocks.stopped(send_blocks.active_blocks(db), real_now):
        return 0
    return len(ledger.claim(db, BatchId(new_id()), process_name(), now, real_now, real_now + rt.timeouts.lease, _EVERY_MAIL))
