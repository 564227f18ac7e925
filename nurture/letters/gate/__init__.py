"""The gate: what a letter may not claim, what it must say, how hard it is to read. Text in, findings out.

The rules are data (rules.yaml of the pack, read by `rules`), `text` says what people read of a letter, `structure` looks
at everything that is not language. Footers are the layout's work and are not looked at here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from functools import cache
from urllib.parse import urlsplit

from nurture.domain.picture import LetterImages
from nurture.letters import registry
from nurture.letters.gate import rules as data
from nurture.letters.gate import structure
from nurture.letters.gate.rules import Finding, Rule, Severity, Within
from nurture.letters.gate.text import TextBlock, UnreadableText, paragraphs, plain, read_body, read_line
from nurture.letters.reading import Measure, spans
from nurture.letters.source import Letter, Waiver

__all__ = ["Finding", "Severity", "check", "check_text", "measure"]

_NOTHING_KNOWN: Mapping[str, str] = {}
_NO_PICTURES: LetterImages = {}


def check(
    letter: Letter, *, today: date, facts: Mapping[str, str] = _NOTHING_KNOWN, pictures: LetterImages = _NO_PICTURES
) -> list[Finding]:
    """Everything the gate has to say about a letter, by line; what a waiver lets pass is marked, not left out.

    `facts`: name and value of each fact of the practice (name, fee, prescriber …); one that is missing is empty. `pictures`:
    those the letter may show.
    """
    try:
        findings = _merged([*_language(letter, facts), *_structure(letter, today, facts, pictures)])
    except UnreadableText as unreadable:
        findings = [
            structure.found(
                "T01", Severity.ERROR, unreadable.line, letter.file_name, str(unreadable), "See docs/letters.md for what works."
            )
        ]
    return sorted(_waive(letter, findings), key=lambda finding: (finding.line or 0, finding.rule))


def check_text(text: str, where: str) -> list[Finding]:
    """The language rules over any plain text, with its own lines. `where` it stands decides which: "subject", "preheader",
    "from-name" and "from-address" show in an inbox, a "link" is the host of one; anything else is read like a letter's body.
    """
    return sorted(_judge(paragraphs(text, where)), key=lambda finding: (finding.line or 0, finding.rule))


def measure(letter: Letter, facts: Mapping[str, str] = _NOTHING_KNOWN) -> Measure:
    """What reading a letter takes, as it is sent. A letter that cannot be read takes nothing; `check` says why."""
    try:
        return structure.measured(read_body(letter, facts, as_sent=True)[0])
    except UnreadableText:
        return Measure(0, 0.0)


def _language(letter: Letter, facts: Mapping[str, str]) -> Iterator[Iterable[Finding]]:
    """What the language rules find, in each reading of a letter by itself."""
    for part, source in (("subject", letter.subject), ("preheader", letter.preheader)):
        for shown in read_line(source, part, letter.head_line(part) or 1, facts, as_sent=False):
            yield _judge(shown.blocks)
    line = letter.head_line("sources") or 1
    for shown in read_body(letter, facts, as_sent=False):
        yield _judge(shown.blocks)
        yield _judge(TextBlock("link", "paragraph", plain(host), ((0, at),)) for host, at in shown.hosts)
    for listed in letter.sources:
        known = registry.shipped().get(listed.id)  # a work's title is quoted as it is; what it found are our words
        ours = TextBlock("source", "paragraph", plain(known.finding if known else listed.text), ((0, line),))
        yield (finding for finding in _judge([ours]) if finding.stops)
        yield _judge([TextBlock("link", "paragraph", urlsplit(listed.url).hostname or "", ((0, line),))])


def _structure(letter: Letter, today: date, facts: Mapping[str, str], pictures: LetterImages) -> Iterator[Iterable[Finding]]:
    """What is wrong with the build of a letter, in each way in which it can be sent."""
    rules = data.shipped()
    (subject, *_), (preheader, *_) = [
        read_line(source, part, letter.head_line(part) or 1, facts, as_sent=True)
        for part, source in (("subject", letter.subject), ("preheader", letter.preheader))
    ]
    bodies = read_body(letter, facts, as_sent=True)
    yield structure.inbox(letter, subject, preheader)
    for body in bodies:
        yield structure.build(letter, body, rules)
        yield structure.required(letter, body, facts, rules)
        yield structure.pictures(body, pictures)
    yield structure.length(letter, bodies[0])
    yield structure.sources(letter, bodies, rules)
    yield structure.unknown_sources(letter)
    yield structure.review(letter, today)
    yield structure.facts_in_use(letter, facts)


def _judge(blocks: Iterable[TextBlock]) -> Iterator[Finding]:
    """The first hit of each language rule in each sentence."""
    pages = list(blocks)
    sentences = [
        (number, block.text[begin:end], begin) for number, block in enumerate(pages) for begin, end in spans(block.text)
    ]

    @cache  # one paragraph may hold many sentences
    def excused_by_passage(rule: Rule, number: int) -> bool:
        return rule.excuses(" ".join(page.text for page in pages[number : number + 2]))

    for place, (number, sentence, begin) in enumerate(sentences):
        block = pages[number]
        for rule in data.shipped().language:
            hit = rule.pattern.search(sentence) if rule.reads(block.part) else None
            if hit is None:
                continue
            match rule.within:
                case Within.SENTENCE:
                    excused = rule.excuses(sentence)
                case Within.NEXT:
                    excused = rule.excuses(" ".join(text for _, text, _ in sentences[place : place + 2]))
                case Within.PASSAGE:
                    excused = excused_by_passage(rule, number)
            if not excused:
                line = block.line(begin + hit.start())
                words = hit[0].strip()
                yield Finding(rule.id, rule.severity, block.part, line, words, rule.why, rule.instead, sentence=sentence)


def _merged(groups: Iterable[Iterable[Finding]]) -> list[Finding]:
    """The findings of several readings as one list: what several of them show counts once, what one shows twice, twice."""
    merged = dict[tuple[object, ...], Finding]()
    for group in groups:
        seen = Counter[tuple[object, ...]]()
        for one in group:
            key = (one.rule, one.part, one.line, one.words)
            seen[key] += 1
            merged.setdefault((key, seen[key]), one)
    return list(merged.values())


def _waive(letter: Letter, findings: list[Finding]) -> Iterator[Finding]:
    """The findings, with each waiver on the warnings it meets, and what is wrong with the waivers."""
    met = {waiver: [finding for finding in findings if _meets(waiver, finding)] for waiver in letter.waivers}
    line = letter.head_line("waived")
    for finding in findings:
        by = next((waiver for waiver in letter.waivers if finding in met[waiver] and not finding.stops), None)
        yield replace(finding, waived=by) if by else finding
    for waiver, meets in met.items():
        said = f"{waiver.rule}: {waiver.words}"
        if any(finding.stops for finding in meets):
            yield structure.found(
                "T17",
                Severity.ERROR,
                line,
                said,
                "An error cannot be waived.",
                "Change the sentence, and take the waiver out.",
                "waiver",
            )
        elif not meets:
            yield structure.found(
                "T18",
                Severity.WARNING,
                line,
                said,
                "There is no such warning in this letter (any more).",
                "Take the waiver out.",
                "waiver",
            )


def _meets(waiver: Waiver, finding: Finding) -> bool:
    words = plain(waiver.words).strip().lower()
    return waiver.rule == finding.rule and words in f"{finding.sentence}\n{finding.words}".lower()
