"""Counters in the database say what the rule says, and hold in many processes at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from nurture.domain.limits import Counter, Limit, after_counting, is_full
from nurture.runtime import Runtime
from nurture.store.state import limits
from tests.clocks import ManualClock

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("starts_anew", [True, False])
def test_the_database_counts_as_the_rule_does(rt: Runtime, clock: ManualClock, starts_anew: bool) -> None:
    limit, key, mine = Limit("x", 3, HOUR, starts_anew), b"k" * 32, None
    for minutes in (0, 10, 10, 10, 25, 4, 1, 30, 59, 1, 200):
        at = clock.advance(minutes=minutes)
        may = not is_full(limit, mine, at)
        with rt.database.begin() as db:
            assert limits.count_all(db, [(limit, key)], at) is may
            if may:
                mine = after_counting(limit, mine, at)
            assert limits.counters(db, [key])[key] == mine
    with rt.database.begin() as db:
        limits.forget_ended(db, clock.advance(hours=1))
        assert limits.counters(db, [key]) == {}


def test_nobody_is_counted_under_one_limit_when_another_refuses(rt: Runtime, clock: ManualClock) -> None:
    wide, narrow = Limit("wide", 9, HOUR), Limit("narrow", 1, HOUR)
    both = [(wide, b"w" * 32), (narrow, b"n" * 32)]
    with rt.database.begin() as db:
        assert limits.count_all(db, both, clock.now())
        assert not limits.count_all(db, both, clock.now())
        assert limits.counters(db, [b"w" * 32]) == {b"w" * 32: Counter(1, clock.now() + HOUR)}
        assert not limits.count_all(db, [(Limit("none", 0, HOUR), b"0" * 32)], clock.now())


def test_many_at_once_get_as_many_as_the_limit_says(rt: Runtime, clock: ManualClock) -> None:
    limit, at = Limit("x", 7, HOUR), clock.now()

    def one(_: int) -> bool:
        with rt.database.begin() as db:
            return limits.count_all(db, [(limit, b"k" * 32)], at)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(one, range(60))) == 7
