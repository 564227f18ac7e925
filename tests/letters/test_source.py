"""A letter's file is kept byte for byte; what is wrong with it is said in plain words, with file and line."""

from datetime import date, time
from pathlib import Path

import pytest

from nurture.domain.sequence import Step, Wait
from nurture.domain.timeline import Quiet, Window
from nurture.ids import StepKey
from nurture.letters.source import (
    SEQUENCE_FILE,
    CitedSource,
    Letter,
    LetterRefused,
    SequenceFile,
    read_files,
    read_folder,
    read_letter,
    read_sequence,
)

FILE = "02-what-we-know.md"
LETTER = """---
subject: What we know
preheader: And what we do not
wait: 3 days
sources:
  - text: A trial
    url: https://example.org/trial
  - text: " A review "
    url: https://example.org/review
---
# What we know

Dear {{ reader.first_name }},
"""
SEQUENCE = """key: first-letters
title: The first letters
"""


def letter(head: str, body: str = "Hello.\n") -> Letter:
    return read_letter(FILE, f"---\n{head}\n---\n{body}")


def letter_refusal(text: str) -> str:
    with pytest.raises(LetterRefused) as refused:
        read_letter(FILE, text)
    assert refused.value.where.startswith(FILE)
    return str(refused.value)


def head_refusal(head: str) -> str:
    return letter_refusal(f"---\n{head}\n---\nHello.\n")


def sequence(more: str) -> SequenceFile:
    return read_sequence(SEQUENCE + more)


def sequence_refusal(text: str) -> str:
    with pytest.raises(LetterRefused) as refused:
        read_sequence(text)
    assert refused.value.where.startswith("sequence.yaml")
    return str(refused.value)


# Letters


def test_a_letter_is_what_its_file_says() -> None:
    found = read_letter(FILE, LETTER)
    assert (found.subject, found.preheader, found.wait) == ("What we know", "And what we do not", "3 days")
    assert found.sources == (
        CitedSource(1, "A trial", "https://example.org/trial", "1"),
        CitedSource(2, "A review", "https://example.org/review", "2"),
    )
    assert found.body == "# What we know\n\nDear {{ reader.first_name }},\n"


@pytest.mark.parametrize(
    "body", ["", "\n", "no end of line", "a\n---\nb\n", "a  \r\n\tb\u2028c\x0bd\r", "Zoë e\u0301 ﬁ 😀\n", "---\n---\n"]
)
def test_the_text_of_a_letter_is_kept_byte_for_byte(body: str) -> None:
    text = f"---\nsubject:   Hello  # a note\n---\n{body}"
    found = read_letter(FILE, text)
    assert found.text.encode() == text.encode()
    assert text.endswith(found.body)
    assert found.body == body


def test_the_line_on_which_the_body_begins_is_known() -> None:
    found = read_letter(FILE, LETTER)
    assert LETTER.splitlines()[found.body_line - 1] == "# What we know"


@pytest.mark.parametrize(
    ("file_name", "key"),
    [("01-history.md", "history"), ("02-what-we-know.md", "what-we-know"), ("123-a.md", "a"), ("history.md", "history")],
)
def test_the_key_of_a_step_is_its_file_name_without_the_number(file_name: str, key: str) -> None:
    assert read_letter(file_name, LETTER).step == Step(StepKey(key), Wait(days=3))


@pytest.mark.parametrize("head", ["subject: Hello", "subject: Hello\nwait: at once", "subject: Hello\nwait:  At once "])
def test_a_letter_without_a_wait_goes_out_at_once(head: str) -> None:
    assert letter(head).step.at_once


