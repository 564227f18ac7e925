"""What tells this very database from a copy of it: the parts of a `domain.restore_evidence.Identity`."""

import hashlib
import os
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

_INODES_MAY_CHANGE = ("fuse", "9p", "virtiofs", "vboxsf", "fakeowner", "cifs", "smb3", "vfat", "msdos", "exfat")
"""File systems, by how their name begins, that may number their files anew at each mount."""
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))

# PostgreSQL manual, "System Information Functions" and "Backup Control Functions". The name of a WAL file begins with the
# timeline that is written now; the control file's follows only with the first checkpoint after a promotion. Oids are never
# used twice in one server, and a dump does not carry them.
_PARTS = {
    "server": "(SELECT system_identifier FROM pg_control_system())::text",
    "timeline": "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)",
    "database": "(SELECT oid FROM pg_database WHERE datname = current_database())::text",
    "tables": "'app_state'::regclass::oid::text",
}
_ALL_PARTS = text("SELECT " + ", ".join(_PARTS.values()))


def read_identity(db: Connection) -> dict[str, str]:
    """The parts that can be known here; some hosts of PostgreSQL do not let everybody ask for all of them."""
    if db.dialect.name == "sqlite":
        return read_file_identity(db.engine.url.database)
    try:
        with db.begin_nested():
            return dict(zip(_PARTS, db.execute(_ALL_PARTS).one(), strict=True))
    except DBAPIError:
        return {part: value for part in _PARTS if (value := _read_part(db, part)) is not None}


def _read_part(db: Connection, part: str) -> str | None:
    try:
        with db.begin_nested():
            value: str = db.execute(text("SELECT " + _PARTS[part])).scalar_one()
    except DBAPIError:
        return None
    return value


def read_file_identity(database: str | None) -> dict[str, str]:
    """Of a SQLite file: its inode number and the machine it is on, as far as they mean something."""
    found = {}
    path = Path(database or "")
    if path.is_file() and not _file_system(path.stat().st_dev).startswith(_INODES_MAY_CHANGE):
        found["file"] = str(path.stat().st_ino)
    machine = machine_id()
    if machine is not None:
        found["machine"] = machine
    return found


@cache
def machine_id(root: Path = Path("/")) -> str | None:
    """A hash of machine-id(5), which must not leave the machine as it is; None in a container, where it is the image's."""
    try:
        content = (root / "etc/machine-id").read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    if not content or any((root / mark.relative_to("/")).exists() for mark in _CONTAINER_MARKS):
        return None
    return hashlib.sha256(b"nurture|" + content.encode()).hexdigest()[:16]


@cache
def _file_system(device: int) -> str:
    """The type of the file system on a device, as proc_pid_mountinfo(5) names it; empty where that cannot be known."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields = line.split()
        if fields[2] == wanted:
            return fields[fields.index("-") + 1]
    return ""
