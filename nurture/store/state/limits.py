"""Counters that all processes agree on. A row holds a keyed hash, a number and when it ends: nothing that leads to a person,
and nothing that goes when what was counted is deleted.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Executable, Integer, LargeBinary, bindparam, case, delete, or_, select

from nurture.domain.limits import Counter, Limit, is_full
from nurture.store.core.columns import Instant
from nurture.store.core.insert import insert_into
from nurture.store.core.schema import limit_counters

L = limit_counters.c


_KEY = bindparam("of", type_=LargeBinary)
_COUNTERS = select(L.key, L.count, L.ends_at).where(L.key.in_(bindparam("keys", expanding=True, type_=LargeBinary)))


def counters(db: Connection, keys: Sequence[bytes]) -> dict[bytes, Counter]:
    """What is counted under keys."""
    return {bytes(row[0]): Counter(row[1], row[2]) for row in db.execute(_COUNTERS, {"keys": keys})}


@cache
def _take(dialect: str, starts_anew: bool) -> Executable:
    weight, fresh = bindparam("weight", type_=Integer), bindparam("fresh", type_=Instant)
    is_over = L.ends_at <= bindparam("at", type_=Instant)
    counted = {
        "count": case((is_over, weight), else_=L.count + weight),
        "ends_at": fresh if starts_anew else case((is_over, fresh), else_=L.ends_at),
    }
    first = insert_into(limit_counters, dialect).values(key=_KEY, count=weight, ends_at=fresh)
    is_free = or_(is_over, L.count < bindparam("most", type_=Integer))
    return first.on_conflict_do_update(index_elements=[L.key], set_=counted, where=is_free).returning(L.key)


def count_one(db: Connection, limit: Limit, key: bytes, at: datetime, weight: int = 1) -> bool:
    """Count one more, in one statement, unless the limit is reached; returns whether it was counted (`domain.limits`)."""
    if limit.most <= 0:
        return False
    values = {"of": key, "at": at, "fresh": at + limit.window, "weight": weight, "most": limit.most}
    return db.execute(_take(db.dialect.name, limit.starts_anew), values).first() is not None


def count_all(db: Connection, wanted: Sequence[tuple[Limit, bytes]], at: datetime) -> bool:
    """Count one more under every limit, or, if one is reached, under none. Two processes that come to the last place at once
    may use up others' places for one that is refused.
    """
    known = counters(db, [key for _, key in wanted])
    if any(is_full(limit, known.get(key), at) for limit, key in wanted):
        return False
    return all(count_one(db, limit, key, at) for limit, key in wanted)


def forget(db: Connection, keys: Sequence[bytes]) -> None:
    """Count anew from nothing."""
    db.execute(delete(limit_counters).where(L.key.in_(keys)))


def forget_ended(db: Connection, now: datetime) -> None:
    """Delete counters whose window has ended."""
    db.execute(delete(limit_counters).where(L.ends_at <= now))
