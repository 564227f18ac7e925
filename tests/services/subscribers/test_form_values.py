"""What people type into optional fields and addresses is put right or left out, and stops nobody."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.services.addresses import InputRefused, parse_address
from nurture.services.subscribers.form_values import MOST_NAME, clean_first_name, tidy_address

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates, controls and all


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Robin", "Robin"),
        ("Zoe\u0308", "Zoë"),
        ("O'Neil", "O'Neil"),
        ("O’Neil", "O’Neil"),
        ("D\u2018Angelo", "D’Angelo"),
        ("O\u00b4Neil", "O’Neil"),
        ("Анна-Марія Дем\u02bcян", "Анна-Марія Дем\u02bcян"),
        ("José-María", "José-María"),
        ("Anne\u2011Marie", "Anne-Marie"),
        ("Anne\u2010Marie", "Anne-Marie"),
        ("Anne\u2013Marie", "Anne-Marie"),
        ("Anne\u00adMarie", "AnneMarie"),
        ("日本", "日本"),
        ("अनु", "अनु"),
        ("محمد", "محمد"),
        ("علی\u200cرضا", "علی\u200cرضا"),
        ("ශ\u0dca\u200dරී", "ශ\u0dca\u200dරී"),
        ("Nguyễn Văn", "Nguyễn Văn"),
        ("q\u0307\u0323", "q\u0323\u0307"),
        ("J.R.R.", "J.R.R."),
        ("St. John", "St. John"),
        ("St.John", "St.John"),
        ("  Anna   Lena ", "Anna Lena"),
        ("Anna\nLena\r\n", "Anna Lena"),
        ("Anna\u2028Lena\tM", "Anna Lena M"),
        ("Robin \U0001f600", "Robin"),
        ("Robin!", "Robin"),
        ('"Robin"', "Robin"),
        ("‘Robin’", "Robin"),
        ("Robin (Rob)", "Robin Rob"),
        ("Robin2", "Robin"),
        ("Robin\0", "Robin"),
        ("Ro\x1bbin\x7f", "Robin"),
        ("Ro\u200bbin\u200d", "Robin"),
        ("\u202enibor", "nibor"),
        ("\u2067Robin\u2069", "Robin"),
        ("Robin\ud800", "Robin"),
        ("e\u0301" * 40, "é" * 40),
        ("a" * 41, "a" * 40),
        ("Maximiliane Alexandrina Theodora Henriette", "Maximiliane Alexandrina Theodora"),
        ("Ann @home", ""),
        ("", ""),
        (" \r\n ", ""),
        ("...", ""),
        ("\u0301", ""),
        ("12345", ""),
    ],
    ids=ascii,
)
def test_a_name_is_greeted_by_as_it_was_meant(typed: str, name: str) -> None:
    assert clean_first_name(typed) == name


@pytest.mark.parametrize(
    "typed",
    [
        "http://example.org", "//example", "www.example", "visit example.com", "Win at casino.example", "example.COM",
        "example.рф", "<script>", "<b>Robin</b>", "robin@example", "a/b", "a\\b", "{{ reader }}", "{% raw %}", "%s", "=cmd|x",
        "mailto:x", "&#60;b&#62;",
    ],
    ids=ascii,
)  # fmt: skip
def test_markup_links_and_templates_are_left_out(typed: str) -> None:
    assert clean_first_name(typed) == ""


@pytest.mark.parametrize("typed", ["bit.ly", "t.co", "abc.shop", "abc.SHOP", "St.Co"])
def test_no_short_name_of_a_host_stays_a_link(typed: str) -> None:
    assert clean_first_name(typed) == typed.replace(".", ". ")


@settings(max_examples=500)
@given(ANY_TEXT)
def test_any_text_becomes_one_short_line_that_is_nothing_else(typed: str) -> None:
    name = clean_first_name(typed)
    assert len(name) <= MOST_NAME
    assert len(name.splitlines()) <= 1
    assert name.isprintable() or set(name) & set("\u200c\u200d")
    assert not set(name) & set('<>&"{}%/\\@:;=+\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\ufeff')
    assert clean_first_name(name) == name
    name.encode()


@pytest.mark.parametrize("typed", ["a\u0301" * 50_000, "\u0300" * 100_000, " " * 100_000, "a." * 50_000, " @" * 50_000])
def test_a_long_value_costs_nothing(typed: str) -> None:
    began = time.process_time()
    clean_first_name(typed)
    tidy_address(typed)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "typed",
    [
        " robin@example.org\r\n", "mailto:robin@example.org", "MAILTO:robin@example.org?subject=Hi", "<robin@example.org>",
        "Robin Quill <robin@example.org>", '"Quill, Robin" <robin@example.org>', "<mailto:robin@example.org>",
        "robin@example.org.", "robin@example.org;", "robin@example.org,", "robin @ example.org",
        "\u200brobin@example.org\ufeff",
        "\u202arobin@example.org\u202c", "robin@example.org",
    ],
    ids=ascii,
)  # fmt: skip
def test_an_address_is_taken_however_it_was_copied(typed: str) -> None:
    assert parse_address(tidy_address(typed)).send_to == "robin@example.org"


@pytest.mark.parametrize(
    "typed",
    [
        "robin@example.org\r\nBcc: x@example.org", "a@example.org, b@example.org", "<a@example.org> <b@example.org>", "robin",
        "Robin\r\n<robin@example.org>", "<robin@example.org", "robin quill@example.org", "ro\0bin@example.org",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_may_mean_two_things_stays_as_it_is_and_is_refused(typed: str) -> None:
    with pytest.raises(InputRefused, match="e-mail address"):
        parse_address(tidy_address(typed))
