"""When a letter is due, judged by a second reading of the rules that looks at the reader's clock minute by minute."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nurture.domain.sequence import Step, Wait
from nurture.domain.timeline import (
    ON_TIME,
    NeverOpens,
    Quiet,
    Rules,
    Window,
    after_wait,
    first_opening,
    instant,
    next_anchor,
    next_due,
    reopened,
    resume_at,
    spaced_out,
    wait_after_pause,
)
from nurture.ids import StepKey

ZONES = sorted(available_timezones())
NEW_YORK, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")
EVERY_DAY = frozenset(range(7))
NO_QUIET = Quiet(time(0), time(0))
ALWAYS = Rules(Window(time(0), time(0), EVERY_DAY), NO_QUIET)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(text: str, zone: ZoneInfo) -> datetime:
    """The UTC instant of an unambiguous local time."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def shown(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def window(opens: str, closes: str, days: frozenset[int] = EVERY_DAY) -> Rules:
    return Rules(Window(time.fromisoformat(opens), time.fromisoformat(closes), days), NO_QUIET)


def letter(days: int = 0, hours: int = 0) -> Step:
    return Step(StepKey("letter"), Wait(days, hours))


def may_go(moment: datetime, rules: Rules, zone: ZoneInfo) -> bool:
    """The rules, read off the reader's clock at one moment: the oracle of this file."""
    clock = shown(moment, zone)
    opens, closes, begins, ends = rules.window.opens, rules.window.closes, rules.quiet.begins, rules.quiet.ends
    open_now = opens <= clock.time() and (closes == time(0) or clock.time() < closes)
    after_begin, before_end = clock.time() >= begins, clock.time() < ends
    quiet_now = after_begin and before_end if begins <= ends else after_begin or before_end
    return open_now and not quiet_now and clock.weekday() in rules.window.days and clock.date() not in rules.holidays


def assert_first_moment(due: datetime, earliest: datetime, rules: Rules, zone: ZoneInfo, search: timedelta) -> None:
    """`due` is allowed, and no minute from `earliest` on (for as long as `search`) is allowed before it."""
    assert due >= earliest
    assert may_go(due, rules, zone), f"{shown(due, zone)} in {zone} is not allowed"
    if due == earliest:
        return
    assert not may_go(earliest, rules, zone), f"{shown(earliest, zone)} in {zone} was allowed already"
    moment = earliest.replace(second=0, microsecond=0) + MINUTE
    while moment < min(due, earliest + search):
        assert not may_go(moment, rules, zone), f"{shown(moment, zone)} in {zone} is before {shown(due, zone)}"
        moment += MINUTE


class Jump(NamedTuple):
    at: datetime
    before: timedelta
    after: timedelta


def offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    found = moment.astimezone(zone).utcoffset()
    assert found is not None
    return found


@cache
def jumps(name: str) -> tuple[Jump, ...]:
    """When the clocks of a zone are put forward or back, 2025 to 2028."""
    zone, found = ZoneInfo(name), []
    day, before = utc("2025-01-01"), offset(utc("2025-01-01"), zone)
    while day.year < 2029:
        after = offset(day + DAY, zone)
        if after != before:
            moment = next(day + n * MINUTE for n in range(1, 1441) if offset(day + n * MINUTE, zone) == after)
            found.append(Jump(moment, before, after))
        day, before = day + DAY, after
    return tuple(found)


@cache
def every_jump() -> tuple[tuple[ZoneInfo, Jump], ...]:
    """Each way and moment in which clocks anywhere change, with one zone that does it."""
    found = {jump: name for name in ZONES for jump in jumps(name)}
    return tuple((ZoneInfo(name), jump) for jump, name in found.items())


minutes = st.one_of(
    st.builds(time, st.integers(0, 23), st.integers(0, 59)),
    st.builds(time, st.sampled_from((0, 1, 2, 3, 22, 23)), st.sampled_from((0, 15, 30, 45))),  # where clocks jump
)


