"""How often something may happen, and when confirmations wait."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.limits import (
    CONFIRMATION,
    DAY,
    FEWEST_ASKED,
    LEAST_SHARE,
    Counter,
    Limit,
    Suspicion,
    Trip,
    after_counting,
    check_share,
    is_full,
    suspicion_of,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GAPS = st.lists(st.timedeltas(timedelta(0), timedelta(days=40)), max_size=60)


def taken(limits: tuple[Limit, ...], gaps: list[timedelta]) -> list[datetime]:
    """When tries that come after `gaps` are allowed."""
    at, counters, allowed = NOW, dict[str, Counter](), list[datetime]()
    for gap in gaps:
        at += gap
        if not any(is_full(limit, counters.get(limit.name), at) for limit in limits):
            counters |= {limit.name: after_counting(limit, counters.get(limit.name), at) for limit in limits}
            allowed.append(at)
    return allowed


@given(GAPS)
def test_a_mailbox_that_never_answers_gets_one_confirmation_a_day_and_two_in_any_180_days(gaps: list[timedelta]) -> None:
    allowed = taken(CONFIRMATION, gaps)
    assert all(later - earlier >= DAY for earlier, later in pairwise(allowed))
    assert all(third - first >= timedelta(days=180) for first, third in zip(allowed, allowed[2:], strict=False))
    assert not gaps or allowed[0] == NOW + gaps[0]


@given(GAPS, st.integers(1, 5))
def test_a_window_that_has_ended_counts_from_nothing(gaps: list[timedelta], most: int) -> None:
    limit = Limit("x", most, DAY)
    allowed = taken((limit,), gaps)
    for at in allowed:
        assert sum(at <= each < at + DAY for each in allowed) <= 2 * most, "two windows meet in it at most"
    everything = taken((limit,), [timedelta(days=2)] * len(gaps))
    assert len(everything) == len(gaps)


@pytest.mark.parametrize(
    ("seconds", "honeypot", "suspicion"),
    [
        (None, False, Suspicion.STAMP),
        (2, False, Suspicion.STAMP),
        (-5, False, Suspicion.STAMP),
        (3, False, Suspicion.NONE),
        (86_400, False, Suspicion.NONE),
        (86_401, False, Suspicion.STAMP),
        (60, True, Suspicion.HONEYPOT),
    ],
)
def test_what_a_form_shows(seconds: float | None, honeypot: bool, suspicion: Suspicion) -> None:
    shown = None if seconds is None else NOW - timedelta(seconds=seconds)
    assert suspicion_of(honeypot, shown, NOW) is suspicion


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_share_says_something_only_of_many(asked: int, confirmed: int) -> None:
    confirmed = min(asked, confirmed)
    trips = check_share(asked, confirmed) is Trip.SHARE
    assert trips == (asked >= FEWEST_ASKED and confirmed < LEAST_SHARE * asked)
