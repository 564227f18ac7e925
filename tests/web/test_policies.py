"""Who may use which route: declared for every one, and tried on every one."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from nurture.app import create_app
from nurture.domain.user import Permission, Role, allows
from nurture.runtime import Runtime
from nurture.tokens import Purpose
from nurture.web import front_door
from nurture.web.front_door import OpenTo, Policy
from tests.clocks import ManualClock
from tests.desk import csrf, enter
from tests.people import a_subscriber

POLICIES = {
    "open to everybody": """static ops.healthz ops.readyz api.openapi public.home public.subscribe public.check_your_inbox
        public.consultation public.request_consultation public.consultation_sent reading.contents reading.doctor_list
        reading.letter reading.picture reading.picture_of_a_letter reading.questions reading.sources entry.ask_password
        entry.check_password entry.ask_code entry.check_code entry.ask_link entry.passkey_options""",
    "a token": """subscriber.confirm subscriber.confirm_now subscriber.unsubscribe subscriber.unsubscribe_now subscriber.undo
        subscriber.confirm_request subscriber.confirm_request_now entry.open_link entry.use_link""",
    "a signature": "webhooks.sendgrid_events",
    "this machine": "ops.outbox ops.outbox_mail ops.outbox_html",
}
OPEN = {
    "open to everybody": OpenTo.EVERYBODY, "a token": OpenTo.TOKEN, "a signature": OpenTo.SIGNED,
    "this machine": OpenTo.THIS_MACHINE,
}  # fmt: skip
"""Every route outside the desk. All others want a role; the decorator says which, and the matrix below tries it."""
OWNERS_ONLY = {
    "access.show", "access.add", "access.change", "keys.show", "keys.make", "keys.revoke", "people.export", "person.export",
    "person.erase", "settings.save_mail", "settings.save_sender", "settings.save_practice", "settings.save_consent",
    "start.begin",
}  # fmt: skip
"""What no editor may do, whatever a decorator says."""
VIEWERS_TOO = {"entry.log_out", "entry.prove_now", "letters.look_as", "people.find"}
"""Posts that change no letter and no reader, besides those to one's own account."""

REFUSE_BY_THEMSELVES = {"entry.ask_code", "entry.check_code", "entry.passkey_options", "webhooks.sendgrid_events"}
"""What is open, and refuses whoever is not half logged in, or signs nothing."""
SET_UP = {"account.protect", "account.protect_now", "account.passkey_options"}
"""Where whoever has no password and no passkey yet sets up one."""


def routes(app: Flask) -> Iterator[tuple[Rule, str]]:
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method


def path_of(rule: Rule) -> str:
    """Some path that leads to a route."""
    path = re.sub(r"<int:[^>]+>", "1", rule.rule)
    return re.sub(r"<[^>]+>", "0" * 32, path)


def policy_of(app: Flask, rule: Rule) -> Policy:
    policy = front_door.policy_of(app, rule.endpoint)
    assert policy, rule.endpoint
    return policy


def asked(policy: Policy, method: str) -> Permission:
    if policy.need is not None:
        return policy.need
    return Permission.VIEW if method == "GET" else Permission.CHANGE


@pytest.fixture
def app(rt: Runtime) -> Flask:
    """At `localhost`, where there are passkeys too."""
    rt.settings = rt.settings.model_copy(update={"base_url": "http://localhost:8000"})
    return create_app(rt)


def test_every_route_declares_who_may_use_it(app: Flask) -> None:
    assert front_door.undeclared(app) == []
    expected = {endpoint: OPEN[who] for who, endpoints in POLICIES.items() for endpoint in endpoints.split()}
    found = {rule.endpoint: policy_of(app, rule).open_to for rule in app.url_map.iter_rules()}
    assert {endpoint: who for endpoint, who in found.items() if who is not OpenTo.DESK} == expected
    assert {rule.endpoint for rule, _ in routes(app) if not rule.rule.startswith("/desk/")} == {
        endpoint for endpoint in expected if not endpoint.startswith("entry.")
    }, "what needs a role is under /desk/, and nothing else is"


def test_a_route_without_a_policy_is_found(app: Flask) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "")
    assert front_door.undeclared(app) == ["forgotten"]


def test_what_changes_something_is_for_nobody_who_only_looks(app: Flask) -> None:
    for rule, method in routes(app):
        policy = policy_of(app, rule)
        if policy.open_to is not OpenTo.DESK:
            continue
        if rule.endpoint in OWNERS_ONLY:
            assert policy.need is Permission.OWN, rule.endpoint
        if method == "POST" and not rule.endpoint.startswith("account."):
            assert (asked(policy, method) is Permission.VIEW) == (rule.endpoint in VIEWERS_TOO), rule.endpoint


