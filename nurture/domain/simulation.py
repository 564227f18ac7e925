"""Which letter would go out when, and why: the timeline's own functions, walked to the end of a sequence.

What a tick does to a reader whose mail is always accepted at once. Every instant here is one that domain.timeline gave;
what this module adds is the walk, and the words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from nurture.domain.delivery import FrequencyCaps
from nurture.domain.sequence import Step, next_step
from nurture.domain.timeline import (
    Rules,
    after_wait,
    first_opening,
    next_anchor,
    next_due,
    resume_at,
    spaced_out,
    wait_after_pause,
)
from nurture.errors import NurtureError
from nurture.ids import StepKey

_FULL_DAY = 24 * 60


class PauseRefused(NurtureError):
    """Pauses that no reader could take."""


@dataclass(frozen=True)
class Pause:
    """From when until when (UTC) a reader wants no letters."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class Simulated:
    """One letter that would go out: when (UTC), and why then, rule by rule."""

    step: StepKey
    due: datetime
    local: datetime
    """The same moment on the reader's clock, with its offset from UTC."""
    reasons: tuple[str, ...]


def simulate(
    steps: Sequence[Step],
    rules: Rules,
    signed_up: datetime,
    zone: ZoneInfo,
    pauses: Sequence[Pause] = (),
    caps: FrequencyCaps = FrequencyCaps(),  # noqa: B008 - a frozen value
) -> list[Simulated]:
    """Every letter a reader in `zone` would get who confirms at `signed_up` (UTC), in order.

    `caps`: how closely letters to one person may follow each other. Raises NeverOpens, and PauseRefused for pauses that
    end before they begin, or overlap.
    """
    pending = _in_order(pauses, zone)
    letters: list[Simulated] = []
    anchor, step = signed_up, next_step(steps, None)
    while step is not None:
        due, reasons = next_due(anchor, step, rules, zone), _why(anchor, step, rules, zone, first=not letters)
        while (hindered := _hindered(due, anchor, pending, letters, rules, zone, caps)) is not None:
            due, more = hindered
            reasons += more
        reasons += _change_of_clocks(anchor, due, zone)
        letters.append(Simulated(step.key, due, due.astimezone(zone), tuple(reasons)))
        anchor, step = next_anchor(due, due), next_step(steps, step.key)
    return letters


def _in_order(pauses: Sequence[Pause], zone: ZoneInfo) -> list[Pause]:
    ordered = sorted(pauses, key=lambda pause: pause.begins)
    for pause in ordered:
        if pause.ends <= pause.begins:
            raise PauseRefused(f"The pause from {moment(pause.begins, zone)} ends before it has begun. Let it end later.")
    for before, after in pairwise(ordered):
        if after.begins < before.ends:
            raise PauseRefused(f"A second pause begins within the first, on {moment(after.begins, zone)}. Make them one.")
    return ordered


def _hindered(
    due: datetime,
    anchor: datetime,
    pending: list[Pause],
    letters: list[Simulated],
    rules: Rules,
    zone: ZoneInfo,
    caps: FrequencyCaps,
) -> tuple[datetime, list[str]] | None:
    """Where a letter due at `due` goes instead, and why; None if it may go. Takes the pauses it meets out of `pending`."""
    while pending and pending[0].begins <= due:
        pause = pending.pop(0)
        if pause.ends > anchor:
            paused = max(pause.begins, anchor)
            over = wait_after_pause(due, paused, pause.ends, zone)
            why = f"paused from {moment(pause.begins, zone)} to {moment(pause.ends, zone)}; "
            why += f"the rest of the wait is over {moment(over, zone)}" if due > paused else "no wait is left"
            return resume_at(due, paused, pause.ends, rules, zone), [why, *_opening(over, rules, zone)]
    today = sum(letter.local.date() == due.astimezone(zone).date() for letter in letters)
    last = letters[-1].due if letters else None
    if last is None or (due - last >= caps.gap and today < caps.letters):
        return None
    free = spaced_out(due, last, caps.gap, zone)
    why = f"too soon after the letter before: the next may go from {moment(free, zone)}"
    return first_opening(free, rules, zone), [why, *_opening(free, rules, zone)]


def _why(anchor: datetime, step: Step, rules: Rules, zone: ZoneInfo, first: bool) -> list[str]:
    before = "the sign-up" if first else "the letter before"
    if step.at_once:
        return [f"at once after {before}: {moment(anchor, zone)}"]
    over = after_wait(anchor, step.wait, zone)
    return [f"{step.waits} after {before}: {moment(over, zone)}", *_opening(over, rules, zone)]


def _opening(over: datetime, rules: Rules, zone: ZoneInfo) -> list[str]:
    """Why a letter whose wait is over at `over` goes out when it does; nothing if that is at once."""
    opening = first_opening(over, rules, zone)
    if opening == over:
        return []
    days = _days(over.astimezone(zone).date(), opening.astimezone(zone).date())
    return [*dict.fromkeys(_closed(day, rules) for day in days), f"so {moment(opening, zone)}"]


def _days(first: date, last: date) -> Iterator[date]:
    """The days that a letter passes, and the one on which it goes only if there is no other."""
    yield from (first + timedelta(days=n) for n in range(max(1, (last - first).days)))


def _closed(day: date, rules: Rules) -> str:
    """Why not the whole of `day` is open."""
    if day in rules.holidays:
        return f"no letters on {day.day} {day:%B}, a holiday"
    if day.weekday() not in rules.window.days:
        return f"no letters on {day:%A}s"
    spans = " and ".join(f"from {_clock(opens)} to {_clock(closes)}" for opens, closes in rules.open_minutes(day))
    return f"letters go out {spans}" if spans else "quiet hours leave no moment of the window"


def _clock(minute: int) -> str:
    return "midnight" if minute == _FULL_DAY else f"{minute // 60:02}:{minute % 60:02}"


def _change_of_clocks(since: datetime, until: datetime, zone: ZoneInfo) -> list[str]:
    before, after = (at.astimezone(zone).utcoffset() or timedelta(0) for at in (since, until))
    if before == after:
        return []
    return [f"the clocks go {'forward' if after > before else 'back'} in between"]


def moment(at: datetime, zone: ZoneInfo) -> str:
    """A UTC instant as a reader in `zone` would say it: `Sunday 1 November, 09:12`."""
    local = at.astimezone(zone)
    return f"{local:%A} {local.day} {local:%B}, {local:%H:%M}"
