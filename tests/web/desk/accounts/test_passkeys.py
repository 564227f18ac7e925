"""Passkeys at the desk: only the device that was asked, at our own site, unlocked, once, within minutes."""

import json
import re
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from nurture import runtime
from nurture.app import create_app
from nurture.cli.main import cli
from nurture.domain.limits import PASSKEY_NETWORK
from nurture.domain.passkey import Site, site_of
from nurture.domain.user import Role
from nurture.runtime import Runtime
from nurture.services import limits
from nurture.services.accounts import account_passkeys, accounts, login, passkey_protocol, passkeys, security_events
from nurture.services.addresses import parse_address
from nurture.services.operations import retention
from nurture.store.core.desk_schema import passkey_challenges
from tests.authenticator import PRESENT, VERIFIED, Device, Response, decoded, encoded
from tests.clocks import ManualClock
from tests.conftest import SECRET, settings_for
from tests.desk import PASSWORD, Colleague, a_colleague, csrf, log_in_as, path_of, post
from tests.people import inbox, run_tick

HERE = "http://localhost"


@pytest.fixture
def rt(database_url: str, tmp_path: Any, clock: ManualClock) -> Any:
    built = runtime.build(settings_for(tmp_path, database_url, from_name="Dana from Oak Street", base_url=HERE))
    built.clock = clock
    yield built
    built.close()


@pytest.fixture
def dana(rt: Runtime, clock: ManualClock) -> Colleague:
    found = a_colleague(rt)
    clock.advance(seconds=61)
    return found


@pytest.fixture
def phone(client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague) -> Device:
    """A device with a passkey of Dana's, who has logged out since."""
    log_in_as(client, rt, dana)
    device = Device(HERE)
    assert add(client, device).status_code == 200
    assert post(client, "/desk/logout").status_code == 303
    clock.advance(seconds=61)
    return device


def options(client: FlaskClient, use: str) -> dict[str, Any]:
    answer = client.post("/desk/login/passkey", data={"use": use})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


def add(client: FlaskClient, device: Device, name: str = "My phone", **more: object) -> TestResponse:
    asked = json.loads(post(client, "/desk/account/passkeys/options").text)
    return post(client, "/desk/account/passkeys/new", name=name, passkey=device.make(asked), **more)


def log_in_with(client: FlaskClient, device: Device) -> TestResponse:
    return client.post("/desk/login", data={"passkey": device.use(options(client, "log-in")), "next": ""})


def first_proof(client: FlaskClient, who: Colleague) -> None:
    assert client.post("/desk/login", data={"email": who.email, "password": PASSWORD}).status_code == 303


def is_in(client: FlaskClient) -> bool:
    return client.get("/desk/").status_code == 200


def kinds(rt: Runtime) -> list[str]:
    return [event.kind for event in security_events.happened(rt)]


def told(rt: Runtime, address: str) -> list[str]:
    run_tick(rt)
    return [str(mail.message["Subject"]) for mail in inbox(rt) if str(mail.message["To"]) == address]


def name_of(client: FlaskClient) -> list[str]:
    return re.findall(r"/desk/account/passkeys/([0-9a-f]{32})", client.get("/desk/account/").text)


@pytest.mark.parametrize(
    ("base_url", "site"),
    [
        ("https://desk.example.org", Site("desk.example.org", "https://desk.example.org")),
        ("https://desk.example.org:443", Site("desk.example.org", "https://desk.example.org")),
        ("https://desk.example.org:8443", Site("desk.example.org", "https://desk.example.org:8443")),
        ("https://xn--bcher-kva.example", Site("xn--bcher-kva.example", "https://xn--bcher-kva.example")),
        ("http://localhost:8000", Site("localhost", "http://localhost:8000")),
        ("https://localhost", Site("localhost", "https://localhost")),
        ("http://desk.example.org", None),
        ("http://127.0.0.1:8000", None),
        ("https://192.0.2.7", None),
        ("https://[2001:db8::7]", None),
        ("https://0x7f.1", None),
        ("https://127.1", None),
        ("https://desk.127", None),
    ],
)
def test_passkeys_are_offered_only_at_a_name_over_https_or_at_localhost(base_url: str, site: Site | None) -> None:
    assert site_of(base_url) == site


