"""T5: what the provider reports about mails it took. Settles the deliveries, and whom it says not to mail any more.

A row is committed as `sending` before its request leaves, so a report always finds it, even before our own T3. Any event of
any mail of a request proves that the provider took the request as a whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from nurture import crash, log
from nurture.delivery.plan import plan_after
from nurture.delivery.stop import stop
from nurture.domain.delivery import State
from nurture.domain.event import Event, outcome
from nurture.domain.timeline import ON_TIME
from nurture.runtime import Runtime
from nurture.store import doubts, events, heartbeats, instance, ledger, schedules, subscribers
from nurture.store.events import Reported
from nurture.words import DeliveryId

_log = log.get(__name__)

_BY = "provider"
DUPLICATES = "duplicates_confirmed"
"""How many deliveries the provider reports under more than one request: the only honest count of doubled mail."""
_ORDER = (State.DELIVERED, State.DROPPED, State.BOUNCED, State.COMPLAINED)
"""In this order reports of one delivery are written down: the later outweighs the earlier, whatever came first."""


@dataclass(frozen=True)
class Taken:
    """What a bundle of events came to, in events."""

    fresh: int
    """Not seen before, under this id or another."""
    orphans: int
    """Of deliveries this database does not know."""
    settled: int
    """Deliveries of which nobody had known that they were accepted."""


def take(rt: Runtime, found: Sequence[Event]) -> Taken:
    """Note events and all that follows from them, in one transaction. Any order, any number of times, gives the same end."""
    with rt.database.begin() as db:
        rows = events.reported(db, {event.delivery for event in found if event.delivery})
        ledger.lock_readers(db, {row.subscriber for row in rows.values() if row.subscriber})
        known = {row.id: row.subscriber for row in rows.values()}
        twins = events.add(db, found, known, rt.clock.wall())
        fresh = list({event.twin: event for event in found if event.twin in twins}.values())
        settled = _settle(rt, db, fresh, rows)
        _count_duplicates(rt, db, fresh, rows)
        _stop(rt, db, fresh, rows)
        crash.point("T5.before_commit")
    crash.point("T5.after_commit")
    return Taken(len(fresh), sum(event.delivery not in rows for event in fresh), settled)


def _settle(rt: Runtime, db: Connection, fresh: Iterable[Event], rows: dict[DeliveryId, Reported]) -> int:
    ours = [event for event in fresh if event.delivery in rows]
    if not ours:
        return 0
    now, wall = rt.clock.now(), rt.clock.wall()
    schedules.hold(db)  # before any row is locked: whoever changes a schedule locks what is scheduled
    requests = {event.request for event in ours if event.request}
    proven = {event.delivery for event in ours if event.delivery} | set(doubts.siblings(db, requests))
    moved = doubts.prove(db, proven, _BY, now, wall)
    plan_after(db, moved, now, rt.clock.stretch(ON_TIME))
    for state in _ORDER:
        ids = {event.delivery for event in ours if event.delivery and outcome(event.kind) is state}
        if ids:
            doubts.report(db, ids, state)
    sent = [row.sending for row in rows.values() if row.sending]
    if sent:
        heartbeats.reach(db, heartbeats.EVIDENCE, max(sent))
    return len(moved)


def _count_duplicates(rt: Runtime, db: Connection, fresh: Iterable[Event], rows: dict[DeliveryId, Reported]) -> None:
    """A report of another request than the one we last made for a delivery may prove that it went out twice."""
    other = {
        event.delivery
        for event in fresh
        if event.delivery in rows and event.request and event.request != rows[event.delivery].request
    }
    for delivery in other:
        if delivery and events.is_newly_doubled(db, delivery, rt.clock.wall()):
            _log.error("duplicate_confirmed", delivery=delivery)
            instance.count(db, DUPLICATES)


def _stop(rt: Runtime, db: Connection, fresh: Iterable[Event], rows: dict[DeliveryId, Reported]) -> None:
    """Take people off the list whom the provider says not to mail: by their delivery, or by address where it names none."""
    for event in sorted(fresh, key=lambda event: event.at):
        if event.suppresses is None:
            continue
        row = rows.get(event.delivery) if event.delivery else None
        if row is not None:
            person = subscribers.get(db, row.subscriber) if row.subscriber else None
        else:
            person = subscribers.find(db, rt.sealer.blind_index(event.email)) if event.email else None
        if person is not None:
            stop(rt, db, person, event.suppresses)
        elif row is None and event.email:  # should they sign up later, we know
            subscribers.suppress(db, rt.sealer.blind_index(event.email), event.suppresses, rt.clock.now())
