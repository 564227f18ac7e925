"""The journal of departures: who left, as keyed hashes, in a file outside the database, so that a restored backup learns of it.

One line for each departure or return: `<UTC time> <kind> <blind index of the address as 64 hex digits>`. The first line names
the format and the key of the hashes; `checked` lines say up to when the journal is known to hold everybody. Several processes
may append at once (flock(2)); a line cut off by a crash is passed over, and the next completion writes again what it said.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection

from nurture import log
from nurture.domain.subscriber import Suppression
from nurture.errors import NurtureError

_log = log.get(__name__)

JOURNAL_FILE = "departures.journal"
_FORMAT = "nurture-departures 1"
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_TIME_LENGTH = 27
_CHECKED = "checked"
_INFO_KEY = "departures"
_SPARE_LINES = 10_000
"""The file is rewritten once it holds so many more lines than twice what they come to."""


class DepartureKind(StrEnum):
    """What happened to an address."""

    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    ERASING = "erasing"
    """An erasure is about to be committed. If nothing follows, the process died: it counts as an erasure."""
    ERASED = "erased"
    RETURNED = "returned"
    """The reader came back by their own act: took an unsubscribe back, or confirmed a new sign-up."""


ERASURES = (DepartureKind.ERASING, DepartureKind.ERASED)


def kind_of(reason: Suppression) -> DepartureKind:
    """The journal's word for a reason of the suppressions."""
    return DepartureKind(reason.value)


@dataclass(frozen=True)
class Departure:
    """One line of the journal."""

    kind: DepartureKind
    email_index: bytes
    """The blind index of the address (encryption.blind_index): 32 bytes, never the address."""
    at: datetime
    """UTC, on the timeline, as in the table of suppressions."""


class JournalRefused(NurtureError):
    """A file that is no journal of departures, or one whose hashes were made with another key."""


@dataclass
class JournalContent:
    """What a journal comes to: the last word about every address in it."""

    last: dict[bytes, Departure] = field(default_factory=dict)
    checked: datetime | None = None
    """Up to when (real time, UTC) it is known to hold every departure of the whole fleet."""
    lines: int = 0
    unreadable: int = 0
    """Lines that are cut off or damaged."""


