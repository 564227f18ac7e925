"""What the owner of a claim does with rows it does not send: keep them for longer, or put them where they belong."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from nurture.domain.delivery import State
from nurture.store import history
from nurture.store.history import Settled, is_in
from nurture.store.schema import deliveries
from nurture.words import BatchId, DeliveryId

D = deliveries.c


def lease_of(db: Connection, batch: BatchId) -> datetime | None:
    """Until when, in real time, a batch is its owner's; None if nothing is claimed under it."""
    found: datetime | None = db.scalar(select(func.min(D.lease_until)).where(D.batch_id == batch, is_in(State.CLAIMED)))
    return found


def unfit(db: Connection, batch: BatchId, whys: Mapping[DeliveryId, str], by: str, wall: datetime) -> None:
    """These can never go out as they are, each for its own reason; the others of the batch can."""
    for delivery, why in whys.items():
        mine = (D.id == delivery, D.batch_id == batch, is_in(State.CLAIMED))
        history.move(db, State.FAILED, by, wall, why, *mine, lease_until=None)


def postponed(db: Connection, batch: BatchId, delivery: DeliveryId, to: datetime, by: str, wall: datetime, why: str) -> None:
    """A claimed row whose moment is not now: a new promise, at `to` (timeline)."""
    mine = (D.id == delivery, D.batch_id == batch, is_in(State.CLAIMED))
    history.move(db, State.SCHEDULED, by, wall, why, *mine, batch_id=None, lease_until=None, due_at=to, planned_at=to)


def put_aside(
    db: Connection, batch: BatchId, delivery: DeliveryId, to: State, by: str, wall: datetime, why: str
) -> list[Settled]:
    """A claimed row that came far too late: CANCELLED, or HELD for a person. Returns it if it moved."""
    mine = (D.id == delivery, D.batch_id == batch, is_in(State.CLAIMED))
    return history.move(db, to, by, wall, why, *mine, lease_until=None)


def release(db: Connection, batch: BatchId, by: str, wall: datetime, why: str) -> int:
    """Give back what is still claimed under `batch`: provably unsent."""
    mine = (D.batch_id == batch, is_in(State.CLAIMED))
    return len(history.move(db, State.SCHEDULED, by, wall, why, *mine, batch_id=None, lease_until=None))


def extend(db: Connection, batch: BatchId, lease_until: datetime) -> None:
    """Its owner is alive and still at it."""
    db.execute(update(deliveries).where(D.batch_id == batch, is_in(State.CLAIMED)).values(lease_until=lease_until))
