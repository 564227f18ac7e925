"""Two times exist: the timeline, which may run fast, and real time, which never does."""

from datetime import UTC, datetime, timedelta

import pytest

from nurture.clock import FastClock, Origin, SystemClock

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class FastClockAt(FastClock):
    """A fast clock whose real time is a value."""

    def __init__(self, origin: Origin, real: datetime) -> None:
        super().__init__(origin)
        self.real = real

    def real_now(self) -> datetime:
        return self.real


def test_the_systems_clock_shows_the_real_time_in_utc() -> None:
    before = datetime.now(UTC)
    shown = SystemClock().now()
    assert before <= shown <= datetime.now(UTC)
    assert shown.tzinfo is UTC


def test_the_seconds_since_boot_are_never_set_back() -> None:
    clock = SystemClock()
    seen = [clock.boot_seconds() for _ in range(100)]
    assert seen == sorted(seen)
    assert seen[0] > 0


def test_on_the_systems_clock_timeline_and_real_time_are_one() -> None:
    assert SystemClock().stretch(HOUR) == HOUR


@pytest.mark.parametrize(
    ("speed", "real", "timeline"),
    [
        (1, HOUR, HOUR),
        (86400, timedelta(seconds=1), timedelta(days=1)),
        (2, timedelta(0), timedelta(0)),
        (60, -HOUR, -60 * HOUR),
    ],
)
def test_a_fast_clocks_timeline_runs_ahead_from_its_origin(speed: float, real: timedelta, timeline: timedelta) -> None:
    clock = FastClockAt(Origin(START, START + 24 * HOUR, speed), START + real)
    assert clock.now() == START + 24 * HOUR + timeline
    assert clock.stretch(real) == timeline


def test_a_fast_clocks_real_time_does_not_run_faster() -> None:
    clock = FastClock(Origin(START, START, 86400))
    before = datetime.now(UTC)
    assert before <= clock.real_now() <= datetime.now(UTC)


def test_fast_clocks_with_one_origin_agree_whenever_they_started() -> None:
    origin = Origin(START, START, 3600)
    early, late = FastClockAt(origin, START), FastClockAt(origin, START + HOUR)
    early.real += HOUR
    assert early.now() == late.now()
