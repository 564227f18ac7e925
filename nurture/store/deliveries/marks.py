"""A number that every transaction which marks mail raises, and that a restored copy has not reached yet.

SQLite has one writer at a time, so a row in the database is enough. On PostgreSQL such a row would make all senders wait for
each other; there it is the id of the transaction, which the server raises and recovers by itself (PostgreSQL manual,
"Transaction ID and Snapshot Information Functions").
"""

from sqlalchemy import Connection, text

from nurture.store.state import app_state

KEY = "mark_number"
"""Under which SQLite keeps it in the table app_state."""
_RAISE = f"UPDATE app_state SET value = CAST(value AS INTEGER) + 1 WHERE key = '{KEY}' RETURNING CAST(value AS INTEGER)"  # noqa: S608
_LAST_XID = text("SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) - 1")


def raise_number(db: Connection, transaction: int | None) -> int:
    """Raise the number in a transaction that marks mail; returns it. `transaction`: its id on PostgreSQL."""
    if transaction is not None:
        return transaction
    number = db.exec_driver_sql(_RAISE).scalar()
    if number is None:
        app_state.set_value(db, KEY, "1")
    return int(number or 1)


def last_transaction(db: Connection) -> int:
    """The id of the last transaction that ended on PostgreSQL, or a later one."""
    return int(db.execute(_LAST_XID).scalar_one())
