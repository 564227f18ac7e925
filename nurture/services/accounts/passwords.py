"""Passwords of the desk: which are good enough, and how they are kept."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from nurture.errors import NurtureError
from nurture.services.accounts.common_phrases import KNOWN_PHRASES

FEWEST, MOST = 12, 200
_GOOD_SCORE = 3
"""zxcvbn: ‘safely unguessable’, 10⁸ to 10¹⁰ guesses."""
_SHORTEST_WORD = 3
"""Shorter parts of a name or address say nothing about a password."""
_GOOD_REST = 2
"""zxcvbn: ‘somewhat guessable’, 10⁶ to 10⁸ guesses, for what is left of a password without words about its owner."""
_MOST_WEIGHED = 72
"""zxcvbn's time grows with the square of the length; what comes after this only makes a password better."""

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""argon2id as OWASP's Password Storage Cheat Sheet asks for at least: 19 MiB, 2 passes, 1 lane."""


class PasswordRefused(NurtureError):
    """A password is too easy to guess; the message is shown beside the field."""


def check_password(password: str, about: Sequence[str] = ()) -> None:
    """Refuse a password that is short, common or easily guessed; `about`: words of its owner, which guess first.

    ASVS 5.0, V6.2: length, common passwords and context words count; no rules about kinds of characters. Raises
    PasswordRefused.
    """
    if len(password) < FEWEST:
        raise PasswordRefused(f"Please use at least {FEWEST} characters. A few unrelated words are easy to remember.")
    if len(password) > MOST:
        raise PasswordRefused(f"Please use at most {MOST} characters.")
    own, bare = _words_about(about), _bare(password)
    known = [*_known_phrases(), *own]
    rest = _without(own, bare)
    weak = any(_score(spelling, known) < _GOOD_SCORE for spelling in {password, bare} - {""})
    if weak or (rest != bare and _score(rest, known) < _GOOD_REST):
        raise PasswordRefused(
            "This would be guessed quickly: it is common, a well-known phrase, or about you. Four or five unrelated words that "
            "nobody has put together before make a good one."
        )


def _score(password: str, known: Sequence[str]) -> int:
    from zxcvbn import zxcvbn  # here: its lists of words are large

    found: int = zxcvbn(password[:_MOST_WEIGHED], user_inputs=known)["score"] if password else 0
    return found


def _without(words: Iterable[str], bare: str) -> str:
    """What is left when its owner's words are taken out, the longest first."""
    for word in sorted(words, key=len, reverse=True):
        bare = bare.replace(word, "")
    return bare


def _bare(text: str) -> str:
    """Letters and digits only: how words are spelled and separated hides a phrase from zxcvbn and from nobody who guesses."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text).casefold())


@cache
def _known_phrases() -> tuple[str, ...]:
    """To zxcvbn each word of a phrase is a guess of its own; a phrase that it is given counts as one word."""
    return tuple(_bare(phrase) for phrase in KNOWN_PHRASES)


def _words_about(about: Iterable[str]) -> set[str]:
    """Names and addresses as wholes and in parts: `dana.quill@example.org` is also `dana`, `quill`, `danaquill`, `example`."""
    found = set[str]()
    for each in about:
        whole = unicodedata.normalize("NFKC", each).casefold()
        found |= {whole, *(_bare(part) for part in whole.split("@")), *re.split(r"[\W_]+", whole)}
    return {word for word in found if len(word) >= _SHORTEST_WORD}


def hash_password(password: str) -> str:
    """What is stored instead of a password."""
    return _HASHER.hash(password)


@cache
def _nobodys() -> str:
    return _HASHER.hash("whoever asks for an account that does not exist waits as long as for one that does")


def fits(password: str, stored: str | None) -> bool:
    """Whether a password is the stored one; takes as long where none is stored."""
    try:
        return _HASHER.verify(stored or _nobodys(), password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def is_dated(stored: str) -> bool:
    """Whether a stored hash was made with weaker parameters than today's."""
    return _HASHER.check_needs_rehash(stored)
