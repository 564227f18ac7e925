"""T5: what the provider reports about mails it took. Settles the deliveries, and whom it says not to mail any more."""

from collections.abc import Sequence
from dataclasses import dataclass

from nurture.domain.event import Event
from nurture.runtime import Runtime


@dataclass(frozen=True)
class Taken:
    """What a bundle of events came to, in events."""

    fresh: int
    """Not seen before, under this id or another."""
    orphans: int
    """Of deliveries this database does not know."""
    settled: int
    """Deliveries that moved."""


def take(rt: Runtime, events: Sequence[Event]) -> Taken:
    """Note events and all that follows from them, in one transaction. Any order, any number of times, gives the same end."""
    raise NotImplementedError
