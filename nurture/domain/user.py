"""Who uses the desk, and what each may do."""

from datetime import timedelta
from enum import IntEnum, StrEnum


class Role(StrEnum):
    """What somebody is at the desk."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


class Need(IntEnum):
    """What a page asks of whoever opens it."""

    LOOK = 0
    CHANGE = 1
    OWN = 2


_RIGHTS = {Role.VIEWER: Need.LOOK, Role.EDITOR: Need.CHANGE, Role.OWNER: Need.OWN}


def allows(role: Role, need: Need) -> bool:
    """Whether a role may do it: a viewer looks, an editor changes letters and people, an owner settings and accounts too."""
    return _RIGHTS[role] >= need


class Scope(StrEnum):
    """What a program may do that has a key."""

    READ = "read"
    ALL = "all"


def covers(has: Scope, asked: Scope) -> bool:
    """Whether a key with one scope may do what asks for another."""
    return has is Scope.ALL or asked is Scope.READ


FREE_TRIES = 5
"""Failed log-ins before the first wait; a slip or two cost nothing."""
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(minutes=15)


def wait_after(failures: int) -> timedelta:
    """How long an account takes no further try after so many failed ones in a row, in real time: none, then doubling to 15 min.

    A whole log-in, second factor included, starts the count anew; a right password alone does not.
    """
    if failures < FREE_TRIES:
        return timedelta()
    doublings: int = 2 ** min(failures - FREE_TRIES, 10)
    return min(_FIRST_WAIT * doublings, _LONGEST_WAIT)
