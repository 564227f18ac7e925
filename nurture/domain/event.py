"""What a provider reports about a mail after taking it, and what follows for the delivery and for the reader."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from nurture.domain.delivery import State
from nurture.domain.subscriber import Suppression
from nurture.ids import DeliveryId, RequestId


class EventKind(StrEnum):
    """What happened to a mail, in one word for all providers."""

    PROCESSED = "processed"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    OPENED = "opened"
    OTHER = "other"


@dataclass(frozen=True)
class Event:
    """One report, as any provider's can be read. Every one is evidence that the provider took the request it belongs to."""

    kind: EventKind
    at: datetime
    """When it happened, real time (UTC)."""
    dedup_key: bytes
    """16 bytes, equal for reports of the same thing whatever their id."""
    provider_id: str | None = None
    delivery: DeliveryId | None = None
    request: RequestId | None = None
    email: str | None = field(default=None, repr=False)
    """The address in its canonical form, only to find whom to suppress where the delivery is none we know; never stored."""
    suppresses: Suppression | None = None
    """Why this address must not be mailed any more; None if it may."""
    detail: str | None = None
    """The provider's class of the cause; never its free text, which may quote an address."""


_OUTCOME = {
    EventKind.DELIVERED: State.DELIVERED,
    EventKind.BOUNCED: State.BOUNCED,
    EventKind.BLOCKED: State.BOUNCED,
    EventKind.DROPPED: State.DROPPED,
    EventKind.COMPLAINED: State.COMPLAINED,
}


def outcome(kind: EventKind) -> State:
    """The state a delivery is in after an event of that kind, if it may go there (domain.delivery.MOVES).

    Whatever the provider says of a mail, it has taken it: everything else means ACCEPTED.
    """
    return _OUTCOME.get(kind, State.ACCEPTED)
