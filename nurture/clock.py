"""The only place that reads the time. Everything else is handed a `Clock`, or an instant as an argument.

Two times exist. `now()` is the *timeline*: due instants, windows, gaps, retention; NURTURE_CLOCK_SPEED speeds it up
for development. `real_now()` and `boot_seconds()` are real: leases, time-outs, rates and the life of links never run faster.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Time, as all other modules read it."""

    def now(self) -> datetime:
        """The instant on the timeline (UTC)."""
        ...

    def real_now(self) -> datetime:
        """The real instant (UTC), for leases and time-outs."""
        ...

    def boot_seconds(self) -> float:
        """Seconds since boot, suspend included; never set back, so deadlines are measured with it."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for real seconds."""
        ...

    def stretch(self, real: timedelta) -> timedelta:
        """How far the timeline moves while `real` time passes."""
        ...


class SystemClock:
    """The machine's own clock; timeline and real time are one."""

    def now(self) -> datetime:
        """The instant on the timeline (UTC)."""
        return self.real_now()

    def real_now(self) -> datetime:
        """The real instant (UTC)."""
        return datetime.now(UTC)

    def boot_seconds(self) -> float:
        """Seconds of CLOCK_BOOTTIME, which counts suspend (clock_gettime(2)); monotonic where a system lacks it."""
        boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(boot)

    def sleep(self, seconds: float) -> None:
        """Wait for real seconds."""
        time.sleep(seconds)

    def stretch(self, real: timedelta) -> timedelta:
        """Real time, unchanged."""
        return real


@dataclass(frozen=True)
class Origin:
    """Where a fast clock's timeline left real time. Kept in the database, so that every process agrees on it."""

    real: datetime
    timeline: datetime
    speed: float


class FastClock(SystemClock):
    """A clock whose timeline runs `speed` times real time (86400 makes a day a second). Development only."""

    def __init__(self, origin: Origin) -> None:
        """Start from an `Origin` that every process shares."""
        self.origin = origin

    def now(self) -> datetime:
        """The instant on the timeline (UTC)."""
        return self.origin.timeline + self.stretch(self.real_now() - self.origin.real)

    def stretch(self, real: timedelta) -> timedelta:
        """`real` times the speed."""
        return real * self.origin.speed
