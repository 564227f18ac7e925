"""When the next letter is due. Start here: `next_due`.

All instants are UTC; days, hours and quiet hours are read off the clocks of the reader's own zone. A letter is due at
the first moment, after its wait, at which the sequence's window is open there and quiet hours are over.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from nurture.domain.sequence import Step, Wait
from nurture.errors import NurtureError

ON_TIME = timedelta(minutes=15)
"""A letter sent within this of its promise was on time; a later one, after an outage, counts as late."""

_DAY = 24 * 60
_DAY_LONG = timedelta(minutes=_DAY)
_YEAR = timedelta(days=367)


class NeverOpens(NurtureError):
    """The rules leave no moment of the coming year in which a letter may go out."""


def _minute(value: time) -> int:
    return value.hour * 60 + value.minute


@dataclass(frozen=True)
class Window:
    """Hours and weekdays in which letters may go out, on the reader's clocks. `closes` 00:00 means midnight at the end."""

    opens: time = time(9)
    closes: time = time(18)
    days: frozenset[int] = frozenset(range(6))
    """Weekdays, Monday = 0."""

    def span(self) -> tuple[int, int]:
        """Minutes of the day, end excluded."""
        return _minute(self.opens), _minute(self.closes) or _DAY


@dataclass(frozen=True)
class Quiet:
    """Hours of rest, on the reader's clocks; may run over midnight. Nothing goes out in them, whatever the window says."""

    begins: time = time(21)
    ends: time = time(8)

    def spans(self) -> list[tuple[int, int]]:
        """Minutes of the day, end excluded."""
        begins, ends = _minute(self.begins), _minute(self.ends)
        if begins < ends:
            return [(begins, ends)]
        return [(0, ends), (begins, _DAY)] if begins > ends else []


@dataclass(frozen=True)
class Rules:
    """When letters of one sequence may go out."""

    window: Window = field(default_factory=Window)
    quiet: Quiet = field(default_factory=Quiet)
    holidays: frozenset[date] = frozenset()

    def open_minutes(self, day: date) -> list[tuple[int, int]]:
        """The spans of minutes of `day`, end excluded and in order, in which a letter may go out."""
        if day.weekday() not in self.window.days or day in self.holidays:
            return []
        return self._open_day

    @cached_property
    def _open_day(self) -> list[tuple[int, int]]:
        """The spans of a day that is open, none of them empty."""
        opens, closes = self.window.span()
        spans = [(opens, closes)] if opens < closes else []
        for begins, ends in self.quiet.spans():
            spans = [
                piece
                for opens, closes in spans
                for piece in ((opens, min(closes, begins)), (max(opens, ends), closes))
                if piece[0] < piece[1]
            ]
        return spans


