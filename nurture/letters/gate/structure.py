"""What the gate checks of a letter besides its language: its build, sources, pictures, length, and review (T01 and on)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta

from nurture.domain.picture import LetterImages
from nurture.letters import reading, registry
from nurture.letters.dialect import cited, missing_values
from nurture.letters.gate.rules import Finding, GateRules, Severity
from nurture.letters.gate.text import HELP, Reading, plain
from nurture.letters.image_rules import problems
from nurture.letters.reading import Measure
from nurture.letters.source import REVIEW_EVERY, CitedSource, Letter, no_source

LONGEST_SUBJECT = 50
PREHEADER = range(40, 91)
WORDS = range(250, 451)
HARD, TOO_HARD = 8, 10
"""Grades above which a letter is worth a warning, and above which it is refused."""
WARN_BEFORE = timedelta(days=30)
"""So long before a review is due, it is said."""

_IDENTIFIED = re.compile(r"\b10\.\d{4,9}/\S|\bPMID:? ?\d{4,9}\b|\bpubmed\.ncbi\.nlm\.nih\.gov/\d{4,9}\b")
_CITED = re.compile(r"\[(\d{1,3})\]")
_ALREADY_A_SENTENCE = 10
"""From so many words on, a sentence can be named as the hardest one."""


def found(rule: str, severity: Severity, line: int | None, words: str, why: str, instead: str, part: str = "letter") -> Finding:
    """A finding about more than a sentence."""
    return Finding(rule, severity, part, line, words, why, instead)


def measured(body: Reading) -> Measure:
    """What reading a letter takes. Headings, buttons and code are no sentences; the crisis lines are not counted at all."""
    prose = [block.text.replace(HELP, "") for block in body.blocks if block.kind in ("paragraph", "item")]
    return reading.measure(prose, [block.text for block in body.blocks if block.kind not in ("paragraph", "item")])


def inbox(letter: Letter, subject: Reading, preheader: Reading) -> Iterator[Finding]:
    """T03 and T04: how long the subject and the preheader are."""
    shown = subject.blocks[0].text
    if len(shown) > LONGEST_SUBJECT:
        yield found(
            "T03",
            Severity.ERROR,
            letter.head_line("subject"),
            f"{len(shown)} characters",
            "A phone cuts a long subject off.",
            f"At most {LONGEST_SUBJECT} characters.",
            "subject",
        )
    shown = preheader.blocks[0].text
    if len(shown) not in PREHEADER:
        long = len(shown) >= PREHEADER.stop
        why = "It is cut off." if long else "An inbox fills a short preheader up with the first words of the letter."
        yield found(
            "T04",
            Severity.ERROR if long else Severity.WARNING,
            letter.head_line("preheader"),
            f"{len(shown)} characters",
            why,
            f"{PREHEADER.start} to {PREHEADER.stop - 1} neutral characters.",
            "preheader",
        )


def build(letter: Letter, body: Reading, rules: GateRules) -> Iterator[Finding]:
    """T02, T14, T15: one call to action, one title, and a first line that gives nothing away."""
    if len(body.buttons) != 1:
        how_many = f"{len(body.buttons)} buttons" if body.buttons else "no button"
        yield found(
            "T02",
            Severity.ERROR,
            body.buttons[1] if body.buttons else None,
            how_many,
            "A letter asks for one thing, and says plainly what.",
            'Exactly one, such as {{ button("Ask for a call", links.consultation) }}.',
        )
    titles = [block for block in body.blocks if block.kind == "h1"]
    if len(titles) != 1:
        yield found(
            "T14",
            Severity.ERROR,
            titles[1].line(0) if titles else letter.body_line,
            f"{len(titles)} titles",
            "People who listen to a letter find their way by its one title.",
            "One line that begins with a single #.",
        )
    glance = rules["S01"]
    first = body.blocks[0] if body.blocks else None
    if first and (hit := glance.pattern.search(first.text)):
        yield found(
            "T15",
            Severity.ERROR,
            first.line(hit.start()),
            hit[0],
            "The first line shows in previews and over a shoulder, and gives away something about the reader's health.",
            'A neutral first line, such as "Letter 2 of 5".',
            "line",
        )


def length(letter: Letter, body: Reading) -> Iterator[Finding]:
    """T05 and T09: how hard a letter is to read, and how long it is."""
    taken = measured(body)
    if taken.grade > HARD:
        line, sentence = max(_sentences(body), key=lambda pair: reading.grade([pair[1]]), default=(letter.body_line, ""))
        begin = f' Begin with: "{sentence}"' if sentence else ""
        severity = Severity.ERROR if taken.grade > TOO_HARD else Severity.WARNING
        hard = found(
            "T05",
            severity,
            line,
            f"grade {taken.grade}",
            f"Tired or unwell readers manage grade {HARD} or lower.",
            f"Shorter sentences and plainer words.{begin}",
        )
        yield replace(hard, sentence=sentence)
    if taken.words not in WORDS:
        yield found(
            "T09",
            Severity.WARNING,
            None,
            f"{taken.words} words",
            "A letter should take two or three minutes.",
            f"{WORDS.start} to {WORDS.stop - 1} words.",
        )


def _sentences(body: Reading) -> Iterator[tuple[int, str]]:
    for block in body.blocks:
        if block.kind in ("paragraph", "item"):
            for begin, end in reading.spans(block.text):
                if len(reading.words(block.text[begin:end])) >= _ALREADY_A_SENTENCE:
                    yield block.line(begin), block.text[begin:end]


def sources(letter: Letter, bodies: Iterable[Reading], rules: GateRules) -> Iterator[Finding]:
    """T06, T07, T08: each source can be found, each citation has its source, and each source is cited."""
    pointed = dict[int, int]()
    for body in bodies:
        for block in body.blocks:
            for hit in _CITED.finditer(block.text):
                pointed.setdefault(int(hit[1]), block.line(hit.start()))
    line = letter.head_line("sources")
    for number, at in pointed.items():
        if number and number not in range(1, len(letter.sources) + 1):
            yield found(
                "T07",
                Severity.ERROR,
                at,
                f"[{number}]",
                "This points to a source that the letter does not list.",
                f"A number from 1 to {len(letter.sources)}, or one more entry under `sources`.",
                "line",
            )
    for source in letter.sources:
        if not _can_be_found(source, rules):
            yield found(
                "T06",
                Severity.ERROR,
                line,
                f"[{source.number}] {source.text}",
                "A reader cannot look this source up.",
                "Give its DOI, its PubMed number (PMID), or the agency that published it.",
                "source",
            )
        if source.number not in pointed:
            yield found(
                "T08",
                Severity.WARNING,
                line,
                f"[{source.number}] {source.text}",
                "The letter lists it and never points to it.",
                "Cite it where it belongs, or take it off the list.",
                "source",
            )


def unknown_sources(letter: Letter) -> Iterator[Finding]:
    """T20: ids that are neither in the registry nor in the letter's own list."""
    own = {source.id for source in letter.sources}
    line = letter.head_line("sources")
    named = [(name, line) for name in letter.unknown_sources]
    named += [(name, letter.body_line + at - 1) for name, at in cited(letter.body) if name not in own]
    for name, at in named:
        yield found(
            "T20",
            Severity.ERROR,
            at,
            name[:80],
            no_source(name[:80]),
            "Choose a source from the list, or take this one out.",
            "line",
        )


