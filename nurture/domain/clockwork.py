"""Two clocks that disagree: the wall clock can be set, the monotonic one cannot."""

from datetime import datetime, timedelta

TOLERANCE = timedelta(minutes=5)
"""More than any clock drifts or is slewed between two looks, less than any mistake that would send a letter early."""


def jump(wall_before: datetime, boot_before: float, wall: datetime, boot: float) -> timedelta:
    """By how much the wall clock was set forward (or, negative, back) between two looks; `boot`: monotonic seconds."""
    return (wall - wall_before) - timedelta(seconds=boot - boot_before)


def jumped(by: timedelta) -> bool:
    """Whether that is more than a clock may do by itself."""
    return abs(by) > TOLERANCE
