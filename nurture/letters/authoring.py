"""A letter as somebody edits it: its subject, preheader and text, apart from what else its file says. Pure."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from difflib import SequenceMatcher

import yaml

from nurture.characters import code_point, unusable_character
from nurture.domain.picture import SCHEME
from nurture.letters.gate import Finding
from nurture.letters.rewriting import changed_fact, lines_of
from nurture.letters.source import REVIEW_EVERY, Letter, LetterRefused, read_letter, read_stored, readable_lines

_FENCE = "---"


@dataclass(frozen=True)
class Parts:
    """What is edited of a letter."""

    subject: str
    preheader: str
    body: str


def parts_of(letter: Letter) -> Parts:
    """The parts of a letter's file."""
    return Parts(letter.subject, letter.preheader, letter.body)


def composed(file_name: str, text: str, parts: Parts) -> str:
    """A letter's file with other parts; everything else in it stays as it was. Read back before it is returned.

    Raises LetterRefused: without a subject, with characters that cannot be kept or shown, or if the file would say anything
    other than what was typed.
    """
    if not parts.subject.strip():
        raise LetterRefused(file_name, "A letter needs a subject line before it can be saved.")
    old = read_stored(file_name, text)
    if old.unreadable:
        return _written_anew(file_name, text, parts)
    ending = "\r\n" if "\r\n" in text else "\n"
    lines = lines_of(text)
    end = _end_of_head(lines)
    head = lines[:end]
    for name, before, now in (("subject", old.subject, parts.subject), ("preheader", old.preheader, parts.preheader)):
        if _one_line(now) != before:
            head = changed_fact(head, name, f"{name}: {as_yaml(_shown(file_name, name, _one_line(now)))}")
    body = parts.body.replace("\r\n", "\n")
    if body != old.body:
        body = _kept(file_name, body if body.endswith("\n") or not body else body + "\n")
        lines = [*head, lines[end], body.replace("\n", ending)]
    else:
        lines = [*head, *lines[end:]]
    return _read_back(file_name, "".join(lines), Parts(_one_line(parts.subject), _one_line(parts.preheader), body))


def _written_anew(file_name: str, text: str, parts: Parts) -> str:
    """A file for `parts` in the place of one that cannot be read; the lines of its front matter that can be read stay."""
    head = [
        f"{name}: {as_yaml(_shown(file_name, name, line))}\n"
        for name, line in (("subject", _one_line(parts.subject)), ("preheader", _one_line(parts.preheader)))
        if line
    ]
    body = _kept(file_name, parts.body.replace("\r\n", "\n"))
    body += "\n" if body and not body.endswith("\n") else ""
    written = "".join(["---\n", *head, *readable_lines(file_name, text), "---\n", body])
    return _read_back(file_name, written, Parts(_one_line(parts.subject), _one_line(parts.preheader), body))


