"""The inbox of requests for a call: how far each has come, with its undo, and a reply that gives nothing away."""

import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from nurture.domain.consultation import RequestState
from nurture.domain.user import Role
from nurture.ids import ConsultationId, SubscriberId
from nurture.runtime import Runtime
from nurture.services.addresses import parse_address
from nurture.services.subscribers import consultations
from nurture.store.core.schema import enrollments
from tests.desk import enter, post
from tests.people import a_subscriber, inbox, run_tick


@pytest.fixture
def desk(client: FlaskClient, rt: Runtime) -> FlaskClient:
    enter(client, rt)
    return client


def ask(
    rt: Runtime, email: str = "robin@example.org", name: str = "Robin Quill", subscriber_id: SubscriberId | None = None
) -> ConsultationId:
    asked = consultations.ConsultationRequest(name, email, "Oregon", "phone", "+1 503 555 0100", True, "Tuesdays after four")
    return consultations.request_consultation(rt, asked, parse_address(email), subscriber_id)


def whys(rt: Runtime) -> list[str | None]:
    with rt.database.read() as db:
        return list(db.scalars(select(enrollments.c.reason)))


def test_what_waits_is_shown_first_and_the_rest_is_a_click_away(desk: FlaskClient, rt: Runtime) -> None:
    ask(rt)
    closed = ask(rt, "kim@example.org", "Kim Reed")
    consultations.move_request(rt, closed, RequestState.CLOSED)
    waiting = desk.get("/desk/requests").text
    assert "Robin Quill" in waiting
    assert "Kim Reed" not in waiting
    assert re.findall(r'show=(\w+)"[^>]*>[^<]+<span class="light">(\d+)', waiting) == [
        ("waiting", "1"), ("booked", "0"), ("closed", "1"), ("all", "2"),
    ]  # fmt: skip
    assert "Kim Reed" in desk.get("/desk/requests?show=closed").text
    assert desk.get("/desk/requests?show=all").text.count("/desk/consultations/") == 2
    assert "There is nothing here." in desk.get("/desk/requests?show=booked").text
    assert "Robin Quill" in desk.get("/desk/requests?show=nonsense").text


def test_a_booking_marks_the_goal_and_undoing_it_takes_the_mark_back(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, "robin@example.org")
    url = f"/desk/consultations/{ask(rt, subscriber_id=reader.id)}"
    assert f'href="/desk/people/{reader.id}/"' in desk.get(url).text
    assert whys(rt) == ["consultation"]
    done = post(desk, f"{url}/state", state="booked")
    shown = desk.get(done.headers["Location"]).text
    assert "It counts as booked now." in shown
    assert 'name="state" value="new">Undo' in shown
    assert whys(rt) == ["booked"]
    assert "a call is booked" in desk.get(f"/desk/people/{reader.id}/").text
    undone = post(desk, f"{url}/state", state="new")
    assert undone.status_code == 303
    assert whys(rt) == ["consultation"]


def test_a_state_that_is_none_and_a_request_that_is_none_are_refused(desk: FlaskClient, rt: Runtime) -> None:
    url = f"/desk/consultations/{ask(rt)}"
    assert post(desk, f"{url}/state", state="answered").status_code == 400
    assert desk.get(f"{url}?was=nonsense").status_code == 200
    for wrong in ("0" * 32, "x"):
        assert desk.get(f"/desk/consultations/{wrong}").status_code == 404
        assert post(desk, f"/desk/consultations/{wrong}/state", state="new").status_code == 404
    enter(desk, rt, Role.VIEWER)
    assert post(desk, f"{url}/state", state="booked").status_code == 403


def test_the_reply_holds_nothing_they_wrote_and_names_no_topic(desk: FlaskClient, rt: Runtime) -> None:
    shown = desk.get(f"/desk/consultations/{ask(rt)}").text
    text = re.search(r'<textarea id="reply"[^>]*>(.*?)</textarea>', shown, re.DOTALL)
    link = re.search(r'href="(mailto:robin@example.org\?[^"]+)"', shown)
    assert text
    assert link
    query = parse_qs(urlsplit(link[1].replace("&amp;", "&")).query)
    assert query["body"][0].replace("\r\n", "\n") == text[1]
    assert query["subject"] == ["Your message"]
    told = unquote(link[1]) + text[1]
    for trace in ("503", "Tuesdays", "Oregon", "ketamine", "therapy", "treatment", "depress", "session"):
        assert trace.lower() not in told.lower(), trace
    assert "988" in text[1]


def test_no_mail_holds_what_they_wrote(desk: FlaskClient, rt: Runtime) -> None:
    consultation = ask(rt)
    post(desk, f"/desk/consultations/{consultation}/state", state="contacted")
    run_tick(rt)
    for mail in inbox(rt):
        for trace in ("Robin", "503", "Tuesdays", "Oregon"):
            assert trace not in mail.source
