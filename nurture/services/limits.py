"""Limits on what strangers can cause, counted in the database under keyed hashes (nurture.domain.limits)."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from nurture.domain.limits import CONSULTATION, CONSULTATION_ALL, CONSULTATION_NETWORK, Limit
from nurture.domain.mailbox import mailbox_of
from nurture.runtime import Runtime
from nurture.services.addresses import Address
from nurture.store.state import limits

EVERYBODY = "everybody"
"""For whom a limit of the whole installation is counted."""


def key_of(rt: Runtime, limit: Limit, whom: str) -> bytes:
    """The keyed hash under which a limit is counted for somebody."""
    return rt.cipher.keyed_hash(f"limit|{limit.name}", whom)


def count_all(rt: Runtime, db: Connection, wanted: Iterable[tuple[Sequence[Limit], str | None]], at: datetime) -> bool:
    """Count one more of each of `wanted`, limits and for whom they are counted; whether all allow it. None is not counted:
    nobody knows which network it is.
    """
    keys = [(limit, key_of(rt, limit, whom)) for some, whom in wanted if whom is not None for limit in some]
    return limits.count_all(db, keys, at)


def count_consultation(rt: Runtime, db: Connection, address: Address, network: str | None) -> bool:
    """Count a request for a call; whether its mailbox, its network and the day still allow one. A request by the link of a
    letter needs none of this: it is bound to one reader.
    """
    wanted = ((CONSULTATION, mailbox(address)), (CONSULTATION_NETWORK, network), (CONSULTATION_ALL, EVERYBODY))
    return count_all(rt, db, wanted, rt.clock.real_now())


def mailbox(address: Address) -> str:
    """For whom a limit of a mailbox is counted: the same in all spellings of it."""
    return mailbox_of(address.canonical)


def forget(rt: Runtime, db: Connection, some: Sequence[Limit], whom: str) -> None:
    """Count anew from nothing."""
    limits.forget(db, [key_of(rt, limit, whom) for limit in some])