def as_yaml(line: str) -> str:
    """One line of text as a quoted YAML value. Anything survives it but half a surrogate pair, which is no text."""
    readable = max(line, default="") > "\uffff" and not unusable_character(line)  # double quotes would escape an emoji
    style = "'" if readable else '"'
    return yaml.safe_dump(line, default_style=style, allow_unicode=True, width=math.inf).rstrip("\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shown(file_name: str, name: str, line: str) -> str:
    if found := unusable_character(line):
        raise LetterRefused(
            file_name, f"The {name} holds {code_point(found)}, a character that cannot be shown. Take it out, or type it again."
        )
    return line


def _kept(file_name: str, body: str) -> str:
    if found := _NOT_KEPT.search(body):
        raise LetterRefused(
            file_name, f"The text holds {code_point(found[0])}, a character that cannot be kept. Take it out, or type it again."
        )
    return body


_NOT_KEPT = re.compile("[\0\ud800-\udfff]")
"""What no database can keep: NUL, and halves of surrogate pairs."""


def _read_back(file_name: str, text: str, meant: Parts) -> str:
    found = parts_of(read_letter(file_name, text))
    if replace(found, body=found.body.replace("\r\n", "\n")) != meant:
        raise LetterRefused(
            file_name, "Its file is written in a way that this page cannot change without harm. Export it, edit it, import it."
        )
    return text


def _end_of_head(lines: Sequence[str]) -> int:
    return next(at for at, line in enumerate(lines) if at and line.rstrip("\r\n") == _FENCE)


def reviewed(file_name: str, text: str, today: date) -> str:
    """A letter's file after somebody has looked at each of its sources again. Raises LetterRefused."""
    old = parts_of(read_letter(file_name, text))
    lines = lines_of(text)
    end = _end_of_head(lines)
    changed = "".join([*changed_fact(lines[:end], "review-by", f"review-by: {today + REVIEW_EVERY}"), *lines[end:]])
    return _read_back(file_name, changed, replace(old, body=old.body.replace("\r\n", "\n")))


@dataclass(frozen=True)
class Fix:
    """What one click changes: `label` says what; the text from `begin` to `end` (characters of the body) becomes `put`."""

    label: str
    begin: int
    end: int
    put: str


def fix_of(letter: Letter, finding: Finding) -> Fix | None:
    """What would mend a finding, where one change of the text does."""
    match finding.rule:
        case "T02" if finding.words.startswith("no"):
            return _at_the_end(letter, "Add the button “Ask for a call”", '{{ button("Ask for a call", links.consultation) }}')
        case "C15":
            return _below(letter, finding, "Add whom to call", "{{ crisis() }}")
        case "T19":
            return _without_picture(letter, finding)
    bare = re.search(r"reader\.first_name", finding.words)
    if bare:
        return None
    return _instead(letter, finding)


def _below(letter: Letter, finding: Finding, label: str, put: str) -> Fix | None:
    if finding.line is None or finding.line < letter.body_line or put in letter.body:
        return None
    end = _line_span(letter, finding.line)[1]
    return Fix(label, end, end, f"\n\n{put}\n")


def _at_the_end(letter: Letter, label: str, put: str) -> Fix:
    end = len(letter.body.rstrip())
    return Fix(label, end, end, f"\n\n{put}\n")


_PICTURE = re.compile(r"!\[[^\]\n]*\]\(\s*<?([^)\s>]*)[^)\n]*\)")


def _without_picture(letter: Letter, finding: Finding) -> Fix | None:
    """Take out a picture from elsewhere; one of ours only lacks something that nobody else can say."""
    if finding.line is None or finding.words.startswith(SCHEME):
        return None
    begin, end = _line_span(letter, finding.line)
    for found in _PICTURE.finditer(letter.body, begin, end):
        if found[1].startswith(finding.words):
            return Fix("Take this picture out", found.start(), found.end(), "")
    return None


def _line_span(letter: Letter, line: int) -> tuple[int, int]:
    """Where a line of the file stands in the body."""
    lines = lines_of(letter.body)
    at = line - letter.body_line
    begin = sum(len(each) for each in lines[:at])
    return begin, begin + len(lines[at].rstrip("\n")) if at < len(lines) else begin


_SENTENCE = re.compile(r"[^.!?\n]*[^.!?\s][^.!?\n]*[.!?]?[”\")\]]*")
_WHOLE = re.compile(r"[A-Z][^{}\[\]]{8,}[.!?]")


def _instead(letter: Letter, finding: Finding) -> Fix | None:
    """The rule's own example in the place of the sentence, where both are whole sentences of plain words."""
    if not finding.rule.startswith("C") or finding.line is None or finding.line < letter.body_line:
        return None
    if not _WHOLE.fullmatch(finding.instead):
        return None
    begin, end = _line_span(letter, finding.line)
    for found in _SENTENCE.finditer(letter.body, begin, end):
        if finding.words.lower() in found[0].lower() and "{" not in found[0]:
            start = found.start() + len(found[0]) - len(found[0].lstrip())
            return Fix(f"Write instead: {finding.instead}", start, found.end(), finding.instead)
    return None


@dataclass(frozen=True)
class Piece:
    """A stretch of a comparison: `kind` is same, added or removed."""

    kind: str
    text: str


_WORDS = re.compile(r"\s+|[\w'’-]+|[^\w\s]")


def compared(old: str, new: str) -> list[list[Piece]]:
    """Two texts, paragraph by paragraph, with what was added and removed word by word."""
    before, after = old.strip().split("\n\n"), new.strip().split("\n\n")
    shown = list[list[Piece]]()
    for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            shown += [[Piece("same", text)] for text in before[a:b]]
            continue
        pairs = min(b - a, d - c)
        shown += [_words(before[a + n], after[c + n]) for n in range(pairs)]
        shown += [[Piece("removed", text)] for text in before[a + pairs : b]]
        shown += [[Piece("added", text)] for text in after[c + pairs : d]]
    return shown


def _words(old: str, new: str) -> list[Piece]:
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    pieces = list[Piece]()
    for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("same", "".join(before[a:b])))
        else:
            pieces += [Piece("removed", "".join(before[a:b]))] if b > a else []
            pieces += [Piece("added", "".join(after[c:d]))] if d > c else []
    return _joined(pieces)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Changes with nothing but a space between them read as one."""
    found = list[Piece]()
    for piece in pieces:
        if found and found[-1].kind == piece.kind:
            found[-1] = replace(found[-1], text=found[-1].text + piece.text)
        else:
            found.append(piece)
    return found


def differs(pieces: Iterable[list[Piece]]) -> bool:
    """Whether a comparison shows any change."""
    return any(piece.kind != "same" for paragraph in pieces for piece in paragraph)
