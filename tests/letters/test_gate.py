"""The gate: what a letter may not claim, what it must say, and what its findings and waivers tell its author."""

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.letters import registry
from nurture.letters.gate import Finding, Severity, check, check_text, measure, rules
from nurture.letters.gate.text import MOST_READINGS
from nurture.letters.source import REVIEW_EVERY, Letter, read_folder, read_letter
from nurture.resources import pack

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 11, 23)
RULES = rules.shipped()
SHIPPED = read_folder(pack().letters / "ketamine-and-talk-therapy")[1]
WRONG = Path(__file__).with_name("wrong_claims.md").read_text("utf-8")
PROSE = " ".join(["You can ask me what it was like, and I will tell you what I know about it."] * 18)
BUTTON = '{{ button("Ask for a call", links.consultation) }}'


def a_letter(
    body: str = "", *, head: str = "", subject: str = "Letter 2 of 5", key: str = "try", review_by: str = "2027-05-22",
    preheader: str = "A short letter that you can read in two quiet minutes.", rest: str = f"{PROSE}\n\n{BUTTON}",
) -> Letter:  # fmt: skip
    """A letter without a finding, and with whatever a test puts into it."""
    due = f"review-by: {review_by}\n" if review_by else ""
    front = f"subject: {subject!r}\npreheader: {preheader!r}\nwait: 3 days\n{due}{head}"
    return read_letter(f"02-{key}.md", f"---\n{front}---\n# Letter 2 of 5\n\n{body}\n\n{rest}\n")


def findings(letter: Letter, today: date = TODAY, **facts: str) -> list[Finding]:
    return check(letter, today=today, facts=facts)


def ids(letter: Letter, today: date = TODAY, **facts: str) -> list[str]:
    return [finding.rule for finding in findings(letter, today, **facts)]


def the(rule: str, letter: Letter, today: date = TODAY, **facts: str) -> Finding:
    """The one finding of a rule."""
    (finding,) = [finding for finding in findings(letter, today, **facts) if finding.rule == rule]
    return finding


def said(text: str, where: str = "page") -> list[str]:
    return [finding.rule for finding in check_text(text, where)]


# The rules


def test_every_rule_is_there_once() -> None:
    expected = [f"C{number:02}" for number in range(1, 30)] + ["S01", "S02", "T13"]
    assert [rule.id for rule in RULES.language] == expected


def examples(passing: bool) -> Iterator[Any]:
    where = {rules.Where.EVERYWHERE: "page", rules.Where.INBOX: "preheader", rules.Where.SUBJECT: "subject"}
    for rule in RULES.language:
        for sentence in rule.passes if passing else rule.fails:
            yield pytest.param(rule.id, where[rule.where], sentence, id=f"{rule.id}-{sentence}")


@pytest.mark.parametrize(("rule", "where", "sentence"), list(examples(passing=False)))
def test_what_a_rule_says_it_refuses_it_refuses(rule: str, where: str, sentence: str) -> None:
    assert rule in said(sentence, where)


@pytest.mark.parametrize(("rule", "where", "sentence"), list(examples(passing=True)))
def test_what_a_rule_says_it_lets_pass_it_lets_pass(rule: str, where: str, sentence: str) -> None:
    assert rule not in said(sentence, where)


@pytest.mark.parametrize("rule", RULES.language, ids=lambda rule: rule.id)
def test_every_rule_explains_itself_and_its_advice_would_pass(rule: rules.Rule) -> None:
    assert rule.fails
    assert rule.passes
    for words in (rule.why, rule.instead):
        assert words[0].isupper() or words.startswith("FDA")
        assert words.endswith((".", "…")), words
    advice = check_text(rule.instead.replace('{{ cite("wilkinson-2021") }}', "[1]") + "\nHelp line: 988.", "page")
    assert not [finding for finding in advice if finding.stops], "the advice breaks a rule itself"


