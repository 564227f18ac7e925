"""The desk: a one-time link, a session kept by the server, and what it shows."""

import re

from flask.testing import FlaskClient

from nurture.runtime import Runtime
from nurture.services import access, goals
from nurture.services.addresses import parse_address
from tests.clocks import ManualClock
from tests.desk import log_in, path_of
from tests.people import a_subscriber, run_tick


def test_nobody_gets_in_without_a_link(client: FlaskClient) -> None:
    for path in ("/desk/", "/desk/consultations/" + "0" * 32):
        assert client.get(path).status_code == 401
    assert client.post("/desk/logout").status_code == 401


def test_a_link_survives_being_opened_and_works_once_when_pressed(client: FlaskClient, rt: Runtime) -> None:
    path = path_of(access.login_link(rt))
    for _ in range(3):
        assert client.get(path).status_code == 200
    assert client.post(path).status_code == 303
    assert client.get("/desk/").status_code == 200
    assert client.post(path).status_code == 404


def test_a_link_works_for_ten_minutes(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    path = path_of(access.login_link(rt))
    clock.advance(minutes=10, seconds=1)
    assert client.get(path).status_code == 404
    assert client.post(path).status_code == 404


def test_a_session_ends_after_half_an_hour_of_rest_and_after_twelve_hours(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    log_in(client, rt)
    for _ in range(23):
        clock.advance(minutes=29)
        assert client.get("/desk/").status_code == 200
    clock.advance(hours=1)
    assert client.get("/desk/").status_code == 401
    log_in(client, rt)
    clock.advance(minutes=31)
    assert client.get("/desk/").status_code == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(client: FlaskClient, rt: Runtime) -> None:
    cookie = client.post(path_of(access.login_link(rt))).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_the_desk_shows_requests_letters_and_counts(client: FlaskClient, rt: Runtime) -> None:
    a_subscriber(rt)
    run_tick(rt)
    asked = goals.Request("Robin Quill", "robin@example.org", "Oregon", "email", "", False, "Tuesdays")
    consultation = goals.request_consultation(rt, asked, parse_address(asked.email), None)
    log_in(client, rt)
    page = client.get("/desk/").text
    assert "Letter 4" in page
    assert f"/desk/consultations/{consultation}" in page
    detail = client.get(f"/desk/consultations/{consultation}").text
    assert "Robin Quill" in detail
    assert "robin@example.org" in detail
    assert client.get("/desk/consultations/" + "0" * 32).status_code == 404
    assert client.get("/desk/consultations/x").status_code == 404


def test_logging_out_needs_the_page_s_own_token_and_ends_the_session(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/desk/").text)
    assert csrf
    assert client.post("/desk/logout").status_code == 403
    assert client.post("/desk/logout", data={"csrf": csrf[1]}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    cookie = client.get_cookie("desk")
    assert client.post("/desk/logout", data={"csrf": csrf[1]}).status_code == 303
    assert cookie is not None
    client.set_cookie("desk", cookie.value)
    assert client.get("/desk/").status_code == 401
