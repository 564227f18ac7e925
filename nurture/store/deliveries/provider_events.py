"""What the provider reported, once each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Executable, Text, delete, func, select, true

from nurture.domain.delivery import State
from nurture.domain.event import Event
from nurture.ids import DeliveryId, RequestId, SubscriberId
from nurture.store.core import bulk_params
from nurture.store.core.columns import Id, Instant
from nurture.store.core.insert import insert_into
from nurture.store.core.schema import deliveries, provider_events
from nurture.store.deliveries import transitions

D, V = deliveries.c, provider_events.c

_COLUMNS = ("dedup_key", "provider_id", "kind", "delivery_id", "request_id", "subscriber_id", "at", "received_at", "detail")


@cache
def _add(dialect: str) -> Executable:
    found = bulk_params.as_bytes_table(
        dialect,
        "found",
        provider=Text,
        kind=Text,
        delivery=Id,
        request=Id,
        subscriber=Id,
        at=Instant,
        received=Instant,
        detail=Text,
    )
    rows = select(*found.c).where(true())  # SQLite wants a WHERE between SELECT and ON CONFLICT
    return insert_into(provider_events, dialect).from_select(_COLUMNS, rows).on_conflict_do_nothing().returning(V.dedup_key)


def add(
    db: Connection, found: Sequence[Event], whose: Mapping[DeliveryId, SubscriberId | None], received: datetime
) -> set[bytes]:
    """Note events; returns the `dedup_key` of those not known before, under this id or another. `whose`: the deliveries we
    know.
    """
    rows = {
        event.dedup_key.hex(): (
            event.provider_id, event.kind, event.delivery, event.request, whose.get(event.delivery) if event.delivery else None,
            event.at, received, event.detail,
        )
        for event in found
    }  # fmt: skip
    return set(db.scalars(_add(db.dialect.name), {"found": bulk_params.encode(db, rows)})) if rows else set()


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
    dialect: select(D.id, D.state, D.request_id, D.subscriber_id, D.sending_at).where(bulk_params.in_ids(dialect, D.id, "ids"))
    for dialect in ("sqlite", "postgresql")
}


def reported(db: Connection, ids: Collection[DeliveryId]) -> dict[DeliveryId, Reported]:
    """The deliveries among `ids` that this database knows."""
    return {
        row[0]: Reported(*tuple(row))
        for row in db.execute(_REPORTED[db.dialect.name], {"ids": bulk_params.encode_ids(db, ids)})
    }


_DOUBLED = "went out twice"


def is_newly_doubled(db: Connection, delivery: DeliveryId, real_now: datetime) -> bool:
    """Whether the provider has by now reported a delivery under two requests; true once, and noted in its history."""
    requests = select(func.count(func.distinct(V.request_id))).where(V.delivery_id == delivery)
    if db.execute(requests).scalar_one() < 2:
        return False
    return transitions.note_once(db, delivery, _DOUBLED, real_now)


def forget(db: Connection, before: datetime) -> None:
    """Delete events received before an instant."""
    db.execute(delete(provider_events).where(V.received_at < before))
