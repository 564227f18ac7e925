"""When a reader is asked whether a request for a call was theirs."""

from datetime import UTC, datetime, timedelta

import pytest

from nurture.domain.consultation import may_ask

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours_ago", "allowed"),
    [([], True), ([23], False), ([24], True), ([24, 48], False), ([24, 180 * 24 - 1], False), ([24, 180 * 24], True)],
)
def test_once_a_day_and_not_after_two_unanswered_in_180_days(hours_ago: list[int], allowed: bool) -> None:
    assert may_ask([NOW - timedelta(hours=hours) for hours in hours_ago], NOW) is allowed
