"""Whether words can be read on their ground: the contrast of two colors (WCAG 2.2, "relative luminance", "contrast ratio")."""

import re

ENOUGH = 4.5
"""For text of any size (WCAG 2.2, success criterion 1.4.3)."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_WHITE = (255, 255, 255)


def is_color(value: str) -> bool:
    """Whether `value` is a color as we take it: `#1f5f5b`."""
    return bool(_HEX.fullmatch(value))


def _parts(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in _parts(color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ratio(one: str, other: str) -> float:
    """The contrast ratio of two colors, 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def lightened(color: str, ground: str, least: float) -> str:
    """`color`, mixed with as little white as makes its contrast with a dark `ground` at least `least`."""
    for share in range(101):
        mixed = "#" + "".join(
            f"{round(part + (white - part) * share / 100):02x}" for part, white in zip(_parts(color), _WHITE, strict=True)
        )
        if ratio(mixed, ground) >= least:
            return mixed
    return "#ffffff"
