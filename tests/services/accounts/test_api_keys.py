"""Keys for programs: recognised by their secret alone, and only while they live."""

import re

import pytest
from sqlalchemy import select

from nurture.domain.user import Role, Scope, covers
from nurture.ids import KeyId, UserId, new_id
from nurture.runtime import Runtime
from nurture.services.accounts import accounts, security_events
from nurture.services.accounts import api_keys as keys
from nurture.services.accounts.api_keys import ApiKeyRefused
from nurture.services.addresses import parse_address
from nurture.services.operations.retention import retain
from nurture.store.accounts import users
from nurture.store.accounts.users import User
from nurture.store.core.desk_schema import api_keys
from tests.clocks import ManualClock
from tests.test_log import written

ME = UserId(new_id())


@pytest.fixture(autouse=True)
def _an_owner(rt: Runtime) -> None:
    with rt.database.begin() as db:
        users.add(db, User(ME, Role.OWNER), rt.clock.real_now())


def test_a_key_is_recognised_by_its_secret_and_by_nothing_else(rt: Runtime) -> None:
    made, other = keys.make(rt, ME, "our website", Scope.READ), keys.make(rt, ME, "bookings", Scope.ALL)
    assert keys.who(rt, made.secret) == made.key.id
    assert keys.who(rt, other.secret) == other.key.id
    last = "A" if made.secret[-1] != "A" else "B"
    for wrong in (
        "",
        "Bearer",
        made.key.prefix,
        made.secret[:-1] + last,
        made.secret + "x",
        made.secret.upper(),
        "\0",
        "ä" * 57,
    ):
        assert keys.who(rt, wrong) is None
    assert re.fullmatch(r"nurture_[0-9a-f]{6}_[\w-]{43}", made.secret)
    assert made.secret.startswith(made.key.prefix)


def test_the_secret_is_stored_nowhere_and_in_no_log(rt: Runtime) -> None:
    with written() as lines:
        made = keys.make(rt, ME, "our website", Scope.READ)
        keys.who(rt, made.secret)
    with rt.database.read() as db:
        (row,) = db.execute(select(api_keys)).all()
    hidden = made.secret[len(made.key.prefix) + 1 :]
    assert len(hidden) == 43
    assert hidden not in repr(row)
    assert hidden not in repr(made)
    assert "api_key_made" in lines.text
    assert hidden not in lines.text


def test_what_a_key_may_do(rt: Runtime) -> None:
    read, every = (keys.make(rt, ME, scope, scope).secret for scope in (Scope.READ, Scope.ALL))
    assert keys.who(rt, read, Scope.ALL) is None
    assert keys.who(rt, every, Scope.ALL) is not None
    assert keys.who(rt, every, Scope.READ) is not None
    assert [covers(has, asked) for has in Scope for asked in Scope] == [True, False, True, True]


def test_a_key_taken_back_opens_nothing_at_once_and_for_good(rt: Runtime, clock: ManualClock) -> None:
    made = keys.make(rt, ME, "our website", Scope.ALL)
    assert keys.revoke(rt, ME, made.key.id)
    assert not keys.revoke(rt, ME, made.key.id)
    assert not keys.revoke(rt, ME, KeyId(new_id()))
    assert keys.who(rt, made.secret) is None
    assert [event.kind for event in security_events.happened(rt)] == ["api_key_revoked", "api_key_made"]
    (kept,) = keys.everything(rt)
    assert kept.revoked == clock.real_now()


def test_when_it_was_last_used_is_known_to_some_minutes(rt: Runtime, clock: ManualClock) -> None:
    made = keys.make(rt, ME, "our website", Scope.READ)
    assert keys.everything(rt)[0].used is None
    first = clock.real_now()
    keys.who(rt, made.secret)
    clock.advance(minutes=4)
    keys.who(rt, made.secret)
    assert keys.everything(rt)[0].used == first
    clock.advance(minutes=2)
    keys.who(rt, made.secret)
    assert keys.everything(rt)[0].used == clock.real_now()


def test_whoever_is_no_owner_any_more_has_no_keys(rt: Runtime) -> None:
    stays = accounts.add(rt, parse_address("dana@example.org"), "Dana", Role.OWNER)
    secrets = {}
    for name in ("leaves", "demoted"):
        person = accounts.add(rt, parse_address(f"{name}@example.org"), name, Role.OWNER)
        secrets[name] = (person, keys.make(rt, person, name, Scope.ALL).secret)
    mine = keys.make(rt, stays, "mine", Scope.ALL).secret
    accounts.remove(rt, secrets["leaves"][0])
    accounts.set_role(rt, secrets["demoted"][0], Role.EDITOR)
    assert [keys.who(rt, secret) for _, secret in secrets.values()] == [None, None]
    assert keys.who(rt, mine) is not None


@pytest.mark.parametrize("label", ["", "   ", "x" * 81])
def test_a_key_says_what_it_is_for(rt: Runtime, label: str) -> None:
    with pytest.raises(ApiKeyRefused) as refused:
        keys.make(rt, ME, label, Scope.READ)
    assert refused.value.field == "label"


def test_there_is_an_end_to_keys(rt: Runtime) -> None:
    made = [keys.make(rt, ME, f"key {n}", Scope.READ) for n in range(keys.MOST_KEYS)]
    with pytest.raises(ApiKeyRefused, match="20 keys already"):
        keys.make(rt, ME, "one more", Scope.READ)
    keys.revoke(rt, ME, made[0].key.id)
    keys.make(rt, ME, "one more", Scope.READ)


def test_keys_taken_back_are_forgotten_after_a_year(rt: Runtime, clock: ManualClock) -> None:
    gone, stays = (keys.make(rt, ME, label, Scope.READ).key.id for label in ("gone", "stays"))
    keys.revoke(rt, ME, gone)
    clock.advance(days=364)
    retain(rt)
    assert {each.id for each in keys.everything(rt)} == {gone, stays}
    clock.advance(days=2)
    retain(rt)
    assert {each.id for each in keys.everything(rt)} == {stays}
