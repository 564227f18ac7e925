"""Somebody who finds the desk open, or only knows an address, does not get the account, nor lock its owner out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyotp
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from nurture.app import create_app
from nurture.domain.user import Role
from nurture.runtime import Runtime
from nurture.services.accounts import accounts, login
from nurture.services.addresses import parse_address
from tests.clocks import ManualClock
from tests.desk import PASSWORD, Colleague, a_colleague, csrf, log_in_as, path_of, post
from tests.people import inbox, run_tick

NEW = "seven herons cross the ferry"
STRANGER = {"REMOTE_ADDR": "198.51.100.7"}
OTHER_STRANGER = {"REMOTE_ADDR": "203.0.113.9"}
AT_HOME = {"REMOTE_ADDR": "192.0.2.20"}
FIREFOX = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"}
IPHONE = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"}


@pytest.fixture
def dana(rt: Runtime, clock: ManualClock) -> Colleague:
    found = a_colleague(rt)
    clock.advance(seconds=61)
    return found


def told(rt: Runtime, address: str) -> list[str]:
    """The subjects of the mails to an address."""
    run_tick(rt)
    return [str(mail.message["Subject"]) for mail in inbox(rt) if str(mail.message["To"]) == address]


def take_over(client: FlaskClient, rt: Runtime, who: Colleague, email: str = "evil@example.net", **more: str) -> TestResponse:
    """Everything that proves who somebody is, replaced by whoever sits at their open desk."""
    secret, sealed = accounts.begin_protection(rt, who.id)
    code = pyotp.TOTP(secret).at(rt.clock.real_now())
    form = {"email": email, "password": NEW, "secret": sealed, "code": code, "name": "Eve", **more}
    return client.post("/desk/account/protect", data={**form, "csrf": more.get("csrf") or csrf(client, "/desk/account/")})


def can_log_in(rt: Runtime, email: str, password: str) -> bool:
    given = {"email": email, "password": password}
    return create_app(rt).test_client().post("/desk/login", data=given).status_code == 303


def guess(
    rt: Runtime, email: str, times: int, client: FlaskClient | None = None, *, at: dict[str, str] = STRANGER
) -> list[TestResponse]:
    """Wrong passwords for an address, from somewhere."""
    client = client or create_app(rt).test_client()
    given = [{"email": email, "password": f"wrong {number}"} for number in range(times)]
    return [client.post("/desk/login", data=each, environ_base=at) for each in given]


@contextmanager
def from_home(client: FlaskClient) -> Iterator[None]:
    before = dict(client.environ_base)
    client.environ_base |= AT_HOME
    yield
    client.environ_base = before


def test_an_open_desk_does_not_give_the_account_away(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    log_in_as(client, rt, dana)
    clock.advance(minutes=11)
    assert client.get("/desk/account/protect").headers.get("Location", "").startswith("/desk/prove")
    for more in ({}, {"old": ""}, {"old": "not her password"}):
        answer = take_over(client, rt, dana, **more)
        assert answer.status_code == 422
        assert 'name="old"' in answer.text
        assert 'value="Eve"' in answer.text  # what was typed is there still
    assert post(client, "/desk/account/codes").headers["Location"].startswith("/desk/prove")
    assert not can_log_in(rt, "evil@example.net", NEW)
    assert can_log_in(rt, dana.email, PASSWORD)
    assert accounts.codes_left(rt, dana.id) == 10
    assert told(rt, dana.email) == []


def test_the_password_in_the_same_form_is_enough_and_the_old_address_is_told(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    log_in_as(client, rt, dana)
    clock.advance(minutes=11)
    assert take_over(client, rt, dana, "dana@home.example", old=PASSWORD).status_code == 200
    assert told(rt, dana.email) == ["Your log-in has a new address"]
    assert told(rt, "dana@home.example") == []
    assert can_log_in(rt, "dana@home.example", NEW)
    assert not can_log_in(rt, dana.email, PASSWORD)


def test_whoever_logged_in_by_link_and_code_sets_a_forgotten_password_anew(
    client: FlaskClient, rt: Runtime, dana: Colleague
) -> None:
    assert client.post(path_of(login.login_link(rt, dana.id))).status_code == 303
    assert client.post("/desk/login/code", data={"code": dana.code(rt)}).status_code == 303
    assert 'name="old"' not in client.get("/desk/account/protect").text
    assert take_over(client, rt, dana, dana.email).status_code == 200
    assert can_log_in(rt, dana.email, NEW)
    assert told(rt, dana.email) == ["Your password was changed"]


def test_every_change_of_a_proof_is_told_by_mail(client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague) -> None:
    log_in_as(client, rt, dana)
    assert post(client, "/desk/account/password", old=PASSWORD, new=NEW).status_code == 200
    assert post(client, "/desk/account/codes").status_code == 200
    accounts.reset(rt, dana.id)
    assert sorted(told(rt, dana.email)) == [
        "New recovery codes were made",
        "Your log-in was reset",
        "Your password was changed",
    ]
    for mail in inbox(rt):
        body = mail.message.get_body(("plain",))
        assert body is not None
        assert "/desk/login" in body.get_content()
        assert NEW not in body.get_content()


def test_the_mail_goes_out_though_the_account_is_removed(rt: Runtime, clock: ManualClock, dana: Colleague) -> None:
    sam = a_colleague(rt, "sam@example.org", Role.EDITOR, "Sam")
    accounts.reset(rt, sam.id)
    accounts.remove(rt, sam.id)
    assert told(rt, "sam@example.org") == ["Your log-in was reset"]


def test_whoever_is_not_protected_yet_sets_proofs_without_any(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    who = accounts.add(rt, parse_address("sam@example.org"), "Sam", Role.EDITOR)
    assert client.post(path_of(login.login_link(rt, who))).status_code == 303
    clock.advance(minutes=25)  # it takes some people that long
    assert client.get("/desk/account/protect").status_code == 200
    token = csrf(client, "/desk/account/protect")
    assert take_over(client, rt, Colleague(who, "", "", ()), "sam@home.example", csrf=token).status_code == 200
    assert told(rt, "sam@example.org") == ["Your log-in has a new address"]


def test_a_stranger_who_types_wrong_passwords_locks_nobody_out_of_their_own_device(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    with from_home(client):
        log_in_as(client, rt, dana)
        client.delete_cookie("desk")
        clock.advance(seconds=31)
        assert "too many tries" in guess(rt, dana.email, 7)[-1].text
        log_in_as(client, rt, dana)
    elsewhere = create_app(rt).test_client()
    assert "too many tries" in guess(rt, dana.email, 1, elsewhere, at=AT_HOME)[-1].text


def test_a_known_device_has_few_tries_too_and_is_known_for_its_own_account_only(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    sam = a_colleague(rt, "sam@example.org", Role.EDITOR, "Sam")
    clock.advance(seconds=61)
    log_in_as(client, rt, dana)
    clock.advance(seconds=31)
    assert "too many tries" in guess(rt, dana.email, 6, client)[-1].text
    assert "too many tries" not in guess(rt, dana.email, 1, at=OTHER_STRANGER)[-1].text  # the account is counted apart
    assert "too many tries" in guess(rt, sam.email, 6)[-1].text
    assert "too many tries" in guess(rt, sam.email, 1, client)[-1].text


def test_one_network_that_tries_many_addresses_waits_and_others_do_not(rt: Runtime, dana: Colleague) -> None:
    answers = [guess(rt, f"guess{number}@example.org", 1)[0].text for number in range(21)]
    assert ["too many tries" in answer for answer in answers] == [False] * 20 + [True]
    same_network = {"REMOTE_ADDR": "198.51.100.200"}
    assert "too many tries" in guess(rt, "more@example.org", 1, at=same_network)[0].text
    assert "too many tries" not in guess(rt, "more@example.org", 1, at=OTHER_STRANGER)[0].text


def test_right_passwords_do_not_use_a_network_s_tries_up_nor_forgive_wrong_ones(
    rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    for _ in range(3):
        for number in range(5):
            guess(rt, f"guess{number}@example.org", 1)
        other = create_app(rt).test_client()
        other.environ_base |= STRANGER
        log_in_as(other, rt, dana)
        clock.advance(seconds=31)
    answers = [guess(rt, f"more{number}@example.org", 1)[0].text for number in range(6)]
    assert ["too many tries" in answer for answer in answers] == [False] * 5 + [True]


@pytest.mark.parametrize("form", ["prove", "change", "protect"])
def test_an_open_desk_is_no_place_to_guess_the_password(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague, form: str
) -> None:
    log_in_as(client, rt, dana)
    clock.advance(minutes=11)

    def try_once(password: str) -> TestResponse:
        match form:
            case "prove":
                return post(client, "/desk/prove", password=password, next="/desk/")
            case "change":
                return post(client, "/desk/account/password", old=password, new=NEW)
        return take_over(client, rt, dana, dana.email, old=password)

    assert "too many tries" in [try_once(f"guess {number}").text for number in range(6)][-1]
    refused = try_once(PASSWORD)
    assert refused.status_code == 422
    assert "too many tries" in refused.text
    assert can_log_in(rt, dana.email, PASSWORD)  # the log-in is counted for itself
    clock.advance(minutes=2)
    assert try_once(PASSWORD).status_code in (200, 303)


def test_tries_of_many_browsers_are_counted_together(rt: Runtime, dana: Colleague) -> None:
    others = [create_app(rt).test_client() for _ in range(6)]
    answers = [guess(rt, dana.email, 1, other)[0].text for other in others]
    assert "too many tries" in answers[-1]


def test_noise_does_not_hide_who_came_in(client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague) -> None:
    log_in_as(client, rt, dana)
    clock.advance(minutes=1)
    for number in range(70):
        guess(rt, f"noise{number}@example.org", 1, at={"REMOTE_ADDR": f"198.{number}.100.1"})
    page = client.get("/desk/access/").text
    assert "<td>logged in</td>" in page
    assert "A wrong password was typed" not in re.sub("(?s)<select.*?</select>", "", page)
    assert "70 tries to log in were refused" in page
    noise = client.get("/desk/access/?events=refused").text
    assert "A wrong password was typed, 70 times within the hour" in noise
    assert "<td>logged in</td>" not in noise
    only = client.get("/desk/access/?events=logged_in").text
    assert "<td>logged in</td>" in only
    assert "<td>typed the right password</td>" not in only
    assert "Nothing of this kind" in client.get("/desk/access/?events=nonsense").text


def test_older_events_are_a_page_further(client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague) -> None:
    log_in_as(client, rt, dana)
    sam = accounts.add(rt, parse_address("sam@example.org"), "Sam", Role.EDITOR)
    for _ in range(30):
        accounts.set_role(rt, sam, Role.VIEWER)
        accounts.set_role(rt, sam, Role.EDITOR)
    first = client.get("/desk/access/")
    assert "was given access" not in re.sub("(?s)<select.*?</select>", "", first.text)
    older = re.search(r'href="(/desk/access/\?events=&amp;before=\d+)', first.text)
    assert older
    second = client.get(older[1].replace("&amp;", "&"))
    assert "<td>was given access</td>" in second.text
    assert client.get("/desk/access/?before=" + "9" * 40).status_code == 200


def test_each_session_is_listed_and_can_be_ended(client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague) -> None:
    phone, other = create_app(rt).test_client(), create_app(rt).test_client()
    for browser, agent in ((phone, IPHONE), (other, {"User-Agent": "<b>x</b>" * 1000}), (client, FIREFOX)):
        browser.environ_base |= {"HTTP_USER_AGENT": agent["User-Agent"]}
        log_in_as(browser, rt, dana)
        clock.advance(seconds=31)
    page = client.get("/desk/account/").text
    assert re.findall("<strong>([^<]+)</strong>", page) == ["Firefox on Windows", "A browser", "Safari on an iPhone"]
    assert page.count('<span class="tag">here</span>') == 1
    assert "x</b>" not in page
    names = re.findall('name="end" value="([0-9a-f]+)"', page)
    assert len(names) == 2
    assert post(client, "/desk/account/sessions", end=names[1]).status_code == 303
    assert phone.get("/desk/").status_code == 401
    assert other.get("/desk/").status_code == 200
    assert post(client, "/desk/account/sessions", end="0" * 32).status_code == 303
    assert post(client, "/desk/account/sessions").status_code == 303
    assert other.get("/desk/").status_code == 401
    assert client.get("/desk/").status_code == 200


def test_nobody_ends_a_session_of_somebody_else(client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague) -> None:
    sam = a_colleague(rt, "sam@example.org", Role.EDITOR, "Sam")
    clock.advance(seconds=61)
    log_in_as(client, rt, dana)
    second, theirs = create_app(rt).test_client(), create_app(rt).test_client()
    clock.advance(seconds=31)
    log_in_as(second, rt, dana)
    log_in_as(theirs, rt, sam)
    (name,) = re.findall('name="end" value="([0-9a-f]+)"', client.get("/desk/account/").text)
    assert post(theirs, "/desk/account/sessions", end=name).status_code == 303
    assert second.get("/desk/").status_code == 200


def test_the_cookie_of_a_device_opens_nothing(client: FlaskClient, rt: Runtime, dana: Colleague) -> None:
    log_in_as(client, rt, dana)
    device = client.get_cookie("desk-device")
    assert device is not None
    assert device.http_only
    assert device.same_site == "Strict"
    client.set_cookie("desk", device.value)
    assert client.get("/desk/").status_code == 401


@pytest.mark.parametrize("change", ["reset", "password", "protect"])
def test_a_link_of_before_opens_nothing_after_a_change(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague, change: str
) -> None:
    old = login.login_link(rt, dana.id, login.INVITATION_WORKS)
    log_in_as(client, rt, dana)
    match change:
        case "reset":
            accounts.reset(rt, dana.id)
        case "password":
            assert post(client, "/desk/account/password", old=PASSWORD, new=NEW).status_code == 200
        case _:
            clock.advance(seconds=31)
            assert take_over(client, rt, dana, dana.email).status_code == 200
    other = create_app(rt).test_client()
    assert other.post(path_of(old)).status_code == 404
    assert other.post(path_of(login.login_link(rt, dana.id))).status_code == 303
