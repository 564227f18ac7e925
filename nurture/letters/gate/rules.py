"""The gate's rules are data, rules.yaml of the pack; here is what they mean, and what a finding is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from nurture import resources
from nurture.letters.bounded_yaml import read_yaml
from nurture.letters.source import Waiver


class Severity(StrEnum):
    """An error stops a letter; a warning may be waived, with a name and a reason."""

    ERROR = "error"
    WARNING = "warning"


class Where(StrEnum):
    """What a rule reads."""

    EVERYWHERE = "everywhere"
    INBOX = "inbox"
    """What a glance at an inbox or a link shows: INBOX_PARTS."""
    SUBJECT = "subject"


INBOX_PARTS = frozenset({"subject", "preheader", "from-name", "from-address", "link"})


class Within(StrEnum):
    """How far from a hit its excuse may stand."""

    SENTENCE = "sentence"
    NEXT = "next"
    """Also in the sentence after it."""
    PASSAGE = "passage"
    """Anywhere in the paragraph, or in the one after it."""


@dataclass(frozen=True)
class Rule:
    """One language rule: what is looked for, what excuses it, why it matters and what to write instead."""

    id: str
    severity: Severity
    where: Where
    within: Within
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    why: str
    instead: str
    fails: tuple[str, ...]
    passes: tuple[str, ...]

    def reads(self, part: str) -> bool:
        """Whether it applies to a part; of a link only the host is read, and only for what it gives away."""
        match self.where:
            case Where.EVERYWHERE:
                return part != "link"
            case Where.INBOX:
                return part in INBOX_PARTS
            case Where.SUBJECT:
                return part == "subject"

    def excuses(self, text: str) -> bool:
        """Whether its excuse stands in a text."""
        return self.unless is not None and self.unless.search(text) is not None


@dataclass(frozen=True)
class Required:
    """What must stand in a letter."""

    id: str
    letters: frozenset[str]
    """Keys of its steps; none: every letter."""
    besides: frozenset[str]
    when: tuple[re.Pattern[str], ...]
    """Only if the letter says all of this."""
    without: str
    """Only while this fact of the practice is empty."""
    words: Mapping[str, re.Pattern[str]]
    why: str
    instead: str

    def applies(self, key: str, text: str, facts: Mapping[str, str]) -> bool:
        """Whether a letter must say it."""
        return (
            (not self.letters or key in self.letters)
            and key not in self.besides
            and all(pattern.search(text) for pattern in self.when)
            and not facts.get(self.without)
        )


@dataclass(frozen=True)
class GateRules:
    """Everything rules.yaml says."""

    language: tuple[Rule, ...]
    required: tuple[Required, ...]
    agencies: tuple[str, ...]
    """Who counts as a source without a DOI or a PubMed number."""

    def __getitem__(self, name: str) -> Rule:
        return next(rule for rule in self.language if rule.id == name)


@dataclass(frozen=True)
class Finding:
    """Something in a letter that a rule is about. `line` is one of the letter's file, None where the whole letter is meant."""

    rule: str
    severity: Severity
    part: str
    """subject, preheader, line (of the body), link, source, letter, waiver, or where a text said it stands."""
    line: int | None
    words: str
    why: str
    instead: str
    waived: Waiver | None = None
    sentence: str = ""
    """The sentence the words stand in; a waiver names words of it."""

    @property
    def stops(self) -> bool:
        """Whether the letter cannot go out with it."""
        return self.severity is Severity.ERROR


@cache
def shipped() -> GateRules:
    """The rules of the pack."""
    return read_rules(resources.pack().rules.read_text("utf-8"))


def read_rules(text: str) -> GateRules:
    """Rules as rules.yaml writes them; its head says how. A mistake in it is a bug, not an input: it raises what it raises."""
    found = read_yaml(text)
    return GateRules(
        tuple(_rule(entry) for entry in found["rules"]),
        tuple(_required(entry) for entry in found["required"]),
        tuple(found["agencies"]),
    )


def _rule(entry: Mapping[str, Any]) -> Rule:
    return Rule(
        entry["id"],
        Severity(entry["severity"]),
        Where(entry.get("where", "everywhere")),
        Within(entry.get("within", "sentence")),
        _pattern(entry["pattern"]),
        _pattern(entry["unless"]) if "unless" in entry else None,
        entry["why"],
        entry["instead"],
        tuple(entry["fails"]),
        tuple(entry["passes"]),
    )


def _required(entry: Mapping[str, Any]) -> Required:
    return Required(
        entry["id"],
        frozenset(entry.get("letters", ())),
        frozenset(entry.get("besides", ())),
        tuple(_pattern(when) for when in entry.get("when", ())),
        entry.get("without", ""),
        {name: _pattern(pattern) for name, pattern in entry["words"].items()},
        entry["why"],
        entry["instead"],
    )


def _pattern(source: str) -> re.Pattern[str]:
    return re.compile(source, re.IGNORECASE)
