"""Whether mail may leave for readers. It becomes so once, by somebody's word at the desk, and stays so."""

from datetime import datetime

from sqlalchemy import Connection

from nurture.store.state import app_state

_KEY = "launched_at"


def since(db: Connection) -> str | None:
    """Since when (ISO 8601, real time), or in words for an installation older than this; None: not yet."""
    return app_state.get(db, _KEY)


def begin(db: Connection, real_now: datetime) -> None:
    """From now on; a second time changes nothing."""
    app_state.get_or_set(db, _KEY, real_now.isoformat())
