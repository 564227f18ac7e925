"""Contrast as WCAG counts it."""

import pytest

from nurture.letters.contrast import is_color, lightened, ratio


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),  # the grey that just fails, of every guide to contrast
        ("#767676", "#ffffff", 4.54),
        ("#ff0000", "#ffffff", 4.0),
    ],
)  # fmt: skip
def test_the_ratio_is_that_of_the_standard(one: str, other: str, expected: float) -> None:
    assert ratio(one, other) == pytest.approx(expected, abs=0.005)
    assert ratio(other, one) == ratio(one, other)


def test_a_color_is_lightened_as_much_as_it_takes_and_no_more() -> None:
    found = lightened("#1f5f5b", "#1e2524", 6)
    assert ratio(found, "#1e2524") >= 6
    assert lightened(found, "#1e2524", 6) == found
    assert ratio(found, "#1e2524") < 6.5
    assert lightened("#cccccc", "#ffffff", 3) == "#ffffff", "on a light ground nothing lighter helps"


@pytest.mark.parametrize("value", ["", "red", "#fff", "#12345g", "1f5f5b", "#1f5f5b;", "#1f5f5b\n"])
def test_only_six_digits_are_a_color(value: str) -> None:
    assert is_color("#1F5f5b")
    assert not is_color(value)
