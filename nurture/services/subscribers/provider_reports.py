"""A provider's reports, from the addresses in them to what follows."""

from collections.abc import Sequence
from dataclasses import replace

from nurture.delivery import provider_events
from nurture.delivery.provider_events import EventReport
from nurture.domain.event import Event
from nurture.runtime import Runtime
from nurture.services.addresses import InputRefused, parse_address


def take_reports(rt: Runtime, events: Sequence[Event]) -> EventReport:
    """Note what a provider reports, and all that follows from it; an address that cannot be read is nobody's."""
    return provider_events.record_events(
        rt, [event if event.email is None else replace(event, email=_canonical(event.email)) for event in events]
    )


def _canonical(address: str) -> str | None:
    try:
        return parse_address(address).canonical
    except InputRefused:
        return None