@pytest.mark.parametrize(
    ("head", "advice"),
    [
        ("preheader: a", "The subject is empty. Write `subject: …`."),
        ("subject: ''", "The subject is empty. Write `subject: …`."),
        ("subject: '  '", "The subject is empty. Write `subject: …`."),
        ("subject:", "`subject` must be one line of text."),
        ("subject: 2026", "`subject` must be one line of text."),
        ("subject: [a]", "`subject` must be one line of text."),
        ("subject: |\n  a\n  b", "`subject` must be one line of text."),
        ("subject: a\npreheader: 'a\n\n  b'", "`preheader` must be one line of text."),
        ("subject: a\nwait: 3", "`wait` must be one line of text."),
        ("subject: a\nwait: soon", "The wait 'soon' is not clear. Write it like `3 days`"),
        ("subject: a\nsources: [{text: b}]", "Source 1 needs a `text` and a `url` that begins with https://, or an id"),
        ("subject: a\nreview-by: soon", "`review-by` is a date such as 2027-05-22"),
        ("subject: a\nwaived: [{rule: C22, words: half}]", "A waiver under `waived` needs"),
        ("subject: a\nwaived: C22", "A waiver under `waived` needs"),
        ("subject: a\nsources: [{text: b, url: 'https://c.example'}, {url: 'https://d.example'}]", "Source 2 needs"),
        ("subject: a\nsources: [{text: b, url: 'http://c.example'}]", "Source 1 needs"),
        ("subject: a\nsources: [{text: b, url: 'javascript:alert(1)'}]", "Source 1 needs"),
        ("subject: a\nsources: [{text: '', url: 'https://c.example'}]", "Source 1 needs"),
        ("- subject", "Expected lines of the form `name: value`."),
        ("just words", "Expected lines of the form `name: value`."),
        ("", "Expected lines of the form `name: value`."),
    ],
)
def test_what_is_wrong_with_a_letter_is_said_in_plain_words(head: str, advice: str) -> None:
    assert head_refusal(head).startswith(f"{FILE}: {advice}")


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("subject: a: b", 2),
        ("subject: a\npreheader: b: c", 3),
        ("subject: a\nwait: 3 days\npreheader: [b", 4),
        ("subject: a\nwait: !!python/object/apply:os.system ['true']", 3),
        ("subject: a\nwait: *unknown", 3),
    ],
)
def test_a_part_that_cannot_be_read_is_named_by_its_line(head: str, line: int) -> None:
    assert head_refusal(head) == f"{FILE}, line {line}: This part cannot be read. Put text with a colon in it into quotes."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello.\n",
        "---\n",
        "---\nsubject: a\n",
        "---\nsubject: a\n--\nHello.\n",
        "\n---\nsubject: a\n---\n",
        "--- \nsubject: a\n---\n",
    ],
)
def test_a_file_that_does_not_begin_like_a_letter_is_told_how_one_begins(text: str) -> None:
    assert letter_refusal(text) == f"{FILE}: A letter begins with `---`, its subject and wait, and a second `---`."


def test_a_letter_with_nothing_between_its_two_lines_is_refused() -> None:
    assert letter_refusal("---\n---\nHello.\n")


@pytest.mark.parametrize(
    "head",
    ["subject: a\nsources: 5", "subject: a\nreviewed: 2026-02-30", "subject: " + "[" * 5000],
    ids=["number", "date", "nested"],
)
def test_a_letter_with_values_of_the_wrong_kind_is_refused(head: str) -> None:
    assert head_refusal(head)


# sequence.yaml


def test_a_sequence_is_what_its_file_says() -> None:
    found = sequence(
        'window: {opens: "10:00", closes: "00:00", days: [mon, sun]}\n'
        'quiet: {from: "22:30", to: "07:15"}\n'
        "holidays: [2026-12-25, 2028-02-29]\n"
    )
    assert (found.key, found.title) == ("first-letters", "The first letters")
    assert found.rules.window == Window(time(10), time(0), frozenset({0, 6}))
    assert found.rules.quiet == Quiet(time(22, 30), time(7, 15))
    assert found.rules.holidays == {date(2026, 12, 25), date(2028, 2, 29)}


