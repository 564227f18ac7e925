"""Passwords of the desk: which are good enough, and how they are kept."""

from collections.abc import Sequence
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn

from nurture.words import NurtureError

FEWEST, MOST = 12, 200
_GOOD_SCORE = 3
"""zxcvbn: ‘safely unguessable’, 10⁸ to 10¹⁰ guesses."""
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
    if zxcvbn(password[:_MOST_WEIGHED], user_inputs=[word for word in about if word])["score"] < _GOOD_SCORE:
        raise PasswordRefused("This would be guessed quickly. Four or five unrelated words make a good one.")


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
