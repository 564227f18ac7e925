"""What may be shown of counts of people."""

from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.rounding import FEWEST, parts, rate, rounded, share

counts = st.integers(0, 10_000)


def test_small_counts_are_only_called_small() -> None:
    assert [str(rounded(count)) for count in range(9)] == ["0", *["fewer than 5"] * 4, "5", "5", "5", "10"]
    assert str(rounded(12_344)) == "12,345"


@given(counts, counts)
def test_no_difference_of_two_shown_numbers_is_a_small_count(one: int, other: int) -> None:
    difference = abs(rounded(one).count - rounded(other).count)
    assert difference == 0 or difference >= FEWEST


@given(counts)
def test_what_is_shown_is_near_and_never_tells_one_count_from_its_neighbours(count: int) -> None:
    assert count == 0 or rounded(count).few or abs(rounded(count).count - count) <= 2
    if count:  # whoever sees the number cannot tell whether there was one person more or less, on one side at least
        assert rounded(count) in (rounded(count - 1) if count > 1 else None, rounded(count + 1))


def test_parts_of_a_small_whole_are_not_shown() -> None:
    """Four bars of one would each be “fewer than 5”, and so would their sum: each is then known to be one."""
    assert parts([1, 1, 1, 1]) is None
    assert parts([]) == []
    assert parts([0, 0]) == [rounded(0), rounded(0)]
    assert [str(each) for each in parts([1, 4]) or []] == ["fewer than 5", "fewer than 5"]


def test_shares_are_worked_out_from_what_is_shown() -> None:
    assert share(51, 98) == "50 %"
    assert share(3, 98) == "below 5 %"
    assert share(3, 4) == ""
    assert share(0, 100) == "0 %"
    assert share(103, 98) == "100 %"


def test_a_rate_of_few_is_only_bounded() -> None:
    assert rate(3, 4_000) == (5 / 4_000, "below 0.12 %")
    assert rate(12, 10_000) == (0.001, "0.10 %")
    assert rate(0, 10_000) == (0.0, "0.00 %")
    assert rate(0, 0) == (0.0, "")
    assert rate(2, 2) == (1.0, "below 100.00 %")