class Case(NamedTuple):
    zone: ZoneInfo
    anchor: datetime
    rules: Rules


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A reader's zone, an instant of 2025 to 2028 (half of them near a jump of their clock), and rules with an opening."""
    name = draw(st.sampled_from(ZONES))
    anchor = draw(st.datetimes(datetime(2025, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
    near = draw(st.none() | st.sampled_from(jumps(name))) if jumps(name) else None
    if near is not None:
        anchor = near.at + timedelta(seconds=draw(st.integers(-100_000, 100_000)))
    opens, closes = draw(minutes), draw(minutes)
    if closes != time(0) and closes < opens:
        opens, closes = closes, opens
    quiet = Quiet(draw(minutes), draw(minutes)) if draw(st.booleans()) else NO_QUIET
    days = draw(st.frozensets(st.integers(0, 6), min_size=1))
    here = anchor.astimezone(ZoneInfo(name)).date()
    holidays = draw(st.frozensets(st.integers(0, 9).map(lambda n: here + n * DAY), max_size=3))
    return Case(ZoneInfo(name), anchor, Rules(Window(opens, closes, days), quiet, holidays))


waits = st.builds(Wait, st.integers(0, 10), st.integers(0, 30))


# Any zone, any rules


@settings(max_examples=300, deadline=None)
@given(cases(), waits)
def test_a_letter_is_due_at_the_first_moment_after_its_wait_that_the_readers_clock_allows(case: Case, wait: Wait) -> None:
    earliest = after_wait(case.anchor, wait, case.zone)
    assert earliest >= case.anchor
    try:
        due = next_due(case.anchor, letter(wait.days, wait.hours), case.rules, case.zone)
    except NeverOpens:
        day = utc("2030-01-07") + min(case.rules.window.days) * DAY  # no holiday, and no jump in UTC
        assert not any(may_go(day + n * MINUTE, case.rules, ZoneInfo("UTC")) for n in range(1440))
    else:
        assert due.utcoffset() == timedelta(0)
        assert_first_moment(due, earliest, case.rules, case.zone, search=2 * DAY)


def test_around_every_jump_of_every_clock_a_letter_takes_the_first_moment_the_clock_allows() -> None:
    assert len(every_jump()) > 200
    for zone, jump in every_jump():
        from_clock, to_clock = (jump.at.replace(tzinfo=None) + offset for offset in (jump.before, jump.after))
        early, late = sorted((from_clock, to_clock))
        marks = {early - 20 * MINUTE, early + 10 * MINUTE, (late - 10 * MINUTE), late + 20 * MINUTE}
        for opens in sorted(marks):
            for closes in sorted(marks):
                if opens.time() >= closes.time():
                    continue
                rules = Rules(Window(opens.time(), closes.time(), EVERY_DAY), NO_QUIET)
                for minutes_before in (70, 15, -5, -25):
                    earliest = jump.at - minutes_before * MINUTE
                    assert_first_moment(first_opening(earliest, rules, zone), earliest, rules, zone, search=3 * HOUR)


def test_after_every_jump_of_every_clock_quiet_hours_are_still_kept() -> None:
    for zone, jump in every_jump():
        for before_jump in (15 * MINUTE, timedelta(0)):  # quiet hours that end in, or right after, the hour that is odd
            ends = (jump.at - before_jump).astimezone(zone).time()
            rules = Rules(ALWAYS.window, Quiet((datetime.combine(date.min, ends) + 18 * HOUR).time(), ends))
            for minutes_after in range(-90, 90, 10):
                earliest = jump.at + minutes_after * MINUTE
                assert_first_moment(first_opening(earliest, rules, zone), earliest, rules, zone, search=2 * HOUR)


@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(1, 40))
def test_days_of_wait_end_when_the_readers_clock_shows_the_same_time_again(case: Case, days: int) -> None:
    over = after_wait(case.anchor, Wait(days), case.zone)
    clock = shown(case.anchor, case.zone)
    wanted = datetime.combine(clock.date() + days * DAY, clock.time())
    if shown(wanted.replace(tzinfo=case.zone).astimezone(UTC), case.zone) == wanted:
        assert shown(over, case.zone) == wanted
        assert over.astimezone(case.zone).fold == 0, "a time shown twice counts the first time"
    else:  # the clock jumps over it: the moment of the jump, and the same seconds
        assert shown(over - MINUTE, case.zone) < wanted < shown(over, case.zone)


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(0, 500))
def test_hours_of_wait_are_elapsed_hours_whatever_the_clock_does(case: Case, hours: int) -> None:
    assert after_wait(case.anchor, Wait(hours=hours), case.zone) == case.anchor + hours * HOUR


@settings(max_examples=200, deadline=None)
@given(cases(), waits)
def test_days_are_counted_first_and_hours_added_to_them(case: Case, wait: Wait) -> None:
    after_days = after_wait(case.anchor, Wait(wait.days), case.zone)
    assert after_wait(case.anchor, wait, case.zone) == after_days + wait.hours * HOUR


@settings(max_examples=100, deadline=None)
@given(cases(), waits)
def test_a_step_sent_at_once_is_due_at_its_anchor_whatever_the_rules_say(case: Case, wait: Wait) -> None:
    assert next_due(case.anchor, Step(StepKey("first"), wait, at_once=True), case.rules, case.zone) == case.anchor


@pytest.mark.parametrize("name", ["Pacific/Apia", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "UTC"])
def test_weekdays_and_dates_are_the_readers_own(name: str) -> None:
    zone = ZoneInfo(name)
    mondays = window("09:00", "18:00", frozenset({0}))
    due = first_opening(utc("2026-03-04T00:00"), mondays, zone)
    assert shown(due, zone) == datetime(2026, 3, 9, 9)  # noqa: DTZ001


# The rules, one by one


@pytest.mark.parametrize(
    ("earliest", "due"),
    [
        ("2026-03-02T08:59:59", "2026-03-02T09:00"),
        ("2026-03-02T09:00", "2026-03-02T09:00"),
        ("2026-03-02T12:34:56", "2026-03-02T12:34:56"),
        ("2026-03-02T17:59:59", "2026-03-02T17:59:59"),
        ("2026-03-02T18:00", "2026-03-03T09:00"),
        ("2026-03-07T18:00", "2026-03-09T09:00"),  # Saturday evening: not on Sunday
    ],
)
def test_the_usual_window_is_nine_to_six_but_not_on_sundays(earliest: str, due: str) -> None:
    assert first_opening(at(earliest, BERLIN), Rules(), BERLIN) == at(due, BERLIN)


@pytest.mark.parametrize(
    ("earliest", "due"),
    [("2026-03-02T23:59:59", "2026-03-02T23:59:59"), ("2026-03-03T00:00", "2026-03-03T22:00")],
)
def test_a_window_that_closes_at_midnight_is_open_until_then(earliest: str, due: str) -> None:
    assert first_opening(at(earliest, BERLIN), window("22:00", "00:00"), BERLIN) == at(due, BERLIN)


@pytest.mark.parametrize(
    ("earliest", "due"),
    [
        ("2026-03-02T07:00", "2026-03-02T08:00"),
        ("2026-03-02T20:59", "2026-03-02T20:59"),
        ("2026-03-02T21:00", "2026-03-03T08:00"),
        ("2026-03-02T00:30", "2026-03-02T08:00"),
    ],
)
def test_quiet_hours_over_midnight_cut_a_wide_window_at_both_ends(earliest: str, due: str) -> None:
    rules = Rules(Window(time(0), time(0), EVERY_DAY))
    assert first_opening(at(earliest, BERLIN), rules, BERLIN) == at(due, BERLIN)


@pytest.mark.parametrize(("earliest", "due"), [("11:59", "11:59"), ("12:00", "13:30"), ("13:30", "13:30")])
def test_quiet_hours_at_noon_split_a_window(earliest: str, due: str) -> None:
    rules = Rules(Window(), Quiet(time(12), time(13, 30)))
    assert first_opening(at(f"2026-03-02T{earliest}", BERLIN), rules, BERLIN) == at(f"2026-03-02T{due}", BERLIN)


def test_quiet_hours_that_end_when_they_begin_are_none() -> None:
    night = at("2026-03-02T03:00", BERLIN)
    assert first_opening(night, Rules(ALWAYS.window, Quiet(time(21), time(21))), BERLIN) == night


def test_nothing_goes_out_on_a_holiday() -> None:
    rules = Rules(holidays=frozenset({date(2026, 12, 25), date(2026, 12, 26)}))  # Friday, Saturday; then Sunday
    assert first_opening(at("2026-12-24T18:00", BERLIN), rules, BERLIN) == at("2026-12-28T09:00", BERLIN)


def test_a_wait_goes_on_over_the_end_of_the_year() -> None:
    rules = Rules(holidays=frozenset({date(2027, 1, 1)}))
    assert next_due(at("2026-12-31T10:20", BERLIN), letter(days=1), rules, BERLIN) == at("2027-01-02T09:00", BERLIN)
    assert next_due(at("2026-12-31T10:20", BERLIN), letter(days=2), rules, BERLIN) == at("2027-01-02T10:20", BERLIN)


@pytest.mark.parametrize(
    ("anchor", "days", "due"),
    [("2028-02-28T10:20", 1, "2028-02-29T10:20"), ("2028-02-29T10:20", 366, "2029-03-01T10:20"),
     ("2028-02-28T10:20", 2, "2028-03-01T10:20"), ("2027-02-27T10:20", 2, "2027-03-01T10:20")],
)  # fmt: skip
def test_the_29th_of_february_is_a_day_like_any_other(anchor: str, days: int, due: str) -> None:
    assert next_due(at(anchor, BERLIN), letter(days), Rules(), BERLIN) == at(due, BERLIN)


@pytest.mark.parametrize(
    "rules",
    [
        window("09:00", "18:00", frozenset()),
        Rules(Window(time(22), time(23)), Quiet()),
        Rules(holidays=frozenset(date(2026, 1, 1) + n * DAY for n in range(800))),
        window("18:00", "09:00"),
        window("12:00", "12:00"),
    ],
    ids=["no weekday", "window in quiet hours", "two years of holidays", "closes before it opens", "closes as it opens"],
)
def test_rules_that_never_open_say_so_and_what_to_do(rules: Rules) -> None:
    with pytest.raises(NeverOpens, match="at least one day and an hour outside quiet hours"):
        first_opening(utc("2026-03-02T12:00"), rules, BERLIN)


def test_rules_that_open_on_one_day_of_the_coming_year_find_it() -> None:
    days = (date(2026, 3, 2) + n * DAY for n in range(370))
    rules = Rules(ALWAYS.window, NO_QUIET, frozenset(day for day in days if day != date(2027, 2, 28)))
    assert first_opening(at("2026-03-02T12:00", BERLIN), rules, BERLIN) == at("2027-02-28T00:00", BERLIN)


# New York, 8 March 2026: 02:00 EST is followed by 03:00 EDT, at 07:00 UTC

GAP = utc("2026-03-08T07:00")


def test_a_window_that_the_clock_jumps_over_is_not_open_that_day() -> None:
    rules = window("02:00", "02:45")
    assert first_opening(at("2026-03-08T00:30", NEW_YORK), rules, NEW_YORK) == at("2026-03-09T02:00", NEW_YORK)


def test_a_window_whose_beginning_the_clock_jumps_over_opens_at_the_jump() -> None:
    assert first_opening(at("2026-03-08T00:30", NEW_YORK), window("02:30", "04:00"), NEW_YORK) == GAP


def test_a_window_whose_end_the_clock_jumps_over_closes_at_the_jump() -> None:
    rules = window("01:30", "02:30")
    last = GAP - timedelta(seconds=1)
    assert first_opening(last, rules, NEW_YORK) == last
    assert first_opening(GAP, rules, NEW_YORK) == at("2026-03-09T01:30", NEW_YORK)


def test_quiet_hours_whose_end_the_clock_jumps_over_end_at_the_jump() -> None:
    rules = Rules(ALWAYS.window, Quiet(time(21), time(2, 30)))
    assert first_opening(at("2026-03-07T23:00", NEW_YORK), rules, NEW_YORK) == GAP


def test_a_wait_of_days_that_ends_in_a_gap_ends_at_the_jump() -> None:
    assert next_due(at("2026-03-07T02:30", NEW_YORK), letter(days=1), ALWAYS, NEW_YORK) == GAP


def test_a_day_over_the_gap_has_23_hours_and_24_hours_end_an_hour_later() -> None:
    noon = at("2026-03-07T12:00", NEW_YORK)
    assert next_due(noon, letter(days=1), ALWAYS, NEW_YORK) == noon + 23 * HOUR
    assert shown(next_due(noon, letter(hours=24), ALWAYS, NEW_YORK), NEW_YORK).time() == time(13)


# New York, 1 November 2026: 01:59 EDT is followed by 01:00 EST, at 06:00 UTC

FOLD = utc("2026-11-01T06:00")


def test_a_wait_of_days_that_ends_in_a_fold_ends_the_first_time() -> None:
    assert next_due(at("2026-10-31T01:30", NEW_YORK), letter(days=1), ALWAYS, NEW_YORK) == FOLD - 30 * MINUTE


@pytest.mark.parametrize(("earliest", "due"), [(-50, -45), (-30, -30), (-10, 15), (5, 15), (44, 44)])
def test_a_window_in_the_hour_shown_twice_is_open_twice(earliest: int, due: int) -> None:
    assert first_opening(FOLD + earliest * MINUTE, window("01:15", "01:45"), NEW_YORK) == FOLD + due * MINUTE


@pytest.mark.parametrize(("earliest", "due"), [(-40, -30), (-15, -15), (0, 30), (10, 30), (45, 45)])
def test_quiet_hours_that_end_in_the_hour_shown_twice_are_kept_twice(earliest: int, due: int) -> None:
    rules = Rules(ALWAYS.window, Quiet(time(21), time(1, 30)))
    assert first_opening(FOLD + earliest * MINUTE, rules, NEW_YORK) == FOLD + due * MINUTE


def test_a_day_over_the_fold_has_25_hours() -> None:
    noon = at("2026-10-31T12:00", NEW_YORK)
    assert next_due(noon, letter(days=1), ALWAYS, NEW_YORK) == noon + 25 * HOUR


# Clocks that are stranger than those


@pytest.mark.parametrize(
    ("name", "day", "minute", "expected"),
    [
        ("America/New_York", date(2026, 3, 8), 150, "2026-03-08T07:00"),
        ("America/New_York", date(2026, 11, 1), 90, "2026-11-01T05:30"),
        ("Australia/Lord_Howe", date(2026, 10, 4), 135, "2026-10-03T15:30"),  # half an hour, 02:00 to 02:30
        ("Australia/Lord_Howe", date(2026, 4, 5), 105, "2026-04-04T14:45"),
        ("Antarctica/Troll", date(2026, 3, 29), 119, "2026-03-29T01:00"),  # two hours, 01:00 to 03:00
        ("Antarctica/Troll", date(2026, 3, 29), 180, "2026-03-29T01:00"),
        ("Africa/Cairo", date(2026, 4, 24), 0, "2026-04-23T22:00"),  # no midnight, 00:00 to 01:00
        ("Africa/Cairo", date(2026, 10, 29), 23 * 60 + 30, "2026-10-29T20:30"),  # 23:00 twice
        ("Pacific/Apia", date(2011, 12, 30), 600, "2011-12-30T10:00"),  # a day that never was
        ("Pacific/Kiritimati", date(2026, 1, 1), 0, "2025-12-31T10:00"),
        ("UTC", date(2026, 12, 31), 24 * 60, "2027-01-01T00:00"),
    ],
)
def test_a_minute_of_a_day_is_when_the_clock_first_shows_it_or_jumps_over_it(
    name: str, day: date, minute: int, expected: str
) -> None:
    assert instant(day, minute, ZoneInfo(name)) == utc(expected)


def test_a_day_that_samoa_left_out_is_no_day_to_wait_for() -> None:
    apia = ZoneInfo("Pacific/Apia")
    due = next_due(at("2011-12-29T10:00", apia), letter(days=1), Rules(), apia)
    assert shown(due, apia) == datetime(2011, 12, 31, 9)  # noqa: DTZ001


# Anchors, and letters that missed their moment

NOON = utc("2026-03-02T12:00")


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=3), ON_TIME])
def test_a_letter_that_was_on_time_anchors_the_next_at_its_promise(late: timedelta) -> None:
    assert next_anchor(NOON, NOON + late) == NOON