class DepartureJournal:
    """One journal file. Every method may be called from several threads and processes at once."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        """`fingerprint`: of the key with which the hashes are made."""
        self.path = path
        self._header = f"{_FORMAT} {fingerprint}\n".encode()

    def prepare(self) -> None:
        """Make the file if it is missing; put aside one whose hashes were made with another key. Raises OSError."""
        with self._locked():
            pass

    def append(self, departures: Iterable[Departure]) -> None:
        """Write and fsync. Raises OSError."""
        text = "".join(_line(each) for each in departures)
        if text:
            with self._locked() as file:
                _write(file, text.encode())

    def mark_checked(self, at: datetime) -> None:
        """Note that every departure up to `at` (real time, UTC) is in the journal. Raises OSError."""
        line = f"{at.astimezone(UTC).strftime(_TIME)} {_CHECKED}\n".encode()
        with self._locked() as file:
            size = os.fstat(file).st_size
            start = max(0, size - len(line))
            previous = os.pread(file, len(line), start)
            if previous.endswith(line[_TIME_LENGTH:]):  # in its place: the file does not grow while nobody leaves
                os.pwrite(file, line, start)
                os.fsync(file)
            else:
                _write(file, line)

    def read(self) -> JournalContent:
        """Everything in the file. Raises JournalRefused, and OSError where it cannot be read."""
        return self._parse(self.path.read_bytes())

    def compact(self) -> bool:
        """Rewrite the file with the last word about every address, if that makes it much shorter. Raises OSError and
        JournalRefused. Returns whether it did.
        """
        with self._locked() as file:
            content = self._parse(_read_all(file))
            if content.lines <= 2 * len(content.last) + _SPARE_LINES:
                return False
            text = "".join(_line(each) for each in content.last.values())
            if content.checked is not None:
                text += f"{content.checked.strftime(_TIME)} {_CHECKED}\n"
            draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            draft.unlink(missing_ok=True)
            fresh = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _write_all(fresh, self._header + text.encode())
                os.fsync(fresh)
            finally:
                os.close(fresh)
            draft.replace(self.path)
            _sync_folder(self.path.parent)
        return True

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The open file, made now if it is missing, and nobody else at it. It is not one that `compact` has just replaced."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not _is_at(file, self.path):
                    continue
                found = os.pread(file, len(self._header), 0)
                if found and found != self._header:  # of an earlier installation in this folder: no use to this one
                    self.path.replace(self.path.with_name(f"{JOURNAL_FILE}.of-another-key"))
                    _log.warning("journal_replaced")
                    continue
                if not found:
                    _write_all(file, self._header)
                    os.fsync(file)
                    _sync_folder(self.path.parent)
                yield file
                return
            finally:
                os.close(file)

    def _parse(self, data: bytes) -> JournalContent:
        header, _, body = data.partition(b"\n")
        if header + b"\n" != self._header:
            if header.startswith(_FORMAT.encode()):
                raise JournalRefused(
                    f"{self.path} was written with another key than this installation's. Use the journal of this one."
                )
            raise JournalRefused(f"{self.path} is no journal of departures.")
        content = JournalContent()
        for line in body.splitlines():
            content.lines += 1
            try:
                at, kind, *index = line.decode("ascii").split(" ")
                when = datetime.strptime(at, _TIME).replace(tzinfo=UTC)
                if kind == _CHECKED and not index:
                    content.checked = max(content.checked or when, when)
                    continue
                departure = Departure(DepartureKind(kind), bytes.fromhex(index[0]), when)
                if len(index) != 1 or len(departure.email_index) != 32:
                    raise ValueError(line)
            except (ValueError, IndexError):
                content.unreadable += bool(line)
                continue
            content.last[departure.email_index] = departure
        return content


def _line(departure: Departure) -> str:
    return f"{departure.at.astimezone(UTC).strftime(_TIME)} {departure.kind} {departure.email_index.hex()}\n"


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _write(file: int, text: bytes) -> None:
    """Append, after a line end even where the last line was cut off, and fsync."""
    size = os.lseek(file, 0, os.SEEK_END)
    if size and os.pread(file, 1, size - 1) != b"\n":
        text = b"\n" + text
    _write_all(file, text)
    os.fsync(file)


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _read_all(file: int) -> bytes:
    size = os.fstat(file).st_size
    parts, at = [], 0
    while at < size and (part := os.pread(file, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def note(db: Connection, kind: DepartureKind, email_index: bytes, at: datetime) -> None:
    """Have a departure, or a return, of this transaction written to the journal as soon as it has committed."""
    db.info.setdefault(_INFO_KEY, []).append(Departure(kind, email_index, at))


class Pending:
    """What one transaction will have to say to the journal."""

    def __init__(self, db: Connection, journal: DepartureJournal | None) -> None:
        """`journal`: None where none is kept, as in a scratch database."""
        self._noted: list[Departure] = []
        self._journal = journal
        db.info[_INFO_KEY] = self._noted

    def before_commit(self) -> None:
        """An erasure takes its own trace out of the database, so nothing could complete the journal from there: it is announced
        first.
        """
        self._append([replace(each, kind=DepartureKind.ERASING) for each in self._noted if each.kind is DepartureKind.ERASED])

    def after_commit(self) -> None:
        """Write what was noted."""
        self._append(self._noted)

    def _append(self, noted: Sequence[Departure]) -> None:
        """A file that cannot be written keeps nobody from leaving: it is logged, and completed from the database later."""
        if self._journal is None or not noted:
            return
        try:
            self._journal.append(noted)
        except OSError as error:
            _log.error("departure_not_journaled", count=len(noted), exc_info=error)
