"""What the provider reported, once each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from nurture.domain.delivery import State
from nurture.domain.event import Event
from nurture.store import given
from nurture.store.schema import deliveries, events
from nurture.words import DeliveryId, RequestId, SubscriberId

D, V = deliveries.c, events.c

_ADD = {
    "sqlite": sqlite.insert(events).on_conflict_do_nothing().returning(V.twin),
    "postgresql": postgresql.insert(events).on_conflict_do_nothing().returning(V.twin),
}


def add(
    db: Connection, found: Sequence[Event], whose: Mapping[DeliveryId, SubscriberId | None], received: datetime
) -> set[bytes]:
    """Note events; returns the twins of those not known before, under this id or another. `whose`: the deliveries we know."""
    rows = [
        {
            "provider_id": event.provider_id, "twin": event.twin, "kind": event.kind, "delivery_id": event.delivery,
            "request_id": event.request, "subscriber_id": whose.get(event.delivery) if event.delivery else None, "at": event.at,
            "received_at": received, "detail": event.detail,
        }
        for event in found
    ]  # fmt: skip
    return set(db.scalars(_ADD[db.dialect.name], rows)) if rows else set()


@dataclass(frozen=True)
class Reported:
    """A delivery that events speak of."""

    id: DeliveryId
    state: State
    request: RequestId | None
    subscriber: SubscriberId | None
    sending: datetime | None
    """When it was marked for that request, real time."""


_REPORTED = {
    dialect: select(D.id, D.state, D.request_id, D.subscriber_id, D.sending_at).where(given.among(dialect, D.id, "ids"))
    for dialect in ("sqlite", "postgresql")
}


def reported(db: Connection, ids: Collection[DeliveryId]) -> dict[DeliveryId, Reported]:
    """The deliveries among `ids` that this database knows."""
    return {row[0]: Reported(*tuple(row)) for row in db.execute(_REPORTED[db.dialect.name], {"ids": given.ids(db, ids)})}


def earlier_requests(db: Connection, delivery: DeliveryId) -> set[RequestId]:
    """Every request under which the provider has reported a delivery."""
    found = select(V.request_id).where(V.delivery_id == delivery, V.request_id.is_not(None)).distinct()
    return {RequestId(row) for row in db.scalars(found)}


def forget(db: Connection, before: datetime) -> int:
    """Delete events received before an instant."""
    return db.execute(delete(events).where(V.received_at < before)).rowcount