@pytest.mark.parametrize("late", [ON_TIME + timedelta(microseconds=1), 3 * DAY])
def test_a_letter_that_was_late_anchors_the_next_at_its_acceptance(late: timedelta) -> None:
    assert next_anchor(NOON, NOON + late) == NOON + late


def test_seconds_of_delay_do_not_add_up_over_a_sequence() -> None:
    anchor = at("2026-03-02T12:00", NEW_YORK)
    for _ in range(20):
        due = next_due(anchor, letter(days=1), ALWAYS, NEW_YORK)
        anchor = next_anchor(due, due + timedelta(seconds=40))
    assert shown(anchor, NEW_YORK) == datetime(2026, 3, 22, 12)  # noqa: DTZ001


@pytest.mark.parametrize("now", ["2026-03-02T17:50", "2026-03-02T18:10"])
def test_a_letter_within_its_grace_goes_out_even_if_the_window_has_just_closed(now: str) -> None:
    planned = at("2026-03-02T17:55", BERLIN)
    assert reopened(planned, at(now, BERLIN), ON_TIME, Rules(), BERLIN) is None


def test_a_letter_that_missed_its_morning_goes_out_the_same_afternoon() -> None:
    planned, now = at("2026-03-02T09:00", BERLIN), at("2026-03-02T16:00", BERLIN)
    assert reopened(planned, now, ON_TIME, Rules(), BERLIN) is None


