"""Why letters were not published, as values: two that are alike are counted as one."""

from collections import Counter

from nurture.domain.problem import Problem, ProblemKind
from nurture.ids import StepKey


def test_the_same_trouble_of_two_readers_is_one_that_is_counted() -> None:
    one, same = (Problem("a hole", ProblemKind.HOLE, StepKey("history"), "line", 3, "first_name") for _ in range(2))
    assert Counter([one, same, Problem("a hole")]) == {one: 2, Problem("a hole"): 1}
