"""`generation.json`: where a database was last seen, kept outside it, so that a restored copy is found out.

Written in place, at one fixed length: a loss of power leaves the old record or the new one, never an empty file. Several
processes share a file; the later position counts.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nurture.domain.restore_evidence import Position
from nurture.store.database import Database

FILE_NAME = "generation.json"
OLD_FILE_NAME = "witness.json"
"""As older versions called it; it is read, and not written any more."""
_LENGTH = 256


def paths(instance_dir: Path, database: Database) -> list[Path]:
    """Where records are kept: in the instance folder; for SQLite also beside the database, and outside of what a backup of
    that folder holds, in the user's state folder (XDG Base Directory Specification).
    """
    found = [instance_dir / FILE_NAME]
    if database.is_sqlite and database.url.database:
        file = Path(database.url.database).resolve()
        found.append(file.with_name(FILE_NAME))
        state = _state_folder()
        if state is not None:
            found.append(state / f"generation-{hashlib.sha256(str(file).encode()).hexdigest()[:16]}.json")
    return list({path.resolve(): path for path in found}.values())


def _state_folder() -> Path | None:
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".local" / "state") / "nurture"
    except RuntimeError:  # a user without a home
        return None


def read(path: Path) -> dict[str, Position]:
    """The recorded position, by the database's id; empty without a readable record. Reads an older version's file as well."""
    found: dict[str, Position] = {}
    for each in (path.with_name(OLD_FILE_NAME), path):
        try:
            with _locked(each, os.O_RDONLY) as file:
                database, position = _parsed(os.pread(file, _LENGTH, 0))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found[database] = position.joined(found[database]) if database in found else position
    return found


def write(path: Path, database: str, position: Position) -> None:
    """Record a position, unless a later one of the same database is recorded already. Raises OSError."""
    is_new = not path.exists()
    if is_new:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(path, os.O_RDWR | os.O_CREAT) as file:
        try:
            recorded, other = _parsed(os.pread(file, _LENGTH, 0))
            position = position.joined(other) if recorded == database else position
        except (ValueError, KeyError, TypeError):
            pass
        content = {
            "database": database, "restores": position.restores, "generation": position.generation, "mark": position.mark,
        }  # fmt: skip
        os.pwrite(file, json.dumps(content).ljust(_LENGTH - 1).encode() + b"\n", 0)
        if is_new:  # later records overwrite this one in place, and an old one is better than an empty file
            os.fsync(file)


@contextmanager
def _locked(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX if flags & os.O_RDWR else fcntl.LOCK_SH)
        yield file
    finally:
        os.close(file)


def _parsed(content: bytes) -> tuple[str, Position]:
    record: dict[str, Any] = json.loads(content)
    counts = (int(record.get(name, 0)) for name in ("restores", "generation", "mark"))
    return str(record["database"]), Position(*counts)
