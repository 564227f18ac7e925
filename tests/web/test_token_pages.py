"""Pages a token opens. A GET changes nothing, whoever sends it and however often."""

import hashlib
import re

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from nurture.domain.delivery import DeliveryKind, State
from nurture.runtime import Runtime
from nurture.store.core.schema import metadata
from nurture.tokens import Purpose
from tests.clocks import ManualClock
from tests.people import Reader, a_subscriber, due, inbox, rows, run_tick, sign_up


def token(rt: Runtime, reader: Reader, purpose: Purpose = Purpose.UNSUBSCRIBE) -> str:
    return rt.tokens.mint(purpose, reader.id)


def everything(rt: Runtime) -> str:
    """A hash over every row of every table."""
    seen = hashlib.sha256()
    with rt.database.read() as db:
        for table in metadata.sorted_tables:
            rows = sorted(repr([bytes(v) if isinstance(v, bytes) else v for v in row]) for row in db.execute(select(table)))
            seen.update(repr((table.name, rows)).encode())
    return seen.hexdigest()


def links(rt: Runtime, reader: Reader) -> list[str]:
    """Every link of ours in every mail of a reader, header links included."""
    found = set()
    for mail in inbox(rt, reader):
        text = mail.part("html") + mail.part("plain") + str(mail.message["List-Unsubscribe"])
        found |= set(re.findall(re.escape(rt.settings.base_url) + r"(/[^\s\"'<>]*)", text))
    return sorted(found)


def test_no_scanner_changes_anything_however_often_it_opens_every_link(client: FlaskClient, rt: Runtime) -> None:
    reader = sign_up(rt)
    run_tick(rt)
    confirmation = links(rt, reader)
    before = everything(rt)
    for _ in range(7):
        for path in [*confirmation, "/desk/login/x"]:
            for method in ("GET", "HEAD", "OPTIONS"):
                assert client.open(path, method=method).status_code < 500
    assert everything(rt) == before
    client.post(next(path for path in confirmation if "/confirm/" in path))
    run_tick(rt)
    before = everything(rt)
    assert any("/consultation?t=" in path for path in links(rt, reader)) or any("/unsubscribe/" in p for p in links(rt, reader))
    for path in links(rt, reader):
        for method in ("GET", "HEAD", "OPTIONS"):
            client.open(path, method=method)
    assert everything(rt) == before


def test_confirming_takes_a_button(client: FlaskClient, rt: Runtime) -> None:
    reader = sign_up(rt)
    path = f"/confirm/{token(rt, reader, Purpose.CONFIRM)}"
    page = client.get(path)
    assert page.status_code == 200
    assert f'action="{path}"' in page.text
    assert 'method="post"' in page.text.lower()
    assert rows(rt, reader, DeliveryKind.LETTER) == []
    for _ in range(2):
        assert client.post(path).status_code == 200
    assert len(rows(rt, reader, DeliveryKind.LETTER)) == 1


@pytest.mark.parametrize("encoding", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_one_click_works_in_both_encodings_without_cookie_or_redirect_and_twice(
    client: FlaskClient, rt: Runtime, encoding: str
) -> None:
    reader = a_subscriber(rt)
    for _ in range(2):
        answer = client.post(
            f"/unsubscribe/{token(rt, reader)}",
            data={"List-Unsubscribe": "One-Click"},
            content_type=encoding,
            headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://mail.example"},
        )
        assert (answer.status_code, answer.data) == (200, b"")
        assert "Set-Cookie" not in answer.headers
    assert {row[1] for row in rows(rt, reader)} == {State.CANCELLED}


def test_one_click_with_a_link_that_is_not_ours_is_answered_calmly_and_does_nothing(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    wrong = token(rt, reader, Purpose.CONSULTATION)
    assert client.post(f"/unsubscribe/{wrong}", data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert due(rt, reader) is not None


def test_leaving_by_the_page_offers_an_undo_that_works(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    promised = due(rt, reader)
    left = client.post(f"/unsubscribe/{token(rt, reader)}")
    assert left.status_code == 200
    assert due(rt, reader) is None
    action = re.search(r'action="(/unsubscribe/[^"]+/undo)"', left.text)
    assert action
    assert client.get(action[1]).status_code == 405
    assert client.post(action[1]).status_code == 200
    assert due(rt, reader) == promised


def test_the_link_in_a_letter_cannot_bring_somebody_back(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    left = client.post(f"/unsubscribe/{token(rt, reader)}")
    assert client.post(f"/unsubscribe/{token(rt, reader)}/undo").status_code == 404
    action = re.search(r'action="(/unsubscribe/[^"]+/undo)"', left.text)
    clock.advance(hours=1, seconds=1)
    assert action and client.post(action[1]).status_code == 404
    assert due(rt, reader) is None


UNDO = re.compile(r'action="(/unsubscribe/[^"]+/undo)"')


def leave(client: FlaskClient, rt: Runtime, reader: Reader) -> str | None:
    """Leave by the page; returns where its undo goes, if it offers one."""
    page = client.post(f"/unsubscribe/{token(rt, reader)}")
    assert page.status_code == 200
    found = UNDO.search(page.text)
    return found[1] if found else None


def test_whoever_holds_an_old_letter_cannot_bring_its_reader_back_by_leaving_once_more(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    assert leave(client, rt, reader)
    clock.advance(days=90)
    action = leave(client, rt, reader)
    if action:
        client.post(action)
    assert due(rt, reader) is None
    assert action is None, "nothing is offered that does not work"


def test_leaving_twice_does_not_lengthen_the_hour_of_the_undo(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    leave(client, rt, reader)
    clock.advance(minutes=59)
    again = leave(client, rt, reader)
    assert again, "within the hour a second press, or a reload, offers it still"
    clock.advance(minutes=2)
    assert client.post(again).status_code == 404
    assert due(rt, reader) is None


def test_an_undo_is_of_one_leaving_and_not_of_a_later_one(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    first = leave(client, rt, reader)
    clock.advance(minutes=1)
    assert first
    assert client.post(first).status_code == 200
    clock.advance(minutes=1)
    second = leave(client, rt, reader)
    assert client.post(first).status_code == 404
    assert due(rt, reader) is None
    assert second
    assert client.post(second).status_code == 200
    assert due(rt, reader) is not None


def test_who_left_by_one_click_is_offered_the_undo_by_the_page_within_the_hour(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    client.post(f"/unsubscribe/{token(rt, reader)}", data={"List-Unsubscribe": "One-Click"})
    clock.advance(minutes=30)
    action = leave(client, rt, reader)
    assert action
    assert client.post(action).status_code == 200
    assert due(rt, reader) is not None


def test_every_dead_link_gets_the_same_answer(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = sign_up(rt)
    expired = rt.tokens.mint(Purpose.CONFIRM, reader.id, clock.now())
    clock.advance(seconds=2)
    answers = {
        (answer.status_code, answer.data)
        for dead in (expired, "rubbish", token(rt, reader), "A" * 200)
        for answer in (client.get(f"/confirm/{dead}"), client.post(f"/confirm/{dead}"))
    }
    assert len(answers) == 1
    assert answers.pop()[0] == 404


def test_titles_of_token_pages_are_discreet(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    for path in (f"/unsubscribe/{token(rt, reader)}", f"/confirm/{token(rt, reader, Purpose.CONFIRM)}"):
        page = client.get(path).text
        title = page.split("<title>")[1].split("</title>")[0].lower()
        assert not any(word in title for word in ("ketamine", "therapy", "depress", "treatment"))
        assert "noindex" in page
