"""What people read of a letter: its paragraphs with their lines, behind whatever markup, Jinja or odd characters they stand.

A letter has alternatives (`{% if %}`, a default), so it has several readings. `read_body` gives as few as show every
alternative once, or only those that can be sent while the facts of the practice are as they are.
"""

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import unquote, urlsplit

from jinja2 import TemplateSyntaxError, nodes
from markdown_it.token import Token

from nurture.characters import normalize
from nurture.letters import image_rules as pictures
from nurture.letters import layout
from nurture.letters.dialect import parse, replaces_empty, truth
from nurture.letters.image_rules import Placed
from nurture.letters.source import Letter

SOMEBODY = "Sam"
"""Stands for what is not known before sending, a name for example; no rule is about it."""
HELP = "☎988"
"""Stands for the crisis lines."""
MOST_READINGS = 200
_OPEN, _CLOSE = "\ue000", "\ue001"  # around the number of a part put in after Markdown; private use: nobody writes them
_STAND_IN = re.compile(f"{_OPEN}([0-9]{{1,6}}){_CLOSE}")
_ALIKE = str.maketrans(
    "аеорсухіѕјԁһԛԝАВЕКМНОРСТХІЅЈοαινρυκΟΑΒΕΙΚΜΝΡΤΥΧΖ’‘ʼ“”‐‑‒–—―−",
    "aeopcyxisjdhqwABEKMHOPCTXISJoaivpukOABEIKMNPTYXZ'''\"\"-------",
)
"""Letters of other alphabets that look like ours, typographic quotes, dashes."""


class UnreadableText(Exception):
    """A part in curly brackets cannot be read; `line` is one of the text, None if none can be named."""

    def __init__(self, why: str, line: int | None = None) -> None:
        """`why`: plain words."""
        super().__init__(why)
        self.line = line


@dataclass(frozen=True)
class TextBlock:
    """A paragraph, heading, item of a list, or another piece of text of its own."""

    part: str
    kind: str
    """h1 to h6, paragraph, item, button, code."""
    text: str
    marks: tuple[tuple[int, int], ...]
    """From which character on it stands on which line of the file."""

    def line(self, at: int) -> int:
        """The line of one of its characters."""
        return self.marks[max(0, bisect_right(self.marks, at, key=lambda mark: mark[0]) - 1)][1]


@dataclass(frozen=True)
class Reading:
    """One way a text may come out."""

    blocks: tuple[TextBlock, ...]
    buttons: tuple[int, ...] = ()
    """The lines of its calls to action."""
    hosts: tuple[tuple[str, int], ...] = ()
    """Where its links lead, and on which line."""
    pictures: tuple[Placed, ...] = ()
    """Its pictures, each with its line of the file as its place."""


# Characters


def plain(text: str) -> str:
    """Text as it looks: entities decoded, invisible characters dropped, look-alikes and white space made one (NFKC)."""
    shown = normalize("NFKC", html.unescape(text))
    shown = "".join(sign for sign in shown if unicodedata.category(sign) != "Cf").translate(_ALIKE)
    return re.sub(r"\s+", " ", shown)


def paragraphs(text: str, part: str) -> list[TextBlock]:
    """The paragraphs of a plain text; an empty line is between two of them."""
    blocks, pieces = [], list[tuple[str, int]]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.strip():
            pieces.append((line + " ", number))
        elif pieces:
            blocks.append(_block(part, "paragraph", pieces))
            pieces = []
    return blocks


def _block(part: str, kind: str, pieces: Iterable[tuple[str, int]]) -> TextBlock:
    text, marks = "", list[tuple[int, int]]()
    for piece, line in pieces:
        shown = plain(piece)
        if shown:
            marks.append((len(text), line))
            text += shown.lstrip() if text.endswith(" ") else shown
    return TextBlock(part, kind, text.rstrip(), tuple(marks))


# Jinja


class _Kind(Enum):
    SOURCE = "Markdown of the file"
    ASIDE = "Markdown in a part in brackets"
    VALUE = "text put in when Markdown is read"
    BUTTON = "a call to action"


@dataclass(frozen=True)
class _Text:
    line: int
    text: str
    kind: _Kind


@dataclass(frozen=True)
class _Choice:
    ways: tuple[tuple["_Piece", ...], ...]


