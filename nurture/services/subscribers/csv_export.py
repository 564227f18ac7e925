"""The list as a CSV file, a piece at a time: as long as it may be, never more than a piece of it is in memory."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from nurture import log
from nurture.runtime import Runtime
from nurture.services.subscribers import csv_files
from nurture.services.subscribers.listing import Summary, summaries
from nurture.store.subscribers import listing
from nurture.store.subscribers.listing import Cursor, Filter

_log = log.get(__name__)

_PIECE = 500
_HEAD = (
    "Address", "First name", "Stands", "Last letter", "Next letter", "Goes out", "Joined", "Confirmed", "Came by", "Tags",
    "Time zone",
)  # fmt: skip


def pieces(rt: Runtime, which: Filter, zone: ZoneInfo) -> Iterator[str]:
    """The list of those a filter finds, as pieces of a CSV file. Times are on the clock of `zone`."""
    yield csv_files.written([_HEAD])
    after, count = None, 0
    while True:
        with rt.database.read() as db:
            rows = listing.page(db, which, _PIECE, after)
            found = summaries(rt, db, rows, sources=True)
        if not found:
            break
        yield csv_files.written((_line(each, zone) for each in found), first=False)
        count += len(found)
        after = Cursor(rows[-1].joined, rows[-1].id)
    _log.info("list_exported", count=count)


def _line(each: Summary, zone: ZoneInfo) -> tuple[str, ...]:
    where = each.where
    due = where.due.astimezone(zone) if where and where.due else None
    return (
        each.email,
        each.name,
        each.standing.value,
        where.last.subject if where and where.last else "",
        where.next.subject if where and where.next else "",
        f"{due:%Y-%m-%d %H:%M}" if due else "",
        f"{each.joined.astimezone(zone):%Y-%m-%d}",
        f"{each.confirmed.astimezone(zone):%Y-%m-%d}" if each.confirmed else "",
        each.source,
        ", ".join(each.tags),
        each.time_zone,
    )
