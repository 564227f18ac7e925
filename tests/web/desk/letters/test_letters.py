"""The letters' pages without a script: what odd addresses and forms get."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from nurture.domain.user import Role
from nurture.ids import EditionId, StepKey, new_id
from nurture.runtime import Runtime
from nurture.services.accounts import accounts
from nurture.services.addresses import parse_address
from nurture.services.letters import drafts, publishing
from nurture.store.core import schema
from nurture.store.letters import publications
from nurture.store.sequences import sequences
from nurture.store.sequences.sequences import StoredEdition
from tests.clocks import ManualClock
from tests.desk import a_colleague, enter, log_in, log_in_as, post
from tests.people import a_subscriber

HISTORY = "/desk/letters/ketamine-and-talk-therapy/history"


@pytest.mark.parametrize("path", ["/desk/letters/none/history", "/desk/letters/ketamine-and-talk-therapy/none"])
@pytest.mark.parametrize("page", ["", "/preview", "/editions", "/publish"])
def test_a_letter_that_is_not_there_is_said_to_be_gone(client: FlaskClient, rt: Runtime, path: str, page: str) -> None:
    log_in(client, rt)
    answer = client.get(path + page)
    assert answer.status_code == 404
    assert "no such letter" in answer.text


@pytest.mark.parametrize("query", ["who=x", "who=" + "z" * 32, "view=none", "who=named&view=plain", "who=" + "0" * 32])
def test_any_preview_that_is_asked_for_is_a_letter(client: FlaskClient, rt: Runtime, query: str) -> None:
    log_in(client, rt)
    answer = client.get(f"{HISTORY}/preview?{query}")
    assert answer.status_code == 200
    assert "Letter 1 of 5" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox" in policy
    assert "script-src" not in policy


@pytest.mark.parametrize("version", ["", "-1", "x", "9" * 12])
def test_a_save_without_its_version_is_refused_and_changes_nothing(client: FlaskClient, rt: Runtime, version: str) -> None:
    log_in(client, rt)
    given = {"subject": "Other", "preheader": "", "body": "", "version": version}
    assert post(client, HISTORY, **given).status_code == 400
    assert "changes not published" not in client.get("/desk/letters/").text


def test_what_a_form_sends_without_a_subject_comes_back(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    answer = post(client, HISTORY, subject=" ", preheader="", body="# Typed for an hour", version="0")
    assert answer.status_code == 422
    assert "needs a subject line" in answer.text
    assert "# Typed for an hour" in answer.text


def test_editions_that_are_none_are_not_put_back(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    assert post(client, f"{HISTORY}/editions", edition="x", version="0").status_code == 409
    assert client.get(f"{HISTORY}/editions?edition=x").status_code == 200


def test_a_viewer_reads_letters_and_changes_none(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    a_colleague(rt)
    viewer = a_colleague(rt, "vic@example.org", Role.VIEWER)
    clock.advance(seconds=61)
    log_in_as(client, rt, viewer)
    assert client.get(HISTORY).status_code == 200
    for path in ("", "/test-email", "/publish", "/discard", "/reviewed", "/editions"):
        assert post(client, HISTORY + path, version="0").status_code == 403


def test_whose_eyes_are_chosen_by_address_and_shown_by_a_random_id(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, first_name="Zoë")
    log_in(client, rt)
    answer = post(client, f"{HISTORY}/who", email=reader.email)
    assert answer.status_code == 303
    assert reader.email not in answer.headers["Location"]
    assert reader.id in answer.headers["Location"]
    assert "Hello Zoë" in client.get(f"{HISTORY}/preview?who={reader.id}").text
    assert post(client, f"{HISTORY}/who", email="nobody@example.org").status_code == 404


def test_when_a_letter_was_last_published_and_by_whom_is_said_on_the_practices_clock(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    vera = accounts.add(rt, parse_address("vera@example.org"), "Vera", Role.OWNER)
    enter(client, rt)
    assert "by whoever runs the service" in client.get("/desk/letters/").text
    rt.settings = rt.settings.model_copy(update={"time_zone": "America/New_York"})
    clock.at = datetime(2026, 3, 5, 3, 30, tzinfo=UTC)  # still the 4th in New York
    enter(client, rt)
    with rt.database.begin() as db:
        sequence = sequences.load(db, "ketamine-and-talk-therapy")
        assert sequence
        (now,) = [step for step in sequence.steps if step.key == "history"]
        edition = StoredEdition(EditionId(new_id()), now.key, "", "", "", "")
        sequences.publish(db, sequence.id, edition, now.source, f"user {vera}", clock.now())
        listed = tuple(replace(step, edition=edition.id) if step is now else step for step in sequence.listed)
        sequences.put(db, replace(sequence, listed=listed))
    assert "Published 4 March 2026 by Vera" in client.get("/desk/letters/").text
    assert "Last published Wednesday 4 March, 22:30, by Vera" in client.get(HISTORY).text
    assert "Wednesday 4 March, 22:30, by Vera" in client.get(f"{HISTORY}/editions").text
    accounts.remove(rt, vera)
    assert "by somebody who has no access any more" in client.get(HISTORY).text


def test_what_stops_publishing_is_said_in_plain_words_with_a_link_to_where_it_is_mended(
    client: FlaskClient, rt: Runtime
) -> None:
    log_in(client, rt)
    a_subscriber(rt, first_name="")
    now = drafts.open_letter(rt, "ketamine-and-talk-therapy", StepKey("history"))
    body = "Hello {{ reader.first_name }}.\n\nIt costs {{ practice.fee }}.\n"
    text = now.letter.text.replace(now.letter.body, body)
    with rt.database.begin() as db:
        number = publications.ask(db, now.sequence, {now.letter.file_name: text}, "user x", rt.clock.real_now(), partial=True)
    assert publishing.work(rt)
    path = f"{HISTORY}/published/{number}"
    shown = unescape(client.get(path).text)
    assert "Line 3 of the letter says what a call costs, which is not filled in yet: readers would see a gap there." in shown
    assert '<a href="/desk/settings/practice">Fill it in</a>' in shown
    assert "1 person on your list has no first name, and would see a gap: line 1 of the letter names it." in shown
    assert f'<a href="{HISTORY}">Open the letter</a>' in shown
    assert not re.search("NURTURE_|{%|docs/|[.]md", shown)
    assert "Set NURTURE_PRACTICE_FEE" in publishing.under_way(rt)[0].troubles[0].said, "the command line names the variable"
    with rt.database.begin() as db:
        broken = {now.letter.file_name: text.replace("practice.fee", "practice.price")}
        number = publications.ask(db, now.sequence, broken, "user x", rt.clock.real_now(), partial=True)
    assert publishing.work(rt)
    shown = unescape(client.get(f"{HISTORY}/published/{number}").text)
    assert "`practice.price` does not exist" in shown
    assert "01-history.md" not in shown
    with rt.database.begin() as db:  # one from before the desk had words of its own
        db.execute(update(schema.publications).where(schema.publications.c.id == number).values(troubles='["As it was."]'))
    assert "<li>As it was.</li>" in client.get(f"{HISTORY}/published/{number}").text


def test_a_fact_that_is_missing_is_one_press_away_while_writing(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    answer = post(client, HISTORY, subject="Letter 1: where it came from", preheader="", body="{{ practice.fee }}", version="0")
    for path in (answer.headers["Location"], f"{HISTORY}/publish"):
        assert '<a href="/desk/settings/practice">Fill it in</a>' in client.get(path).text
