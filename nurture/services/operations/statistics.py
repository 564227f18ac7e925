"""The numbers page: who came, how far the letters carried them, who left and when, and how mail services see the sender."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture.domain.delivery import State
from nurture.ids import SequenceId
from nurture.runtime import Runtime
from nurture.services.subscribers.consultations import BOOKED, CONSULTATION
from nurture.services.subscribers.listing import Catalogue, NamedLetter
from nurture.store.operations import statistics
from nurture.store.subscribers import listing

_MOST_BARS = 24
REPLIED = "replied"
"""Why letters ended of a reader who answered one."""


class Range(StrEnum):
    """How far back the page looks."""

    MONTH = "30-days"
    QUARTER = "90-days"
    YEAR = "year"
    ALL = "all"


STAYED = (timedelta(days=1), timedelta(days=4), timedelta(days=8), timedelta(days=15), timedelta(days=22))
"""Until when, after confirming, people left: the edges of the spans that are counted."""


@dataclass(frozen=True)
class Bucket:
    """One bar of time: its days, and how many asked and confirmed in them."""

    first: date
    last: date
    asked: int
    confirmed: int


@dataclass(frozen=True)
class FunnelStep:
    """One letter, for those who began in the span: who got it, where it came back, who left after it or asked for a call."""

    letter: NamedLetter
    sent: int
    undelivered: int
    left: int
    asked: int
    replied: int


@dataclass(frozen=True)
class MailCounts:
    """All mail of the span, and what came back of it."""

    sent: int
    bounced: int
    complained: int


@dataclass(frozen=True)
class Numbers:
    """Everything on the page, exact: what may be shown of it is domain.rounding'."""

    since: date
    buckets: tuple[Bucket, ...]
    funnels: tuple[tuple[SequenceId, tuple[FunnelStep, ...]], ...]
    began: int
    stays: tuple[int, ...]
    mail: MailCounts
    sources: tuple[tuple[str, int], ...]


def load(rt: Runtime, back: Range, zone: ZoneInfo) -> Numbers:
    """The numbers of a span of time that ends now, its days by the clock of `zone`."""
    today = rt.clock.now().astimezone(zone).date()
    with rt.database.read() as db:
        first = statistics.first_day(db)
        oldest = first.astimezone(zone).date() if first else today
        days = _days(back, today, oldest)
        edges = [datetime.combine(day, time(), zone).astimezone(UTC) for day in days]
        spans = list(pairwise(edges))
        whole = (edges[0], edges[-1])
        asked, confirmed = (statistics.said(db, act, spans) for act in ("given", "confirmed"))
        came_back = statistics.returned(db, whole)
        funnels, began = _funnels(db, whole)
        return Numbers(
            days[0],
            tuple(
                Bucket(day, following - timedelta(days=1), a, c)
                for day, following, a, c in zip(days[:-1], days[1:], asked, confirmed, strict=True)
            ),
            funnels,
            began,
            tuple(statistics.stays(db, whole, STAYED)),
            MailCounts(statistics.sent(db, whole), came_back.get(State.BOUNCED, 0), came_back.get(State.COMPLAINED, 0)),
            tuple(statistics.sources(db, whole)),
        )


def _days(back: Range, today: date, oldest: date) -> list[date]:
    """The first day of each bar, and the day after the last one."""
    tomorrow = today + timedelta(days=1)
    if back in (Range.MONTH, Range.QUARTER):
        step, count = (5, 6) if back is Range.MONTH else (7, 13)
        return [tomorrow - timedelta(days=step * (count - number)) for number in range(count)] + [tomorrow]
    months = 1
    start = _earlier(today.replace(day=1), 11) if back is Range.YEAR else oldest.replace(day=1)
    while _months(start, today) // months >= _MOST_BARS:
        months = {1: 3, 3: 12}.get(months, months * 2)
    found = [start]
    while (following := _earlier(found[-1], -months)) <= today:
        found.append(following)
    return [*found, following]


def _months(start: date, end: date) -> int:
    return (end.year - start.year) * 12 + end.month - start.month


def _earlier(first: date, months: int) -> date:
    """The first of a month so many months before the first of another."""
    number = first.year * 12 + first.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def _funnels(db: Connection, whole: statistics.Span) -> tuple[tuple[tuple[SequenceId, tuple[FunnelStep, ...]], ...], int]:
    catalogue = Catalogue(listing.letters(db))
    standings = statistics.funnel_counts(db, whole)
    undelivered = statistics.undelivered(db, whole)
    found = []
    for sequence in catalogue.sequences():
        letters = catalogue.letters(sequence)
        places = {letter.key: number for number, letter in enumerate(letters)}
        reached, ended = [0] * len(letters), defaultdict[tuple[int, str], int](int)
        for each in standings:
            at = places.get(each.last_step) if each.sequence == sequence and each.last_step is not None else None
            if at is None:
                continue
            reached[at] += each.count
            ended[at, each.why or ""] += each.count
        for at in range(len(letters) - 2, -1, -1):
            reached[at] += reached[at + 1]  # whoever got a later letter got this one
        steps = tuple(
            FunnelStep(
                letter,
                reached[at],
                undelivered.get((sequence, letter.key), 0),
                ended[at, "unsubscribed"],
                ended[at, CONSULTATION] + ended[at, BOOKED],
                ended[at, REPLIED],
            )
            for at, letter in enumerate(letters)
        )
        if reached and reached[0]:
            found.append((sequence, steps))
    return tuple(found), sum(each.count for each in standings)