@pytest.mark.parametrize(
    ("now", "instead"),
    [
        ("2026-03-02T18:10:01", "2026-03-03T09:00"),
        ("2026-03-02T23:00", "2026-03-03T09:00"),
        ("2026-03-08T12:00", "2026-03-09T09:00"),
    ],
)
def test_a_letter_that_missed_its_moment_waits_for_the_next_opening(now: str, instead: str) -> None:
    planned = at("2026-03-02T17:55", BERLIN)
    assert reopened(planned, at(now, BERLIN), ON_TIME, Rules(), BERLIN) == at(instead, BERLIN)


@settings(max_examples=100, deadline=None)
@given(cases(), st.timedeltas(ON_TIME, 3 * DAY))
@example(Case(NEW_YORK, FOLD, ALWAYS), HOUR)
def test_a_late_letter_may_go_now_exactly_when_the_readers_clock_allows_it(case: Case, late: timedelta) -> None:
    now = case.anchor + late + timedelta(seconds=1)
    try:
        instead = reopened(case.anchor, now, ON_TIME, case.rules, case.zone)
    except NeverOpens:
        assert not may_go(now, case.rules, case.zone)
    else:
        assert (instead is None) == may_go(now, case.rules, case.zone)
        assert instead is None or instead > now


# Letters that come too soon


