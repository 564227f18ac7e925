"""Counts of people as a page may show them: no number, and no difference of two, may point to one person.

Counts are rounded to the nearest five, so every difference of two shown numbers is a multiple of five; one to four are only
called “fewer than 5”. Where even the whole is that small, its parts are not shown at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

FEWEST = 5


@dataclass(frozen=True)
class RoundedCount:
    """A count as it is shown: a multiple of five, or nothing but that it is small."""

    count: int
    few: bool = False
    """Between one and four; `count` is then 0."""

    def __str__(self) -> str:
        """The words for it."""
        return f"fewer than {FEWEST}" if self.few else f"{self.count:,}"


def rounded(count: int) -> RoundedCount:
    """A count of people as it may be shown."""
    if 0 < count < FEWEST:
        return RoundedCount(0, few=True)
    return RoundedCount((count + FEWEST // 2) // FEWEST * FEWEST)


def parts(counts: Iterable[int]) -> list[RoundedCount] | None:
    """Parts of a whole as they may be shown; None where the whole is so small that even its parts being small says too much."""
    found = list(counts)
    return None if rounded(sum(found)).few else [rounded(count) for count in found]


def share(part: int, whole: int) -> str:
    """A part of a whole in percent, worked out from what is shown of both; empty where that says nothing."""
    some, all_ = rounded(part), rounded(whole)
    if not all_.count:
        return ""
    if some.few:
        return f"below {max(1, round(100 * FEWEST / all_.count))} %"
    return f"{min(100, round(100 * some.count / all_.count))} %"


def rate(part: int, whole: int) -> tuple[float, str]:
    """How often something happens to a mail, 0 to 1, and in words with as many digits as the limits of mail services need.

    A part of one to four counts as five: the true rate is lower.
    """
    some = rounded(part)
    if not whole:
        return 0.0, ""
    value = min(1.0, (FEWEST if some.few else some.count) / max(whole, FEWEST))
    return value, f"{'below ' if some.few else ''}{100 * value:.2f} %"
