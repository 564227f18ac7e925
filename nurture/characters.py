"""Characters that must not stand in one line of text: a subject, a name, a setting, a header."""

import re

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


def code_point(character: str) -> str:
    """A character as Unicode names it, for example U+0092."""
    return f"U+{ord(character):04X}"
