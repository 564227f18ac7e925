"""Publish: the whole pipeline run once. What is stored are finished HTML, text and subject *templates*.

Every Jinja part is replaced by a token that survives Markdown, CSS inlining and URL encoding unchanged (lower-case ASCII
with a nonce), the pipeline runs, and the tokens turn back into Jinja. A token must come back exactly as often as the
pipeline was given it, or publishing fails. Sending then only fills the templates.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from markdown_it.token import Token
from markupsafe import Markup

from nurture.domain.delivery import TO_DESK, DeliveryKind
from nurture.domain.picture import LetterImages
from nurture.letters import dialect, image_rules, layout
from nurture.letters.source import Letter, LetterRefused, no_source

NO_PICTURES: LetterImages = MappingProxyType({})


MOST_CHARACTERS = 100_000
"""Of a letter's file; twenty times as many as a long letter has."""


class PictureMisplaced(LetterRefused):
    """A letter shows a picture that it cannot show, or not like this."""


class SourceMissing(LetterRefused):
    """A letter names a source that is neither in the registry nor in its own list."""


@dataclass(frozen=True)
class Edition:
    """One published version of a letter: subject, HTML and text templates, and the hash that names them."""

    subject: str
    html: str
    text: str

    @property
    def sha256(self) -> str:
        """Names the content: equal editions have equal hashes."""
        return hashlib.sha256("\0".join((self.subject, self.html, self.text)).encode()).hexdigest()


class _Tokens:
    """Hides Jinja from a pipeline that would mangle it, and puts it back."""

    def __init__(self, numbers: Mapping[str, int] = MappingProxyType({})) -> None:
        self.nonce = "z" + secrets.token_hex(4)
        self.saved: list[str] = []
        self.blocks: dict[str, layout.Block] = {}
        self.numbers = numbers
        """Of the sources, by what `cite` names them."""

    def hide(self, source: str) -> str:
        """A token for one piece of Jinja; a macro is worked out at once."""
        called = dialect.macro(source) if "(" in source else None
        if called is not None:
            return self._work_out(called)
        kind = "b" if source.startswith("{%") else "v"
        self.saved.append(source)
        return f"{self.nonce}{kind}{len(self.saved) - 1:04d}z"

    def _work_out(self, called: dialect.Macro) -> str:
        block: layout.Block
        match called.name, called.given:
            case "cite", names:
                return "".join(rf"\[{self.numbers[name]}\]" for name in names)
            case "button", (label, target):
                block = layout.Button(label, self.hide(target) if target.startswith("{{") else target)
            case "aside", (markdown,):
                block = layout.Aside(markdown)
            case _:
                block = layout.Crisis()
        name = f"{self.nonce}m{len(self.blocks):04d}z"
        self.blocks[name] = block
        return name

    def hide_all(self, source: str) -> str:
        """`source` with every `{{ }}` and `{% %}` hidden, and comments dropped."""
        hidden, jinja = "", ""
        for _, kind, value in dialect.PLAIN.lex(source):
            if kind in ("variable_begin", "block_begin"):
                jinja = value
            elif kind in ("variable_end", "block_end"):
                hidden, jinja = hidden + self.hide(jinja + value), ""
            elif jinja:
                jinja += value
            elif kind == "data":
                hidden += value
        return re.sub(rf"(?m)^[ \t]*({self.nonce}[bm]\d{{4}}z)[ \t]*$", r"\n\1\n", hidden)  # alone on a line: own block

    def as_written(self, text: str) -> str:
        """`text` with the Jinja back in place."""
        return re.sub(rf"{self.nonce}[bv](\d{{4}})z", lambda found: self.saved[int(found[1])], text)

    def restore(self, page: str, given: str, where: str) -> str:
        """`page` with the Jinja back in place; `given` is what went into the pipeline. Raises LetterRefused."""
        page = re.sub(rf"<p[^>]*>\s*((?:{self.nonce}b\d{{4}}z\s*)+)</p>", r"\1", page)
        token = re.compile(rf"{self.nonce}[bv](\d{{4}})z")
        before, after = sorted(token.findall(given)), sorted(token.findall(page))
        if before != after or page.count(self.nonce) != len(after):
            raise LetterRefused(where, "A part in curly brackets got lost. Do not use it inside code, images or titles.")
        restored = self.as_written(page)
        # brackets may come from raw, escapes, entities or sources
        dialect.check(restored, f"{where}, as published", names=dialect.NAMES | dialect.FRAME)
        return restored