ROUTES = (
    "/desk/login/passkey",
    "/desk/account/passkeys/options",
    "/desk/account/passkeys/new",
    f"/desk/account/passkeys/{'0' * 32}",
)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8000", "https://192.0.2.7"])
def test_elsewhere_the_account_says_why_not_and_there_are_no_routes(
    client: FlaskClient, rt: Runtime, dana: Colleague, base_url: str
) -> None:
    log_in_as(client, rt, dana)
    token = csrf(client, "/desk/account/")
    assert "There are no passkeys here" not in client.get("/desk/account/").text
    session = client.get_cookie("desk")
    assert session is not None
    client.set_cookie("__Host-desk", session.value, secure=False)
    rt.settings = rt.settings.model_copy(update={"base_url": base_url})
    page = client.get("/desk/account/").text
    assert f"or for <code>localhost</code>, and this one is at <code>{base_url}</code>" in page
    assert "passkeys.js" not in page
    for route in ROUTES:
        assert client.post(route, data={"csrf": token, "use": "log-in"}).status_code == 404, route
    assert client.get("/desk/account/passkeys/new").status_code == 404
    for path in ("/desk/login", "/desk/login/code", "/desk/prove"):
        assert client.post(path, data={"csrf": token, "passkey": "{}"}).status_code == 404, path
    assert "passkey" not in client.get("/desk/login").text


def test_a_passkey_is_added_told_by_mail_and_logs_in_alone(
    client: FlaskClient, rt: Runtime, dana: Colleague, phone: Device
) -> None:
    assert told(rt, dana.email) == ["A passkey was added to your account"]
    assert not is_in(client)
    assert log_in_with(client, phone).headers["Location"] == "/desk/"
    assert is_in(client)
    assert kinds(rt)[0] == "logged_in_by_passkey"
    assert "passkey_added" in kinds(rt)
    page = client.get("/desk/account/").text
    assert "My phone" in page
    assert "last used" in page
    assert "not used yet" not in page
    assert client.get("/desk/account/passkeys/new").status_code == 200  # logging in is showing who one is


def test_a_passkey_is_the_second_proof(client: FlaskClient, rt: Runtime, dana: Colleague, phone: Device) -> None:
    first_proof(client, dana)
    assert not is_in(client)
    asked = options(client, "second-proof")
    assert [each["id"] for each in asked["allowCredentials"]] == [json.loads(phone.use(asked))["id"]]
    sent = phone.use(options(client, "second-proof"), {"userHandle": None})  # a security key may leave it out
    assert client.post("/desk/login/code", data={"passkey": sent}).status_code == 303
    assert is_in(client)
    assert kinds(rt)[0] == "logged_in"


def test_a_mailed_link_asks_for_the_passkey_too(client: FlaskClient, rt: Runtime, dana: Colleague, phone: Device) -> None:
    assert client.post(path_of(login.login_link(rt, dana.id))).headers["Location"].startswith("/desk/login/code")
    assert not is_in(client)
    assert client.post("/desk/login/code", data={"passkey": phone.use(options(client, "second-proof"))}).status_code == 303


def test_whoever_is_asked_again_may_show_it_by_a_passkey(
    client: FlaskClient, rt: Runtime, clock: ManualClock, phone: Device
) -> None:
    log_in_with(client, phone)
    clock.advance(minutes=11)
    assert client.get("/desk/account/passkeys/new").headers["Location"].startswith("/desk/prove")
    wrong = post(client, "/desk/prove", passkey=Device(HERE).use(options(client, "again")))
    assert wrong.status_code == 422
    assert client.get("/desk/account/passkeys/new").status_code == 303
    assert post(client, "/desk/prove", passkey=phone.use(options(client, "again"))).status_code == 303
    assert client.get("/desk/account/passkeys/new").status_code == 200
    assert kinds(rt)[0] == "proved"


def is_refused(client: FlaskClient, sent: str, why: str = "This passkey does not work here") -> None:
    answer = client.post("/desk/login", data={"passkey": sent})
    assert answer.status_code == 422
    assert why in answer.text
    assert not is_in(client)


NOT_RIGHT: list[tuple[dict[str, Any], Response]] = [
    ({"origin": "https://localhost.evil.example"}, {}),
    ({"origin": "http://localhost:8080"}, {}),
    ({"rp_id": "evil.example"}, {}),
    ({"flags": PRESENT}, {}),  # nobody unlocked it
    ({"flags": VERIFIED}, {}),
    ({"user": b"\x07" * 32}, {}),
    ({}, {"userHandle": None}),
    ({}, {"signature": "AAAA"}),
    ({}, {"signature": None}),
    ({}, {"authenticatorData": "AAAA"}),
    ({}, {"clientDataJSON": "bm8"}),
    ({"credential": b"another"}, {}),
    ({"key": Device("").key}, {}),
]