_Piece = _Text | _Choice


@dataclass(frozen=True)
class _Jinja:
    """Takes a template apart into text and choices."""

    facts: Mapping[str, str]
    numbers: Mapping[str, int]
    """Of the sources, by their ids."""
    as_sent: bool
    """Whether a choice that the facts decide is taken, or every way is kept."""

    def pieces(self, found: Iterable[nodes.Node], line: int) -> Iterator[_Piece]:
        """What nodes show."""
        for node in found:
            line = node.lineno or line
            match node:
                case nodes.TemplateData():
                    yield _Text(line, _STAND_IN.sub("", node.data), _Kind.SOURCE)
                case nodes.Output():
                    yield from self.pieces(node.nodes, line)
                case nodes.If():
                    arms = [(node.test, node.body), *((arm.test, arm.body) for arm in node.elif_)]
                    yield self._choice(arms, node.else_, line)
                case nodes.CondExpr():
                    yield self._choice([(node.test, [node.expr1])], [node.expr2] if node.expr2 else [], line)
                case nodes.Filter(name="default" | "d") if node.node is not None:
                    if self.as_sent and not replaces_empty(node):
                        yield from self.pieces([node.node], line)
                    else:
                        yield self._choice([(node.node, [node.node])], node.args[:1], line)
                case nodes.Call(node=nodes.Name(name="button" | "cite" | "crisis" | "aside" as name)):
                    yield self._macro(name, node, line)
                case nodes.Const():
                    yield _Text(line, str(node.value), _Kind.VALUE)
                case nodes.Getattr(node=nodes.Name(name="practice")):
                    yield _Text(line, self.facts.get(node.attr, "") or SOMEBODY, _Kind.VALUE)
                case nodes.Getattr() | nodes.Name():
                    yield _Text(line, SOMEBODY, _Kind.VALUE)
                case _:
                    yield from self.pieces(node.iter_child_nodes(), line)

    def _macro(self, name: str, call: nodes.Call, line: int) -> _Text:
        said = [str(found.value) for found in call.find_all(nodes.Const)]
        match name:
            case "cite":
                return _Text(line, "".join(f"[{self.numbers.get(source, 0)}]" for source in said), _Kind.VALUE)
            case "crisis":
                return _Text(line, HELP, _Kind.VALUE)
            case "aside":
                return _Text(line, "\n\n" + "\n".join(said) + "\n\n", _Kind.ASIDE)
            case _:
                return _Text(line, " ".join(said) or SOMEBODY, _Kind.BUTTON)

    def _choice(
        self, arms: Sequence[tuple[nodes.Node, list[nodes.Node]]], otherwise: Iterable[nodes.Node], line: int
    ) -> _Choice:
        ways = []
        for test, shown in arms:
            decided = truth(test, {"practice": self.facts}) if self.as_sent else None
            if decided is not False:
                ways.append(tuple(self.pieces(shown, line)))
            if decided:
                return _Choice(tuple(ways))
        return _Choice((*ways, tuple(self.pieces(otherwise, line))))


def _readings(pieces: Iterable[_Piece]) -> list[list[_Text]]:
    """As few readings as show every way of every choice once."""
    shown = [
        [[piece]] if isinstance(piece, _Text) else [reading for way in piece.ways for reading in _readings(way)]
        for piece in pieces
    ]
    count = max(map(len, shown), default=1)
    if count > MOST_READINGS:
        raise UnreadableText(f"There are more than {MOST_READINGS} alternatives in it.")
    return [[text for ways in shown for text in ways[min(number, len(ways) - 1)]] for number in range(count)]


def _read(source: str, first_line: int, jinja: _Jinja, show: Callable[[list[_Text]], Reading]) -> list[Reading]:
    try:
        tree = parse(source)
        readings = _readings(tuple(jinja.pieces(tree.body, 1)))
    except TemplateSyntaxError as error:
        raise UnreadableText(
            f"A part in curly brackets cannot be read: {error.message}.", error.lineno + first_line - 1
        ) from None
    try:
        return [show(texts) for texts in readings]
    except layout.TooDeep as deep:
        raise UnreadableText(str(deep)) from None


