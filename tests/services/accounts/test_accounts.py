"""Accounts when several people act at the same moment."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from nurture.domain.user import Role, Scope
from nurture.ids import UserId
from nurture.runtime import Runtime
from nurture.services.accounts import accounts, api_keys, login
from nurture.services.accounts.accounts import AccountRefused
from nurture.services.accounts.api_keys import ApiKeyRefused
from nurture.services.addresses import parse_address
from nurture.services.settings import consent_texts

ROUNDS = 5


def at_once(*acts: Callable[[], object]) -> list[str]:
    """Run each in a thread of its own, all let go at the same moment; returns the names of what they raised, sorted."""
    together, raised = threading.Barrier(len(acts)), list[str]()

    def run(act: Callable[[], object]) -> None:
        together.wait()
        try:
            act()
        except Exception as error:
            raised.append(type(error).__name__)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(raised)


def owner(rt: Runtime, name: str) -> UserId:
    return accounts.add(rt, parse_address(f"{name}@example.org"), name, Role.OWNER)


def owners(rt: Runtime) -> list[UserId]:
    return [each.id for each in accounts.everyone(rt) if each.role is Role.OWNER]


@pytest.mark.parametrize("how", ["demote", "remove"])
def test_two_owners_who_take_each_other_s_role_away_leave_one(rt: Runtime, how: str) -> None:
    act = partial(accounts.set_role, role=Role.VIEWER) if how == "demote" else accounts.remove
    for number in range(ROUNDS):
        pair = owner(rt, f"ana{number}"), owner(rt, f"ben{number}")
        for other in set(owners(rt)) - set(pair):
            accounts.set_role(rt, other, Role.VIEWER)
        raised = at_once(*[partial(act, rt, who) for who in pair])
        assert len(owners(rt)) == 1
        assert raised == [AccountRefused.__name__]


def test_processes_that_start_at_once_make_one_first_owner(rt: Runtime) -> None:
    assert at_once(*[partial(login.login_link, rt)] * 4) == []
    assert len(accounts.everyone(rt)) == 1


def test_an_address_given_access_twice_at_once_is_refused_once(rt: Runtime) -> None:
    for number in range(ROUNDS):
        address = parse_address(f"same{number}@example.org")
        assert at_once(*[partial(accounts.add, rt, address, "", Role.EDITOR)] * 2) == [AccountRefused.__name__]


def test_whoever_is_no_owner_any_more_has_no_key(rt: Runtime) -> None:
    owner(rt, "stays")
    for number in range(ROUNDS):
        who = owner(rt, f"goes{number}")
        at_once(partial(accounts.set_role, rt, who, Role.VIEWER), partial(api_keys.make, rt, who, "k", Scope.READ))
        assert [each for each in api_keys.everything(rt) if each.revoked is None] == []
        with pytest.raises(ApiKeyRefused, match="may not make keys"):
            api_keys.make(rt, who, "k", Scope.READ)


def test_two_wordings_written_at_once_get_a_version_each(rt: Runtime) -> None:
    text = "I ask the practice to send me letters by e-mail, and I know that I can stop them at any time. "
    assert at_once(*[partial(consent_texts.change, rt, text + "x" * n, UserId("a" * 32)) for n in range(1, 5)]) == []
    assert len({each.version for each in consent_texts.history(rt)}) == 5
