"""What a mail server says about a refusal, made fit to be stored, logged and shown: nothing in it identifies anybody."""

import re
import unicodedata
from collections.abc import Iterable

MOST = 140
_MOST_READ = 2000
_ADDRESS = re.compile(r"<?[^\s<>\"'(),;:\[\]]{1,320}(?:@|%40)[^\s<>\"'(),;:\]]{1,255}>?")
_IP = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])", re.IGNORECASE)
_QUERY = re.compile(r"(https?://[^\s?#]{1,200})[?#]\S{0,500}")
_WORD = re.compile(r"[A-Za-z0-9_+/=-]{6,}")
_NUMBER = re.compile(r"\d+")
_LONGEST_PLAIN_WORD = 24
_MOST_DIGITS = 4


def private_parts(address: str) -> set[str]:
    """What a server may quote of an address: all of it, what stands before the @, the parts of that, and the domain."""
    local, _, domain = address.rpartition("@")
    parts = {part for part in re.split(r"[._+\-]", local) if len(part) >= 3}
    return {part for part in {address, local, domain, *parts} if part}


def masked(words: str, private: Iterable[str] = (), numbers: bool = True) -> str:
    """One line of at most `MOST` characters. Addresses, ids, IP addresses and everything in `private` are replaced.

    `numbers`: keep short numbers; without them two replies of the same cause are the same text.
    """
    text = "".join(" " if unicodedata.category(mark)[0] in "CZ" else mark for mark in words[:_MOST_READ])
    text = _ADDRESS.sub("‹address›", _QUERY.sub(r"\1", text))
    for value in sorted({value for value in private if value}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "‹private›", text, flags=re.IGNORECASE)
    text = _WORD.sub(_mask_id, _IP.sub("‹ip›", text))
    if not numbers:
        text = _NUMBER.sub("#", text)
    text = " ".join(text.split())
    return text if len(text) <= MOST else text[: MOST - 1].rstrip() + "…"


def _mask_id(found: re.Match[str]) -> str:
    word = found[0]
    digits = sum(mark.isdigit() for mark in word)
    is_mixed = digits > 0 and any(mark.isalpha() for mark in word)
    return "‹id›" if is_mixed or digits > _MOST_DIGITS or len(word) >= _LONGEST_PLAIN_WORD else word
