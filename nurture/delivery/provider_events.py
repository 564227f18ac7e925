"""EVENT: what the provider reports about mails it took. Settles the deliveries, and whom it says not to mail any more.

A row is committed as `sending` before its request leaves, so a report always finds it, even before our own SETTLE. Any event of
any mail of a request proves that the provider took the request as a whole.

A report never queues behind a lock: whoever holds one may stand still, and silence would then look like a letter that never
left. What cannot be settled at once is put on file instead, in a transaction that takes no contended locks; RESOLVE
looks there before it sends anything again (delivery.reconcile), and the provider is asked to repeat the report.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError

from nurture import failpoints, log
from nurture.delivery.plan import plan_after
from nurture.delivery.suppress import suppress
from nurture.domain.delivery import State, before
from nurture.domain.event import Event, EventKind, outcome
from nurture.domain.timeline import ON_TIME
from nurture.ids import DeliveryId, RequestId
from nurture.runtime import Runtime
from nurture.store.core.database import is_lock_timeout
from nurture.store.deliveries import in_doubt, ledger, provider_events
from nurture.store.deliveries.provider_events import Reported
from nurture.store.sequences import schedules
from nurture.store.state import app_state, heartbeats
from nurture.store.subscribers import subscribers

_log = log.get(__name__)

_LOCK_TIMEOUT = 0.5
"""Seconds. A report that meets a lock is written down, and settled later."""
_BY = "provider"
DUPLICATES = "duplicates_confirmed"
"""How many deliveries the provider reports under more than one request: the only honest count of doubled mail."""
_ORDER = (State.DELIVERED, State.DROPPED, State.BOUNCED, State.COMPLAINED)
"""In this order reports of one delivery are written down: the later outweighs the earlier, whatever came first."""


@dataclass(frozen=True)
class EventReport:
    """What a bundle of events came to, in events."""

    fresh: int
    """Not seen before, under this id or another."""
    orphans: int
    """Of deliveries this database does not know."""
    settled: int
    """Deliveries of which nobody had known that they were accepted."""


def record_events(rt: Runtime, found: Sequence[Event]) -> EventReport:
    """Note events and all that follows from them, in one transaction. Any order, any number of times, gives the same end.

    Raises DatabaseError where the database fails, or others hold what it needs: nothing followed, and the same events must come
    again; that they came is on file then, if the database could be written to at all.
    """
    try:
        return _take(rt, found)
    except DatabaseError as error:
        if is_lock_timeout(error):
            _put_on_file(rt, found)
        raise


def settle_noted(rt: Runtime, limit: int) -> int:
    """Settle deliveries in doubt, `limit` at once, of which a report is on file that could not be settled when it came. Returns
    how many; 0, too, if they are still locked: another time.
    """
    with rt.database.read() as db:
        noted = in_doubt.noted(db, limit)
    if not noted:
        return 0
    try:
        with rt.database.begin(lock_timeout=_LOCK_TIMEOUT) as db:
            ledger.lock_readers(db, {reader for reader in noted.values() if reader})
            return _prove(rt, db, noted)
    except DatabaseError as error:
        if not is_lock_timeout(error):
            raise
        return 0


def _take(rt: Runtime, found: Sequence[Event]) -> EventReport:
    with rt.database.begin(lock_timeout=_LOCK_TIMEOUT) as db:
        rows = provider_events.reported(db, {event.delivery for event in found if event.delivery})
        ledger.lock_readers(db, {row.subscriber for row in rows.values() if row.subscriber})
        known = {row.id: row.subscriber for row in rows.values()}
        new = provider_events.add(db, found, known, rt.clock.real_now())
        fresh = list({event.dedup_key: event for event in found if event.dedup_key in new}.values())
        settled = _settle(rt, db, fresh, rows)
        _count_duplicates(rt, db, fresh, rows)
        _stop(rt, db, fresh, rows)
        failpoints.point("event.before_commit")
    failpoints.point("event.after_commit")
    return EventReport(len(fresh), sum(event.delivery not in rows for event in fresh), settled)


def _settle(rt: Runtime, db: Connection, fresh: Iterable[Event], rows: dict[DeliveryId, Reported]) -> int:
    ours = [event for event in fresh if event.delivery in rows]
    if not ours:
        return 0
    requests = {event.request for event in ours if event.request}
    moved = _prove(rt, db, {event.delivery for event in ours if event.delivery}, requests)
    for state in _ORDER:
        ids = {event.delivery for event in ours if event.delivery and outcome(event.kind) is state}
        if ids:
            in_doubt.report(db, ids, state)
    sent = [row.sending for row in rows.values() if row.sending]
    if sent:
        heartbeats.reach(db, heartbeats.EVIDENCE, max(sent))
    return moved


def _prove(rt: Runtime, db: Connection, mails: Iterable[DeliveryId], requests: Collection[RequestId] = ()) -> int:
    """The provider has these mails, and whatever else is in doubt of these requests. Returns of how many nobody knew."""
    now, real_now = rt.clock.now(), rt.clock.real_now()
    schedules.lock_shared(db)  # before any row is locked: whoever changes a schedule locks what is scheduled
    moved = in_doubt.prove(db, {*mails, *in_doubt.siblings(db, requests)}, _BY, now, real_now)
    plan_after(db, moved, now, real_now, rt.clock.stretch(ON_TIME))
    return len(moved)


_LATER = "it could not be settled at once"


def _put_on_file(rt: Runtime, found: Sequence[Event]) -> None:
    """Note that these came, under names of their own: when they are repeated they are as fresh as ever."""
    with rt.database.begin(lock_timeout=_LOCK_TIMEOUT) as db:
        real_now = rt.clock.real_now()
        heartbeats.reach(db, heartbeats.TURNED_AWAY, real_now)
        rows = provider_events.reported(db, {event.delivery for event in found if event.delivery})
        requests = {event.request for event in found if event.request and event.delivery in rows}
        rows |= provider_events.reported(db, in_doubt.siblings(db, requests))
        unsettled = {row.id: row.subscriber for row in rows.values() if row.state in before(State.ACCEPTED)}
        provider_events.add(db, [_note(delivery, real_now) for delivery in unsettled], unsettled, real_now)
    _log.warning("webhook_lock_timeout", count=len(found), deliveries=len(unsettled))


def _note(delivery: DeliveryId, real_now: datetime) -> Event:
    dedup_key = hashlib.blake2b(f"on file: {delivery}".encode(), digest_size=16).digest()
    return Event(EventKind.OTHER, real_now, dedup_key, delivery=delivery, detail=_LATER)


def _count_duplicates(rt: Runtime, db: Connection, fresh: Iterable[Event], rows: dict[DeliveryId, Reported]) -> None:
    """A report of another request than the one we last made for a delivery may prove that it went out twice."""
    other = {
        event.delivery
        for event in fresh
        if event.delivery in rows and event.request and event.request != rows[event.delivery].request
    }
    for delivery in other:
        if delivery and provider_events.is_newly_doubled(db, delivery, rt.clock.real_now()):
            _log.error("duplicate_confirmed", delivery=delivery)
            app_state.count(db, DUPLICATES)


def _stop(rt: Runtime, db: Connection, fresh: Iterable[Event], rows: dict[DeliveryId, Reported]) -> None:
    """Take people off the list whom the provider says not to mail: by their delivery, or by address where it names none."""
    for event in sorted(fresh, key=lambda event: event.at):
        if event.suppresses is None:
            continue
        row = rows.get(event.delivery) if event.delivery else None
        if row is not None:
            person = subscribers.get(db, row.subscriber) if row.subscriber else None
        else:
            person = subscribers.find(db, rt.cipher.blind_index(event.email)) if event.email else None
        if person is not None:
            suppress(rt, db, person, event.suppresses)
        elif row is None and event.email:  # should they sign up later, we know
            subscribers.suppress(db, rt.cipher.blind_index(event.email), event.suppresses, rt.clock.now())
