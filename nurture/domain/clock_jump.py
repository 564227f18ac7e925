"""Detects a wall clock that was set, by comparing it with the monotonic clock, which nobody can set."""

from datetime import datetime, timedelta

TOLERANCE = timedelta(minutes=5)
"""More than any clock drifts or is slewed between two checks, less than any mistake that would send a letter early."""


def wall_clock_change(wall_before: datetime, boot_before: float, real_now: datetime, boot: float) -> timedelta:
    """By how much the wall clock was set forward (or, negative, back) between two checks; `boot`: monotonic seconds."""
    return (real_now - wall_before) - timedelta(seconds=boot - boot_before)


def is_jump(change: timedelta) -> bool:
    """Whether that is more than a clock may do by itself."""
    return abs(change) > TOLERANCE
