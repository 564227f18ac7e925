"""Waits are read as people write them, and steps follow one another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.sequence import Step, Wait, WaitRefused, next_step, parse_wait
from nurture.ids import StepKey

A, B, C = (Step(StepKey(key), Wait(days=3)) for key in "abc")
waits = st.builds(Wait, st.integers(0, 999), st.integers(0, 999))


@given(waits)
def test_a_wait_reads_back_as_it_is_written(wait: Wait) -> None:
    assert parse_wait(str(wait)) == wait


@given(st.text())
def test_any_text_is_a_wait_or_refused_with_an_example(text: str) -> None:
    try:
        wait = parse_wait(text)
    except WaitRefused as refused:
        assert repr(text) in str(refused)
        assert "`1 day 6 hours`" in str(refused)
    else:
        assert wait is None or parse_wait(str(wait)) == wait


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("3 days", Wait(days=3)),
        ("1 day", Wait(days=1)),
        ("6 hours", Wait(hours=6)),
        ("1 day 6 hours", Wait(1, 6)),
        ("6 hours 1 day", Wait(1, 6)),
        ("  3   Days ", Wait(days=3)),
        ("0 hours", Wait()),
        ("999 days", Wait(days=999)),
        ("at once", None),
        ("At  Once", None),
    ],
)
def test_a_wait_is_read(text: str, wait: Wait | None) -> None:
    assert parse_wait(text) == wait


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "3", "days", "3 weeks", "three days", "-3 days", "1.5 days", "3 days, 6 hours", "1000 days",
        "3 days later", "at once 3 days", "3 days 2 days", "1 hour 1 hour", "3 days\x00",
    ],
)  # fmt: skip
def test_a_wait_that_is_not_clear_is_refused(text: str) -> None:
    with pytest.raises(WaitRefused, match="is not clear"):
        parse_wait(text)


@pytest.mark.parametrize(
    ("wait", "words"),
    [(Wait(1), "1 day"), (Wait(2), "2 days"), (Wait(hours=1), "1 hour"), (Wait(2, 1), "2 days 1 hour"), (Wait(), "0 hours")],
)
def test_a_wait_is_written_in_words(wait: Wait, words: str) -> None:
    assert str(wait) == words
    assert Step(StepKey("a"), wait).waits == words


def test_a_step_sent_at_once_says_so() -> None:
    assert Step(StepKey("a"), Wait(3), at_once=True).waits == "at once"


@pytest.mark.parametrize(
    ("steps", "after", "expected"),
    [
        ([A, B, C], None, A),
        ([A, B, C], "a", B),
        ([A, B, C], "b", C),
        ([A, B, C], "c", None),
        ([B, A, C], "a", C),
        ([A, C], "b", None),
        ([], None, None),
        ([], "a", None),
    ],
    ids=["first", "second", "third", "over", "moved", "deleted", "no steps, new reader", "no steps left"],
)
def test_the_step_that_follows(steps: list[Step], after: StepKey | None, expected: Step | None) -> None:
    assert next_step(steps, after) == expected


@pytest.mark.parametrize(
    ("after", "given", "at", "expected"),
    [
        ("b", ["a", "b"], None, C),
        ("b", ["c", "b"], None, None),
        (None, ["a"], None, B),
        ("c", ["c"], "a", A),
        ("c", ["c", "a"], "a", B),
        ("b", ["b"], "gone", C),
    ],
    ids=[
        "in order",
        "the rest was given before",
        "given first",
        "goes on earlier",
        "past what was given",
        "a place that is gone",
    ],
)
def test_the_step_that_follows_where_an_edit_has_changed_the_order(
    after: StepKey | None, given: list[StepKey], at: StepKey | None, expected: Step | None
) -> None:
    assert next_step([A, B, C], after, given, at) == expected