def test_what_is_not_exactly_right_is_refused(client: FlaskClient, rt: Runtime, phone: Device) -> None:
    for device, response in NOT_RIGHT:
        other = Device(**{**vars(phone), **device})
        is_refused(client, other.use(options(client, "log-in"), response))
        assert log_in_with(client, phone).status_code == 303, (device, response)  # all else is as it should be
        post(client, "/desk/logout")
    (refused,) = [event for event in security_events.happened(rt) if event.kind == "passkey_refused" and event.user]
    assert refused.times == len(NOT_RIGHT) - 2  # one cannot be read, and one names no account


def test_another_challenge_or_one_for_something_else_is_refused(
    client: FlaskClient, rt: Runtime, dana: Colleague, phone: Device
) -> None:
    asked = options(client, "log-in")
    is_refused(client, phone.use(asked | {"challenge": "A" * 43}))
    of_another = create_app(rt).test_client()
    theirs = options(of_another, "log-in")
    options(client, "log-in")
    is_refused(client, phone.use(theirs))
    first_proof(client, dana)
    asked = options(client, "second-proof")
    is_refused(client, phone.use(asked), passkeys.LATE)
    log_in_with(client, phone)
    asked = json.loads(post(client, "/desk/account/passkeys/options").text)
    assert passkeys.LATE in post(client, "/desk/prove", passkey=phone.use(asked)).text


def test_an_answer_works_once(client: FlaskClient, rt: Runtime, phone: Device) -> None:
    sent = phone.use(options(client, "log-in"))
    kept = client.get_cookie("desk-passkey")
    assert kept is not None
    assert client.post("/desk/login", data={"passkey": sent}).status_code == 303
    other = create_app(rt).test_client()
    other.set_cookie("desk-passkey", kept.value)
    is_refused(other, sent, passkeys.LATE)


def test_an_answer_that_was_refused_is_used_up_too(client: FlaskClient, phone: Device) -> None:
    asked = options(client, "log-in")
    is_refused(client, phone.use(asked, {"signature": "AAAA"}))
    is_refused(client, phone.use(asked), passkeys.LATE)


def test_a_browser_that_was_not_asked_cannot_answer(client: FlaskClient, rt: Runtime, phone: Device) -> None:
    other = create_app(rt).test_client()
    options(other, "log-in")
    sent = phone.use(options(client, "log-in"))
    is_refused(other, sent)
    is_refused(create_app(rt).test_client(), sent, passkeys.LATE)
    assert client.post("/desk/login", data={"passkey": sent}).status_code == 303


def test_a_challenge_lasts_five_minutes(client: FlaskClient, clock: ManualClock, dana: Colleague, phone: Device) -> None:
    first_proof(client, dana)
    for minutes, status in ((5.1, 422), (4.9, 303)):
        asked = options(client, "second-proof")
        clock.advance(minutes=minutes)
        assert client.post("/desk/login/code", data={"passkey": phone.use(asked)}).status_code == status


def test_the_passkey_of_another_account_is_no_second_proof(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague, phone: Device
) -> None:
    sam = a_colleague(rt, "sam@example.org", Role.EDITOR, "Sam")
    clock.advance(seconds=61)
    first_proof(client, sam)
    without_owner: Response = {"userHandle": None}
    for response in (None, without_owner):  # a security key may leave it out
        answer = client.post("/desk/login/code", data={"passkey": phone.use(options(client, "second-proof"), response)})
        assert answer.status_code == 422
        assert not is_in(client)
    assert "second_proof_refused" in kinds(rt)
    log_in_as(client, rt, sam)
    clock.advance(minutes=11)
    assert post(client, "/desk/prove", passkey=phone.use(options(client, "again"))).status_code == 422


def test_a_passkey_whose_count_goes_back_is_refused_and_noted(client: FlaskClient, rt: Runtime, phone: Device) -> None:
    copy = Device(**vars(phone))
    for _ in range(2):
        assert log_in_with(client, phone).status_code == 303
        post(client, "/desk/logout")
    is_refused(client, copy.use(options(client, "log-in")), "may have been copied")
    assert "passkey_count_back" in kinds(rt)
    assert log_in_with(client, phone).status_code == 303


