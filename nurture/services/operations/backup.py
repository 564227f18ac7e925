"""`nurture backup`: the whole installation as one file, while it works."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nurture import __version__, log, runtime
from nurture.encryption import links_fingerprint
from nurture.errors import NurtureError
from nurture.runtime import Runtime
from nurture.services.operations.archive import Keys, Manifest, write_archive
from nurture.services.subscribers import departures
from nurture.store.core import table_copy

_log = log.get(__name__)

LEAST_PASSPHRASE = 12
"""Characters: whoever has the file can try passphrases for as long as they like."""

OnProgress = Callable[[int, int], object]
"""Called with rows written so far and rows in all."""


class BackupRefused(NurtureError):
    """A backup that cannot be made as asked. The message says why."""


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds."""

    path: Path
    created: datetime
    """The instant (UTC) whose state it shows."""
    revision: str
    rows: dict[str, int]
    """By table."""
    size: int
    """Bytes of the file."""
    is_encrypted: bool
    has_keys: bool


def check_passphrase(passphrase: str) -> None:
    """Raise BackupRefused for one that is too short."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise BackupRefused(f"The passphrase is shorter than {LEAST_PASSPHRASE} characters. Choose several words.")


def create_backup(
    rt: Runtime,
    path: Path,
    passphrase: str | None = None,
    with_keys: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> BackupReport:
    """Write everything in the database, as it is at one instant, to `path`, whose file is replaced. Sign-ups and sending go on.

    `with_keys`: the installation's secrets too, which needs a `passphrase`. Raises BackupRefused, and OSError.
    """
    if passphrase is not None:
        check_passphrase(passphrase)
    elif with_keys:
        raise BackupRefused("Keys go into an encrypted backup only: with them in clear, the file would name everybody.")
    key = runtime.secret(rt.env_settings)
    shapes = tuple(table_copy.shapes())
    with write_archive(path, passphrase) as archive, rt.database.read() as db:
        created = rt.clock.real_now()
        table_copy.take_snapshot(db)
        revision = rt.database.revision(db)[0] or ""
        total = sum(table_copy.count_rows(db).values())
        for shape in shapes:
            for block in table_copy.read_blocks(db, shape):
                archive.add_block(shape.name, block)
                on_progress(archive.rows.total(), total)
        if with_keys:
            archive.add_keys(_keys(rt, key))
        rows = {shape.name: archive.rows[shape.name] for shape in shapes}
        archive.add_manifest(
            Manifest(
                created,
                __version__,
                revision,
                db.dialect.name,
                rt.cipher.fingerprint(),
                rt.cipher.newest_key_id(),
                links_fingerprint(key),
                with_keys,
                shapes,
                rows,
                archive.members,
            )
        )
    report = BackupReport(path, created, revision, rows, path.stat().st_size, passphrase is not None, with_keys)
    try:
        departures.complete(rt)  # so that a journal that is copied with the backup is not older than it
    except OSError as error:
        _log.error("departure_not_journaled", count=0, exc_info=error)
    _log.info("backup_made", count=sum(rows.values()))
    return report


def _keys(rt: Runtime, key: bytes) -> Keys:
    ring = rt.env_settings.field_keys
    return Keys(key.decode(), ring.get_secret_value() if ring is not None else None)
