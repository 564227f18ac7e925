"""A clock whose time is a value: tests say what time it is."""

from datetime import UTC, datetime, timedelta

from nurture.clock import SystemClock

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
"""A Monday, ten in the morning in New York."""


class ManualClock(SystemClock):
    """Stands still until told to go on; leases and timeline go together."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def real_now(self) -> datetime:
        return self.at

    def boot_seconds(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.advance(seconds=seconds)

    def advance(self, **amount: float) -> datetime:
        """Go on by a timedelta's arguments; returns the new time."""
        self.at += timedelta(**amount)
        return self.at
