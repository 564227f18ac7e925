"""Which files of a folder make a sequence. A copy that a browser or an editor left beside a letter is refused by name: it is
neither sent nor left out without a word.
"""

import re
from pathlib import Path

from nurture.errors import NurtureError

_LETTER = re.compile(r"[0-9]+-[^\s()\[\]{}~#%&*?\"'<>|;:\\]+\.md")
_PREFIX = r"(?:copy of |copy \(\d+\) of |kopie von |copie de |copia de |[.~#]+(?:lock\.)?)*"
_LIKE_A_LETTER = re.compile(rf"{_PREFIX}[0-9]+[-_ .].*\.(?:md|markdown)(?![a-z]).*", re.IGNORECASE)
_LIKE_A_SEQUENCE = re.compile(rf"{_PREFIX}sequence.*\.ya?ml(?![a-z]).*", re.IGNORECASE)
_COPY = re.compile(r"copy|copie|kopie|copia|\(\d+\)|[~#]|\.(?:swp|swo|bak|orig|old|tmp|save)\b", re.IGNORECASE)
_APPLE_DOUBLE = "._"
"""What macOS puts beside every file on a foreign disk and in archives: attributes, never text."""


class LetterRefused(NurtureError):
    """A letter cannot be used as it is. The message says where, what, and what to write instead."""

    def __init__(self, where: str, advice: str) -> None:
        """`where`: file, and line where known; `advice`: plain words."""
        super().__init__(f"{where}: {advice}")
        self.where, self.advice = where, advice


def parts_of(folder: Path, sequence_file: str) -> list[Path]:
    """The files of a folder that make a sequence: `sequence_file`, and letters named `NN-name.md`.

    Raises LetterRefused for a file that looks like one of them and is named otherwise, for two letters of one number or of one
    name, and for one that is no file. Anything else in the folder, such as README.md or notes.md, is none of the sequence's.
    """
    paths = sorted(folder.iterdir(), key=lambda path: path.name)
    letters = [path for path in paths if _LETTER.fullmatch(path.name)]
    parts = [path for path in paths if path.name == sequence_file] + letters
    for path in paths:
        if path in parts:
            if not path.is_file():
                raise LetterRefused(str(path), "This is no file that can be read. Put the letter there, or take it away.")
        elif not path.name.startswith(_APPLE_DOUBLE) and (advice := _advice(path.name, sequence_file)):
            raise LetterRefused(str(path), advice)
    _check_none_twice(letters)
    return parts


def _advice(name: str, sequence_file: str) -> str:
    """What to do about a file that is no part of a sequence; empty where it looks like none."""
    rename = "Letters are named like 07-name.md: a number, a hyphen, a name without spaces or brackets, and .md."
    if _LIKE_A_LETTER.fullmatch(name):
        if _COPY.search(name):
            return (
                f"This looks like a copy of a letter, or like what an editor left of one. Take it away, or rename it. {rename}"
            )
        return f"This looks like a letter, and is not named like one. Rename it, or take it away. {rename}"
    if _LIKE_A_SEQUENCE.fullmatch(name):
        return f"A folder has one {sequence_file}, named exactly like that. Rename this file, or take it away."
    return ""


def _check_none_twice(letters: list[Path]) -> None:
    numbers, keys = dict[int, Path](), dict[str, Path]()
    for path in letters:
        number, _, key = path.stem.partition("-")
        other = keys.setdefault(key.casefold(), path)
        if other is not path:
            raise LetterRefused(
                str(path),
                f"Two files end in `-{key}.md`. Each letter needs a name of its own: rename this one or {other.name}, or take "
                "away the one that is a copy.",
            )
        other = numbers.setdefault(int(number), path)
        if other is not path:
            raise LetterRefused(
                str(path),
                f"It has the same number as {other.name}, so nobody can tell which comes first. Give one of them another "
                "number, or take away the one that is a copy.",
            )