def test_a_letter_too_soon_after_another_waits_until_the_gap_is_over() -> None:
    assert spaced_out(NOON + 6 * HOUR, NOON, 20 * HOUR, BERLIN) == NOON + 20 * HOUR


def test_a_letter_on_a_full_day_waits_for_the_readers_midnight() -> None:
    assert spaced_out(NOON + 6 * HOUR, NOON, 6 * HOUR, BERLIN) == at("2026-03-03T00:00", BERLIN)
    assert spaced_out(NOON, None, 6 * HOUR, BERLIN) == at("2026-03-03T00:00", BERLIN)


# A pause freezes the rest of the wait


@settings(max_examples=200, deadline=None)
@given(cases(), st.timedeltas(timedelta(0), 20 * DAY), st.timedeltas(timedelta(0), 60 * DAY))
def test_on_resuming_a_letter_waits_the_rest_of_its_wait_and_takes_the_first_opening(
    case: Case, left: timedelta, away: timedelta
) -> None:
    resumed = case.anchor + away
    over = wait_after_pause(case.anchor + left, case.anchor, resumed, case.zone)
    assert over >= resumed
    assert abs(over - resumed - left) <= 4 * HOUR, "no more than clocks jump, in the wait and after the pause"
    try:
        due = resume_at(case.anchor + left, case.anchor, resumed, case.rules, case.zone)
    except NeverOpens:
        return
    assert_first_moment(due, over, case.rules, case.zone, search=2 * DAY)


