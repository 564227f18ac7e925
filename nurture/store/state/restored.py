"""What a database that was just loaded from a backup must be told, before anybody works with it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from nurture.domain.delivery import State
from nurture.store.core.desk_schema import desk_sessions, login_links
from nurture.store.core.schema import app_state, deliveries
from nurture.store.deliveries.transitions import is_in

_OF_ONE_DATABASE = (
    "database_id", "generation", "restores", "identity", "generation_witnessed", "stopped_cleanly_at", "restore_reviewed_at",
    "mark_number",
)  # fmt: skip
"""Facts about the database the backup was made of, and not about its content."""


def forget_identity(db: Connection) -> None:
    """Let this count as a database of its own, so that nothing takes it for an old copy of the one the backup was made of."""
    db.execute(delete(app_state).where(app_state.c.key.in_(_OF_ONE_DATABASE)))


def end_sessions(db: Connection) -> None:
    """End all sessions of the desk, and log-in links: some of them were ended since the backup was made."""
    db.execute(delete(desk_sessions))
    db.execute(delete(login_links))


@dataclass(frozen=True)
class RestoreOutlook:
    """What a restored database would do once somebody starts sending."""

    due: int
    """Mails that would go out at once."""
    in_doubt: int
    """Mails that may have gone out since the backup was made: a person decides about each."""
    scheduled: int
    """Mails that are due later, each at its time."""


def outlook(db: Connection, now: datetime) -> RestoreOutlook:
    """`now`: on the timeline."""
    found = {row[0]: row[1] for row in db.execute(select(deliveries.c.state, func.count()).group_by(deliveries.c.state))}
    due = select(func.count()).where(is_in(State.SCHEDULED, State.CLAIMED, State.SENDING), deliveries.c.due_at <= now)
    number = db.execute(due).scalar_one()
    in_doubt = found.get(State.UNKNOWN, 0) + found.get(State.HELD, 0)
    return RestoreOutlook(number, in_doubt, found.get(State.SCHEDULED, 0) - number)
