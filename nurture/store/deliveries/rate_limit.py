"""The rate of the whole fleet: the database hands out sending slots (NURTURE_MAX_SENDS_PER_SECOND)."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from nurture.store.core.insert import insert_into
from nurture.store.core.schema import rate_limit


def reserve(db: Connection, count: int, per_second: float, real_now: datetime) -> datetime:
    """Take the fleet's next `count` sending slots at `per_second`; returns the real instant at which they begin."""
    db.execute(insert_into(rate_limit, db.dialect.name).values(name="sends", next_at=real_now).on_conflict_do_nothing())
    free: datetime = db.execute(select(rate_limit.c.next_at).where(rate_limit.c.name == "sends").with_for_update()).scalar_one()
    begin = max(free, real_now)
    db.execute(
        update(rate_limit).where(rate_limit.c.name == "sends").values(next_at=begin + timedelta(seconds=count / per_second))
    )
    return begin
