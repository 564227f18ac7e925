"""The gate for finished mail: whether everybody can read it, and whether mail clients can show it. HTML in, findings out.

What clients cannot do is data of caniemail.com (templates/mail/mail-clients.json); `GRACEFUL` says where that costs nobody
anything. Contrast is computed from the inlined styles, and for the dark from the rules that stay in the head.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

from nurture import resources
from nurture.domain.picture import LetterImages
from nurture.letters import contrast
from nurture.letters.compiler import NO_PICTURES, compile_letter
from nurture.letters.filling import Unfillable, Values, fill
from nurture.letters.gate.rules import Finding, Severity
from nurture.letters.source import Letter, LetterRefused

CLIENTS = resources.TEMPLATES / "mail" / "mail-clients.json"
MOST_BYTES = 80 * 1024
"""Gmail cuts a mail off at 102 kB; what a reader's links add must fit too."""
MOST_OCTETS = 998
"""Of a line, without its end (RFC 5322 section 2.1.1)."""
TOUCH = 44
"""Least height of a button, in pixels (WCAG 2.2, success criterion 2.5.5)."""

GRACEFUL = {
    "css-at-media": "Outlook for Windows shows the wide layout, which is what its window has room for",
    "css-at-media-prefers-color-scheme": "the light letter is shown, or the client makes a dark one of its own",
    "css-border-radius": "corners are square",
    "css-height": "Yahoo makes it a least height: a rule stays thin, a picture keeps its shape wherever its width has room",
    "css-max-height": "only on the preheader, which `mso-hide` hides there",
    "css-overflow": "only on the preheader, which is hidden anyway",
    "css-overflow-wrap": "`word-wrap` beside it says the same in the older way",
    "css-text-wrap": "a title breaks where it may",
    "css-word-wrap": "Outlook for Windows breaks long addresses itself",
    "html-body": "the table inside it carries color and width",
    "html-meta-color-scheme": "the light letter is shown",
}
"""What some clients cannot do, and what their readers see instead."""

_FORBIDDEN = {
    "script", "form", "input", "button", "select", "textarea", "iframe", "object", "embed", "link", "base", "video", "audio",
    "svg", "math", "applet",
}  # fmt: skip
_VOID = {"meta", "br", "img", "hr", "input", "link", "base", "col", "area", "wbr", "embed", "source"}
_VAGUE = re.compile(r"(click )?(here|this|link|more|read more|this link)\W*", re.IGNORECASE)
_LONGHAND = re.compile(r"^(margin|padding|border|background|list-style|text-decoration|font)-")
_KEPT_WHOLE = {"background-color", "border-radius", "border-collapse", "border-spacing", "font-size", "font-weight"}


@dataclass
class _Node:
    tag: str
    attributes: Mapping[str, str]
    parent: "_Node | None"
    style: dict[str, str] = field(default_factory=dict)
    words: str = ""
    children: "list[_Node]" = field(default_factory=list)

    def all(self) -> "Iterator[_Node]":
        """Itself, and everything in it."""
        yield self
        for child in self.children:
            yield from child.all()

    def text(self) -> str:
        """What is read of it, pictures by their alternatives."""
        own = self.attributes.get("alt", "") if self.tag == "img" else self.words
        return " ".join(f"{own} {' '.join(child.text() for child in self.children)}".split())


