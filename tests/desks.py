"""Somebody at the desk, without the way in: that has tests of its own."""

import re

from flask.testing import FlaskClient

from nurture.domain.user import Role
from nurture.runtime import Runtime
from nurture.store import access, users
from nurture.store.users import User
from nurture.tokens import Purpose
from nurture.words import UserId, new_id


def a_session(rt: Runtime, role: Role = Role.OWNER) -> str:
    """The token of a living session of somebody who has just shown who they are."""
    who, wall = UserId(new_id()), rt.clock.wall()
    with rt.database.begin() as db:
        users.add(db, User(who, role), wall)
        session = access.open_session(db, who, wall, half=False)
    return rt.tokens.mint(Purpose.DESK_SESSION, session, wall + access.LONGEST)


def enter(client: FlaskClient, rt: Runtime, role: Role = Role.OWNER) -> None:
    """Let a client in."""
    client.set_cookie("desk", a_session(rt, role))


def csrf(client: FlaskClient, path: str = "/desk/people/") -> str:
    """The token that a session's forms carry."""
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def post(client: FlaskClient, path: str, **fields: object):  # type: ignore[no-untyped-def]
    """Send a form of the desk."""
    return client.post(path, data={"csrf": csrf(client), **fields})