def instant(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """The UTC instant at which clocks of `zone` first show that minute of `day`, or would have, had they not jumped over it.

    A time inside a gap is the moment of the jump; a time that occurs twice is its first occurrence.
    """
    real_now = datetime.combine(day, time()) + timedelta(minutes=minute)
    first = real_now.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = real_now.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first <= second:
        return first
    return _jump(second, first, zone)  # a gap (PEP 495): the jump lies between the two readings


def _jump(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The UTC instant, later than `before` and at most `after`, at which clocks of `zone` jump. They must differ in offset."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def after_wait(anchor: datetime, wait: Wait, zone: ZoneInfo) -> datetime:
    """The UTC instant when `wait` after `anchor` (UTC) is over.

    Days are calendar days: the clock of the reader shows the same time again. Hours are elapsed hours.
    """
    over = anchor
    if wait.days:
        local = anchor.astimezone(zone)
        later = (anchor + timedelta(days=wait.days)).astimezone(zone)
        if later.utcoffset() == local.utcoffset() and not later.fold:  # nearly always: the clock shows the same time there
            over = anchor + timedelta(days=wait.days)
        else:
            over = instant(local.date() + timedelta(days=wait.days), _minute(local.time()), zone)
            over += timedelta(seconds=local.second, microseconds=local.microsecond)
    return max(anchor, over) + timedelta(hours=wait.hours)


def first_opening(earliest: datetime, rules: Rules, zone: ZoneInfo) -> datetime:
    """First UTC instant, at or after `earliest` (UTC), at which `rules` let a letter out on the clocks of `zone`.

    What counts is what those clocks show: an hour they show twice is open twice, one they jump over is not.
    Raises NeverOpens when no day of the coming year has one.
    """
    moment = earliest
    while moment < earliest + _YEAR:
        clock = moment.astimezone(zone)
        shown = timedelta(0, clock.second, clock.microsecond, 0, clock.minute, clock.hour)
        spans = rules.open_minutes(clock.date())
        minute = clock.hour * 60 + clock.minute
        for opens, closes in spans:
            if opens <= minute < closes:
                return moment
        until = moment + _DAY_LONG - shown  # midnight, unless the clock jumps before: each turn reads a steady clock
        if until.astimezone(zone).utcoffset() != clock.utcoffset():
            until = _jump(moment, until, zone)
        for opens, _ in spans:
            opening = moment + (timedelta(minutes=opens) - shown)
            if moment < opening < until:
                return opening
        moment = until
    raise NeverOpens(
        "The window, quiet hours and holidays of this sequence leave no moment to send in. "
        "Give the window at least one day and an hour outside quiet hours."
    )


def next_due(anchor: datetime, step: Step, rules: Rules, zone: ZoneInfo) -> datetime:
    """When the letter of `step` is due (UTC).

    `anchor` (UTC) is what `next_anchor` says, or when the reader confirmed. A step sent `at once` answers
    something the reader did this minute, so it waits for nothing; every other step waits, then takes the first opening.
    Raises NeverOpens.
    """
    if step.at_once:
        return anchor
    return first_opening(after_wait(anchor, step.wait, zone), rules, zone)


def next_anchor(planned: datetime, accepted: datetime, grace: timedelta = ON_TIME) -> datetime:
    """The instant (UTC) from which the wait for the next letter counts, once a letter was accepted.

    A letter that was on time anchors at its promise, so that seconds of delay do not add up over a sequence; a late one
    at its acceptance, so that the next keeps its distance.
    """
    return planned if accepted - planned <= grace else accepted


def reopened(planned: datetime, now: datetime, grace: timedelta, rules: Rules, zone: ZoneInfo) -> datetime | None:
    """When a letter that missed its moment may go out instead; None if it may go out now.

    After an outage a letter `planned` for the morning must not arrive at night: one that is later than `grace` has to
    find the window open again. Raises NeverOpens.
    """
    if now - planned <= grace:
        return None
    opening = first_opening(now, rules, zone)
    return opening if opening > now else None


def spaced_out(now: datetime, last: datetime | None, gap: timedelta, zone: ZoneInfo) -> datetime:
    """From when (UTC) a letter may go that was turned away at `now` for coming too soon after the one sent at `last`.

    That is when `gap` is over; if it is over already, the reader's day was full, and theirs begins anew at midnight.
    """
    tomorrow = (now.astimezone(zone) + _DAY_LONG).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    free = last + gap if last else tomorrow
    return free if free > now else tomorrow


def wait_after_pause(due: datetime, paused: datetime, resumed: datetime, zone: ZoneInfo) -> datetime:
    """The UTC instant when the wait that a pause froze is over: what was left of it at `paused` counts on from `resumed`.

    What was left until `due` is counted as a wait is: whole days of the reader's calendar, then elapsed time. So a change of
    the clocks, in the pause or after it, moves nothing. A letter already due when the pause began has no wait left.
    """
    days = max(0, (due.astimezone(zone).date() - paused.astimezone(zone).date()).days)
    while days and after_wait(paused, Wait(days), zone) > due:
        days -= 1
    rest = due - after_wait(paused, Wait(days), zone)
    return after_wait(resumed, Wait(days), zone) + max(rest, timedelta(0))


def resume_at(due: datetime, paused: datetime, resumed: datetime, rules: Rules, zone: ZoneInfo) -> datetime:
    """When a letter is due (UTC) whose reader paused at `paused`, when it was due at `due`, and goes on at `resumed`.

    The rest of its wait is waited, then it takes the first opening: never a moment the rules forbid, whatever the letter
    is. All instants are UTC, and `paused` is not after `resumed`. Raises NeverOpens.
    """
    return first_opening(wait_after_pause(due, paused, resumed, zone), rules, zone)