class _Tree(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.top = _Node("", {}, None)
        self.here, self.css = self.top, ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        node = _Node(tag, attributes, self.here, _declarations(attributes.get("style", "")))
        self.here.children.append(node)
        if tag not in _VOID:
            self.here = node

    def handle_endtag(self, tag: str) -> None:
        node: _Node | None = self.here
        while node is not None and node.tag != tag:
            node = node.parent
        if node is not None and node.parent is not None:
            self.here = node.parent

    def handle_data(self, data: str) -> None:
        if self.here.tag == "style":
            self.css += data
        else:
            self.here.words += data


def _declarations(css: str) -> dict[str, str]:
    pairs = (declaration.partition(":") for declaration in css.split(";") if ":" in declaration)
    return {name.strip().lower(): value.replace("!important", "").strip() for name, _, value in pairs}


@cache
def cannot() -> Mapping[str, list[str]]:
    """By what caniemail calls a feature: the clients that cannot show it."""
    found: Mapping[str, list[str]] = json.loads(CLIENTS.read_text("utf-8"))["cannot"]
    return found


def check(html: str, text: str) -> list[Finding]:
    """Everything about a finished mail that would keep somebody from reading it; `html` and `text` are filled."""
    tree = _Tree(html)
    shown = [node for node in tree.top.all() if node.tag]
    return [
        *_structure(shown),
        *_links(shown),
        *_pictures(shown),
        *_nothing_from_elsewhere(shown, tree.css),
        *_contrast(tree, {}, "light"),
        *_contrast(tree, _dark_rules(tree.css), "dark"),
        *_clients(shown, tree.css),
        *_sizes(html, text),
        *_parity(tree.top, text),
    ]


def check_letter(letter: Letter, values: Values, pictures: LetterImages = NO_PICTURES) -> list[Finding]:
    """The same of a letter that is not published yet, filled with `values`; `pictures`: those it may show. One that cannot be
    compiled has no page.
    """
    try:
        content = fill(compile_letter(letter, known=pictures), values)
    except (LetterRefused, Unfillable):
        return []
    return check(content.html, content.text)


def features(html: str) -> set[str]:
    """What of HTML and CSS a page uses, by caniemail's names."""
    tree = _Tree(html)
    return _features([node for node in tree.top.all() if node.tag], tree.css)


def _found(rule: str, words: str, why: str, instead: str) -> Finding:
    return Finding(rule, Severity.ERROR, "page", None, words, why, instead)


def _structure(shown: list[_Node]) -> Iterator[Finding]:
    if not any(node.tag == "html" and node.attributes.get("lang") for node in shown):
        yield _found("H01", "<html>", "A screen reader must know the language.", 'Give the page `lang="en"`.')
    levels = [int(node.tag[1]) for node in shown if re.fullmatch("h[1-6]", node.tag)]
    if levels.count(1) != 1:
        yield _found("H02", f"{levels.count(1)} titles", "A page has one title.", "Begin with one `# Title`.")
    for before, after in pairwise(levels):
        if after > before + 1:
            yield _found("H02", f"h{after}", "A heading skips a level.", f"Use {'#' * (before + 1)} below {'#' * before}.")
    for node in shown:
        if node.tag == "table" and node.attributes.get("role") != "presentation":
            yield _found("H02", "<table>", "A screen reader would read the layout aloud.", 'Give it `role="presentation"`.')


def _links(shown: list[_Node]) -> Iterator[Finding]:
    for node in shown:
        if node.tag != "a":
            continue
        name, target = node.text(), node.attributes.get("href", "")
        if not name:
            yield _found("H03", target or "a link", "A link without words cannot be read aloud.", "Put words on it.")
        elif _VAGUE.fullmatch(name):
            yield _found("H03", name, "Read alone, these words do not say where the link leads.", "Name what is there.")
        if not target.startswith(("https://", "http://", "mailto:", "tel:", "sms:")):
            yield _found("H04", target or name, "This is no address that a mail client opens.", "Begin it with https://.")
        if {"button", "leave"} & set(node.attributes.get("class", "").split()) and _height(node) < TOUCH:
            yield _found("H05", name, f"It is {_height(node):.0f} pixels high: a thumb misses it.", f"Make it {TOUCH} or more.")


def _height(node: _Node) -> float:
    """Of one line of a link that is a box of its own: its padding and its line."""
    if node.style.get("display") not in ("block", "inline-block"):
        return 0.0
    sides = node.style.get("padding", "0").split()
    padding = 2 * _pixels(sides[0]) if len(sides) < 3 else _pixels(sides[0]) + _pixels(sides[2])
    return padding + _pixels(node.style.get("line-height", "0"))


def _pixels(value: str) -> float:
    number = re.match(r"[0-9.]+", value)
    return float(number[0]) if number else 0.0


def _pictures(shown: list[_Node]) -> Iterator[Finding]:
    for node in shown:
        if node.tag == "img":
            name = node.attributes.get("src", "a picture")
            if "alt" not in node.attributes:
                yield _found("H06", name, "With pictures off nobody knows what it was.", "Say it in the square brackets.")
            if not all(node.attributes.get(side, "").isdigit() for side in ("width", "height")):
                yield _found("H06", name, "Without its size the letter jumps while it loads.", "Give width and height.")


def _nothing_from_elsewhere(shown: list[_Node], css: str) -> Iterator[Finding]:
    for node in shown:
        if node.tag in _FORBIDDEN:
            yield _found("H07", f"<{node.tag}>", "Mail clients drop it, or treat it as an attack.", "Leave it out.")
        for name, value in node.attributes.items():
            if name.startswith("on"):
                yield _found("H07", name, "Nothing in a letter runs.", "Leave it out.")
            if name in ("src", "background", "srcset", "poster") and not value.startswith("cid:"):
                yield _found("H08", value, "Loading it would tell somebody that the letter was opened.", "Leave it out.")
    for source in (css, *(node.attributes.get("style", "") for node in shown)):
        if re.search(r"url\(|@import|@font-face", source):
            yield _found("H08", source[:60], "Loading it would tell somebody that the letter was opened.", "Leave it out.")


_Rules = Mapping[tuple[str, ...], Mapping[str, str]]


def _dark_rules(css: str) -> _Rules:
    """Selectors, as the steps they are made of, and what holds for them in the dark."""
    block = re.search(r"@media[^{]*prefers-color-scheme:\s*dark[^{]*\{((?:[^{}]*\{[^{}]*\})*)", css)
    rules: dict[tuple[str, ...], dict[str, str]] = {}
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", block[1] if block else ""):
        for selector in selectors.split(","):
            rules.setdefault(tuple(selector.split()), {}).update(_declarations(body))
    return rules


def _matches(node: _Node, steps: tuple[str, ...]) -> bool:
    tag, *classes = steps[-1].split(".")
    if (tag and tag != node.tag) or not set(classes) <= set(node.attributes.get("class", "").split()):
        return False
    above = node.parent
    while above is not None and steps[1:]:
        if _matches(above, steps[:-1]):
            return True
        above = above.parent
    return len(steps) == 1


def _weight(steps: tuple[str, ...]) -> tuple[int, int]:
    return sum(step.count(".") for step in steps), sum(not step.startswith(".") for step in steps)


def _contrast(tree: _Tree, rules: _Rules, scheme: str) -> Iterator[Finding]:
    def walk(node: _Node, ink: str, ground: str) -> Iterator[Finding]:
        style = dict(node.style)
        for steps in sorted(rules, key=_weight):
            if _matches(node, steps):
                style |= rules[steps]
        ink = style["color"] if contrast.is_color(style.get("color", "")) else ink
        ground = style["background-color"] if contrast.is_color(style.get("background-color", "")) else ground
        if node.words.strip() and node.tag not in ("title", "style") and "preheader" not in node.attributes.get("class", ""):
            ratio = contrast.ratio(ink, ground)
            if ratio < contrast.ENOUGH:
                words = " ".join(node.words.split())[:60]
                yield _found(
                    "H09",
                    words,
                    f"In the {scheme} it is too faint to read ({ink} on {ground}, {ratio:.1f} to 1).",
                    f"Choose colors with at least {contrast.ENOUGH} to 1.",
                )
        for child in node.children:
            yield from walk(child, ink, ground)

    yield from walk(tree.top, "#000000", "#ffffff")


def _features(shown: list[_Node], css: str) -> set[str]:
    found = {f"html-{'h1-h6' if re.fullmatch('h[1-6]', node.tag) else node.tag}" for node in shown}
    found |= {"html-lists" for node in shown if node.tag in ("ul", "ol", "li")}
    found |= {f"html-{name}" for node in shown for name in node.attributes if name not in ("style", "class", "href")}
    if any(node.attributes.get("name") == "color-scheme" for node in shown):
        found.add("html-meta-color-scheme")
    rules = re.sub(r"@media[^{]*\{", "", css)
    used = [name for node in shown for name in node.style]
    used += [name for _, body in re.findall(r"([^{}]+)\{([^{}]*)\}", rules) for name in _declarations(body)]
    for name in used:
        longhand = None if name in _KEPT_WHOLE else _LONGHAND.match(name)
        found.add(f"css-{longhand[1] if longhand else name}")
    if "@media" in css:
        found.add("css-at-media")
    if "prefers-color-scheme" in css:
        found.add("css-at-media-prefers-color-scheme")
    if any(value == "none" for node in shown for name, value in node.style.items() if name == "display"):
        found.add("css-display-none")
    return found & set(cannot())


def _clients(shown: list[_Node], css: str) -> Iterator[Finding]:
    for name in sorted(_features(shown, css)):
        without = cannot()[name]
        if without and name not in GRACEFUL:
            yield _found("H10", name, f"{', '.join(without)} cannot show it (caniemail.com).", "Use what every client knows.")


def _sizes(html: str, text: str) -> Iterator[Finding]:
    size = len(html.encode())
    if size > MOST_BYTES:
        yield _found("H11", f"{size // 1024} kB", "Mail clients cut off what is longer.", "Shorten the letter.")
    for part in (html, text):
        longest = max((len(line.encode()) for line in part.splitlines()), default=0)
        if longest > MOST_OCTETS:
            yield _found(
                "H12", f"{longest} bytes in a line", "A server may break such a line anywhere.", "Split the paragraph."
            )


def _parity(top: _Node, text: str) -> Iterator[Finding]:
    """Whether both parts say the same: every word of one is in the other."""
    page = " ".join(node.text() for node in _read(top))
    missing = sorted(_words(page) - _words(text))
    if missing:
        yield _found("H13", ", ".join(missing[:5]), "The plain text does not say this.", "See docs/letters.md for what works.")


def _read(top: _Node) -> Iterable[_Node]:
    for node in top.children:
        if node.tag in ("head", "style", "title") or "preheader" in node.attributes.get("class", ""):
            continue
        yield _Node(node.tag, node.attributes if node.tag == "img" else {}, None, {}, node.words)
        yield from _read(node)


def _words(said: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[^\W\d_]{4,}", said)}
