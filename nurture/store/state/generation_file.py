"""`generation.json`: where a database was last seen, kept outside it, so that a restored copy is found out.

Written in place, at one fixed length: a loss of power leaves the old record or the new one, never an empty file. Several
processes share a file; the later position counts.
"""

import fcntl
import hashlib
import io
import json
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nurture.domain.restore_evidence import Position
from nurture.settings import state_folder
from nurture.store.core.database import Database

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
        state = state_folder()
        if state is not None:
            found.append(state / f"generation-{hashlib.sha256(str(file).encode()).hexdigest()[:16]}.json")
    return list({path.resolve(): path for path in found}.values())


def read(path: Path) -> dict[str, Position]:
    """The recorded position, by the database's id; empty without a readable record. Reads an older version's file as well."""
    found: dict[str, Position] = {}
    for each in (path.with_name(OLD_FILE_NAME), path):
        try:
            with each.open("rb", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                database, position = _parsed(file.read(_LENGTH))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found[database] = position.joined(found[database]) if database in found else position
    return found


class GenerationFiles:
    """The files a process writes to, kept open: every commit that marks mail is recorded."""

    def __init__(self, places: Iterable[Path]) -> None:
        """`places`: see `paths`."""
        self._files: dict[Path, io.FileIO | None] = dict.fromkeys(places)
        self._written: dict[Path, tuple[bytes, str, Position]] = {}
        self._lock = threading.Lock()

    def write(self, database: str, position: Position, reopen: bool = False) -> None:
        """Record a position in every file, unless a later one of the same database is recorded there already.

        `reopen`: should somebody have moved a file away, a new one is made. Raises OSError if no file could be written.
        """
        failures = list[OSError]()
        with self._lock:
            if reopen:
                self._close()
            for path in self._files:
                try:
                    self._write(path, database, position)
                except OSError as error:
                    failures.append(error)
        if len(failures) == len(self._files):
            raise failures[0]

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._close()

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        for path, file in self._files.items():
            if file is not None:
                file.close()
            self._files[path] = None

    def _write(self, path: Path, database: str, position: Position) -> None:
        file = self._files[path] or _open(path)
        self._files[path] = file
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            recorded = os.pread(file.fileno(), _LENGTH, 0)
            ours = self._written.get(path)
            if ours is not None and ours[:2] == (recorded, database):  # no other process was here: nothing to parse
                position = position.joined(ours[2])
            else:
                position = _joined(recorded, database, position)
            content = {
                "database": database, "restores": position.restores, "generation": position.generation, "mark": position.mark,
            }  # fmt: skip
            written = json.dumps(content).ljust(_LENGTH - 1).encode() + b"\n"
            os.pwrite(file.fileno(), written, 0)
            self._written[path] = (written, database, position)
            if not recorded:  # later records overwrite this one in place, and an old one is better than an empty file
                os.fsync(file)
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def _open(path: Path) -> io.FileIO:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(PermissionError):  # older versions made it readable for everybody on the machine
        os.fchmod(file, 0o600)
    return io.FileIO(file, "r+")


def _joined(recorded: bytes, database: str, position: Position) -> Position:
    try:
        other_database, other = _parsed(recorded)
    except (ValueError, KeyError, TypeError):
        return position
    return position.joined(other) if other_database == database else position


def _parsed(content: bytes) -> tuple[str, Position]:
    record: dict[str, Any] = json.loads(content)
    counts = (int(record.get(name, 0)) for name in ("restores", "generation", "mark"))
    return str(record["database"]), Position(*counts)
