"""Counters that all processes agree on. A row holds a keyed hash, a number and when it ends: nothing that leads to a person,
and nothing that goes when what was counted is deleted.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Integer,
    LargeBinary,
    bindparam,
    case,
    delete,
    exists,
    literal_column,
    not_,
    or_,
    select,
)

from nurture.domain.limits import Counter, Limit
from nurture.store.core import bulk_params
from nurture.store.core.columns import Instant
from nurture.store.core.insert import insert_into
from nurture.store.core.schema import limit_counters

L = limit_counters.c


_COUNTERS = select(L.key, L.count, L.ends_at).where(L.key.in_(bindparam("keys", expanding=True, type_=LargeBinary)))
_KEY: ColumnElement[bytes] = literal_column("limit_counters.key")
"""Of the row that is counted in, as a sub-query of ON CONFLICT names it."""


def counters(db: Connection, keys: Sequence[bytes]) -> dict[bytes, Counter]:
    """What is counted under keys."""
    return {bytes(row[0]): Counter(row[1], row[2]) for row in db.execute(_COUNTERS, {"keys": keys})}


@cache
def _count(dialect: str, starts_anew: bool) -> Executable:
    at, weight = bindparam("at", type_=Instant), bindparam("weight", type_=Integer)
    wanted = bulk_params.as_bytes_table(dialect, "wanted", limit=Integer, fresh=Instant)
    every, its = wanted.alias("every"), wanted.alias("its")
    is_over = L.ends_at <= at
    full = exists().where(L.key == every.c.key, not_(is_over), L.count >= every.c.limit)
    rows = select(wanted.c.key, weight, wanted.c.fresh).where(not_(full))
    first = insert_into(limit_counters, dialect).from_select([L.key, L.count, L.ends_at], rows)
    limit = select(its.c.limit).where(its.c.key == _KEY).scalar_subquery()
    fresh = first.excluded.ends_at
    counted = {
        "count": case((is_over, weight), else_=L.count + weight),
        "ends_at": fresh if starts_anew else case((is_over, fresh), else_=L.ends_at),
    }
    is_free = or_(is_over, L.count < limit)  # once more: another transaction may have counted meanwhile
    return first.on_conflict_do_update(index_elements=[L.key], set_=counted, where=is_free).returning(L.key)


def count_all(db: Connection, wanted: Sequence[tuple[Limit, bytes]], at: datetime, weight: int = 1) -> bool:
    """Count one more, which weighs `weight`, under every limit, or, if one is reached, under none (`domain.limits`), in one
    statement; returns whether it was counted. Either all of the limits start anew or none does.

    Two transactions that come to the last place at once may use up others' places for one that is refused.
    """
    if not wanted:
        return True
    if any(limit.most <= 0 for limit, _ in wanted):
        return False
    (starts_anew,) = {limit.starts_anew for limit, _ in wanted}
    rows = {key.hex(): (limit.most, at + limit.window) for limit, key in wanted}
    values = {"wanted": bulk_params.encode(db, rows), "at": at, "weight": weight}
    return len(db.execute(_count(db.dialect.name, starts_anew), values).all()) == len(rows)


def forget(db: Connection, keys: Sequence[bytes]) -> None:
    """Count anew from nothing."""
    db.execute(delete(limit_counters).where(L.key.in_(keys)))


def forget_ended(db: Connection, now: datetime) -> None:
    """Delete counters whose window has ended."""
    db.execute(delete(limit_counters).where(L.ends_at <= now))