@settings(max_examples=200, deadline=None)
@given(cases(), st.timedeltas(timedelta(0), 20 * DAY))
@example(Case(NEW_YORK, FOLD - 30 * MINUTE, ALWAYS), DAY)
@example(Case(NEW_YORK, GAP - DAY, ALWAYS), DAY)
def test_a_pause_of_no_length_moves_no_letter(case: Case, left: timedelta) -> None:
    assert wait_after_pause(case.anchor + left, case.anchor, case.anchor, case.zone) == case.anchor + left


@settings(max_examples=100, deadline=None)
@given(cases(), st.timedeltas(timedelta(0), 20 * DAY), st.timedeltas(timedelta(0), 20 * DAY))
def test_a_letter_already_due_when_the_pause_began_goes_out_on_resuming(case: Case, late: timedelta, away: timedelta) -> None:
    assert wait_after_pause(case.anchor - late, case.anchor, case.anchor + away, case.zone) == case.anchor + away


@pytest.mark.parametrize(
    ("paused", "due", "resumed", "instead"),
    [
        ("2026-03-02T10:00", "2026-03-04T11:30", "2026-03-10T10:00", "2026-03-12T11:30"),
        ("2026-03-25T10:00", "2026-03-27T11:30", "2026-03-28T10:00", "2026-03-30T11:30"),  # the clocks go forward on 29 March
        ("2026-03-28T10:00", "2026-03-30T11:30", "2026-04-07T10:00", "2026-04-09T11:30"),
        ("2026-10-23T10:00", "2026-10-27T11:30", "2026-11-09T10:00", "2026-11-13T11:30"),  # and back on 25 October
        ("2026-03-02T10:00", "2026-03-02T11:30", "2026-03-06T17:00", "2026-03-07T09:00"),
        ("2026-03-02T10:00", "2026-03-02T11:30", "2026-03-08T17:00", "2026-03-09T09:00"),
    ],
)
def test_what_is_left_of_a_wait_is_the_same_on_the_readers_clock(paused: str, due: str, resumed: str, instead: str) -> None:
    paused_at, was_due, resumed_at = (at(text, BERLIN) for text in (paused, due, resumed))
    assert resume_at(was_due, paused_at, resumed_at, Rules(), BERLIN) == at(instead, BERLIN)
