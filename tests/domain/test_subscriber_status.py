"""The one word for a person, and that the list's filters mean the same by it."""

from datetime import timedelta
from itertools import product

from sqlalchemy import insert

from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.domain.subscriber_status import SubscriberStatus, status_of
from nurture.ids import SubscriberId, new_id
from nurture.runtime import Runtime
from nurture.services.subscribers import listing
from nurture.store.core.schema import enrollments, subscribers
from nurture.store.subscribers import listing as stored
from nurture.store.subscribers.listing import Filter


def test_everybody_has_one_word() -> None:
    assert status_of(SubscriberState.ACTIVE, EnrollmentState.ACTIVE) is SubscriberStatus.READING
    assert status_of(SubscriberState.ACTIVE, None) is SubscriberStatus.ENDED
    assert status_of(SubscriberState.UNSUBSCRIBED, EnrollmentState.ACTIVE) is SubscriberStatus.LEFT
    assert status_of(SubscriberState.PENDING, None) is SubscriberStatus.WAITING
    assert status_of(SubscriberState.PAUSED, EnrollmentState.ACTIVE) is SubscriberStatus.PAUSED


def test_a_filter_finds_exactly_those_the_list_calls_so(rt: Runtime) -> None:
    """Every state of a person with every pair of sequences they may have been in."""
    places = [None, *EnrollmentState]
    pairs = [pair for pair in product(places, places) if not {*pair} <= {EnrollmentState.ACTIVE, EnrollmentState.PAUSED}]
    now = rt.clock.now()
    with rt.database.begin() as db:
        sequence = stored.letters(db).of.keys()
        (key,) = sequence
        for state, pair in product(SubscriberState, pairs):
            who = SubscriberId(new_id())
            db.execute(
                insert(subscribers).values(
                    id=who,
                    email_index=bytes.fromhex(who) * 2,
                    email_encrypted=b"",
                    time_zone="UTC",
                    state=state,
                    created_at=now,
                )
            )
            for number, place in enumerate(each for each in pair if each):
                at = now + timedelta(minutes=number)
                row = {"id": new_id(), "subscriber_id": who, "sequence_id": key, "state": place}
                db.execute(insert(enrollments).values(row | {"anchor_at": at, "started_at": at}))
    with rt.database.read() as db:
        for each in SubscriberStatus:
            rows = stored.page(db, Filter(each), 1000)
            called = {summary.standing for summary in listing.summaries(rt, db, rows)}
            assert called <= {each}
            assert len(rows) == stored.count(db, Filter(each))
        found = sum(stored.count(db, Filter(each)) for each in SubscriberStatus)
        assert found == len(SubscriberState) * len(pairs)
