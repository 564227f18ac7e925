"""What must not be missing from the letter about risks, the two sheets and the crisis lines."""

import re

import pytest
import yaml

from nurture.letters.layout import crisis_lines
from nurture.letters.registry import shipped
from nurture.letters.source import read_folder
from nurture.resources import pack

PAGES = pack().folder / "pages"
LETTER = next(one for one in read_folder(pack().letters / "ketamine-and-talk-therapy")[1] if one.key == "what-to-expect")
FACTS = {
    "driving": ("next day, after a restful sleep", "24 hours"),
    "effects": ("vomiting", "blurred vision", "frightening", "days to weeks"),
    "medicines": ("MAOIs", "stimulants", "benzodiazepines", "opioids", "theophylline", "aminophylline"),
    "visits": ("twice a week", "weekly"),
    "food": ("two hours", "half an hour"),
    "bladder": ("burning", "urgency", "blood"),
    "the drop": ("mood can drop",),
}


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", "", html))


@pytest.mark.parametrize("subject", FACTS)
def test_letter_4_and_the_questions_name_it(subject: str) -> None:
    for name, text in (("letter 4", LETTER.body), ("questions", plain((PAGES / "questions.html").read_text("utf-8")))):
        for fact in FACTS[subject]:
            assert fact.lower() in text.lower(), f"{name}: {fact}"


def test_letter_4_asks_about_birth_control() -> None:
    assert "birth control" in LETTER.body


def test_the_list_for_the_doctor_names_what_to_tell_and_to_ask() -> None:
    text = plain((PAGES / "list.html").read_text("utf-8"))
    for fact in (
        "24 hours", "next day, after a restful sleep", "MAOIs", "stimulants", "theophylline", "aminophylline",
        "benzodiazepines", "opioids", "birth control", "burning, urgency or blood", "days to weeks",
        "eating and drinking", "How many visits",
        "mood drops",
    ):  # fmt: skip
        assert fact in text, fact


def test_no_page_says_that_driving_after_ketamine_may_begin_the_next_day() -> None:
    pages = [*PAGES.glob("*.html"), pack().texts]
    assert len(pages) >= 4
    for text in (LETTER.body, *(path.read_text("utf-8") for path in pages)):
        for sentence in re.split(r"(?<=[.?!])\s", plain(text)):
            assert "next day" not in sentence or "spray" in sentence or "After it" in sentence, sentence


def test_the_24_hours_have_their_source() -> None:
    assert "24 hours" in shipped()["mayo-ketamine"].finding
    assert 'not for 24 hours {{ cite("mayo-ketamine") }}' in LETTER.body


def test_the_crisis_lines_can_be_reached_by_voice_and_by_text() -> None:
    said = {line["country"]: f"{line['name']}: {line['how']}" for line in crisis_lines()}
    for country, facts in {
        "United States": ("988", "press 2", "AYUDA"), "United States, veterans": ("press 1", "838255"), "Canada": ("911",),
        "United Kingdom": ("116 123", "111", "option 2", "999"), "United Kingdom, by text": ("85258",),
        "Ireland": ("116 123", "50808"), "Australia": ("13 11 14", "0477 13 11 14", "000"), "New Zealand": ("1737", "111"),
        "European Union": ("112", "no crisis line"),
    }.items():  # fmt: skip
        for fact in facts:
            assert fact in said[country], (country, fact)
    text = pack().crisis_lines.read_text("utf-8")
    assert all(set(line) == {"country", "name", "how", "link", "checked-on"} for line in yaml.safe_load(text))
