"""The walk through a sequence. That it is what the engine does: tests/services/sequences/test_simulation.py."""

from datetime import UTC, date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.delivery import FrequencyCaps
from nurture.domain.sequence import Step, Wait
from nurture.domain.simulation import Pause, PauseRefused, Simulated, simulate
from nurture.domain.timeline import NeverOpens, Rules, next_due
from nurture.ids import StepKey
from tests.domain.test_timeline import BERLIN, DAY, HOUR, Case, at, cases, may_go, waits, window

FREE = FrequencyCaps(gap=timedelta(0), letters=1000)
WELCOME = Step(StepKey("welcome"), at_once=True)


def letters(*after: Wait) -> list[Step]:
    return [WELCOME, *(Step(StepKey(f"letter-{n}"), wait) for n, wait in enumerate(after, start=1))]


def shown(found: list[Simulated]) -> list[str]:
    return [f"{letter.local:%Y-%m-%dT%H:%M}" for letter in found]


sequences = st.lists(waits, max_size=5).map(lambda found: letters(*found))


@settings(max_examples=150, deadline=None)
@given(cases(), sequences)
def test_each_letter_is_due_when_the_timeline_says_so_after_the_one_before(case: Case, steps: list[Step]) -> None:
    try:
        found = simulate(steps, case.rules, case.anchor, case.zone, caps=FREE)
    except NeverOpens:
        return
    anchor = case.anchor
    for step, letter in zip(steps, found, strict=True):
        anchor = next_due(anchor, step, case.rules, case.zone)
        assert (letter.step, letter.due) == (step.key, anchor)
        assert letter.local.astimezone(UTC) == letter.due  # Python calls a doubled hour equal to nothing in another zone
        assert letter.local.tzinfo is case.zone


@st.composite
def pauses(draw: st.DrawFn) -> list[tuple[timedelta, timedelta]]:
    """When pauses begin and end, after the sign-up."""
    marks = sorted(draw(st.sets(st.integers(-50, 1000), max_size=4)))
    return [(begin * HOUR, end * HOUR) for begin, end in zip(marks[::2], marks[1::2], strict=False)]


@settings(max_examples=150, deadline=None)
@given(cases(), sequences, pauses())
def test_no_letter_goes_out_in_a_pause_or_too_soon_or_while_the_window_is_shut(
    case: Case, steps: list[Step], away: list[tuple[timedelta, timedelta]]
) -> None:
    taken = [Pause(case.anchor + begin, case.anchor + end) for begin, end in away]
    try:
        found = simulate(steps, case.rules, case.anchor, case.zone, taken)
    except NeverOpens:
        return
    assert [letter.step for letter in found] == [step.key for step in steps]
    for letter in found:
        assert not any(pause.begins <= letter.due < pause.ends for pause in taken)
        assert letter.due == case.anchor or may_go(letter.due, case.rules, case.zone)
    for before, after in pairwise(found):
        assert after.due - before.due >= FrequencyCaps().gap
        assert after.local.date() > before.local.date()


def test_a_sequence_over_the_end_of_summer_time_is_told_rule_by_rule() -> None:
    found = simulate(letters(Wait(3), Wait(4)), Rules(), at("2026-10-22T09:12", BERLIN), BERLIN)
    assert shown(found) == ["2026-10-22T09:12", "2026-10-26T09:00", "2026-10-30T09:00"]
    assert found[0].reasons == ("at once after the sign-up: Thursday 22 October, 09:12",)
    assert found[1].reasons == (
        "3 days after the letter before: Sunday 25 October, 09:12",
        "no letters on Sundays",
        "so Monday 26 October, 09:00",
        "the clocks go back in between",
    )
    assert found[2].reasons == ("4 days after the letter before: Friday 30 October, 09:00",)
    assert found[1].local.isoformat() == "2026-10-26T09:00:00+01:00"


def test_hours_weekdays_and_holidays_are_told() -> None:
    rules = Rules(holidays=frozenset({date(2026, 12, 25), date(2026, 12, 26)}))
    found = simulate(letters(Wait(2)), rules, at("2026-12-22T19:30", BERLIN), BERLIN)
    assert found[1].reasons == (
        "2 days after the letter before: Thursday 24 December, 19:30",
        "letters go out from 09:00 to 18:00",
        "no letters on 25 December, a holiday",
        "no letters on 26 December, a holiday",
        "no letters on Sundays",
        "so Monday 28 December, 09:00",
    )


def test_a_window_until_midnight_says_so() -> None:
    found = simulate(letters(Wait(1)), window("22:00", "00:00"), at("2026-03-02T10:00", BERLIN), BERLIN)
    assert "letters go out from 22:00 to midnight" in found[1].reasons


def test_a_pause_keeps_the_rest_of_the_wait_and_says_so() -> None:
    away = Pause(at("2026-03-03T00:00", BERLIN), at("2026-03-08T00:00", BERLIN))
    found = simulate(letters(Wait(1)), Rules(), at("2026-03-02T07:00", BERLIN), BERLIN, [away])
    assert shown(found) == ["2026-03-02T07:00", "2026-03-09T09:00"]
    assert found[1].reasons[-3:] == (
        "paused from Tuesday 3 March, 00:00 to Sunday 8 March, 00:00; the rest of the wait is over Sunday 8 March, 09:00",
        "no letters on Sundays",
        "so Monday 9 March, 09:00",
    )


def test_two_letters_a_few_hours_apart_are_spaced_out_as_the_post_office_does() -> None:
    found = simulate(letters(Wait(hours=2)), Rules(), at("2026-03-02T10:00", BERLIN), BERLIN)
    assert shown(found)[1] == "2026-03-03T09:00"
    assert "too soon after the letter before: the next may go from Tuesday 3 March, 06:00" in found[1].reasons


def test_a_removed_step_is_passed_over() -> None:
    steps = [WELCOME, Step(StepKey("gone"), Wait(9), removed=True), Step(StepKey("next"), Wait(2))]
    found = simulate(steps, Rules(), at("2026-03-02T10:00", BERLIN), BERLIN)
    assert [letter.step for letter in found] == ["welcome", "next"]
    assert found[1].due == at("2026-03-04T10:00", BERLIN)


@pytest.mark.parametrize(
    ("second", "said"), [((2, 5), "A second pause begins within the first"), ((9, 9), "ends before it has begun")]
)
def test_pauses_that_make_no_sense_are_refused(second: tuple[int, int], said: str) -> None:
    start = at("2026-03-02T10:00", BERLIN)
    taken = [Pause(start, start + 3 * DAY), Pause(*(start + n * DAY for n in second))]
    with pytest.raises(PauseRefused, match=said):
        simulate(letters(), Rules(), start, BERLIN, taken)
