"""How much a text asks of its reader: words, minutes, and the Flesch–Kincaid grade.

Grade = 0.39 · words per sentence + 11.8 · syllables per word − 15.59 (Kincaid JP, Fishburne RP, Rogers RL, Chissom BS 1975,
"Derivation of new readability formulas", Research Branch Report 8-75). What counts as a sentence is said at `measure`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from math import ceil

import pyphen

WORDS_A_MINUTE = 200
"""Adults read about 238 words of non-fiction a minute (Brysbaert 2019, J Mem Lang 109:104047); who is unwell reads slower."""
_FRAGMENT = 2
"""Up to so many words are no sentence: a greeting, a name, a title such as "The lab."."""

_CITATION = re.compile(r"\[\d{1,3}\]")
_WORD = re.compile(r"[\w'’-]+")
_STOP = re.compile(r"""([.!?]+)["'”’)\]]*(?: ?\[\d{1,3}\])*""")
_BEFORE_A_NAME = frozenset({"dr", "mr", "mrs", "ms", "prof", "st", "no", "vs", "approx", "fig", "vol", "jr", "sr"})

_VOWELS = re.compile(r"[aeiouyäöüáéíóúàèêë]+")
_SILENT_E = re.compile(r"([^aeiouyl]e|[aeiouy]le)$")
_SILENT_END = re.compile(r"([^aeiouyl]e|[aeiouy]le|[^aeiouylscxzgh]es|[aeiouy]les|[^aeiouytd]ed)$")
_TWO_SOUNDS = re.compile(r"(?<![cgstxq])i[aou]|^[^aeiou]*(ea|io)$|[aou]ing|i?ety|[^aeiou]ism$|(?<!q)ua[lt]|uous|idea|area")
"""Vowels side by side that are spoken apart."""


@dataclass(frozen=True)
class Measure:
    """What reading a text takes."""

    words: int
    grade: float
    """A grade of school in the United States; 8 is about the reading of a 13-year-old. 0 where there is no sentence."""

    @property
    def minutes(self) -> int:
        """Whole minutes, at least one."""
        return max(1, ceil(self.words / WORDS_A_MINUTE))


def words(text: str) -> list[str]:
    """The words of a text: with their apostrophes and hyphens ("off-label" is one), numbers too, citations like [1] not."""
    return [word for word in _WORD.findall(_CITATION.sub(" ", text)) if any(sign.isalnum() for sign in word)]


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each sentence. A citation right after the full stop still belongs to it.

    A full stop ends no sentence before a small letter, after a title such as "Dr.", or after a single letter ("U.S.").
    """
    begin = 0
    for stop in _STOP.finditer(text):
        after = text[stop.end() : stop.end() + 2]
        if after.strip() and (not after[0].isspace() or after[1:].islower()):
            continue
        if stop[1] == "." and after.strip():
            last = re.split(r"[^\w]", text[max(0, stop.start() - 8) : stop.start()])[-1]
            if last.lower() in _BEFORE_A_NAME or (len(last) == 1 and last.isalpha() and last != "I"):
                continue
        yield begin, stop.end()
        begin = stop.end() + len(after) - len(after.lstrip())
    if text[begin:].strip():
        yield begin, len(text)


@cache
def _hyphens() -> pyphen.Pyphen:
    return pyphen.Pyphen(lang="en_US")


@lru_cache(maxsize=4096)
def syllables(word: str) -> int:
    """How many syllables an English word has, as well as spelling tells; a number counts as one.

    Hyphenation alone misses syllables (it never leaves a single letter on a line: "many" stays whole), and groups of vowels
    alone hear silent ones ("therefore"). So the word is taken apart where a hyphen could stand, and the groups of vowels are
    counted in each part, where silent endings show. tests/letters/test_reading.py says how often that is right.
    """
    found = 0
    for piece in re.split(r"[-'’]", word.lower()):
        parts = _hyphens().inserted(piece).split("-") if piece else []
        found += sum(_sounds(part, _SILENT_E) for part in parts[:-1]) + sum(_sounds(part, _SILENT_END) for part in parts[-1:])
    return max(1, found)


def _sounds(part: str, silent: re.Pattern[str]) -> int:
    groups = len(_VOWELS.findall(part))
    if not groups:
        return 0
    if groups > 1 and silent.search(part):
        groups -= 1
    return groups + len(_TWO_SOUNDS.findall(part))


def grade(sentences: Iterable[str]) -> float:
    """The grade of sentences that are given one by one; fragments of one or two words are left out."""
    kept = [found for sentence in sentences if len(found := words(sentence)) > _FRAGMENT]
    count = sum(map(len, kept))
    if not count:
        return 0.0
    return 0.39 * count / len(kept) + 11.8 * sum(syllables(word) for found in kept for word in found) / count - 15.59


def measure(prose: Iterable[str], beside: Iterable[str] = ()) -> Measure:
    """What a text takes to read.

    `prose`: paragraphs and items of lists. The end of each ends a sentence, with a full stop or without.
    `beside`: headings and labels of buttons. Their words count, but they are no sentences: short ones would make a hard text
    look easy.
    """
    prose = list(prose)
    count = sum(len(words(text)) for text in [*prose, *beside])
    return Measure(count, round(grade(text[begin:end] for text in prose for begin, end in spans(text)), 1))
