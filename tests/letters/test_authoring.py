"""What somebody types is in the file as they typed it, or is refused with a sentence; the file says the same when read back."""

from datetime import date

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nurture.characters import code_point, unusable_character
from nurture.letters.authoring import Parts, as_yaml, composed, parts_of, reviewed
from nurture.letters.source import Letter, LetterRefused, read_files, read_letter, read_stored
from nurture.mailers.base import MailRefused
from tests.mailers.test_outbox import a_mail

HEADS = (
    'subject: "Old"\npreheader: "Old"\nwait: 4 days\n',
    "wait: 4 days\nsubject: Old\n# a comment\npreheader: >-\n  Old\n  and long\n",
    "'subject': Old\nreview-by: 2027-05-22\n",
    "{subject: Old, wait: 4 days}\n",
    "subject: Old\npreheader: |\n  Old\n\n  and blank\n",
)
BODIES = ("Hello\n", "", "---\nsubject: not the head\n---\n", "a\u2028b\x85c\n")
LINES = st.text(max_size=60) | st.text(
    st.characters(codec="utf-8", categories=["Cc", "Cf", "Zl", "Zp", "Zs", "Po"]), max_size=20
)
ODD = ["\x92", "\x7f", "\ufffe", "\uffff", "\U0001ffff", "\x00", "\x1b", "\u202e", "\u2066", "\ufdd0", "\ud800"]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(HEADS), st.sampled_from(BODIES), st.sampled_from(["\n", "\r\n"]), LINES, LINES,
    st.text(max_size=80) | st.text(st.characters(max_codepoint=0x2030), max_size=80),
)  # fmt: skip
@example(HEADS[0], BODIES[0], "\n", 'it\'s "quoted" 🙂 #: - {}', "'", "---\n")
@example(HEADS[1], BODIES[2], "\r\n", "x", "y", "a\rb\r\nc")
def test_a_letter_says_what_was_typed_or_nothing_is_kept(
    head: str, old_body: str, ending: str, subject: str, preheader: str, body: str
) -> None:
    text = f"---\n{head}---\n{old_body}".replace("\n", ending)
    try:
        written = composed("01-a.md", text, Parts(subject, preheader, body))
    except LetterRefused as refused:
        assert refused.advice.endswith(".")
        return
    found = parts_of(read_letter("01-a.md", written))
    assert (found.subject, found.preheader) == (" ".join(subject.split()), " ".join(preheader.split()))
    wanted = body.replace("\r\n", "\n")
    assert found.body.replace("\r\n", "\n") in (wanted, wanted + "\n")
    assert read_letter("01-a.md", written).wait == read_stored("01-a.md", text).wait


@settings(deadline=None)
@given(st.text(max_size=80).map(lambda text: text.replace("\n", " ")))
def test_any_line_survives_the_yaml_writer(line: str) -> None:
    written = as_yaml(line)
    assert "\n" not in written
    assert yaml.safe_load(f"a: {written}\nb: 1\n") == {"a": line, "b": 1}


def test_an_emoji_stays_readable_and_plain_text_keeps_its_double_quotes() -> None:
    assert as_yaml("Letter 1: a start") == '"Letter 1: a start"'
    assert as_yaml("it's 🙂") == "'it''s 🙂'"


def test_characters_nobody_can_see_are_refused_with_a_sentence() -> None:
    text = "---\nsubject: Old\n---\nHello\n"
    for mark in ODD:
        for parts in (Parts(f"a{mark}b", "", "Hello\n"), Parts("Old", f"a{mark}b", "Hello\n")):
            try:
                composed("01-a.md", text, parts)
            except LetterRefused as refused:
                assert code_point(mark) in refused.advice
                assert "Take it out" in refused.advice
            else:
                raise AssertionError(f"{mark!r} was kept")


def test_a_letter_that_comes_in_by_a_file_is_held_to_the_same() -> None:
    rules = 'key: a\ntitle: "A"\n'
    for field in ('subject: "a\\x92b"', 'subject: a\npreheader: "a\\u202Eb"', 'subject: a\nreviewed-by: "\\uFFFE"',
                  'subject: a\nsources: [{text: "x\\x7F", url: "https://a.example"}]',
                  'subject: a\nwaived: [{rule: C1, words: "\\x01", by: a, because: b}]'):  # fmt: skip
        letter = f"---\n{field}\n---\nHello\n"
        assert isinstance(read_letter("01-a.md", letter), Letter), "what is here already still opens"
        try:
            read_files({"sequence.yaml": rules, "01-a.md": letter}, "x")
        except LetterRefused as refused:
            assert "cannot be shown" in refused.advice
        else:
            raise AssertionError(f"{field!r} came in")


NAMES = st.text(max_size=6) | st.sampled_from(["id", "text", "url"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = st.sampled_from(["subject", "preheader", "wait", "if-late", "sources", "reviewed-by", "review-by", "waived"])
TAGGED = st.sampled_from([
    "!!bool x", "!!int ''", "!!timestamp x", "!!float x", "!!binary x", "!!set {a}", "!!omap [a]", "? [a] : b", "&a [*a]",
    "2026-02-30", "1:2:3", "!x y", "[" * 200, "!!int " + "9" * 5000,
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, VALUES, max_size=5), FIELDS, TAGGED | st.text(max_size=30))
def test_any_front_matter_is_a_letter_or_is_refused(fields: dict[str, object], field: str, raw: str) -> None:
    for text in (yaml.safe_dump({"subject": "a", **fields}), f"subject: a\n{field}: {raw}\n"):
        try:
            letter = read_letter("01-a.md", f"---\n{text}---\nHello\n")
        except LetterRefused as refused:
            assert refused.advice.endswith(".")
        else:
            assert letter.subject == letter.subject.strip() != ""


def test_noting_a_review_changes_the_date_and_nothing_else() -> None:
    text = "---\nsubject: a\nreview-by: 2027-05-22\n---\nHello\u2028---\n"
    changed = reviewed("01-a.md", text, date(2026, 11, 30))
    assert changed == text.replace("2027-05-22", "2027-05-29")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_a_line_that_may_be_typed_may_be_a_subject(text: str) -> None:
    line = " ".join(text.split())
    if unusable_character(line) is None:
        try:
            a_mail(subject=line)
        except MailRefused as refused:
            raise AssertionError(f"{line!r} can be typed, and cannot be sent") from refused
