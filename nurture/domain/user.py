"""Who uses the desk, and what each may do."""

from datetime import timedelta
from enum import IntEnum, StrEnum


class Role(StrEnum):
    """What somebody is at the desk."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


class Permission(IntEnum):
    """What a page asks of whoever opens it."""

    VIEW = 0
    CHANGE = 1
    OWN = 2


_RIGHTS = {Role.VIEWER: Permission.VIEW, Role.EDITOR: Permission.CHANGE, Role.OWNER: Permission.OWN}


def allows(role: Role, need: Permission) -> bool:
    """Whether a role may do it: a viewer looks, an editor changes letters and people, an owner settings and accounts too."""
    return _RIGHTS[role] >= need


class AccountChange(StrEnum):
    """How somebody's way to log in was changed; they are told by mail at the address they had."""

    ADDRESS = "address"
    PROOFS = "proofs"
    PASSWORD = "password"  # noqa: S105 - which proof was changed
    CODES = "codes"
    RESET = "reset"
    PASSKEY_ADDED = "passkey-added"
    PASSKEY_REMOVED = "passkey-removed"


class Scope(StrEnum):
    """What a program may do that has a key."""

    READ = "read"
    ALL = "all"


def covers(has: Scope, asked: Scope) -> bool:
    """Whether a key with one scope may do what asks for another."""
    return has is Scope.ALL or asked is Scope.READ


FREE_TRIES = 5
"""Failed tries for one account, or on one known device, before the first wait; a slip or two cost nothing."""
FREE_TRIES_OF_NETWORK = 20
"""The same for all accounts that are tried from one network: several people may sit behind it."""
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(minutes=15)


def wait_after(failures: int, free: int = FREE_TRIES) -> timedelta:
    """How long no further try is taken after so many failed ones in a row, in real time: none, then doubling to 15 min.

    A whole log-in, second factor included, starts the count anew; a right password alone does not.
    """
    if failures < free:
        return timedelta()
    doublings: int = 2 ** min(failures - free, 10)
    return min(_FIRST_WAIT * doublings, _LONGEST_WAIT)