@pytest.mark.parametrize("role", [None, *Role], ids=str)
def test_each_role_gets_what_its_policy_says_on_every_route(app: Flask, rt: Runtime, role: Role | None) -> None:
    for rule, method in routes(app):
        policy = policy_of(app, rule)
        client = app.test_client()
        token = ""
        if role is not None:
            enter(client, rt, role)
            token = csrf(client, "/desk/account/")
        form = {"csrf": token} if method == "POST" else None
        answer = client.open(path_of(rule), method=method, data=form)
        what = (method, rule.endpoint, answer.status_code)
        if policy.open_to is OpenTo.DESK and role is None:
            assert answer.status_code == 401, what
            assert 'name="password"' in answer.text, what
        elif policy.open_to is OpenTo.DESK and role is not None and not allows(role, asked(policy, method)):
            assert answer.status_code == 403, what
        else:
            assert answer.status_code not in (401, 403) or rule.endpoint in REFUSE_BY_THEMSELVES, what
            assert answer.status_code < 500 or policy.open_to is OpenTo.SIGNED, what
        answer.close()


def test_a_reader_s_token_opens_nothing_but_its_own_page(app: Flask, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    tokens = {purpose: rt.tokens.mint(purpose, reader.id) for purpose in Purpose}
    for rule, method in routes(app):
        policy = policy_of(app, rule)
        for purpose, token in tokens.items():
            client = app.test_client()
            path = re.sub("<token>", token, rule.rule)
            if policy.open_to is OpenTo.DESK and purpose is not Purpose.DESK_SESSION:
                client.set_cookie("desk", token)
                bearer = {"Authorization": f"Bearer {token}"}
                assert client.open(path_of(rule), method=method, headers=bearer).status_code == 401, rule.endpoint
            elif policy.open_to is OpenTo.TOKEN and not fits(rule.endpoint, purpose):
                assert client.open(path, method=method).status_code == 404, (rule.endpoint, purpose)


def fits(endpoint: str, purpose: Purpose) -> bool:
    own = {
        "subscriber.confirm": Purpose.CONFIRM, "subscriber.confirm_now": Purpose.CONFIRM, "subscriber.undo": Purpose.UNDO,
        "subscriber.unsubscribe": Purpose.UNSUBSCRIBE, "subscriber.unsubscribe_now": Purpose.UNSUBSCRIBE,
        "subscriber.confirm_request": Purpose.CONFIRM_CONSULTATION,
        "subscriber.confirm_request_now": Purpose.CONFIRM_CONSULTATION, "entry.open_link": Purpose.DESK_LOGIN,
        "entry.use_link": Purpose.DESK_LOGIN,
    }  # fmt: skip
    return own[endpoint] is purpose


CROSS_SITE = {"Sec-Fetch-Site": "cross-site"}
FOREIGN = {"Origin": "https://evil.example"}


@pytest.mark.parametrize("headers", [CROSS_SITE, FOREIGN], ids=["cross-site", "foreign origin"])
def test_no_route_but_those_for_programs_takes_a_post_from_another_site(
    app: Flask, rt: Runtime, client: FlaskClient, headers: dict[str, str]
) -> None:
    enter(client, rt)
    token = csrf(client, "/desk/account/")
    for rule, method in routes(app):
        if method == "GET":
            continue
        answer = client.open(path_of(rule), method=method, data={"csrf": token}, headers=headers)
        foreign = rule.endpoint in ("subscriber.unsubscribe_now", "webhooks.sendgrid_events")
        assert policy_of(app, rule).any_site == foreign
        assert (answer.status_code == 403) == (not foreign), (rule.endpoint, answer.status_code)


def test_no_post_to_the_desk_goes_without_the_session_s_own_csrf_token(app: Flask, rt: Runtime, client: FlaskClient) -> None:
    other = app.test_client()
    enter(other, rt)
    of_another = csrf(other, "/desk/account/")
    enter(client, rt)
    for rule, method in routes(app):
        if method == "GET" or policy_of(app, rule).open_to is not OpenTo.DESK:
            continue
        for form in ({}, {"csrf": ""}, {"csrf": of_another}):
            assert client.open(path_of(rule), method=method, data=form).status_code == 403, rule.endpoint


def test_what_asks_for_the_password_again_does_so_when_it_was_long_ago(app: Flask, rt: Runtime, clock: ManualClock) -> None:
    for rule, method in routes(app):
        policy = policy_of(app, rule)
        if not policy.recent or rule.endpoint in SET_UP:
            continue
        client = app.test_client()
        enter(client, rt)
        clock.advance(minutes=11)
        form = {"csrf": csrf(client, "/desk/account/")} if method == "POST" else None
        answer: TestResponse = client.open(path_of(rule), method=method, data=form)
        assert answer.status_code == 303, (rule.endpoint, answer.status_code)
        assert answer.headers["Location"].startswith(("/desk/prove", "/desk/account/protect")), rule.endpoint