def compile_letter(letter: Letter, kind: DeliveryKind = DeliveryKind.LETTER, known: LetterImages = NO_PICTURES) -> Edition:
    """The edition of a letter, or of another mail written like one; `known`: the pictures it may show.

    Raises LetterRefused(where, advice).
    """
    _check_size(letter)
    dialect.check(letter.subject, letter.file_name)
    dialect.check(letter.preheader, letter.file_name)
    dialect.check(letter.body, letter.file_name, letter.body_line, macros=True)
    _check_sources(letter)
    if "\n" in letter.subject or "\r" in letter.subject:
        raise LetterRefused(letter.file_name, "The subject must be one line.")
    tokens = _Tokens({source.id: source.number for source in letter.sources})
    body, preheader = tokens.hide_all(letter.body), tokens.hide_all(letter.preheader)
    subject = tokens.hide_all(letter.subject)
    parsed = _parsed(body, tokens, letter, known)
    values = {
        "subject": subject,
        "preheader": preheader,
        "sources": letter.sources,
        "reviewed_by": letter.reviewed_by,
        "reviewed_on": letter.reviewed_on,
        "kind": kind.value,
        "is_for_desk": kind in TO_DESK,
        "logo_if": tokens.hide("{% if look.logo %}"),
        "logo_else": tokens.hide("{% else %}"),
        "logo_end": tokens.hide("{% endif %}"),
        **{
            group: {name: tokens.hide(f"{{{{ {group}.{name} }}}}") for name in sorted(names)}
            for group, names in (dialect.NAMES | dialect.FRAME).items()
        },
    }
    given = _given(body, tokens)
    shown = Markup(layout.to_html(parsed))  # noqa: S704 - CommonMark without raw HTML: the renderer has escaped it
    html = layout.frame_html(values | {"body": shown})
    text = layout.frame_text(values | {"body": layout.to_text(parsed)})
    return Edition(
        letter.subject,
        tokens.restore(html, _kept(html, given, tokens), letter.file_name),
        tokens.restore(text, _kept(text, given, tokens), letter.file_name),
    )


def compile_page(letter: Letter, known: LetterImages = NO_PICTURES) -> str:
    """The text of a letter as HTML for a page of the site: a template like an edition's, without a mail's frame."""
    _check_size(letter)
    dialect.check(letter.body, letter.file_name, letter.body_line, macros=True)
    _check_sources(letter)
    tokens = _Tokens({source.id: source.number for source in letter.sources})
    body = tokens.hide_all(letter.body)
    parsed = _parsed(body, tokens, letter, known)
    return tokens.restore(layout.to_html(parsed), _given(body, tokens), letter.file_name)


def _check_size(letter: Letter) -> None:
    """Refuse what cannot be read, or would take long to read."""
    if letter.unreadable:
        raise LetterRefused(letter.file_name, letter.unreadable)
    if len(letter.text) > MOST_CHARACTERS:
        raise LetterRefused(
            letter.file_name,
            f"The letter is {len(letter.text):,} characters long; at most {MOST_CHARACTERS:,} can be shown. Shorten it.",
        )


def _check_sources(letter: Letter) -> None:
    if letter.unknown_sources:
        raise SourceMissing(letter.file_name, no_source(letter.unknown_sources[0]))
    known = {source.id for source in letter.sources}
    for name, line in dialect.cited(letter.body):
        if name not in known:
            raise SourceMissing(f"{letter.file_name}, line {letter.body_line + line - 1}", no_source(name))


def _parsed(body: str, tokens: _Tokens, letter: Letter, known: LetterImages) -> list[Token]:
    try:
        parsed = layout.parse(body, tokens.blocks)
        _check_blocks(parsed, tokens.blocks, letter)
        _check_pictures(parsed, tokens, letter, known)
    except layout.TooDeep as deep:
        raise LetterRefused(letter.file_name, str(deep)) from None
    return layout.with_pictures(parsed, known)


def _check_pictures(parsed: list[Token], tokens: _Tokens, letter: Letter, known: LetterImages) -> None:
    """Each picture must be one of ours, with words that stand for it, and on a line of its own."""
    for block in tokens.blocks.values():
        if isinstance(block, layout.Aside) and any(image_rules.placed(layout.parse(block.markdown))):  # raises TooDeep, too
            raise PictureMisplaced(letter.file_name, "A box cannot hold a picture. Put it on a line of its own.")
    for wrong in image_rules.problems(image_rules.placed(parsed), known):
        words = tokens.as_written(wrong.words)
        at = letter.body.find(words)
        line = f", line {letter.body_line + letter.body.count(chr(10), 0, at)}" if at >= 0 else ""
        raise PictureMisplaced(letter.file_name + line, f"{words}: {wrong.why} {wrong.instead}")


def _given(body: str, tokens: _Tokens) -> str:
    """Everything of a letter's text that a page must hold: its own tokens, and those its buttons lead to."""
    return body + "".join(block.target for block in tokens.blocks.values() if isinstance(block, layout.Button))


def _check_blocks(parsed: list[Token], blocks: Mapping[str, layout.Block], letter: Letter) -> None:
    """Each block must have come out of the Markdown as one: alone, and not inside a list, a quotation or a sentence."""
    come = [token.meta["block"] for token in parsed if token.type == layout.BLOCK and token.level == 0]
    for block in blocks.values():
        if not any(block is found for found in come):
            name = type(block).__name__.lower()
            raise LetterRefused(
                letter.file_name, f"`{name}` stands on a line of its own, with nothing before or after it and in no list."
            )


def _kept(page: str, given: str, tokens: _Tokens) -> str:
    """What a page must hold: what the letter gave, and the tokens of the frame as often as the frame used them."""
    token = re.compile(rf"{tokens.nonce}[bv]\d{{4}}z")
    own = set(token.findall(given))
    return given + "".join(found for found in token.findall(page) if found not in own)
