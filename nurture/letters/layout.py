"""Markdown → HTML and plain text, and the frame around both. Runs once per edition, on trusted templates."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import css_inline
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from nurture import resources
from nurture.domain.picture import SCHEME, LetterImages, content_id
from nurture.letters import image_rules
from nurture.letters.bounded_yaml import read_yaml
from nurture.letters.pack_texts import pack_texts

MOST_OCTETS = 900
"""Longest line of a part: RFC 5322 section 2.1.1 allows 998 octets; values filled in later need room."""
WIDTH = 494
"""Pixels inside the letter's column, of its margins and edges on a desktop (templates/mail/layout.html)."""


@cache
def _frames() -> Environment:
    return Environment(
        loader=FileSystemLoader(resources.TEMPLATES / "mail"),
        autoescape=lambda name: str(name).endswith(".html"),  # noqa: S701 - the text part is no HTML; trusted templates
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def crisis_lines() -> list[dict[str, Any]]:
    """Whom to call, by country: crisis-lines.yaml of the pack."""
    found: list[dict[str, Any]] = read_yaml(resources.pack().crisis_lines.read_text("utf-8"))
    return found


@dataclass(frozen=True)
class Button:
    """The one thing a letter asks its reader to do."""

    label: str
    target: str


@dataclass(frozen=True)
class Crisis:
    """Whom to call, in the middle of a letter."""


@dataclass(frozen=True)
class Aside:
    """A remark beside the text, in Markdown."""

    markdown: str


@dataclass(frozen=True)
class EmbeddedImage:
    """A picture, as wide as it is shown where there is room. `alt`: the words that stand for it; empty: it says nothing."""

    cid: str
    alt: str
    width: int
    height: int


Block = Button | Crisis | Aside | EmbeddedImage
"""What stands between paragraphs and is no Markdown."""

BLOCK = "letter_block"
"""The type of such a token; its meta holds the block."""
MOST_LEVELS = 20
"""Of bold, italic, links and pictures within one another; whatever walks over the page later calls itself once a level."""
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
_MARKDOWN.add_render_rule(BLOCK, lambda _, tokens, at, *__: _block_html(tokens[at].meta["block"]))


class TooDeep(Exception):
    """Bold, italic, links or pictures stand too deep within one another; the message says what to do."""

    def __init__(self) -> None:
        """Says it in plain words."""
        super().__init__(
            f"Bold, italic, links or pictures stand more than {MOST_LEVELS} deep within one another. Take some signs out."
        )


def _check_levels(tokens: Iterable[Token], level: int = 0) -> None:
    for token in tokens:
        here = level + (token.level if token.type != "inline" else 0)
        if here > MOST_LEVELS:
            raise TooDeep
        _check_levels(token.children or (), here + (token.type == "image"))


def parse(markdown: str, blocks: Mapping[str, Block] = MappingProxyType({})) -> list[Token]:
    """Markdown (CommonMark, no raw HTML) as tokens; a paragraph that is the name of a block becomes it. Raises TooDeep."""
    tokens: list[Token] = []
    try:
        found = _MARKDOWN.parse(markdown)
        for token in found:
            _check_levels(token.children or ())
    except RecursionError:  # pictures within the words of pictures
        raise TooDeep from None
    for token in found:
        opened = tokens[-2:]
        if token.type == "paragraph_close" and (block := blocks.get(opened[1].content.strip())):
            tokens[-2:] = [Token(BLOCK, "", 0, map=opened[0].map, level=opened[0].level, block=True, meta={"block": block})]
        else:
            tokens.append(token)
    return tokens


def with_pictures(tokens: list[Token], known: LetterImages) -> list[Token]:
    """The tokens with each paragraph that is nothing but a known picture as a block that shows it."""
    put: list[Token] = []
    for at, token in enumerate(tokens):
        image = image_rules.alone(tokens, at - 1) if token.type == "paragraph_close" else None
        name = str(image.attrs["src"]).removeprefix(SCHEME) if image else ""
        if image is None or name not in known:
            put.append(token)
            continue
        found, alt = known[name], image_rules.words_of(image)
        width = min(found.width, WIDTH)
        height = max(1, round(found.height * width / found.width))
        block = EmbeddedImage(content_id(found.id), "" if image_rules.is_decorative(alt) else alt, width, height)
        put[-2:] = [Token(BLOCK, "", 0, map=put[-2].map, block=True, meta={"block": block})]
    return put


def to_html(tokens: list[Token]) -> str:
    """The tokens as HTML."""
    html: str = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return html


def _block_html(block: Block) -> str:
    """A block as HTML: templates/mail/blocks.html."""
    macros = _frames().get_template("blocks.html").module
    match block:
        case Button(label, target):
            return str(macros.button(label, target))  # type: ignore[attr-defined]
        case Aside(markdown):
            return str(macros.aside(Markup(to_html(parse(markdown)))))  # type: ignore[attr-defined]  # noqa: S704
        case Crisis():
            return str(macros.crisis())  # type: ignore[attr-defined]
        case EmbeddedImage(cid, alt, width, height):
            return str(macros.picture(cid, alt, width, height))  # type: ignore[attr-defined]


def _block_text(block: Block) -> str:
    match block:
        case Button(label, target):
            return f"{label}:\n{target}"
        case Aside(markdown):
            return "\n".join(f"| {line}".rstrip() for line in to_text(parse(markdown)).splitlines())
        case Crisis():
            return CRISIS
        case EmbeddedImage(alt=alt):
            return f"[Picture: {alt}]" if alt else ""


CRISIS = (
    "In crisis, or thinking of suicide? In the US, call or text 988 at any hour, or chat at https://988lifeline.org. In "
    "immediate danger, call 911 or your local emergency number. Numbers for other countries are at the foot of this letter."
)


def to_text(tokens: list[Token]) -> str:
    """The tokens as plain text with the same content: links as `words: address`, lists with dashes or numbers."""
    blocks: list[str] = []
    numbers: list[int | None] = []  # of the lists we are in: the next number, None for dashes
    prefix, quote, heading, continues = "", 0, 0, False
    for token in tokens:
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                numbers.append(int(token.attrs.get("start", 1)) if token.type.startswith("ordered") else None)
                continues = continues and len(numbers) > 1
            case "bullet_list_close" | "ordered_list_close":
                numbers.pop()
                prefix, continues = "  " * len(numbers), continues and bool(numbers)
            case "list_item_open":
                number = numbers[-1]
                prefix = "  " * (len(numbers) - 1) + ("- " if number is None else f"{number}. ")
                numbers[-1] = None if number is None else number + 1
            case "heading_open":
                heading = int(token.tag[1])
            case "blockquote_open":
                quote += 1
            case "blockquote_close":
                quote -= 1
            case "hr":
                blocks.append("* * *")
            case "fence" | "code_block":
                blocks.append(token.content.rstrip("\n"))
            case _ if token.type == BLOCK:
                blocks += filter(None, [_block_text(token.meta["block"])])
                continues = False
            case "inline":
                words = "> " * quote + prefix + _inline(token.children or [])
                if heading:
                    words += "\n" + ("=" if heading == 1 else "-") * min(len(words), 60)
                    heading = 0
                if continues and prefix.strip():
                    blocks[-1] += "\n" + words  # items of one list stay together
                else:
                    blocks.append(words)
                continues, prefix = bool(numbers), "  " * len(numbers)
    return "\n\n".join(blocks) + "\n"


def _inline(children: list[Token]) -> str:
    words, target = "", ""
    for child in children:
        match child.type:
            case "text" | "code_inline":
                words += child.content
            case "softbreak":
                words += " "
            case "hardbreak":
                words += "\n"
            case "link_open":
                target = str(child.attrs["href"])
            case "link_close":
                words += "" if words.endswith(target.removeprefix("mailto:")) else f": {target}"
    return words


_INLINER = css_inline.CSSInliner(keep_style_tags=False, keep_at_rules=True, load_remote_stylesheets=False)


def frame_html(values: Mapping[str, Any]) -> str:
    """The finished HTML page around a body, its styles inlined; the rules for dark mode and phones stay in its head."""
    page = _frames().get_template("layout.html").render(**values, crisis_lines=crisis_lines(), pack=pack_texts())
    return "\n".join(_fold(line) for line in _INLINER.inline(page).splitlines()) + "\n"


def frame_text(values: Mapping[str, Any]) -> str:
    """The plain-text part around a body."""
    page = _frames().get_template("layout.txt").render(**values, crisis_lines=crisis_lines(), pack=pack_texts())
    lines: list[str] = []
    for line in page.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines += _fold(line.rstrip()).split("\n")
    return "\n".join(lines).strip("\n") + "\n"


_PIECES = re.compile(r"<[^>]*>|[^< ]+| +|<")


def _fold(line: str) -> str:
    """Break an overlong line between words or tags, where white space does not show in HTML."""
    if len(line.encode()) <= MOST_OCTETS:
        return line
    done, unit = [""], ""  # what is written, line by line; and what must stay together
    for piece in [*_PIECES.findall(line), " "]:
        if piece.isspace() or (piece.startswith("<") and unit.endswith(">")):
            if len((done[-1] + unit).encode()) > MOST_OCTETS and done[-1]:
                done[-1], unit = done[-1].rstrip(" "), unit.lstrip(" ")
                done.append("")
            done[-1], unit = done[-1] + unit, ""
        unit += piece
    return "\n".join(done)
