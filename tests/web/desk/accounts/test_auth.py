"""Into the desk: password and second proof, links, roles, and what is asked again."""

import re

import pytest
from flask.testing import FlaskClient

from nurture import log
from nurture.app import create_app
from nurture.domain.user import Role
from nurture.runtime import Runtime
from nurture.services.accounts import accounts, login, security_events
from nurture.services.accounts.accounts import AccountRefused
from nurture.services.addresses import parse_address
from tests.clocks import ManualClock
from tests.desk import PASSWORD, Colleague, a_colleague, csrf, log_in, log_in_as, path_of, post
from tests.people import inbox, run_tick


def first_proof(client: FlaskClient, email: str, password: str = PASSWORD) -> int:
    return client.post("/desk/login", data={"email": email, "password": password}).status_code


def kinds(rt: Runtime) -> list[str]:
    return [event.kind for event in security_events.happened(rt)]


@pytest.fixture
def dana(rt: Runtime, clock: ManualClock) -> Colleague:
    found = a_colleague(rt)
    clock.advance(seconds=61)
    return found


def test_a_password_alone_opens_nothing_and_with_a_code_it_opens_the_desk(
    client: FlaskClient, rt: Runtime, dana: Colleague
) -> None:
    assert first_proof(client, dana.email) == 303
    assert client.get("/desk/").status_code == 401
    half = client.get_cookie("desk")
    wrong = client.post("/desk/login/code", data={"code": "000000"})
    assert wrong.status_code == 422
    assert "does not fit" in wrong.text
    assert client.post("/desk/login/code", data={"code": dana.code(rt)}).status_code == 303
    assert client.get("/desk/").status_code == 200
    whole = client.get_cookie("desk")
    assert half is not None
    assert whole is not None
    assert half.value != whole.value
    client.set_cookie("desk", half.value)
    assert client.get("/desk/").status_code == 401


def test_a_code_works_once_also_for_somebody_who_looked_over_a_shoulder(
    client: FlaskClient, rt: Runtime, dana: Colleague
) -> None:
    log_in_as(client, rt, dana)
    other = create_app(rt).test_client()
    assert first_proof(other, dana.email) == 303
    assert other.post("/desk/login/code", data={"code": dana.code(rt)}).status_code == 422


def test_a_recovery_code_works_once(client: FlaskClient, rt: Runtime, dana: Colleague) -> None:
    typed = dana.codes[3].lower().replace("-", " ")
    for expected in (303, 422):
        other = create_app(rt).test_client()
        assert first_proof(other, dana.email) == 303
        assert other.post("/desk/login/code", data={"code": typed}).status_code == expected
    assert accounts.codes_left(rt, dana.id) == 9


