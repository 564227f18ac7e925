"""What people type into forms and lists, put right where only one thing can be meant, instead of refused.

An optional value never stops anybody: what cannot be used is left out.
"""

import re
import unicodedata

from nurture.characters import normalize

MOST_NAME = 40
"""Characters of a first name as it is kept."""
_MOST_TYPED = 400
"""Characters that are looked at."""
_HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"), "-")
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u201b\u2032\uff07\u00b4\u055a"), "’")
_KEPT = " '’-."
_JOINERS = "\u200c\u200d"
_JOINING_SCRIPTS = ("ARABIC", "SYRIAC", "MONGOLIAN", "NKO", "MANDAIC", "ADLAM", "HANIFI ROHINGYA", "PHAGS-PA")
_VIRAMA = 9
"""Canonical combining class of the signs after which a joiner changes how the next letter is written."""
_NO_NAME = re.compile(r"[<>{}%/\\@:;=+#$|^~_\[\]\ufffd]|\bwww\.", re.IGNORECASE)
"""Of markup, templates, addresses and links: whoever types these does not give a name. U+FFFD stands for what could not be
read: the form's page was not in UTF-8."""
_DOTTED = re.compile(r"(?P<before>[^\W\d_]+)\.(?P<after>[^\W\d_]{2,})")
_LONGEST_ABBREVIATION = 3
_ADDRESS_IN_BRACKETS = re.compile(r"[^<>\r\n]*<([^<>\s]+@[^<>\s]+)>")


def clean_first_name(typed: str) -> str:
    """A first name as letters greet by it: on one line, in NFC, at most MOST_NAME characters; empty where nothing is left.

    Letters and marks of any script stay, with spaces, `'`, `’`, `-` and `.`, and joiners where a script needs them (as RFC
    5892, appendix A.1 and A.2, has it). Hyphens and apostrophes of other kinds become the usual ones, `St.John` stays. Control
    and direction characters, emoji and other marks go. Nothing that stays can be a link or markup.
    """
    text = normalize("NFC", typed[:_MOST_TYPED]).translate(_HYPHENS).translate(_APOSTROPHES)
    if _NO_NAME.search(text):
        return ""
    text = re.sub(r"(?<=[^\W\d_])\d+(?!\w)", "", text)  # Robin2
    if any(unicodedata.category(mark)[0] == "N" for mark in text):
        return ""
    text = " ".join("".join(_kept(text, at) for at in range(len(text))).split())
    if any(_is_host(found) for found in _DOTTED.finditer(text)):
        return ""
    text = _DOTTED.sub(lambda found: found[0] if _is_title(found) else f"{found['before']}. {found['after']}", text)
    text = _cut(re.sub(r"^['’](.*)['’]$", r"\1", text).strip(" -"))
    return text if any(unicodedata.category(mark)[0] == "L" for mark in text) else ""


def _kept(text: str, at: int) -> str:
    """What stays of one character: itself, a space, or nothing."""
    mark, kind = text[at], unicodedata.category(text[at])
    if (kind[0] in "LM" and not "\ufe00" <= mark <= "\ufe0f") or mark in _KEPT:
        return mark
    if mark in _JOINERS:
        return mark if _joins(text, at) else ""
    if mark.isspace() or kind[0] in "PSZ":
        return " "
    return ""


def _joins(text: str, at: int) -> bool:
    """Whether a joiner stands where it changes how its neighbors are written."""
    if at == 0:
        return False
    if unicodedata.combining(text[at - 1]) == _VIRAMA:
        return True
    around = text[at - 1], text[at + 1 : at + 2]
    return all(mark and unicodedata.name(mark, "").startswith(_JOINING_SCRIPTS) for mark in around)


def _is_host(found: re.Match[str]) -> bool:
    """Whether mail apps could take a word with a dot in it for a link: no abbreviation is that long."""
    return len(found["before"]) > _LONGEST_ABBREVIATION


def _is_title(found: re.Match[str]) -> bool:
    """Whether a word with a dot in it is written as in `St.John`."""
    return found["before"].istitle() and found["after"].istitle() and len(found["after"]) > _LONGEST_ABBREVIATION


def _cut(name: str) -> str:
    if len(name) <= MOST_NAME:
        return name
    end = MOST_NAME
    while end and unicodedata.category(name[end])[0] == "M":
        end -= 1
    whole = name[:end] if name[end] == " " else name[:end].rpartition(" ")[0]
    return (whole or name[:end]).strip(" -")


def tidy_address(typed: str) -> str:
    """An e-mail address without what often comes with it when it is copied: spaces and invisible characters around it,
    `mailto:`, a name before it and angle brackets, a comma, semicolon or full stop at its end.

    Whatever else it holds stays as it is: whether it is an address is for `parse_address` to say.
    """
    if len(typed) > _MOST_TYPED:
        return typed
    text = _stripped(typed)
    if found := _ADDRESS_IN_BRACKETS.fullmatch(text):
        text = _stripped(found[1])
    if text[:7].casefold() == "mailto:":
        text = _stripped(text[7:].partition("?")[0])
    return re.sub(r"[ \t]*@[ \t]*", "@", text.rstrip(" .,;"))


def _stripped(text: str) -> str:
    start, end = 0, len(text)
    while start < end and _is_blank(text[start]):
        start += 1
    while end > start and _is_blank(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_blank(mark: str) -> bool:
    return mark.isspace() or unicodedata.category(mark) == "Cf"
