"""Decides whether a database is a restored copy, which has forgotten what was sent since it was made. No I/O.

The reasons, and why no ordinary start fits one, are in docs/decisions/0006-restored-databases.md.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

OLD_TICK = timedelta(hours=1)
"""Longer than a crash and the restart after it take, shorter than the time between two backups."""
_FIRST_WITNESSED = 2
"""A database at its first count may not have been witnessed yet: the process was killed between commit and file."""

Identity = Mapping[str, str]
"""What tells one database from a copy of it, by part: of SQLite `file` and `machine`; of PostgreSQL `server`, `timeline`,
`database` and `tables`. A part that cannot be known here is left out."""


class RestoreEvidence(StrEnum):
    """Why a database counts as a restored copy; the value ends the sentence "it is a restored copy: …"."""

    BEHIND = "it has forgotten what this machine has seen in it"
    NO_WITNESS = "generation.json is not beside it"
    FILE = "its file is another one than before"
    MACHINE = "it is on another machine than before"
    SERVER = "it is on another PostgreSQL server than before"
    TIMELINE = "its PostgreSQL server was promoted, or recovered to a point in time"
    DATABASE = "it was created as a copy or from a dump"
    TABLES = "its tables were loaded from a dump"
    OLD_TICK = "its last tick is over an hour old, and no clean stop is recorded"


_BY_PART = {
    "server": RestoreEvidence.SERVER,
    "timeline": RestoreEvidence.TIMELINE,
    "database": RestoreEvidence.DATABASE,
    "tables": RestoreEvidence.TABLES,
    "machine": RestoreEvidence.MACHINE,
    "file": RestoreEvidence.FILE,
}


@dataclass(frozen=True)
class Position:
    """How far a database has counted."""

    restores: int = 0
    """How often it was recognized as a restored copy. The other two compare only where this is the same."""
    generation: int = 0
    """Raised every ten seconds by every process."""
    mark: int = 0
    """Raised by every transaction that marks mail as being sent."""

    def is_behind(self, seen: "Position") -> bool:
        """Whether a database that stands here has forgotten something, if it once stood at `seen`."""
        if self.restores != seen.restores:
            return self.restores < seen.restores
        return self.generation < seen.generation or self.mark < seen.mark

    def joined(self, other: "Position") -> "Position":
        """The later of two positions, each count by itself."""
        if self.restores != other.restores:
            return max(self, other, key=lambda each: each.restores)
        return Position(self.restores, max(self.generation, other.generation), max(self.mark, other.mark))


@dataclass(frozen=True)
class DatabaseRecord:
    """What a database says about itself. Real times."""

    position: Position = Position()
    id: str = ""
    """Random, and the same in all copies; empty: it has none yet."""
    identity: Identity | None = None
    """As a process last found it; None: by an older version of this service, or never."""
    witnessed: bool = False
    """Whether its position was once written outside it."""
    last_tick: datetime | None = None
    stopped: datetime | None = None
    """When the last process that ended cleanly did so."""
    reviewed: datetime | None = None
    """When a person last started sending after a restore."""


@dataclass(frozen=True)
class Surroundings:
    """What a process finds outside the database."""

    identity: Identity
    """Of the database, as it is now."""
    seen: Collection[Position] = field(default_factory=tuple)
    """Where the database was seen: by this process, or by this machine as its files say."""
    is_start: bool = False
    """Whether this is the process's first check of this database."""
    keeps_witness: bool = False
    """Whether a file beside the database always says where it stands (SQLite)."""


def find_evidence(record: DatabaseRecord, around: Surroundings, real_now: datetime) -> RestoreEvidence | None:
    """The first reason to take the database for a restored copy; None: it is the living one."""
    known = record.identity or {}
    for part, evidence in _BY_PART.items():
        if part in known and part in around.identity and known[part] != around.identity[part]:
            return evidence
    if any(record.position.is_behind(seen) for seen in around.seen):
        return RestoreEvidence.BEHIND
    if around.is_start and around.keeps_witness and not around.seen and _was_witnessed(record):
        return RestoreEvidence.NO_WITNESS
    if around.is_start and _ended_in_a_crash_long_ago(record, real_now):
        return RestoreEvidence.OLD_TICK
    return None


def _was_witnessed(record: DatabaseRecord) -> bool:
    # Older versions, which recorded no identity, did not work without the file.
    return record.position.generation >= _FIRST_WITNESSED and (record.witnessed or record.identity is None)


def _ended_in_a_crash_long_ago(record: DatabaseRecord, real_now: datetime) -> bool:
    if record.last_tick is None or record.identity is None:  # an older version recorded no clean stop
        return False
    ends = (at for at in (record.stopped, record.reviewed) if at is not None)
    return real_now - record.last_tick > OLD_TICK and not any(at >= record.last_tick for at in ends)
