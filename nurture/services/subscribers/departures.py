"""Keeps this machine's journal of departures complete.

A departure is written to the journal (store.subscribers.departures) right after its commit, by the process that committed it.
`complete` adds what is missing, from the database: departures that other machines wrote down, or that a process died before
it could.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.safety_checks import check
from nurture.domain.subscriber import Suppression
from nurture.runtime import Runtime
from nurture.store.subscribers import subscribers
from nurture.store.subscribers.departures import ERASURES, Departure, DepartureKind, JournalContent, kind_of

_log = log.get(__name__)

COMPLETE_SECONDS = 60
"""How often each process with a scheduler completes its machine's journal."""


_SAYS_AS_MUCH = (*ERASURES, DepartureKind.RETURNED)


def complete(rt: Runtime) -> int:
    """Add to this machine's journal what the database knows and the journal does not, and note up to when it is complete.

    Doing it twice is fine. While the database may have been set back, nothing is done; and even then nothing false would be
    added: nobody is written down as returned without a later yes of theirs on record, and an older word never takes the place
    of a newer one. Returns how many lines were added.
    """
    journal = rt.database.departures
    if journal is None or not check(rt):
        return 0
    real_now = rt.clock.real_now()
    journal.prepare()
    with rt.database.read() as db:
        known = subscribers.suppressed(db)
        content = journal.read()
        missing = [*_departures_missing(known, content), *_returns_missing(db, known, content)]
    journal.append(missing)
    journal.mark_checked(real_now)
    journal.compact()
    if missing:
        _log.info("departures_completed", count=len(missing))
    return len(missing)


def _departures_missing(known: dict[bytes, tuple[Suppression, datetime]], content: JournalContent) -> Iterable[Departure]:
    for index, (reason, at) in known.items():
        last = content.last.get(index)
        same_time = last is not None and at == last.at
        if last is not None and (at < last.at or (same_time and last.kind in _SAYS_AS_MUCH)):
            continue
        if not same_time or last is None or last.kind is not kind_of(reason):
            yield Departure(kind_of(reason), index, at)


def _returns_missing(
    db: Connection, known: dict[bytes, tuple[Suppression, datetime]], content: JournalContent
) -> Iterable[Departure]:
    """Returns, and what became of erasures that were announced by a process that died."""
    for index, last in content.last.items():
        if last.kind is DepartureKind.ERASING:
            if not subscribers.is_on_file(db, index):
                yield Departure(DepartureKind.ERASED, index, last.at)
                continue
            reason, at = known.get(index, (None, last.at))
            yield Departure(kind_of(reason) if reason else DepartureKind.RETURNED, index, at)
        elif last.kind is not DepartureKind.RETURNED and index not in known:
            back = subscribers.last_return(db, index)
            if back is not None and back > last.at:
                yield Departure(DepartureKind.RETURNED, index, back)
