"""A file in which one fact changes, and every other byte stays."""

from dataclasses import replace
from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.timeline import Quiet, Rules, Window
from nurture.letters.rewriting import with_rules, with_wait
from nurture.letters.source import LetterRefused, folder_files, read_letter, read_sequence
from nurture.resources import pack

LETTER = '---\nsubject: "A: b"\nwait: 3 days # after the first\npreheader: x\n---\n\nwait: in the body\n'
SEQUENCE = 'key: a\n# ours\ntitle: A\nwindow:\n  opens: "09:00"\n  days: [mon]\n\nwhen-in-doubt: hold\n'


def test_only_the_wait_changes() -> None:
    assert with_wait("01-a.md", LETTER, "5 days") == LETTER.replace("wait: 3 days # after the first", "wait: 5 days")


def test_a_wait_that_is_said_in_other_words_stays_as_it_is() -> None:
    assert with_wait("01-a.md", LETTER, "72 hours") != LETTER
    assert with_wait("01-a.md", LETTER, " 3  Days") == LETTER


def test_a_letter_without_a_wait_gets_one() -> None:
    text = "---\nsubject: A\n---\nBody\n"
    assert with_wait("01-a.md", text, "6 hours") == "---\nsubject: A\nwait: 6 hours\n---\nBody\n"
    assert with_wait("01-a.md", text, "at once") == text


def test_line_ends_of_windows_stay() -> None:
    text = LETTER.replace("\n", "\r\n")
    changed = with_wait("01-a.md", text, "5 days")
    assert changed == text.replace("wait: 3 days # after the first", "wait: 5 days")


@pytest.mark.parametrize("name", sorted(folder_files(pack().letters / "ketamine-and-talk-therapy")))
def test_every_shipped_file_can_be_rewritten(name: str) -> None:
    text = folder_files(pack().letters / "ketamine-and-talk-therapy")[name]
    if name.endswith(".md"):
        changed = with_wait(name, text, "9 days 2 hours")
        assert read_letter(name, changed).wait == "9 days 2 hours"
        assert read_letter(name, changed).body == read_letter(name, text).body
        assert with_wait(name, changed, read_letter(name, text).wait) == text
    else:
        assert with_rules(text, read_sequence(text).rules) == text


def test_only_the_part_of_a_sequence_that_changes_is_written_anew() -> None:
    rules = replace(read_sequence(SEQUENCE).rules, window=Window(time(10), time(12), frozenset({0, 6})))
    assert with_rules(SEQUENCE, rules) == (
        'key: a\n# ours\ntitle: A\nwindow: {opens: "10:00", closes: "12:00", days: [mon, sun]}\n\nwhen-in-doubt: hold\n'
    )


TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59))
RULES = st.builds(
    Rules,
    st.builds(Window, TIMES, TIMES, st.frozensets(st.integers(0, 6), min_size=1)),
    st.builds(Quiet, TIMES, TIMES),
    st.frozensets(st.dates(date(2026, 1, 1), date(2030, 1, 1)), max_size=3),
)


@given(RULES, RULES)
def test_whatever_the_rules_are_the_file_says_them_and_nothing_else_changes(first: Rules, second: Rules) -> None:
    for rules in (first, second):
        found = read_sequence(with_rules(SEQUENCE, rules))
        assert (found.rules, found.key, found.title, found.in_doubt) == (rules, "a", "A", "hold")
        assert "# ours\n" in found.text
    back = with_rules(with_rules(SEQUENCE, first), second)
    assert read_sequence(back).rules == second


def test_what_only_a_person_can_change_is_refused() -> None:
    with pytest.raises(LetterRefused, match="edit the file"):
        with_rules('{key: a, title: A, window: {opens: "09:00"}}\n', Rules(Window(time(1), time(2))))


def test_a_name_in_quotes_is_the_same_name() -> None:
    changed = with_rules('"window": {opens: "09:00"}\nkey: a\ntitle: A\n', Rules(Window(time(1), time(2), frozenset({0}))))
    assert changed == 'window: {opens: "01:00", closes: "02:00", days: [mon]}\nkey: a\ntitle: A\n'