def test_a_passkey_that_never_counts_goes_on_working(client: FlaskClient, rt: Runtime, phone: Device) -> None:
    for _ in range(3):
        sent = phone.use(options(client, "log-in"), counts=False)
        assert client.post("/desk/login", data={"passkey": sent}).status_code == 303
        post(client, "/desk/logout")


def test_every_check_counts_as_a_try(client: FlaskClient, rt: Runtime, dana: Colleague, phone: Device) -> None:
    stranger = create_app(rt).test_client()
    for _ in range(5):
        is_refused(stranger, phone.use(options(stranger, "log-in"), {"signature": "AAAA"}))
    is_refused(stranger, phone.use(options(stranger, "log-in")), "There were too many tries")
    assert log_in_with(client, phone).status_code == 303  # where she has logged in before, a stranger makes nobody wait
    other = create_app(rt).test_client()
    first_proof(other, dana)
    for _ in range(5):
        other.post("/desk/login/code", data={"passkey": "{}"})
    answer = other.post("/desk/login/code", data={"passkey": phone.use(options(other, "second-proof"))})
    assert "There were too many tries" in answer.text


def test_the_last_way_in_is_not_removed_and_a_removal_ends_other_sessions(
    client: FlaskClient, rt: Runtime, dana: Colleague, phone: Device
) -> None:
    other = create_app(rt).test_client()
    log_in_with(other, phone)
    assert is_in(other)
    log_in_with(client, phone)
    (passkey,) = set(name_of(client))
    renamed = post(client, f"/desk/account/passkeys/{passkey}", act="rename", name="  The   old one ")
    assert renamed.status_code == 303
    assert "The old one" in client.get("/desk/account/").text
    assert post(client, f"/desk/account/passkeys/{passkey}", act="rename", name="x" * 61).status_code == 422
    assert post(client, f"/desk/account/passkeys/{passkey}", act="remove").status_code == 200
    assert "The old one" not in client.get("/desk/account/").text
    assert not is_in(other)
    assert "A passkey was removed from your account" in told(rt, dana.email)
    assert "passkey_removed" in kinds(rt)
    assert post(client, f"/desk/account/passkeys/{passkey}", act="remove").status_code == 422
    post(client, "/desk/logout")
    is_refused(client, phone.use(options(client, "log-in")))


def test_adding_renaming_and_removing_ask_again_who_it_is(
    client: FlaskClient, rt: Runtime, clock: ManualClock, phone: Device
) -> None:
    log_in_with(client, phone)
    (passkey,) = set(name_of(client))
    clock.advance(minutes=11)
    for path, form in (
        ("/desk/account/passkeys/options", {}), ("/desk/account/passkeys/new", {"passkey": "{}"}),
        (f"/desk/account/passkeys/{passkey}", {"act": "remove"}),
    ):  # fmt: skip
        assert post(client, path, **form).headers["Location"].startswith("/desk/prove"), path
    assert len(set(name_of(client))) == 1


def test_nobody_removes_or_renames_another_s_passkey(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague, phone: Device
) -> None:
    sam = a_colleague(rt, "sam@example.org", Role.OWNER, "Sam")
    clock.advance(seconds=61)
    (hers,) = account_passkeys.of_account(rt, dana.id)
    log_in_as(client, rt, sam)
    for act in ("rename", "remove"):
        assert post(client, f"/desk/account/passkeys/{hers.id}", act=act, name="mine").status_code == 422
    assert account_passkeys.of_account(rt, dana.id) == [hers]


def test_a_new_passkey_is_checked_too(client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague) -> None:
    log_in_as(client, rt, dana)
    for change in ("origin", "flags", "challenge", "damaged", "late"):
        asked = json.loads(post(client, "/desk/account/passkeys/options").text)
        device = Device("https://evil.example" if change == "origin" else HERE)
        device.flags = PRESENT if change == "flags" else device.flags
        sent = device.make(asked | ({"challenge": "A" * 43} if change == "challenge" else {}))
        if change == "late":
            clock.advance(minutes=5.1)
        answer = post(client, "/desk/account/passkeys/new", name="", passkey=sent[:-9] if change == "damaged" else sent)
        assert answer.status_code == 422, change
        assert "data-passkey-said hidden" not in answer.text
    assert account_passkeys.of_account(rt, dana.id) == []
    assert told(rt, dana.email) == []


def test_one_passkey_is_added_once_and_not_without_end(
    client: FlaskClient, rt: Runtime, dana: Colleague, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_passkeys, "MOST", 3)
    log_in_as(client, rt, dana)
    device = Device(HERE)
    assert add(client, device).status_code == 200
    assert "added already" in add(client, device).text
    for _ in range(2):
        assert add(client, Device(HERE)).status_code == 200
    assert "at most 3" in add(client, Device(HERE)).text


