"""Charts as SVG: data in, markup out. Colors are classes of people.css, so that light, dark and paper each have their own.

Each has a title and a description for whoever does not see it; the page puts a table behind it. No style, no script.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from nurture.domain.rounding import RoundedCount

_WIDTH = 440
_LEFT, _TOP, _PLOT = 44, 14, 170


@dataclass(frozen=True)
class Bar:
    """One place on a chart: what it is called, and a count for each series."""

    label: str
    values: tuple[RoundedCount, ...]


def _svg(key: str, title: str, described: str, height: int, inside: Iterable[str]) -> Markup:
    return Markup(  # noqa: S704 - every text in it has been escaped
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        f'aria-labelledby="{escape(key)}-title {escape(key)}-desc">'
        f'<title id="{escape(key)}-title">{escape(title)}</title><desc id="{escape(key)}-desc">{escape(described)}</desc>'
        f"{''.join(inside)}</svg>"
    )


def nice(limit: int) -> int:
    """A round number at or above `limit` for the top of a scale."""
    size = 1
    while True:
        for step in (1, 2, 3, 4, 5):
            if size * step * 2 >= limit:
                return size * step * 2
        size *= 10


def _text(x: float, y: float, said: str, look: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{look}">{escape(said)}</text>'


def bars(key: str, title: str, described: str, places: Sequence[Bar]) -> Markup:
    """Upright bars, side by side where there is more than one series; a count known only to be small is a pale stub."""
    top = nice(max([each.count for place in places for each in place.values], default=0) or 1)
    room = (_WIDTH - _LEFT - 4) / max(1, len(places))
    series = max([len(place.values) for place in places], default=1)
    width = min(34.0, room * 0.76 / series)
    found = [_scale(top)]
    every = -(-len(places) // 7)
    for number, place in enumerate(places):
        begins = _LEFT + room * number + (room - width * series) / 2
        for which, each in enumerate(place.values):
            height = 5.0 if each.few else _PLOT * each.count / top
            look = f"bar series-{which}{' few' if each.few else ''}"
            if height:
                x, y = begins + width * which, _TOP + _PLOT - height
                found.append(
                    f'<rect class="{look}" x="{x:.1f}" y="{y:.1f}" width="{max(1.0, width - 2):.1f}" height="{height:.1f}"/>'
                )
        if number % every == 0:
            found.append(_text(_LEFT + room * (number + 0.5), _TOP + _PLOT + 20, place.label, "label middle"))
    return _svg(key, title, described, _TOP + _PLOT + 30, found)


def _scale(top: int) -> str:
    lines = []
    for part in (0, top // 2, top):
        y = _TOP + _PLOT - _PLOT * part / top
        lines.append(f'<line class="{"base" if not part else "rule"}" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:g}" y2="{y:g}"/>')
        lines.append(_text(_LEFT - 8, y + 5, f"{part:,}", "label end"))
    return "".join(lines)


def rows(key: str, title: str, described: str, places: Sequence[Bar], notes: Sequence[str] = ()) -> Markup:
    """Lying bars, one below the other, each under its name; `notes` stand at their ends."""
    top = max([each.count for place in places for each in place.values], default=0) or 1
    found, y = [], 0.0
    for number, place in enumerate(places):
        said = notes[number] if number < len(notes) else str(place.values[0])
        found.append(_text(0, y + 15, place.label, "name"))
        found.append(_text(_WIDTH, y + 15, said, "label end"))
        y += 22
        for which, each in enumerate(place.values):
            width = 5.0 if each.few else _WIDTH * each.count / top
            found.append(f'<rect class="track" x="0" y="{y:g}" width="{_WIDTH}" height="9" rx="2"/>')
            if width:
                look = f"bar series-{which}{' few' if each.few else ''}"
                found.append(f'<rect class="{look}" x="0" y="{y:g}" width="{width:.1f}" height="9" rx="2"/>')
            y += 12
        y += 12
    return _svg(key, title, described, max(20, round(y)), found)


@dataclass(frozen=True)
class ReferenceLine:
    """A rate that must not be reached, 0 to 1, and its name on the scale."""

    at: float
    name: str


def gauge(key: str, title: str, described: str, value: float, limits: Sequence[ReferenceLine]) -> Markup:
    """How far a rate is from its limits: a bar on a scale that ends a third beyond the last of them."""
    top = max(limits[-1].at * 4 / 3, value)
    level = 0 if value < limits[0].at else 2 if value >= limits[-1].at else 1
    width = max(3.0, _WIDTH * value / top)
    found = [
        f'<rect class="track" x="0" y="12" width="{_WIDTH}" height="14" rx="3"/>',
        f'<rect class="bar level-{level}" x="0" y="12" width="{width:.1f}" height="14" rx="3"/>',
    ]
    for limit in limits:
        x = _WIDTH * limit.at / top
        found.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="32"/>')
        found.append(_text(min(x, _WIDTH - 40), 50, limit.name, "label middle"))
    return _svg(key, title, described, 60, found)
