"""Draws docs/architecture.svg: `python docs/architecture.py`. Needs nothing but Python 3.11.

The layers come from the import contract in pyproject.toml, the rooms from the packages of nurture/. What this file adds is one
line of words for each module; a module that has none stops it.
"""

import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORDS = {
    "__main__": "python -m nurture",
    "cli": "the nurture command: parses arguments, prints results",
    "app": "create_app: puts the pages together",
    "web": "pages: parse a request, call one service, render the answer",
    "scheduler": "starts jobs (APScheduler)",
    "dispatch": "batches to senders (Celery)",
    "services": "what people and jobs do: one action, one transaction",
    "delivery": "one module per step of a delivery: plan, claim, mark, settle, reclaim, event, resolve",
    "runtime": "the parts of one process; the only place that builds them",
    "signals": "SIGTERM and SIGINT",
    "config": "everything that follows the settings, as one frozen value",
    "key_ring": "which keys encrypt and index personal fields",
    "store": "SQL and tables, for SQLite and PostgreSQL; never commits",
    "letters": "files to editions",
    "mailers": "mail to providers",
    "domain": "decisions: pure functions of values; standard library only, no clock, no I/O",
    "settings": "all settings, once",
    "log": "JSON lines",
    "encryption": "personal fields",
    "tokens": "signed links",
    "resources": "templates, files",
    "mailer_registry": "which mailers there are, and what each needs",
    "setting_limits": "how a setting is declared; limits on strangers",
    "setting_checks": "what a value must be",
    "setting_sources": "environment and .env",
    "env_file": "reads .env",
    "characters": "Unicode rules",
    "clock": "the only clock",
    "errors": "NurtureError",
    "failpoints": "named crash points",
    "ids": "types of ids",
    "setting_values": "SMTP, HTTP",
}
ROOMS = ("web/desk", "services", "store")
NOT_ROOMS = {"migrations"}
WIDTH, MARGIN, ARROW, GAP = 960, 16, 34, 8
STYLE = """
  .page { fill: #ffffff } .box { fill: #f4f6f5; stroke: #7d8b88 } .pure { fill: #e3efe9 }
  .room { fill: #ffffff; stroke: #a9b5b2 }
  text { font: 13px system-ui, sans-serif; fill: #1d2624 } .name { font-weight: 600 } .words, .label { font-size: 11px }
  .words, .aside { fill: #46534f } .arrow { stroke: #46534f; fill: none } .head { fill: #46534f }
  @media (prefers-color-scheme: dark) {
    .page { fill: #171c1b } .box { fill: #222a28; stroke: #5d6b68 } .pure { fill: #1d3a30 }
    .room { fill: #171c1b; stroke: #4c5956 }
    text { fill: #e8edeb } .words, .aside { fill: #b4c0bc } .arrow { stroke: #b4c0bc } .head { fill: #b4c0bc }
  }
"""


def layers() -> list[list[str]]:
    """The modules of each layer, from the top."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    (contract,) = [each for each in tools["importlinter"]["contracts"] if each["type"] == "layers"]
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def rooms(module: str) -> list[str]:
    """The names of the packages in a module that is divided by subject; none in any other."""
    found = next((ROOT / "nurture" / folder for folder in ROOMS if folder.split("/")[0] == module), None)
    packages = sorted(each.parent.name for each in found.glob("*/__init__.py")) if found else []
    return [name for name in packages if name not in NOT_ROOMS]


def text(x: float, y: float, words: str, kind: str) -> str:
    """One line of text that begins at x and stands on y."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def chips(x: float, y: float, names: list[str]) -> list[str]:
    """The rooms of a module, side by side."""
    drawn = []
    for name in names:
        width = 6.2 * len(name) + 14
        drawn.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="22" rx="4" class="room"/>')
        drawn.append(text(x + 7, y + 15, name, "label"))
        x += width + 6
    return drawn


def box(x: float, y: float, width: float, height: float, name: str) -> list[str]:
    """One module: its name, its words and its rooms."""
    kind = "box pure" if name == "domain" else "box"
    drawn = [f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="{kind}"/>']
    if width > 440:
        drawn.append(text(x + 10, y + 20, name, "name"))
        drawn.append(text(x + 24 + 8.2 * len(name), y + 20, WORDS[name], "words"))
    else:
        drawn += [text(x + 10, y + 18, name, "name"), text(x + 10, y + 34, WORDS[name], "words")]
    inside = rooms(name)
    if inside:
        label = "desk:" if name == "web" else "rooms:"
        drawn += [text(x + 10, y + 49, label, "words"), *chips(x + 52, y + 34, inside)]
    return drawn


def widths(names: list[str]) -> list[float]:
    """How wide each module of a layer is drawn: one with rooms gets what the others leave."""
    room = WIDTH - 2 * MARGIN - ARROW - GAP * (len(names) - 1)
    wide = [name for name in names if rooms(name)]
    if not wide or len(names) == 1:
        return [room / len(names)] * len(names)
    small = 128 if wide == ["store"] else 178
    return [room - small * (len(names) - 1) if name in wide else small for name in names]


def draw() -> str:
    """The whole picture as SVG."""
    y, drawn = float(MARGIN), list[str]()
    for names in layers():
        height = 64 if any(map(rooms, names)) else 30 if len(names) <= 2 else 42
        x = float(MARGIN + ARROW)
        for name, width in zip(names, widths(names), strict=True):
            drawn += box(x, y, width, height, name)
            x += width + GAP
        y += height + GAP
    bottom = y - GAP
    middle, left, height = (MARGIN + bottom) / 2, MARGIN + 10, bottom + MARGIN
    title = "The layers of nurture and their rooms: every module imports only from the rows below its own"
    start = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="title">',
        f'<title id="title">{title}</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height:g}"/>',
        f'<path class="arrow" d="M{left} {MARGIN}V{bottom - 8:g}"/>',
        f'<path class="head" d="M{left - 5} {bottom - 9:g}h10l-5 9z"/>',
        f'<text class="aside" text-anchor="middle" transform="translate({left + 16} {middle:g}) rotate(-90)">'
        "imports point down</text>",
    ]
    return "\n".join([*start, *drawn, "</svg>", ""])


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw(), "utf-8")
