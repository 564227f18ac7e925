"""A number that every transaction which marks mail raises, and that a restored copy has not reached yet.

SQLite has one writer at a time, so a row in the database is enough. On PostgreSQL such a row would make all senders wait for
each other; there it is the id of the transaction, which the server raises and recovers by itself (PostgreSQL manual,
"Transaction ID and Snapshot Information Functions").
"""

from sqlalchemy import Connection, text

from nurture.store import instance

_KEY = "mark_number"
_RAISE = text(
    f"UPDATE instance SET value = CAST(value AS INTEGER) + 1 WHERE key = '{_KEY}' RETURNING CAST(value AS INTEGER)"  # noqa: S608
)
_XID = text("SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)")
_LAST_XID = text("SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) - 1")


def raise_number(db: Connection) -> int:
    """Raise the number in a transaction that marks mail; returns it."""
    if db.dialect.name == "postgresql":
        return int(db.execute(_XID).scalar_one())
    number = db.execute(_RAISE).scalar()
    if number is None:
        instance.put(db, _KEY, "1")
    return int(number or 1)


def last_number(db: Connection) -> int:
    """The number of the last transaction that committed, or a later one."""
    if db.dialect.name == "postgresql":
        return int(db.execute(_LAST_XID).scalar_one())
    return int(instance.get(db, _KEY) or 0)