@pytest.mark.parametrize("more", ["", "window:\n", "window: {}\nquiet: {}\nholidays: []\n", "holidays:\n"])
def test_a_sequence_without_rules_has_the_usual_ones(more: str) -> None:
    rules = sequence(more).rules
    assert rules.window == Window(time(9), time(18), frozenset(range(6)))
    assert rules.quiet == Quiet(time(21), time(8))
    assert rules.holidays == frozenset()


def test_the_text_of_a_sequence_is_kept_byte_for_byte() -> None:
    text = f"# a note\r\n{SEQUENCE}\n\n"
    assert read_sequence(text).text == text


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("title: a\n", "`key` and `title` are needed."),
        ("key: a\n", "`key` and `title` are needed."),
        ("key: a\ntitle: ''\n", "`key` and `title` are needed."),
        ("key: 1\ntitle: a\n", "`key` must be one line of text."),
        ("", "Expected lines of the form `name: value`."),
        (SEQUENCE + "window: {days: [mon, montag]}\n", "'montag' is no weekday. Use mon, tue, wed, thu, fri, sat, sun."),
        (SEQUENCE + "window: {days: [1]}\n", "1 is no weekday."),
        (SEQUENCE + "window: {days: []}\n", "'An empty list' is no weekday."),
        (SEQUENCE + "window: {opens: nine}\n", "'nine' is not a time. Write it in quotes, like \"09:00\"."),
        (SEQUENCE + 'window: {opens: "25:00"}\n', "'25:00' is not a time."),
        (SEQUENCE + "window: {closes: 18:00}\n", '1080 is not a time. Write it in quotes, like "09:00".'),
        (SEQUENCE + "quiet: {from: 21:00}\n", '1260 is not a time. Write it in quotes, like "09:00".'),
        (SEQUENCE + 'holidays: ["2026-12-25"]\n', "Holidays are dates such as 2026-12-25, without quotes."),
        (SEQUENCE + "holidays: [12-25]\n", "Holidays are dates such as 2026-12-25, without quotes."),
    ],
)
def test_what_is_wrong_with_a_sequence_is_said_in_plain_words(text: str, advice: str) -> None:
    assert sequence_refusal(text).startswith(f"sequence.yaml: {advice}")


@pytest.mark.parametrize(("text", "line"), [("key: a: b\n", 1), ("key: a\ntitle: b: c\n", 2)])
def test_a_part_of_a_sequence_that_cannot_be_read_is_named_by_its_line(text: str, line: int) -> None:
    assert sequence_refusal(text).startswith(f"sequence.yaml, line {line}: This part cannot be read.")


@pytest.mark.parametrize("more", ["window: {closes: 17:30}\n", "quiet: {from: 20:00}\n", "window: {closes: 1800}\n"])
def test_a_time_without_quotes_is_never_taken_for_another(more: str) -> None:
    assert 'Write it in quotes, like "09:00".' in sequence_refusal(SEQUENCE + more)


@pytest.mark.parametrize(
    "more",
    [
        'window: {opens: "09:00+02:00"}\n',
        'window: {opens: "09:00:30"}\n',
        "holidays: [2026-12-25 10:00:00]\n",
    ],
    ids=["zone", "seconds", "holiday with a time"],
)
def test_a_rule_that_could_not_be_kept_is_refused(more: str) -> None:
    assert sequence_refusal(SEQUENCE + more)


@pytest.mark.parametrize(
    "more",
    ["window: 5\n", "window: [a]\n", "quiet: late\n", "window: {days: 5}\n", "window: {days: }\n", "holidays: 5\n",
     "holidays: [2026-02-30]\n"],
)  # fmt: skip
def test_a_sequence_with_values_of_the_wrong_kind_is_refused(more: str) -> None:
    assert sequence_refusal(SEQUENCE + more)


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sequence.yaml").write_text(SEQUENCE, "utf-8")
    return tmp_path


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(LETTER.encode())


def test_letters_of_a_folder_come_in_the_order_of_their_numbers(folder: Path) -> None:
    write(folder, "10-ten.md", "02-two.md", "01-one.md", "03-a-third.md")
    found, letters = read_folder(folder)
    assert found.key == "first-letters"
    assert [letter.key for letter in letters] == ["one", "two", "a-third", "ten"]