def bound(tree: Any) -> int:
    """In how many ways at most a pattern can be tried from one place of a text; fails where nothing bounds it."""
    ways = 1
    for name, value in tree:
        match str(name):
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = value
                assert most <= 60, f"{most} repetitions"
                once = bound(inner)
                ways *= sum(once**count for count in range(least, most + 1))
            case "BRANCH":
                ways *= sum(bound(branch) for branch in value[1])
            case "SUBPATTERN":
                ways *= bound(value[3])
            case "ASSERT" | "ASSERT_NOT":
                ways *= bound(value[1])
            case other:
                assert other in ("LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"), other
    return ways


def patterns() -> Iterator[re.Pattern[str]]:
    for rule in RULES.language:
        yield from (pattern for pattern in (rule.pattern, rule.unless) if pattern)
    for needed in RULES.required:
        yield from (*needed.when, *needed.words.values())


def test_no_text_can_make_a_pattern_slow() -> None:
    """From each place of a text a pattern takes a number of steps that does not grow with the text."""
    parse = importlib.import_module("re._parser").parse
    assert max(bound(parse(pattern.pattern)) for pattern in patterns()) <= 20_000
    with pytest.raises(AssertionError):
        bound(parse(r"preserv\w+ breathing"))


@pytest.mark.parametrize(
    "unit",
    ["preserv", "not ", "cu", "last ", "1 in ", "GABA ", "no no ", "(((", "{% ", "[", "**", "a.b ", "Suicide. ", "Cure.\n"],
)
def test_a_hundred_kilobytes_of_anything_are_judged(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert isinstance(check_text(text, "page"), list)
    assert isinstance(check(a_letter(text), today=TODAY), list)


# What was wrong with the article this began with


def test_an_article_that_makes_the_usual_claims_is_refused_for_each_of_them() -> None:
    found = check_text(WRONG, "page")
    errors = Counter(finding.rule for finding in found if finding.stops)
    assert errors == {
        "C01": 2, "C02": 2, "C03": 1, "C04": 2, "C05": 1, "C06": 1, "C07": 1, "C08": 1, "C09": 1, "C10": 2, "C11": 1,
        "C12": 1, "C13": 1, "C14": 1, "C15": 1, "C16": 1, "C17": 1, "C18": 1,
    }  # fmt: skip
    warnings = {finding.rule for finding in found if not finding.stops}
    assert warnings == {"C19", "C20", "C21", "C22", "C23", "C24", "C25", "C26", "C27", "C28", "C29"}
    assert all(finding.words.lower() in WRONG.splitlines()[(finding.line or 0) - 1].lower() for finding in found)


@pytest.mark.parametrize("letter", SHIPPED, ids=lambda letter: letter.key)
def test_the_shipped_letters_pass(letter: Letter) -> None:
    assert [finding for finding in findings(letter) if not finding.waived] == []


def test_what_the_registry_says_of_its_sources_passes() -> None:
    for work in registry.shipped().values():
        assert not [finding for finding in check_text(work.finding, "source") if finding.stops], work.id


@pytest.mark.parametrize(
    "sentence",
    [
        "Ketamine is not a cure. It can ease symptoms fast for some people; many relapse and some feel no benefit.",
        "Early relief is the best-studied part. Longer-term benefit and safety are less well known.",
        "True of anesthesia by injection. Mood change, where it comes, is measured over hours to days.",
        "It can still slow breathing, above all with too much, too fast, or with alcohol, opioids or sedatives.",
        "It usually raises blood pressure and heart rate for a while.",
        "One theory: it quiets some GABA cells that act as brakes, so nearby cells release a burst of glutamate.",
        "It does not stop GABA binding.",
        "Lab studies suggest stronger and new contact points between cells. In people the evidence is indirect.",
        "One dose usually fades in about a week.",
        "I believe therapy can help you use this time well. The research is young and mixed.",
        "A window of easier learning is an idea under test.",
        "Treatment-resistant usually means two fair medicine trials have not helped enough.",
        "Both have costs; neither is best.",
        "If you want to talk it through, you can ask for a call. No rush, and no is fine.",
        "Do not start, stop or change a medicine because of this letter.",
        "In crisis or thinking of suicide? US: call or text 988.",
        "This mailbox is not watched for emergencies.",
    ],
)
def test_an_honest_sentence_passes(sentence: str) -> None:
    assert said(sentence) == []


# Hidden words


@pytest.mark.parametrize(
    "body",
    [
        "It cu**re**s low mood.",
        "It cu_r_es, or cu[re](https://example.org)s.",
        "It c&#117;res low mood.",
        "It cu&shy;res low mood.",
        "It cu\u200bres cu\u00adres low mood.",
        "It ｃｕｒｅｓ low mood.",
        "It сurеs low mood.",
        "It cu{# a note #}res low mood.",
        "It is a\ncure.",
        "It `cures`.",
        "    It cures.",
        "- It cures.",
        "> It cures.",
        "## It cures",
        "![It cures](https://example.org/x.png)",
        '[read](https://example.org "it cures")',
        "{{ reader.first_name | default('it cures') }}",
        "{{ reader.first_name | d('it cures', true) }}",
        "{{ 'it cures' if reader.first_name else 'hello' }}",
        "{{ 'hello' if reader.first_name else 'it cures' }}",
        "{% if reader.first_name %}It cures.{% endif %}",
        "{% if reader.first_name %}Hello{% else %}It cures.{% endif %}",
        "{% if reader.first_name %}Hello{% elif practice.name %}It cures.{% else %}You{% endif %}",
        "{% if reader.first_name %}{% if practice.name %}a{% else %}It cures.{% endif %}{% endif %}",
        "cu{% if reader.first_name %}res{% endif %}",
        "{{ aside('It **cu**res.') }}",
        "{% raw %}It cures.{% endraw %}",
        "{{ 'it cu' ~ 'res' }}",
    ],
)
def test_a_word_is_found_wherever_it_hides(body: str) -> None:
    assert the("C01", a_letter(body)).words.lower() in ("cure", "cures")


def test_the_label_of_a_button_and_the_facts_of_the_practice_are_read() -> None:
    assert "C13" in ids(a_letter(rest=PROSE + '\n\n{{ button("Act now", links.consultation) }}'))
    assert "C03" in ids(a_letter("It costs {{ practice.fee }}."), fee="100% back, guaranteed")


def test_what_nobody_reads_is_not_judged() -> None:
    assert ids(a_letter('Hello{% if reader.first_name == "cure" %} you{% endif %}. {# It cures. #}')) == []


def test_one_word_in_several_readings_is_one_finding() -> None:
    letter = a_letter("{% if reader.first_name %}{{ reader.first_name }}, it{% else %}It{% endif %} cures you.")
    assert ids(letter) == ["C01"]


def test_the_first_hit_of_a_rule_in_each_sentence_counts() -> None:
    assert said("It cures, and cures again. It cures!") == ["C01", "C01"]


# Places


def test_a_finding_says_where_what_why_and_what_to_write_instead() -> None:
    letter = a_letter("Hello,\n\nthis is a line\nthat goes on and then **cu**res\nyou.")
    finding = the("C01", letter)
    assert finding.line is not None
    assert letter.text.splitlines()[finding.line - 1] == "that goes on and then **cu**res"
    assert (finding.part, finding.words, finding.waived) == ("line", "cures", None)
    assert finding.sentence == "this is a line that goes on and then cures you."
    assert finding.why == RULES["C01"].why
    assert finding.instead == RULES["C01"].instead


@pytest.mark.parametrize(
    "before",
    [
        "{% if reader.first_name %}\nOne.\n{% else %}\nTwo.\n{% endif %}\n",
        "{{ aside('One.\\n\\nTwo.') }}\n",
        "{% if reader.first_name -%}\n\n\nOne\n{%- endif %}\n",
        "{# one\ntwo #}\n",
        "{{ reader.first_name\n| default('x') }}\n",
        "- one\n- two\n\n> three\n",
        "~~~\ncode\n\ncode\n~~~\n",
        "\r\n",
    ],
)
def test_lines_are_those_of_the_file_whatever_stands_above(before: str) -> None:
    letter = a_letter(f"{before}\nIt cures you.")
    finding = the("C01", letter)
    assert finding.line is not None
    assert letter.text.splitlines()[finding.line - 1] == "It cures you."


def test_findings_come_by_line() -> None:
    letter = a_letter("It cures.\n\nHurry.\n\nIt is magic.", subject="A cure")
    found = findings(letter)
    assert [(finding.rule, finding.part) for finding in found] == [
        ("C01", "subject"), ("C01", "line"), ("C13", "line"), ("C02", "line"),
    ]  # fmt: skip
    assert [finding.line for finding in found] == sorted(finding.line or 0 for finding in found)
    assert found[0].line == 2


def test_what_a_glance_shows_gives_nothing_away() -> None:
    assert ids(a_letter(subject="About therapy")) == ["S01"]
    assert ids(a_letter(preheader="A few lines on mood, and what can be said about it.")) == ["S01"]
    assert ids(a_letter("It is about mood.")) == []
    assert ids(a_letter("See [this](https://ketamine-clinic.example/a).")) == ["S01"]
    assert ids(a_letter("Write to [me](mailto:dana@mental.example).")) == ["S01"]
    assert said("Ketamine Clinic", "from-name") == ["S01"]
    assert said("Dana from Oak Street", "from-name") == []
    assert said("dana@therapy.example", "from-address") == ["S01"]
    assert said("Re: hello", "subject") == ["S02"]
    assert said("Re: hello", "preheader") == []


def test_the_crisis_lines_excuse_the_word_in_the_paragraph_before_them() -> None:
    assert "C15" in ids(a_letter("You may think of suicide."))
    assert "C15" not in ids(a_letter("You may think of suicide.\n\n{{ crisis() }}"))
    assert "C15" in ids(a_letter("You may think of suicide.\n\nSomething else.\n\n{{ crisis() }}"))


def test_a_citation_may_stand_in_the_next_sentence_and_no_later() -> None:
    head = "sources:\n  - id: x\n    text: PMID 10686270\n    url: https://example.org\n"
    assert ids(a_letter('About 3 in 10 do {{ cite("x") }}.', head=head)) == []
    assert ids(a_letter("About 3 in 10 do. A trial says so [1].", head=head)) == []
    assert ids(a_letter("About 3 in 10 do. Not more. A trial says so [1].", head=head)) == ["C22"]


# Build


@pytest.mark.parametrize(
    ("letter", "rule", "severity"),
    [
        (a_letter(rest=PROSE), "T02", Severity.ERROR),
        (a_letter(BUTTON), "T02", Severity.ERROR),
        (a_letter(subject="This is a subject that is very much too long for it"), "T03", Severity.ERROR),
        (a_letter(preheader="x" * 91), "T04", Severity.ERROR),
        (a_letter(preheader="Too short"), "T04", Severity.WARNING),
        (a_letter(preheader=""), "T04", Severity.WARNING),
        (a_letter(rest=BUTTON), "T09", Severity.WARNING),
        (a_letter(rest=f"{PROSE} {PROSE}\n\n{BUTTON}"), "T09", Severity.WARNING),
        (a_letter("It eases depression. Ketamine is old."), "T10", Severity.ERROR),
        (a_letter("My fee is [fee]."), "T13", Severity.ERROR),
        (a_letter("# A second title"), "T14", Severity.ERROR),
        (a_letter("You pay {{ practice.fee }}."), "T16", Severity.ERROR),
        (a_letter(subject="From {{ practice.name }}"), "T16", Severity.ERROR),
        (a_letter("{% if %}"), "T01", Severity.ERROR),
        (a_letter("{% if links.home %}" + "{% elif links.home %}" * MOST_READINGS + "{% endif %}"), "T01", Severity.ERROR),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_build_of_a_letter_is_said(letter: Letter, rule: str, severity: Severity) -> None:
    (finding,) = findings(letter)
    assert (finding.rule, finding.severity) == (rule, severity)


def test_a_sound_letter_has_no_finding() -> None:
    assert findings(a_letter()) == []
    (finding,) = findings(a_letter(rest=f"{PROSE}\n\n**[Ask for a call]({{{{ links.consultation }}}})**"))
    assert finding.rule == "T02", "a bold link is a link"


def test_a_button_in_either_branch_is_one_button() -> None:
    either = '{% if practice.fee %}{{ button("Call", links.home) }}{% else %}{{ button("Ask", links.home) }}{% endif %}'
    assert ids(a_letter(rest=f"{PROSE}\n\n{either}")) == []
    assert ids(a_letter(rest=f"{PROSE}\n\n{{% if reader.first_name %}}{BUTTON}{{% endif %}}")) == ["T02"]


def test_a_first_line_that_gives_something_away_is_refused() -> None:
    letter = read_letter("02-try.md", a_letter().text.replace("# Letter 2 of 5", "# Ketamine, and you"))
    assert ids(letter) == ["T15"]


def test_a_hard_letter_is_warned_of_and_a_very_hard_one_refused_with_its_worst_sentence() -> None:
    def at(sentence: str) -> Finding:
        return the("T05", a_letter(rest=" ".join([sentence] * 20) + f"\n\n{BUTTON}"))

    hard = at("The members of the panel looked at every question about the program with patience and care.")
    assert hard.severity is Severity.WARNING
    too_hard = at(
        "Institutional representatives consistently overestimate the organizational responsibilities of individual members."
    )
    assert too_hard.severity is Severity.ERROR
    assert "Institutional representatives" in too_hard.instead
    assert too_hard.words.startswith("grade ")


def test_every_source_can_be_found_and_is_cited() -> None:
    def listing(text: str, url: str) -> list[str]:
        head = f"sources:\n  - text: {text!r}\n    url: {url}\n"
        return ids(a_letter("As was found [1].", head=head))

    assert listing("A trial", "https://example.org") == ["T06"]
    assert listing("A trial", "https://doi.org/10.1001/jama.2020.1") == []
    assert listing("A trial. PMID 10686270", "https://example.org") == []
    assert listing("A trial", "https://pubmed.ncbi.nlm.nih.gov/10686270/") == []
    assert listing("US Food and Drug Administration, a warning", "https://example.org") == []
    assert listing("It cures. US Food and Drug Administration", "https://example.org") == ["C01"]
    assert listing("US Food and Drug Administration", "https://ketamine.example") == ["S01"]


def test_a_citation_without_its_source_and_a_source_without_its_citation() -> None:
    head = "sources:\n  - text: PMID 10686270\n    url: https://example.org\n"
    assert ids(a_letter("As was found [2].", head=head)) == ["T08", "T07"]
    assert the("T07", a_letter("As was found [2].", head=head)).severity is Severity.ERROR
    assert the("T08", a_letter("As was found [2].", head=head)).severity is Severity.WARNING


@pytest.mark.parametrize(
    ("days", "severity"), [(0, None), (149, None), (150, None), (151, "warning"), (180, "warning"), (181, "error")]
)
def test_facts_are_looked_at_every_half_year(days: int, severity: str | None) -> None:
    letter = a_letter(review_by=str(TODAY + REVIEW_EVERY))
    found = findings(letter, TODAY + timedelta(days=days))
    assert [(finding.rule, str(finding.severity)) for finding in found] == ([("T12", severity)] if severity else [])


def test_a_review_date_that_is_missing_or_too_far_off_is_said() -> None:
    assert the("T12", a_letter(review_by="")).severity is Severity.ERROR
    assert the("T12", a_letter(review_by="2030-01-01")).severity is Severity.WARNING


@pytest.mark.parametrize("word", ["blood pressure", "breathing", "bladder", "misuse", "pregnancy", "psychosis", "driving"])
def test_the_careful_letter_leaves_no_risk_out(word: str) -> None:
    risks = ["blood pressure", "slowed breathing", "bladder pain", "misuse", "pregnancy", "psychosis", "driving"]
    body = "Think of these:\n\n- " + "\n- ".join(risks)
    assert ids(a_letter(body, key="what-to-expect")) == []
    without = a_letter(body.replace(word, "that"), key="what-to-expect")
    assert the("T11", without).words == f"missing: {word}"
    assert ids(a_letter(body.replace(word, "that"), key="another")) == []


def test_the_invitation_says_who_prescribes() -> None:
    assert ids(a_letter(key="invitation")) == ["T11"]
    assert ids(a_letter("I do not prescribe.", key="invitation")) == []
    assert ids(a_letter(key="invitation"), prescriber="Dr. Ames") == []
    either = "{% if practice.prescriber %}{{ practice.prescriber }} prescribes.{% else %}I do not prescribe.{% endif %}"
    assert ids(a_letter(either, key="invitation")) == []
    assert ids(a_letter(either, key="invitation"), prescriber="Dr. Ames") == []
    sometimes = "{% if reader.first_name %}I do not prescribe.{% endif %}"
    assert ids(a_letter(sometimes, key="invitation")) == ["T11"]


@pytest.mark.parametrize(
    ("body", "holes"),
    [
        ("It costs {{ practice.fee }}.", ["practice.fee"]),
        ("{% if practice.fee %}It costs {{ practice.fee }}.{% endif %}", []),
        ("{% if practice.fee and practice.call_length %}{{ practice.fee }}{% endif %}", []),
        ("{% if practice.fee or practice.name %}{{ practice.fee }}{% endif %}", []),
        ("{% if practice.fee or reader.first_name %}{{ practice.fee }}{% endif %}", ["practice.fee"]),
        ("{% if not practice.fee %}Free.{% else %}{{ practice.fee }}{% endif %}", []),
        ("{% if not practice.fee %}{{ practice.fee }}{% endif %}", ["practice.fee"]),
        ("{% if practice.name %}{{ practice.fee }}{% endif %}", []),
        ("{{ practice.fee | default('free') }}", ["practice.fee"]),
        ("{{ practice.fee | default('free', true) }}", []),
        ("{{ practice.fee if practice.fee else 'free' }}", []),
    ],
)
def test_a_fact_that_is_empty_leaves_no_hole(body: str, holes: list[str]) -> None:
    letter = a_letter(body)
    assert [finding.words for finding in findings(letter)] == holes
    assert ids(letter, fee="80 dollars", name="Dana") == []


def test_what_reading_takes_is_that_of_the_letter_as_sent() -> None:
    letter = a_letter("{% if practice.fee %}" + "It costs what it costs. " * 10 + "{% endif %}{{ crisis() }}")
    assert measure(letter).words == measure(a_letter()).words
    assert measure(letter, {"fee": "80"}).words == measure(letter).words + 50
    assert measure(a_letter("{% if %}")).words == 0


# Waivers


def waiver(rule: str, words: str) -> str:
    return f"waived:\n  - {{rule: {rule}, words: {words!r}, by: Dana, because: it is a name}}\n"


def test_a_warning_can_be_waived_with_name_and_reason_and_stays_on_record() -> None:
    finding = the("C26", a_letter("We call it a trip.", head=waiver("C26", "We call it")))
    assert finding.waived is not None
    assert (finding.waived.by, finding.waived.because) == ("Dana", "it is a name")


def test_a_waiver_holds_for_its_own_sentence_and_rule_only() -> None:
    letter = a_letter("We call it a trip. It was a trip. How exciting we call it.", head=waiver("C26", "we CALL it"))
    assert [(finding.rule, bool(finding.waived)) for finding in findings(letter)] == [
        ("C19", False), ("C26", True), ("C26", False),
    ]  # fmt: skip


def test_an_error_cannot_be_waived() -> None:
    found = findings(a_letter("It cures you.", head=waiver("C01", "It cures you")))
    assert [(finding.rule, finding.stops, finding.waived) for finding in found] == [("T17", True, None), ("C01", True, None)]


def test_a_waiver_that_meets_nothing_can_go() -> None:
    (finding,) = findings(a_letter(head=waiver("C26", "trip")))
    assert (finding.rule, finding.severity) == ("T18", Severity.WARNING)


def test_a_warning_about_the_whole_letter_is_waived_by_what_it_says() -> None:
    letter = a_letter(rest=BUTTON)
    words = the("T09", letter).words
    assert the("T09", a_letter(rest=BUTTON, head=waiver("T09", words))).waived


# Pages


def test_the_pages_of_the_service_make_no_claim_either() -> None:
    pages = [*(ROOT / "templates" / "public").glob("*.html"), *(pack().folder / "pages").glob("*.html"), pack().texts]
    assert len(pages) >= 20
    for page in pages:
        text = re.sub(r"\{[%#{].*?[%#}]\}|<[^>]*>", " ", page.read_text("utf-8"))
        assert not [finding for finding in check_text(text, "page") if finding.stops], page.name
