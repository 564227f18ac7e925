"""Characters that must not stand in one line of text: a subject, a name, a setting, a header; and Unicode's normal forms."""

import re
import unicodedata
from typing import Literal

_SURROGATES = "\ud800-\udfff"
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF)
)  # Unicode 16.0, section 23.7
_SEPARATORS = "\u2028\u2029"
_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates (Unicode TR 36, section 2.4)
_CONTROLS = "\x00-\x1f\x7f-\x9f"

BREAKS_HEADERS = re.compile(f"[{_CONTROLS}{_SEPARATORS}{_SURROGATES}]")
"""What could end a header early, or is no text at all: controls (C0, DEL, C1), separators of lines, lone surrogates."""
_UNUSABLE = re.compile(f"[{_CONTROLS}{_SEPARATORS}{_SURROGATES}{_NONCHARACTERS}{_DIRECTIONS}]")


def unusable_character(text: str) -> str | None:
    """The first character of a typed line that nobody can see, or that makes the line look like another one; None: all is well.

    These are controls, tabs and line breaks included, separators of lines and paragraphs, lone surrogates, noncharacters and
    the controls that turn the direction of text around. The marks U+200E and U+200F are fine: Arabic and Hebrew need them.
    """
    found = _UNUSABLE.search(text)
    return found[0] if found else None


_MOST_MARKS = 30
"""Combining marks in a row that text in a real language needs at most (Unicode Standard Annex 15, section 13)."""
_MARKS_IN_NFKC = "\uff9e\uff9f"


def normalize(form: Literal["NFC", "NFKC", "NFKD"], text: str) -> str:
    """The text in a normal form of Unicode, without what follows thirty combining marks in a row.

    Python puts such marks in order in time that grows with the square of their number.
    """
    if text.isascii():
        return text
    kept, row = [], 0
    for character in text:
        row = row + 1 if unicodedata.combining(character) or character in _MARKS_IN_NFKC else 0
        if row <= _MOST_MARKS:
            kept.append(character)
    return unicodedata.normalize(form, "".join(kept))


def code_point(character: str) -> str:
    """A character as Unicode names it, for example U+0092."""
    return f"U+{ord(character):04X}"


def storable(text: str) -> str:
    """The text as every database and encoding takes it: U+FFFD stands for each lone surrogate and each NUL.

    Lone surrogates come from bytes that are not UTF-8, in an argument, a file's name or the environment (PEP 383), and cannot
    be encoded; PostgreSQL takes no NUL (its manual, "Character Types").
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
