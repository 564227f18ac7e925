"""Replays the journal of departures (store.subscribers.departures), which says who left since a backup was made, into a
restored database.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.suppress import suppress
from nurture.domain.subscriber import SubscriberState, Suppression, outweighs
from nurture.runtime import Runtime
from nurture.store.subscribers import subscribers
from nurture.store.subscribers.departures import ERASURES, Departure, DepartureJournal, DepartureKind, JournalRefused

_log = log.get(__name__)


@dataclass
class ReplayReport:
    """What the journals knew that the restored database did not."""

    checked: datetime | None = None
    """Up to when (real time, UTC) who left is known; None: there is no journal, or it was never completed."""
    entries: int = 0
    """Addresses in the journals."""
    stopped: int = 0
    """People and addresses that had left since and are suppressed now, those erased included."""
    erased: int = 0
    """How many of them had asked to be erased; `services.subscribers.personal_data.finish` takes their values away."""
    returned: int = 0
    """People who came back after the backup was made. They stay off the list: only they can say so again."""
    unreadable: int = 0
    """Lines of the journals that are damaged."""
    missing: list[Path] = field(default_factory=list)
    """Journals that are not there, or cannot be read."""
    refused: list[str] = field(default_factory=list)
    """Files that are no journals of this installation, each in one sentence."""

    def is_lost(self, since: datetime) -> bool:
        """Whether nobody who left after `since` (real time, UTC) can be known."""
        return self.checked is None or self.checked < since


def read_journals(paths: Iterable[Path], fingerprint: str) -> tuple[dict[bytes, Departure], ReplayReport]:
    """The last word about every address in several journals, and a report of what could not be read.

    Each machine writes what its own processes did at once and what the others did within a minute, so of two machines the later
    word counts; of two of the same instant, the departure.
    """
    report, last = ReplayReport(), dict[bytes, Departure]()
    for path in paths:
        try:
            content = DepartureJournal(path, fingerprint).read()
        except OSError:
            report.missing.append(path)
            continue
        except JournalRefused as refused:
            report.refused.append(str(refused))
            continue
        report.unreadable += content.unreadable
        if content.checked is not None:
            report.checked = max(report.checked or content.checked, content.checked)
        for index, word in content.last.items():
            other = last.get(index)
            if other is None or word.at > other.at or (word.at == other.at and other.kind is DepartureKind.RETURNED):
                last[index] = word
    report.entries = len(last)
    return last, report


def replay(rt: Runtime, db: Connection, journals: Iterable[Path] = ()) -> ReplayReport:
    """Suppress, in a restored database, everybody who left since by `journals` and this instance's own, and mark as erased who
    was. Doing it twice is fine. Whoever came back since stays off the list. Must be followed by
    `services.subscribers.personal_data.finish`.
    """
    own = [rt.database.departures.path] if rt.database.departures is not None else []
    last, report = read_journals(dict.fromkeys([*own, *journals]), rt.cipher.fingerprint())
    known = subscribers.suppressed(db)
    for word in last.values():
        present = known.get(word.email_index)
        if word.kind is DepartureKind.RETURNED:
            report.returned += present is not None
        elif word.kind in ERASURES:
            _replay_erasure(rt, db, word, present is not None, report)
        elif outweighs(reason := Suppression(word.kind.value), present[0] if present else None):
            _replay_departure(rt, db, word, reason, report)
    if last:
        _log.info("departures_replayed", entries=report.entries, stopped=report.stopped)
    return report


def _replay_erasure(rt: Runtime, db: Connection, word: Departure, known: bool, report: ReplayReport) -> None:
    person = subscribers.find(db, word.email_index)
    if person is None:
        if not known:
            subscribers.suppress(db, word.email_index, Suppression.ERASED, word.at)
            report.stopped += 1
        return
    if person.state is SubscriberState.ERASED or _asked_since(db, word):
        return
    suppress(rt, db, person, Suppression.ERASED)
    report.stopped += 1
    report.erased += 1


def _replay_departure(rt: Runtime, db: Connection, word: Departure, reason: Suppression, report: ReplayReport) -> None:
    person = subscribers.find(db, word.email_index)
    if reason is Suppression.UNSUBSCRIBED and _asked_since(db, word):
        return
    if person is None:
        subscribers.suppress(db, word.email_index, reason, word.at)
    else:
        suppress(rt, db, person, reason)
    report.stopped += 1


def _asked_since(db: Connection, word: Departure) -> bool:
    """Whether they came back after that, and the journal missed it."""
    back = subscribers.last_return(db, word.email_index)
    return back is not None and back > word.at
