"""The reading grade is the published formula; its syllables are counted as well as spelling tells."""

import pytest

from nurture.letters.reading import Measure, grade, measure, spans, syllables, words

KNOWN = {
    1: "a the like asked called times changed through doubt drug mood help watch treat safe lines seen whole",
    2: "many people able something therefore needed started changes letter science trial quiet being doing table treatment"
    " studies taken pressure spoken signal little prescribed business doesn't",
    3: "ketamine therapy idea depression prescriber area medicine theory however another anyone opioid different hospital"
    " animal creative glutamate psychosis theories off-label",
    4: "anesthetic experience medication January esketamine dissociate information",
    5: "university psychotherapy individual",
}  # fmt: skip
BEYOND_SPELLING = {"business", "doesn't"}
"""Known to come out wrong, so that the list is not one of easy words only."""


def test_syllables_are_right_for_nearly_every_word_of_a_list() -> None:
    known = [(word, count) for count, row in KNOWN.items() for word in row.split()]
    wrong = {word for word, count in known if syllables(word) != count}
    assert len(known) >= 60
    assert wrong == BEYOND_SPELLING


@pytest.mark.parametrize("word", ["988", "n", "hmm", "'", "Ω"])
def test_every_word_has_at_least_one_syllable(word: str) -> None:
    assert syllables(word) == 1


def test_the_grade_is_the_published_formula() -> None:
    """Ten words in two sentences, one of them with three syllables: 0.39 · 5 + 11.8 · 12 / 10 − 15.59 = 0.52."""
    sentences = ["The cat sat in here.", "A dog ate the medicine."]
    assert grade(sentences) == pytest.approx(0.39 * 5 + 11.8 * 12 / 10 - 15.59)
    assert measure([" ".join(sentences)]).grade == 0.5


def test_a_hard_text_has_a_high_grade_and_an_easy_one_a_low() -> None:
    hard = "Antidepressant responsivity following subanesthetic administration necessitates psychotherapeutic evaluation."
    easy = "You can ask me. I will tell you what I know. It may not be much."
    assert measure([hard]).grade > 20
    assert measure([easy]).grade < 3


def split(text: str) -> list[str]:
    return [text[begin:end] for begin, end in spans(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is small [1]. It is so. [2][3] Then more", ["It is small [1].", "It is so. [2][3]", "Then more"]),
        ("Dr. Stevens made it in the U.S. Army, e.g. there.", ["Dr. Stevens made it in the U.S. Army, e.g. there."]),
        ("So do I. You too.", ["So do I.", "You too."]),
        ('He said "go." They went (all.) Home.', ['He said "go."', "They went (all.)", "Home."]),
        ("A dose of 0.5 is small... or not. Right?!", ["A dose of 0.5 is small... or not.", "Right?!"]),
        ("", []),
        ("  ", []),
        ("...", ["..."]),
    ],
)
def test_a_text_is_taken_apart_into_its_sentences(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


@pytest.mark.parametrize("unit", [".", "a.", ". ", ".[1", "'\"", "A. ", "[11] "])
def test_no_text_makes_the_search_for_sentences_slow(unit: str) -> None:
    """A run of stops is looked at once: were it looked at again from each of its signs, this would not come to its end."""
    text = unit * (200_000 // len(unit))
    assert sum(end - begin for begin, end in spans(text)) <= len(text)


def test_words_are_what_a_reader_counts() -> None:
    assert words("It's off-label – in 1962 [1], [12] – isn’t it?") == ["It's", "off-label", "in", "1962", "isn’t", "it"]


def test_headings_and_fragments_count_as_words_but_are_no_sentences() -> None:
    sentence = "You can ask me anything about this over a call."
    alone = measure([sentence])
    assert measure([sentence, "Hello Sam,", "The lab."], beside=["Ask for a call"]) == Measure(18, alone.grade)


def test_the_end_of_a_paragraph_or_item_ends_a_sentence() -> None:
    apart = measure(["high blood pressure now", "psychosis or mania before"]).grade
    assert apart < measure(["high blood pressure now psychosis or mania before"]).grade


@pytest.mark.parametrize(("count", "minutes"), [(0, 1), (200, 1), (201, 2), (450, 3)])
def test_minutes_are_whole_and_at_least_one(count: int, minutes: int) -> None:
    assert Measure(count, 0.0).minutes == minutes
    assert measure([]).grade == 0.0