def begin_with_passkey(client: FlaskClient, rt: Runtime, device: Device) -> TestResponse:
    """Sam, who was invited, chooses a passkey and no password."""
    who = accounts.add(rt, parse_address("sam@example.org"), "Sam", Role.EDITOR)
    assert client.post(path_of(login.login_link(rt, who))).status_code == 303
    assert client.get("/desk/").headers["Location"] == "/desk/account/protect"
    form = client.get("/desk/account/protect").text
    assert 'data-passkey="new"' in form
    token, secret = re.findall(r'name="(?:csrf|secret)" value="([^"]+)"', form)[-2:]
    wrong = client.post("/desk/account/passkeys/options", data={"csrf": token, "email": "sam"})
    assert (wrong.status_code, "said" in json.loads(wrong.text)) == (422, True)
    asked = json.loads(client.post("/desk/account/passkeys/options", data={"csrf": token, "email": "sam@example.org"}).text)
    assert asked["user"]["name"] == "sam@example.org"
    given = {"csrf": token, "secret": secret, "name": "Sam", "email": "sam@example.org", "passkey": device.make(asked)}
    return client.post("/desk/account/protect", data=given)


def test_the_list_of_users_names_what_each_has(
    client: FlaskClient, rt: Runtime, phone: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_with_passkey(client, rt, Device(HERE))
    accounts.add(rt, parse_address("vic@example.org"), "Vic", Role.VIEWER)
    monkeypatch.setenv("NURTURE_DATABASE_URL", rt.database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("NURTURE_INSTANCE_DIR", str(rt.settings.instance_dir))
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    lines = CliRunner().invoke(cli, ["users", "list"]).stdout.splitlines()
    assert {line[50:] for line in lines} == {"password and app, or passkey", "passkey", "no password yet"}
    found = json.loads(CliRunner().invoke(cli, ["users", "list", "--json"]).stdout)
    assert {(one["app"], one["passkeys"]) for one in found} == {(True, True), (False, True), (False, False)}


def test_a_downgrade_takes_passkeys_and_leaves_accounts(
    client: FlaskClient, rt: Runtime, dana: Colleague, phone: Device
) -> None:
    rt.database.migrate("0018")
    rt.database.migrate()
    assert account_passkeys.of_account(rt, dana.id) == []
    log_in_as(client, rt, dana)
    assert is_in(client)


def test_whoever_is_invited_may_choose_a_passkey_and_no_password(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    device = Device(HERE)
    done = begin_with_passkey(client, rt, device)
    codes = re.findall(r"<code>([A-Z2-7-]{19})</code>", done.text)
    assert len(codes) == 10
    assert is_in(client)
    assert "You log in with a passkey, and have no password" in client.get("/desk/account/").text
    sam = accounts.find(rt, parse_address("sam@example.org"))
    assert sam is not None
    assert (sam.protected, sam.has_app, sam.has_passkeys) == (True, False, True)
    (passkey,) = set(name_of(client))
    assert "only way to log in" in post(client, f"/desk/account/passkeys/{passkey}", act="remove").text
    assert post(client, "/desk/account/password", old="", new="seven herons cross the ferry").status_code == 422
    post(client, "/desk/logout")
    assert client.post("/desk/login", data={"email": sam.email, "password": ""}).status_code == 422
    assert log_in_with(client, device).status_code == 303
    clock.advance(minutes=11)
    assert 'name="password"' not in client.get("/desk/prove").text
    assert client.get("/desk/account/protect").headers["Location"].startswith("/desk/prove")
    post(client, "/desk/logout")
    assert client.post(path_of(login.login_link(rt, sam.id))).headers["Location"].startswith("/desk/login/code")
    assert not is_in(client)
    assert "A recovery code" in client.get("/desk/login/code").text
    assert client.post("/desk/login/code", data={"code": codes[0]}).status_code == 303
    assert is_in(client)
    clock.advance(minutes=11)
    form = {"secret": accounts.begin_protection(rt, sam.id)[1], "email": "evil@example.net", "password": PASSWORD, "code": "1"}
    assert post(client, "/desk/account/protect", **form).headers["Location"].startswith("/desk/prove")


def test_a_passkey_does_not_open_an_account_for_whoever_has_only_its_open_desk(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague, phone: Device
) -> None:
    """An account that has proofs does not begin anew with a passkey."""
    log_in_with(client, phone)
    asked = json.loads(post(client, "/desk/account/passkeys/options").text)
    sent = Device(HERE).make(asked)
    clock.advance(minutes=11)
    secret = accounts.begin_protection(rt, dana.id)[1]
    answer = post(client, "/desk/account/protect", secret=secret, email="evil@example.net", passkey=sent)
    assert answer.status_code == 422
    assert len(account_passkeys.of_account(rt, dana.id)) == 1


def test_a_reset_and_a_removal_take_the_passkeys_too(client: FlaskClient, rt: Runtime, dana: Colleague, phone: Device) -> None:
    accounts.reset(rt, dana.id)
    assert account_passkeys.of_account(rt, dana.id) == []
    is_refused(client, phone.use(options(client, "log-in")))
    begin_with_passkey(client, rt, Device(HERE))
    sam = accounts.find(rt, parse_address("sam@example.org"))
    assert sam is not None
    accounts.remove(rt, sam.id)
    assert account_passkeys.of_account(rt, sam.id) == []


def challenges(rt: Runtime) -> int:
    with rt.database.read() as db:
        return db.execute(select(func.count()).select_from(passkey_challenges)).scalar_one()


def test_whoever_asks_without_end_is_stopped_and_what_nobody_answers_goes(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    def asked(address: str) -> int:
        fresh = create_app(rt).test_client()
        return fresh.post("/desk/login/passkey", data={"use": "log-in"}, environ_base={"REMOTE_ADDR": address}).status_code

    for number in range(3):
        assert asked(f"198.51.10{number}.7") == 200
    assert challenges(rt) == 3
    with rt.database.begin() as db:
        for _ in range(PASSKEY_NETWORK[0].most - 1):
            assert limits.count_all(rt, db, [(PASSKEY_NETWORK, "198.51.100.0/24")], clock.real_now())
    assert asked("198.51.100.9") == 429
    assert asked("198.51.101.9") == 200
    clock.advance(minutes=6)
    retention.retain(rt)
    assert challenges(rt) == 0


def test_nobody_is_asked_for_what_they_are_not_at(client: FlaskClient, rt: Runtime, dana: Colleague) -> None:
    def answers() -> list[int]:
        uses = ("second-proof", "again", "new", "", "x")
        return [client.post("/desk/login/passkey", data={"use": use}).status_code for use in uses]

    assert answers() == [401] * 5
    first_proof(client, dana)
    assert answers() == [200, 401, 401, 401, 401]
    log_in_as(client, rt, dana)
    assert answers() == [401, 200, 401, 401, 401]


FIELDS = (
    "id", "rawId", "type", "response", "clientDataJSON", "authenticatorData", "signature", "attestationObject", "userHandle",
)  # fmt: skip
SITE = Site("localhost", HERE)
CHALLENGE = b"x" * 32


def messages(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, inner))


@given(st.text(max_size=300) | st.just("[" * 9_999) | st.recursive(st.none() | st.text(max_size=12), messages).map(json.dumps))
def test_whatever_is_sent_is_refused_in_peace(sent: str) -> None:
    shown = passkey_protocol.read_assertion(sent)
    if shown is not None:
        with pytest.raises(passkey_protocol.NotProven):
            passkey_protocol.check_assertion(SITE, CHALLENGE, shown, b"")
    with pytest.raises(passkey_protocol.NotProven):
        passkey_protocol.check_new(SITE, CHALLENGE, sent)


DEVICE = Device(HERE)
MADE = json.loads(DEVICE.make({"challenge": encoded(CHALLENGE), "user": {"id": ""}}))


@given(st.integers(0, 300), st.binary(min_size=1, max_size=40), st.booleans())
def test_a_damaged_new_passkey_is_kept_or_refused_in_peace(at: int, damage: bytes, cut: bool) -> None:
    was = decoded(MADE["response"]["attestationObject"])
    damaged = was[:at] + damage + (b"" if cut else was[at + len(damage) :])
    sent = json.dumps({**MADE, "response": {**MADE["response"], "attestationObject": encoded(damaged)}})
    with suppress(passkey_protocol.NotProven):
        passkey_protocol.check_new(SITE, CHALLENGE, sent)


def test_a_process_does_not_load_the_library_before_a_passkey_is_used() -> None:
    code = "import sys, nurture.app, nurture.cli.main; print({'webauthn', 'OpenSSL', 'cbor2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
