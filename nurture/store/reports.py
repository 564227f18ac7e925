"""Figures of the desk; reads only."""

from sqlalchemy import Connection, func, select

from nurture.domain.delivery import Kind, State
from nurture.domain.subscriber import SubscriberState
from nurture.store.schema import deliveries, subscribers


def counts(db: Connection) -> dict[str, int]:
    """How many readers and letters, by plain words."""
    people: dict[str, int] = {
        row[0]: row[1] for row in db.execute(select(subscribers.c.state, func.count()).group_by(subscribers.c.state)).all()
    }
    gone_out = (deliveries.c.kind == Kind.LETTER, deliveries.c.state.in_([State.ACCEPTED, State.DELIVERED]))
    doubt = deliveries.c.state.in_([State.UNKNOWN, State.HELD, State.FAILED])
    return {
        "readers": people.get(SubscriberState.ACTIVE, 0),
        "waiting to confirm": people.get(SubscriberState.PENDING, 0),
        "left": people.get(SubscriberState.UNSUBSCRIBED, 0),
        "letters sent": db.execute(select(func.count()).where(*gone_out)).scalar_one(),
        "mails that need a look": db.execute(select(func.count()).where(doubt)).scalar_one(),
    }
