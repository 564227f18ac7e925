"""The pages that letters point to, and letters as pages: for everybody, with nobody's data."""

import re
from html import unescape

import pytest
from flask.testing import FlaskClient

from nurture.letters import gate, registry
from nurture.letters.source import read_folder
from nurture.resources import pack
from nurture.runtime import Runtime
from nurture.store.sequences import sequences
from tests.people import a_subscriber

KEY = "ketamine-and-talk-therapy"
SLUGS = [letter.key for letter in read_folder(pack().letters / KEY)[1]]
PAGES = ["/pages/sources", "/pages/picture", "/pages/questions", "/pages/list", f"/read/{KEY}"]
LETTERS = [f"/read/{KEY}/{slug}" for slug in SLUGS]


def words(page: str) -> str:
    main = re.search(r"<main.*?</main>", page, re.DOTALL)
    assert main is not None
    return unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</(p|li|h\d|figcaption|text|title|desc)>", "\n\n", main[0])))


@pytest.mark.parametrize("path", PAGES + LETTERS)
def test_a_page_for_everybody_loads_nothing_and_holds_nobody(client: FlaskClient, rt: Runtime, path: str) -> None:
    reader = a_subscriber(rt, first_name="Zacharias")
    answer = client.get(path)
    assert answer.status_code == 200
    assert "style-src 'self'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r'style="|<script|src="https?:|\{\{|\{%', answer.text)
    for private in ("Zacharias", reader.email, "/unsubscribe/", "?t="):
        assert private not in answer.text
    for target in set(re.findall(r'href="(/[^"#]*)', answer.text)):
        with client.get(target) as there:  # a file stays open otherwise
            assert there.status_code == 200, target


@pytest.mark.parametrize("path", PAGES)
def test_the_rules_for_letters_hold_for_the_pages_too(client: FlaskClient, path: str) -> None:
    text = words(client.get(path).text)
    for work in registry.shipped().values():
        text = text.replace(work.title, "")  # a title is quoted as it is
    text += "\n\nCall or text 988."
    wrong = [(finding.rule, finding.words) for finding in gate.check_text(text, "page") if finding.stops]
    assert wrong == []


def test_every_source_is_on_its_page_with_what_it_found_and_whether_it_was_read(client: FlaskClient) -> None:
    page = unescape(client.get("/pages/sources").text)
    for work in registry.shipped().values():
        assert page.count(f'id="{work.id}"') == 1
        assert work.finding in page
        assert f'href="{work.url}"' in page
    unread = sum(work.verified_on is None for work in registry.shipped().values())
    assert unread
    assert page.count("Only accounts of it have been read so far") == unread


def test_a_letter_as_a_page_is_the_letter_and_leads_to_its_neighbours(client: FlaskClient) -> None:
    page = unescape(client.get(LETTERS[4]).text)
    assert "<title>Letter 4: what to expect, and the risks" in page
    assert 'name="robots" content="noindex"' in page
    assert "Hello," in page
    assert 'href="http://127.0.0.1:8000/pages/list"' in page
    assert f'href="{LETTERS[3]}" rel="prev"' in page
    assert f'href="{LETTERS[5]}" rel="next"' in page
    assert "[1]" in page
    assert 'rel="prev"' not in client.get(LETTERS[0]).text
    assert 'rel="next"' not in client.get(LETTERS[5]).text
    assert 'href="http://127.0.0.1:8000/consultation"' in client.get(LETTERS[5]).text


def test_an_edited_letter_is_what_the_page_shows(client: FlaskClient, rt: Runtime) -> None:
    with rt.database.begin() as db:
        stored = sequences.load(db, KEY)
        assert stored is not None
        steps = tuple(
            sequences.StoredStep(
                step.key, step.position, step.file_name, step.source.replace("**The lab.**", "**The new words.**"), step.wait,
                step.edition, step.if_late,
            )
            for step in stored.steps
        )  # fmt: skip
        sequences.put(db, sequences.StoredSequence(stored.id, stored.key, stored.title, stored.rules, steps))
    assert "The new words." in client.get(LETTERS[1]).text


@pytest.mark.parametrize("path", ["/read/nothing", "/read/nothing/history", f"/read/{KEY}/nothing", "/pages/nothing"])
def test_what_is_not_there_is_said_like_anywhere_else(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "This page does not exist" in answer.text
