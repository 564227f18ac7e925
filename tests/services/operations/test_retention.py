"""What is kept no longer than it must be."""

import hashlib
from datetime import timedelta

from sqlalchemy import func, select

from nurture.delivery import provider_events
from nurture.domain.delivery import DeliveryKind
from nurture.domain.event import Event, EventKind
from nurture.domain.subscriber import CONFIRM_WITHIN
from nurture.runtime import Runtime
from nurture.services.operations.retention import REPORTS_KEPT, retain
from nurture.store.core.schema import provider_events as event_rows
from nurture.store.core.schema import subscribers
from tests.clocks import ManualClock
from tests.people import a_subscriber, rows, run_tick, sign_up


def test_sign_ups_nobody_confirms_are_deleted_in_time_and_readers_are_not(rt: Runtime, clock: ManualClock) -> None:
    reader, newcomer = a_subscriber(rt), sign_up(rt)
    clock.at += CONFIRM_WITHIN - timedelta(minutes=1)
    assert retain(rt) == 0
    clock.advance(minutes=2)
    assert retain(rt) == 1
    with rt.database.read() as db:
        assert set(db.scalars(select(subscribers.c.id))) == {reader.id}
    assert rows(rt, newcomer) == []
    assert rows(rt, reader, DeliveryKind.LETTER)


def test_reports_are_deleted_when_nobody_will_ask_any_more(rt: Runtime, clock: ManualClock) -> None:
    def report(name: str) -> None:
        dedup_key = hashlib.blake2b(name.encode(), digest_size=16).digest()
        provider_events.record_events(rt, [Event(EventKind.DELIVERED, clock.real_now(), dedup_key, name)])

    def kept() -> int:
        with rt.database.read() as db:
            return db.execute(select(func.count()).select_from(event_rows)).scalar_one()

    report("the first")
    clock.at += REPORTS_KEPT - timedelta(minutes=1)
    report("the second")
    run_tick(rt)
    retain(rt)
    assert kept() == 2
    clock.advance(minutes=2)
    retain(rt)
    assert kept() == 1
