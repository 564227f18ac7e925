"""The page of keys for programs: a secret is shown once, to an owner who has just shown who they are."""

import re

import pytest
from flask.testing import FlaskClient

from nurture.domain.user import Role, Scope
from nurture.runtime import Runtime
from nurture.services.accounts import api_keys
from tests.clocks import ManualClock
from tests.desk import a_colleague, enter, log_in, log_in_as, post

PATH = "/desk/settings/keys"


def secret_in(text: str) -> str:
    found = re.search(r'<code id="made">([^<]+)</code>', text)
    assert found
    return found[1]


def test_a_key_is_shown_once_listed_and_taken_back(client: FlaskClient, rt: Runtime) -> None:
    enter(client, rt)
    made = post(client, PATH, label="our  website", scope="read")
    secret = secret_in(made.text)
    key = api_keys.who(rt, secret)
    assert key is not None
    assert made.headers["Cache-Control"] == "no-store"
    page = client.get(PATH).text
    assert secret not in page
    assert secret[:14] in page
    assert "our website" in page
    assert "a key opens nothing yet" in page
    assert "Last used on 2026-03-02" in page
    assert post(client, f"{PATH}/{key}").location == PATH
    assert api_keys.who(rt, secret) is None
    assert "Taken back on 2026-03-02" in client.get(PATH).text
    happened = client.get("/desk/access/").text
    assert "made a key for a program" in happened
    assert "A program&#39;s key was taken back" in happened


def test_a_form_that_says_too_little_comes_back(client: FlaskClient, rt: Runtime) -> None:
    enter(client, rt)
    nameless = post(client, PATH, label="", scope="all")
    assert nameless.status_code == 422
    assert 'id="label-error"' in nameless.text
    assert re.search(r'value="all" checked', nameless.text)
    scopeless = post(client, PATH, label="website", scope="everything")
    assert scopeless.status_code == 422
    assert 'value="website"' in scopeless.text
    assert api_keys.everything(rt) == []


@pytest.mark.parametrize("role", [Role.EDITOR, Role.VIEWER])
def test_keys_are_for_owners(client: FlaskClient, rt: Runtime, role: Role) -> None:
    made = api_keys.make(rt, a_colleague(rt).id, "website", Scope.READ)
    enter(client, rt, role)
    assert client.get(PATH).status_code == 403
    assert post(client, PATH, label="x", scope="all").status_code == 403
    assert post(client, f"{PATH}/{made.key.id}").status_code == 403
    assert api_keys.who(rt, made.secret) == made.key.id


def test_an_owner_shows_again_who_they_are(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    dana = a_colleague(rt)
    clock.advance(minutes=1)
    log_in_as(client, rt, dana)
    clock.advance(minutes=11)
    assert client.get(PATH).status_code == 200
    asked = post(client, PATH, label="website", scope="read", back=PATH)
    assert asked.status_code == 303
    assert asked.location.startswith("/desk/prove")
    assert api_keys.everything(rt) == []


def test_an_owner_without_a_password_chooses_one_first(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    log_in(client, rt)
    clock.advance(minutes=11)
    assert post(client, PATH, label="website", scope="read").location == "/desk/account/protect"


def test_a_key_that_is_none(client: FlaskClient, rt: Runtime) -> None:
    enter(client, rt)
    assert post(client, f"{PATH}/x").status_code == 404
    assert post(client, f"{PATH}/{'0' * 32}").status_code == 303
    assert client.post(PATH, data={"label": "website", "scope": "read"}).status_code == 403