def read_line(source: str, part: str, line: int, facts: Mapping[str, str], as_sent: bool) -> list[Reading]:
    """The readings of a subject or preheader, which stands on `line` of its file. Raises UnreadableText."""

    def show(texts: list[_Text]) -> Reading:
        block = _block(part, "paragraph", [("".join(text.text for text in texts), line)])
        return Reading((block,))

    return _read(source, line, _Jinja(facts, {}, as_sent), show)


def read_body(letter: Letter, facts: Mapping[str, str], as_sent: bool) -> list[Reading]:
    """The readings of a letter's body: every alternative, or those that can be sent. Raises UnreadableText."""
    if letter.unreadable:
        raise UnreadableText(letter.unreadable)
    numbers = {source.id: source.number for source in letter.sources}
    return _read(letter.body, letter.body_line, _Jinja(facts, numbers, as_sent), lambda texts: _show(texts, letter.body_line))


# Markdown


@dataclass
class _Page:
    """Markdown with stand-ins for what is put in later, and which line of the file each of its lines comes from."""

    lines: list[int]
    markdown: str = ""

    def add(self, text: _Text, number: int) -> None:
        """One more text; a stand-in with `number` if it is no Markdown."""
        if text.kind in (_Kind.VALUE, _Kind.BUTTON):
            self.markdown += f"{_OPEN}{number}{_CLOSE}"
            return
        first = self.lines[0] + text.line - 1
        breaks = range(1, text.text.count("\n") + 1)
        self.lines += [first + (count if text.kind is _Kind.SOURCE else 0) for count in breaks]
        self.markdown += text.text


def _show(texts: list[_Text], first_line: int) -> Reading:
    page = _Page([first_line])
    for number, text in enumerate(texts):
        page.add(text, number)

    def filled(source: str) -> str:
        return _STAND_IN.sub(lambda found: texts[int(found[1])].text if int(found[1]) < len(texts) else "", source)

    blocks, hosts, items = list[TextBlock](), list[tuple[str, int]](), 0
    buttons = [first_line + text.line - 1 for text in texts if text.kind is _Kind.BUTTON]
    kind, tokens = "paragraph", layout.parse(page.markdown)
    for token in tokens:
        line = page.lines[min(token.map[0], len(page.lines) - 1)] if token.map else first_line
        match token.type:
            case "list_item_open":
                items += 1
            case "list_item_close":
                items -= 1
            case "heading_open":
                kind = token.tag
            case "paragraph_open":
                kind = "item" if items else "paragraph"
            case "fence" | "code_block":
                blocks.append(_block("line", "code", [(filled(token.content), line)]))
            case "inline":
                start = token.map[0] if token.map else 0
                alone = _STAND_IN.fullmatch(token.content.strip())
                if alone and int(alone[1]) < len(texts) and texts[int(alone[1])].kind is _Kind.BUTTON:
                    kind = "button"
                words = [(filled(said), page.lines[min(start + down, len(page.lines) - 1)]) for said, down in _said(token)]
                blocks.append(_block("line", kind, words))
                hosts += [(host, line) for host in _hosts(token)]
    shown = tuple(
        replace(
            picture,
            place=page.lines[min(picture.place, len(page.lines) - 1)],
            alt=filled(picture.alt),
            source=filled(unquote(picture.source)),
        )
        for picture in pictures.placed(tokens)
    )
    return Reading(tuple(block for block in blocks if block.text), tuple(buttons), tuple(hosts), shown)


def _said(token: Token, down: int = 0) -> Iterator[tuple[str, int]]:
    """The words of a run of text without its markup, and how many lines below its first they stand."""
    for child in token.children or ():
        if child.type in ("softbreak", "hardbreak"):
            down += 1
            yield " ", down
        elif child.type in ("text", "code_inline"):
            yield child.content, down
        elif child.children and not (child.type == "image" and pictures.is_decorative(child.content)):
            yield from _said(child, down)
        if child.attrs.get("title"):
            yield f" {child.attrs['title']} ", down


def _hosts(token: Token) -> Iterator[str]:
    for child in token.children or ():
        address = str(child.attrs.get("href") or child.attrs.get("src") or "")
        try:
            parts = urlsplit(address)
        except ValueError:  # such as http://[x
            continue
        host = parts.path.rpartition("@")[2] if parts.scheme == "mailto" else parts.hostname
        if host and "%" not in host:
            yield host
