"""A sequence, its steps, and a reader's place in it: frozen values."""

import re
from collections.abc import Collection
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from nurture.errors import NurtureError
from nurture.ids import StepKey

_PART = re.compile(r"(\d{1,3}) (day|hour)s?")


class WaitRefused(NurtureError):
    """A wait could not be read."""


@dataclass(frozen=True)
class Wait:
    """How long after the letter before it a letter goes out: calendar days of the reader, and elapsed hours."""

    days: int = 0
    hours: int = 0

    def __str__(self) -> str:
        """The wait as a letter file writes it, such as `3 days` or `1 day 6 hours`."""
        parts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((self.days, "day"), (self.hours, "hour")) if n]
        return " ".join(parts) or "0 hours"


AT_ONCE = "at once"


def parse_wait(text: str) -> Wait | None:
    """Read `3 days`, `6 hours`, `1 day 6 hours`, or `at once` (None). Raises WaitRefused."""
    words = " ".join(text.split()).lower()
    if words == AT_ONCE:
        return None
    parts = _PART.findall(words)
    found = {unit: int(n) for n, unit in parts}
    if not found or len(found) < len(parts) or _PART.sub("", words).strip():
        raise WaitRefused(f"The wait {text!r} is not clear. Write it like `3 days`, `6 hours`, `1 day 6 hours` or `at once`.")
    return Wait(found.get("day", 0), found.get("hour", 0))


class IfLate(StrEnum):
    """What happens to a letter that an outage has made too late."""

    SEND = "send"
    SKIP = "skip"
    ASK = "ask"


_LATE = re.compile(r"(skip|ask) after (.+)")


@dataclass(frozen=True)
class Lateness:
    """How late a letter may be, and what happens then. SEND: it goes out at the next opening, however late."""

    then: IfLate = IfLate.SEND
    after: Wait = Wait()

    def of(self, late: timedelta) -> IfLate:
        """What happens to a letter that is `late` by so much."""
        return self.then if late > timedelta(days=self.after.days, hours=self.after.hours) else IfLate.SEND


def parse_late(text: str) -> Lateness:
    """Read `send`, `skip after 3 days` or `ask after 12 hours`. Raises WaitRefused."""
    words = " ".join(text.split()).lower()
    if words in ("", IfLate.SEND):
        return Lateness()
    found = _LATE.fullmatch(words)
    wait = parse_wait(found[2]) if found else None
    if found is None or wait is None:
        raise WaitRefused(f"`if-late: {text}` is not clear. Write `send`, `skip after 3 days` or `ask after 12 hours`.")
    return Lateness(IfLate(found[1]), wait)


@dataclass(frozen=True)
class Step:
    """One letter of a sequence and its wait. The key is stable, the position may change."""

    key: StepKey
    wait: Wait = Wait()
    at_once: bool = False
    lateness: Lateness = Lateness()
    removed: bool = False
    """Taken out of the sequence. It stays listed in its place, so that a reader who got it last goes on after it."""

    @property
    def waits(self) -> str:
        """The wait in words."""
        return AT_ONCE if self.at_once else str(self.wait)


def read_step(key: StepKey, waits: str, if_late: str = "") -> Step:
    """The step a letter's file describes: its key, its wait, and what happens if it is late, in words. Raises WaitRefused."""
    wait, lateness = parse_wait(waits), parse_late(if_late)
    return Step(key, at_once=True, lateness=lateness) if wait is None else Step(key, wait, lateness=lateness)


class PublicationState(StrEnum):
    """How far letters are on their way to becoming editions."""

    CHECKING = "checking"
    PUBLISHED = "published"
    REFUSED = "refused"


class EnrollmentState(StrEnum):
    """Where a reader stands in a sequence."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    EXITED = "exited"


def next_step(
    steps: Ordered[Step], key: StepKey | None, given: Collection[StepKey] = (), at: StepKey | None = None
) -> Step | None:
    """The step after `key`, the first one for None, passing over removed ones and those in `given`; None when the sequence is
    over or no longer lists that step.

    `given`: what a reader has got already, in whatever order it came. `at`: where they go on instead, if it is still listed.
    """
    keys = [step.key for step in steps]
    if at in keys:
        place = keys.index(at)
    elif key is not None and key not in keys:
        return None
    else:
        place = 0 if key is None else keys.index(key) + 1
    return next((step for step in steps[place:] if not step.removed and step.key not in given), None)