def _can_be_found(source: CitedSource, rules: GateRules) -> bool:
    said = plain(f"{source.text} {source.url}")
    agency = any(name.lower() in said.lower() for name in rules.agencies)
    return source.id in registry.shipped() or agency or bool(_IDENTIFIED.search(said))


def required(letter: Letter, body: Reading, facts: Mapping[str, str], rules: GateRules) -> Iterator[Finding]:
    """T10 and T11: what a letter must not leave out."""
    text = " ".join(block.text for block in body.blocks)
    for rule in rules.required:
        missing = [name for name, pattern in rule.words.items() if not pattern.search(text)]
        if missing and rule.applies(letter.key, text, facts):
            yield found(rule.id, Severity.ERROR, None, f"missing: {', '.join(missing)}", rule.why, rule.instead)


def review(letter: Letter, today: date) -> Iterator[Finding]:
    """T12: when somebody who knows must look at the facts again."""
    line = letter.head_line("review-by")
    due = letter.review_by
    if due is None:
        yield found(
            "T12",
            Severity.ERROR,
            line,
            "no review-by",
            "Nobody would notice when its facts grow old.",
            f"`review-by:` with the day {REVIEW_EVERY.days} days after its facts were last looked at.",
        )
    elif today > due - WARN_BEFORE:
        late = today > due
        yield found(
            "T12",
            Severity.ERROR if late else Severity.WARNING,
            line,
            f"review-by {due}",
            "Its facts were to be looked at again by then." if late else f"Its facts must be looked at again by {due}.",
            f"Look at each source again, then set the day {REVIEW_EVERY.days} days ahead.",
        )
    elif due > today + REVIEW_EVERY + timedelta(days=1):  # a day: where it was written, it may be tomorrow already
        yield found(
            "T12",
            Severity.WARNING,
            line,
            f"review-by {due}",
            "Facts are looked at every half year; this is further off.",
            f"At most {REVIEW_EVERY.days} days after they were.",
        )


def pictures(body: Reading, known: LetterImages) -> Iterator[Finding]:
    """T19: pictures that nobody could see, or that somebody else would see being looked at."""
    for wrong in problems(body.pictures, known):
        yield found("T19", Severity.ERROR, wrong.place, wrong.words, wrong.why, wrong.instead, "line")


def facts_in_use(letter: Letter, facts: Mapping[str, str]) -> Iterator[Finding]:
    """T16: a fact of the practice that would show as nothing."""
    for hole in missing_values(letter, {"practice": facts}):
        called = hole.name.replace("_", " ")
        yield found(
            "T16",
            Severity.ERROR,
            hole.line,
            f"practice.{hole.name}",
            f"This letter uses the {called}, and it is empty: the sentence would have a hole.",
            f"Fill in the {called}, or put the sentence into {{% if practice.{hole.name} %}} … {{% endif %}}.",
            hole.part,
        )
