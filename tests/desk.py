"""Somebody at the desk: by the link that the service prints, or with an account of their own."""

import re
from dataclasses import dataclass

import pyotp
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from nurture.domain.user import Role
from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.accounts import accounts, login
from nurture.services.accounts.accounts import Protection
from nurture.services.addresses import parse_address
from nurture.store.accounts import sessions as stored
from nurture.store.accounts import users
from nurture.store.accounts.users import User
from nurture.tokens import Purpose

PASSWORD = "quiet lantern over marsh water"


def path_of(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def log_in(client: FlaskClient, rt: Runtime) -> None:
    """As the first owner, by the link."""
    assert client.post(path_of(login.login_link(rt))).status_code == 303


def csrf(client: FlaskClient, path: str = "/desk/") -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found, path
    return found[1]


def post(client: FlaskClient, path: str, **form: object) -> TestResponse:
    """A form of the desk, with its token."""
    return client.post(path, data={"csrf": csrf(client, "/desk/account/"), **form})


@dataclass(frozen=True)
class Colleague:
    """An account with a password and an app."""

    id: UserId
    email: str
    secret: str
    codes: tuple[str, ...]

    def code(self, rt: Runtime) -> str:
        return pyotp.TOTP(self.secret).at(rt.clock.real_now())


def a_colleague(rt: Runtime, email: str = "dana@example.org", role: Role = Role.OWNER, name: str = "Dana") -> Colleague:
    address = parse_address(email)
    who = accounts.add(rt, address, name, role)
    secret, _ = accounts.begin_protection(rt, who)
    code = pyotp.TOTP(secret).at(rt.clock.real_now())
    codes = accounts.protect(rt, who, "0" * 32, Protection(name, address, PASSWORD, secret, code))
    return Colleague(who, email, secret, tuple(codes))


def log_in_as(client: FlaskClient, rt: Runtime, who: Colleague) -> None:
    """With password and a code that has not been used yet: `rt`'s clock must have moved on since the last one."""
    assert client.post("/desk/login", data={"email": who.email, "password": PASSWORD}).status_code == 303
    assert client.post("/desk/login/code", data={"code": who.code(rt)}).status_code == 303


def enter(client: FlaskClient, rt: Runtime, role: Role = Role.OWNER) -> None:
    """Let a client in as somebody without an address, who has just shown who they are: not by the way in, but at once."""
    client.set_cookie("desk", a_session(rt, role))


def a_session(rt: Runtime, role: Role = Role.OWNER) -> str:
    """The token of such a session."""
    who, real_now = UserId(new_id()), rt.clock.real_now()
    with rt.database.begin() as db:
        users.add(db, User(who, role), real_now)
        session = stored.open_session(db, who, real_now, mfa_pending=False)
    return rt.tokens.mint(Purpose.DESK_SESSION, session, real_now + stored.LONGEST)
