"""What stops all sending of the whole fleet. Nothing is claimed or marked while a block is active."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Connection, Text, cast, func, select, update

from nurture.characters import storable
from nurture.store.core.schema import send_blocks

B = send_blocks.c


class BlockKind(StrEnum):
    """Reasons why sending is blocked."""

    STOP = "stop"
    """A person, by the stop switch."""
    PROVIDER = "provider"
    """A refusal that concerns every mail: ends by itself, and is half-open until the first mails after it are taken."""
    CLOCK = "clock"
    """The clock jumped: a person looks at it."""
    DATABASE_RESTORED = "epoch"
    """The database is a restored copy: a person looks at it."""


@dataclass(frozen=True)
class ActiveBlock:
    """A block that is in force, or half-open. Real times."""

    kind: BlockKind
    since: datetime
    until: datetime | None
    why: str
    by: str

    def stops(self, real_now: datetime) -> bool:
        """Whether nothing may be sent now; otherwise a few mails may try whether the cause is gone."""
        return self.until is None or real_now < self.until


_ACTIVE = select(B.name, B.blocked_at, B.until, B.reason, B.actor).where(B.blocked_at.is_not(None)).order_by(B.blocked_at)
_LOCK = 0x6E75727475726521
"""Advisory lock on PostgreSQL: shared by all who mark mail, taken alone by whoever throws the stop switch."""
_SHARED = select(func.pg_advisory_xact_lock_shared(_LOCK), cast(cast(func.pg_current_xact_id(), Text), BigInteger))
_ALONE = select(func.pg_advisory_xact_lock(_LOCK))


def lock_unblocked(db: Connection) -> int | None:
    """From here to the end of the transaction nobody throws the stop switch. SQLite has one writer at a time anyway.

    Returns the transaction's id on PostgreSQL, for `store.deliveries.marks`, at no further round trip.
    """
    if db.dialect.name != "postgresql":
        return None
    transaction: int = db.execute(_SHARED).one()[1]
    return transaction


def active_blocks(db: Connection) -> list[ActiveBlock]:
    """Blocks in force, or half-open, oldest first."""
    return [ActiveBlock(BlockKind(row[0]), *row[1:]) for row in db.execute(_ACTIVE)]


def stopped(blocks: Sequence[ActiveBlock], real_now: datetime) -> ActiveBlock | None:
    """The block that stops everything now, if one does."""
    return next((block for block in blocks if block.stops(real_now)), None)


def block(db: Connection, kind: BlockKind, why: str, by: str, real_now: datetime, until: datetime | None = None) -> bool:
    """Block sending until `until`, or until a person ends it. Returns whether it was not blocked for that reason.

    The stop switch waits for those who are marking mail: after its commit nothing passes. A provider that refuses again and
    again has done so since the first time.
    """
    if kind is BlockKind.STOP and db.dialect.name == "postgresql":
        db.execute(_ALONE)
    is_new = db.execute(select(B.blocked_at).where(B.name == kind).with_for_update()).scalar_one() is None
    since = real_now if is_new or kind is not BlockKind.PROVIDER else B.blocked_at
    text = {"reason": storable(why)[:200], "actor": storable(by)[:120]}
    db.execute(update(send_blocks).where(B.name == kind).values(blocked_at=since, until=until, **text))
    return is_new


def unblock(db: Connection, kind: BlockKind) -> bool:
    """End a block. Returns whether there was one."""
    was = update(send_blocks).where(B.name == kind, B.blocked_at.is_not(None))
    return bool(db.execute(was.values(blocked_at=None, until=None, reason=None, actor=None)).rowcount)