@pytest.mark.parametrize("names", [("9-nine.md", "10-ten.md"), ("99-a.md", "100-b.md")])
def test_numbers_of_different_length_are_numbers_too(folder: Path, names: tuple[str, str]) -> None:
    write(folder, *names)
    assert [letter.file_name for letter in read_folder(folder)[1]] == list(names)


def test_files_that_are_no_letters_are_let_alone(folder: Path) -> None:
    write(folder, "01-one.md", "README.md", "02-two.txt", "notes-02.md")
    assert [letter.file_name for letter in read_folder(folder)[1]] == ["01-one.md"]


def test_files_are_read_byte_for_byte(folder: Path) -> None:
    raw = b"---\nsubject: a\n---\nb\r\nc\xc3\xab\r\n"
    (folder / "01-one.md").write_bytes(raw)
    ((letter),) = read_folder(folder)[1]
    assert letter.text.encode() == raw


def test_two_letters_of_one_name_are_refused(folder: Path) -> None:
    write(folder, "01-hope.md", "02-other.md", "07-hope.md")
    with pytest.raises(LetterRefused, match=r"Two files end in `-hope\.md`\. Each letter needs a name of its own"):
        read_folder(folder)


def test_a_folder_without_a_sequence_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "01-one.md")
    with pytest.raises(LetterRefused, match=r"There is no sequence\.yaml here"):
        read_folder(tmp_path)


def test_a_sequence_without_letters_is_refused(folder: Path) -> None:
    with pytest.raises(LetterRefused, match=r"There is no letter here\. Letters are files such as 01-history\.md"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["sequence.yaml", "01-one.md"])
def test_a_file_in_another_encoding_is_refused_by_name(folder: Path, name: str) -> None:
    write(folder, "01-one.md")
    (folder / name).write_bytes("key: Größe".encode("latin-1"))
    with pytest.raises(LetterRefused, match=r"not UTF-8 text\. Save it as UTF-8") as refused:
        read_folder(folder)
    assert refused.value.where == str(folder / name)


def test_a_source_nobody_knows_is_refused_where_a_letter_comes_in_and_opens_where_it_is_stored() -> None:
    text = "---\nsubject: a\nsources: later\n---\n"
    assert read_letter(FILE, text).unknown_sources == ("later",)
    with pytest.raises(LetterRefused, match="There is no source 'later' in the registry"):
        read_files({SEQUENCE_FILE: SEQUENCE, FILE: text}, "letters")


@pytest.mark.parametrize(
    ("head", "advice"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "`*a` stands for a list or a group"),
        ("a: &a {b: c}\nd: {<<: *a}", "`*a` stands for a list or a group"),
        ("a: " + "[" * 30 + "]" * 30, "more than 20 levels deep"),
        ("a: " + "[" * 1000 + "]" * 1000, "more than 20 levels deep"),
        ("a: [" + "x, " * 6_000 + "]", "more than 5,000 values"),
        ("a: " + "x" * 300_000, "300,0"),
    ],
    ids=["an alias bomb", "a merged group", "levels", "many levels", "values", "characters"],
)
def test_front_matter_out_of_bounds_is_refused_while_it_is_read(head: str, advice: str) -> None:
    for refused in (head_refusal(f"subject: a\n{head}"), sequence_refusal(f"{SEQUENCE}{head}\n")):
        assert advice in refused


def test_an_alias_of_a_single_value_is_read() -> None:
    assert read_letter(FILE, "---\nsubject: &s Hello\npreheader: *s\n---\n").preheader == "Hello"


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / SEQUENCE_FILE).write_text(SEQUENCE, "utf-8")
    with (tmp_path / FILE).open("wb") as file:
        file.truncate(2_000_000_000)
    with pytest.raises(LetterRefused, match="larger than 1,000,000 bytes"):
        read_folder(tmp_path)