def test_unknown_addresses_and_wrong_passwords_get_the_same_answer_and_the_same_waits(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    said = {}
    for email in (dana.email, "nobody@example.org"):
        answers = [client.post("/desk/login", data={"email": email, "password": "wrong"}) for _ in range(7)]
        assert {answer.status_code for answer in answers} == {422}
        said[email] = [re.sub(re.escape(email), "", answer.text) for answer in answers]
    assert said[dana.email] == said["nobody@example.org"]
    assert "too many tries" in said[dana.email][-1]
    assert first_proof(client, dana.email) == 422  # the right one, too soon
    clock.advance(minutes=16)
    log_in_as(client, rt, dana)
    clock.advance(seconds=31)
    assert first_proof(client, dana.email, "wrong") == 422
    assert first_proof(client, dana.email) == 303  # a whole log-in began the count anew


def test_wrong_codes_are_slowed_and_a_new_first_proof_does_not_begin_their_count_anew(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    for _ in range(6):
        assert first_proof(client, dana.email) == 303
        assert client.post("/desk/login/code", data={"code": "000000"}).status_code == 422
        clock.advance(minutes=1)
    assert first_proof(client, dana.email) in (303, 422)
    answer = client.post("/desk/login/code", data={"code": "000000"})
    assert "too many tries" in client.post("/desk/login/code", data={"code": dana.code(rt)}).text, answer.text
    assert "log_in_slowed" in kinds(rt)


def test_a_link_by_mail_reaches_only_whoever_has_access_and_still_asks_for_the_code(
    client: FlaskClient, rt: Runtime, dana: Colleague
) -> None:
    answers = {client.post("/desk/login/mail", data={"email": email}).text for email in (dana.email, "nobody@example.org")}
    assert len(answers) == 1
    run_tick(rt)
    (mail,) = [mail for mail in inbox(rt) if str(mail.message["To"]) == dana.email]
    body = mail.message.get_body(("plain",))
    assert body is not None
    found = re.search(r"http\S+/desk/login/\S+", body.get_content())
    assert found
    assert client.post(path_of(found[0])).status_code == 303
    assert client.get("/desk/").status_code == 401
    assert client.post("/desk/login/code", data={"code": dana.code(rt)}).status_code == 303
    assert client.get("/desk/").status_code == 200


def test_nobody_s_inbox_is_filled_with_links(client: FlaskClient, rt: Runtime, dana: Colleague) -> None:
    for _ in range(8):
        client.post("/desk/login/mail", data={"email": dana.email})
    run_tick(rt)
    assert len([mail for mail in inbox(rt) if str(mail.message["To"]) == dana.email]) == 3


def test_the_first_owner_protects_the_desk_on_one_page(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    log_in(client, rt)
    form = client.get("/desk/account/protect").text
    sealed = re.search(r'name="secret" value="([^"]+)"', form)
    typed = re.search(r'class="secret">([^<]+)<', form)
    assert sealed
    assert typed
    me = accounts.everyone(rt)[0].id
    secret = typed[1].replace(" ", "")
    them = Colleague(me, "owner@example.org", secret, ())
    given = {"name": "Robin Quill", "email": them.email, "password": PASSWORD, "secret": sealed[1]}
    wrong = post(client, "/desk/account/protect", **given, code="123")
    assert wrong.status_code == 422
    assert "Robin Quill" in wrong.text
    assert typed[1] in wrong.text
    easy = post(client, "/desk/account/protect", **(given | {"password": "password1234"}), code=them.code(rt))
    assert "guessed" in easy.text
    done = post(client, "/desk/account/protect", **given, code=them.code(rt))
    assert len(re.findall(r"<code>[A-Z2-7-]{19}</code>", done.text)) == 10
    clock.advance(seconds=31)
    other = create_app(rt).test_client()
    log_in_as(other, rt, them)
    assert "Robin Quill" in other.get("/desk/account/").text


def test_the_printed_link_does_not_skip_the_second_proof(client: FlaskClient, rt: Runtime, dana: Colleague) -> None:
    log_in(client, rt)
    assert client.get("/desk/").status_code == 401
    assert client.post("/desk/login/code", data={"code": dana.code(rt)}).status_code == 303


def test_whoever_is_invited_chooses_a_password_first(client: FlaskClient, rt: Runtime) -> None:
    who = accounts.add(rt, parse_address("sam@example.org"), "Sam", Role.EDITOR)
    assert client.post(path_of(login.login_link(rt, who))).status_code == 303
    answer = client.get("/desk/")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/desk/account/protect"


def test_each_role_may_what_it_may(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    a_colleague(rt)
    viewer = a_colleague(rt, "vic@example.org", Role.VIEWER)
    clock.advance(seconds=61)
    log_in_as(client, rt, viewer)
    assert client.get("/desk/").status_code == 200
    refused = client.get("/desk/access/")
    assert refused.status_code == 403
    assert "An owner" in refused.text
    accounts.set_role(rt, viewer.id, Role.OWNER)
    assert client.get("/desk/access/").status_code == 200


def test_an_owner_gives_access_changes_and_takes_it_after_showing_again_who_they_are(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    log_in_as(client, rt, dana)
    clock.advance(minutes=11)
    new = {"email": "sam@example.org", "name": "Sam", "role": "editor", "back": "/desk/access/"}
    answer = post(client, "/desk/access/", **new)
    assert answer.headers["Location"].startswith("/desk/prove")
    assert post(client, "/desk/prove", password="wrong", next="/desk/access/").status_code == 422
    assert post(client, "/desk/prove", password=PASSWORD, next="/desk/access/").headers["Location"] == "/desk/access/"
    assert post(client, "/desk/access/", **new).status_code == 303
    assert post(client, "/desk/access/", **new).status_code == 422
    run_tick(rt)
    assert [str(mail.message["To"]) for mail in inbox(rt)] == ["sam@example.org"]
    sam = accounts.find(rt, parse_address("sam@example.org"))
    assert sam is not None
    assert post(client, f"/desk/access/{sam.id}", act="viewer").status_code == 303
    assert [person.role for person in accounts.everyone(rt)] == [Role.OWNER, Role.VIEWER]
    assert post(client, f"/desk/access/{sam.id}", act="remove").status_code == 303
    assert post(client, f"/desk/access/{dana.id}", act="remove").status_code == 422
    assert "Dana" in client.get("/desk/access/").text


def test_the_last_owner_stays(rt: Runtime, dana: Colleague) -> None:
    with pytest.raises(AccountRefused, match="only owner"):
        accounts.remove(rt, dana.id)
    with pytest.raises(AccountRefused, match="only owner"):
        accounts.set_role(rt, dana.id, Role.VIEWER)


def test_a_changed_password_ends_every_other_session(
    client: FlaskClient, rt: Runtime, clock: ManualClock, dana: Colleague
) -> None:
    other = create_app(rt).test_client()
    log_in_as(other, rt, dana)
    clock.advance(seconds=31)
    log_in_as(client, rt, dana)
    new = "seven herons cross the ferry"
    assert post(client, "/desk/account/password", old="wrong", new=new).status_code == 422
    assert post(client, "/desk/account/password", old=PASSWORD, new="short").status_code == 422
    assert other.get("/desk/").status_code == 200
    assert post(client, "/desk/account/password", old=PASSWORD, new=new).status_code == 200
    assert client.get("/desk/").status_code == 200
    assert other.get("/desk/").status_code == 401
    assert first_proof(other, dana.email) == 422
    assert first_proof(other, dana.email, new) == 303


def test_a_reset_lets_somebody_begin_anew_and_ends_their_sessions(client: FlaskClient, rt: Runtime, dana: Colleague) -> None:
    log_in_as(client, rt, dana)
    accounts.reset(rt, dana.id)
    assert client.get("/desk/").status_code == 401
    assert first_proof(client, dana.email) == 422
    assert client.post(path_of(login.login_link(rt, dana.id))).status_code == 303
    assert client.get("/desk/").headers["Location"] == "/desk/account/protect"


@pytest.mark.parametrize(
    "onward", ["https://evil.example/", "//evil.example/", "/desk/\\evil", "/desk//evil.example", "javascript:alert(1)", ""]
)
def test_a_log_in_leads_only_to_pages_of_the_desk(client: FlaskClient, rt: Runtime, dana: Colleague, onward: str) -> None:
    assert first_proof(client, dana.email) == 303
    answer = client.post("/desk/login/code", data={"code": dana.code(rt), "next": onward})
    assert answer.headers["Location"] == "/desk/"


def test_what_is_typed_at_the_log_in_is_taken_only_from_our_pages(client: FlaskClient, rt: Runtime, dana: Colleague) -> None:
    for path in ("/desk/login", "/desk/login/code", "/desk/login/mail"):
        assert client.post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    log_in_as(client, rt, dana)
    for path in ("/desk/account/password", "/desk/access/", "/desk/prove", "/desk/account/codes"):
        assert client.post(path, data={"csrf": "x"}).status_code == 403
    assert csrf(client, "/desk/account/")


def test_no_address_or_token_is_logged_or_kept_in_what_happened(
    client: FlaskClient, rt: Runtime, dana: Colleague, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure()  # to the standard error of this test
    first_proof(client, dana.email, "wrong")
    client.post("/desk/login/mail", data={"email": dana.email})
    login.mail_links(rt)
    log_in_as(client, rt, dana)
    cookie = client.get_cookie("desk")
    assert cookie is not None
    logged = capsys.readouterr().err
    assert '"kind": "logged_in"' in logged
    for secret in (dana.email, "Dana", cookie.value, dana.secret, PASSWORD):
        assert secret not in logged
    assert {"password_refused", "link_mailed", "password_right", "logged_in"} <= set(kinds(rt))
