"""The ledger's statements, on both databases."""

from datetime import datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import func, insert, select, update

from nurture.domain.delivery import Kind, State
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState, Suppression, hindrance
from nurture.runtime import Runtime
from nurture.store import ledger, subscribers
from nurture.store.ledger import NewDelivery
from nurture.store.schema import deliveries, enrollments, send_requests
from nurture.store.schema import subscribers as people_table
from nurture.words import BatchId, DeliveryId, StepKey, SubscriberId, new_id
from tests.clocks import ManualClock
from tests.people import a_subscriber, enrollment_of, rows, sign_up

LEASE = timedelta(seconds=120)


def claim(rt: Runtime, limit: int = 100) -> tuple[BatchId, list[DeliveryId]]:
    batch = BatchId(new_id())
    with rt.database.begin() as db:
        return batch, ledger.claim(db, batch, rt.clock.now(), rt.clock.wall() + LEASE, limit)


def mark(rt: Runtime, batch: BatchId, ids: list[DeliveryId]) -> set[DeliveryId]:
    with rt.database.begin() as db:
        return ledger.mark(db, batch, ids, "test", rt.clock.wall(), rt.clock.wall() + LEASE)


def notices(rt: Runtime, count: int, due: datetime | None = None) -> None:
    with rt.database.begin() as db:
        planned = [NewDelivery(Kind.NOTICE, due or rt.clock.now()) for _ in range(count)]
        assert ledger.plan(db, planned, rt.clock.now()) == count


def states(rt: Runtime) -> list[State]:
    return [row[1] for row in rows(rt)]


def test_a_step_is_planned_once_however_often_it_is_tried(rt: Runtime) -> None:
    reader = a_subscriber(rt)
    ((_, _, step, _),) = rows(rt, reader, Kind.LETTER)
    again = NewDelivery(Kind.LETTER, rt.clock.now(), reader.id, b"x" * 32, enrollment_of(rt, reader), StepKey(step or ""))
    with rt.database.begin() as db:
        assert ledger.plan(db, [again, again], rt.clock.now()) == 0
    assert len(rows(rt, reader, Kind.LETTER)) == 1


def test_a_claim_takes_what_is_due_oldest_first_and_no_more_than_asked(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 3)
    notices(rt, 1, clock.now() - timedelta(hours=1))
    notices(rt, 1, clock.now() + timedelta(seconds=1))
    batch, ids = claim(rt, limit=2)
    with rt.database.read() as db:
        taken = [row.planned for row in ledger.read_batch(db, batch)]
    assert len(ids) == 2
    assert taken == [clock.now() - timedelta(hours=1), clock.now()]
    assert len(claim(rt)[1]) == 2
    assert claim(rt)[1] == []


def test_rows_under_another_claim_are_left_alone_by_every_write(rt: Runtime) -> None:
    notices(rt, 1)
    batch, ids = claim(rt)
    mark(rt, batch, ids)
    stranger = BatchId(new_id())
    with rt.database.begin() as db:
        assert ledger.accepted(db, stranger, dict.fromkeys(ids), rt.clock.now()) == []
        ledger.refused(db, stranger, ids, rt.clock.now(), "x")
        ledger.in_doubt(db, stranger, ids, State.UNKNOWN, rt.clock.wall(), "x")
        ledger.failed(db, stranger, dict.fromkeys(ids, "x"))
        assert ledger.release(db, stranger) == 0
    assert states(rt) == [State.SENDING]


def test_marking_notes_who_is_sending_in_the_same_transaction(rt: Runtime) -> None:
    notices(rt, 3)
    batch, ids = claim(rt)
    assert mark(rt, batch, ids) == set(ids)
    with rt.database.read() as db:
        request = db.execute(select(send_requests.c.batch_id, send_requests.c.deliveries)).one()
    assert tuple(request) == (batch, 3)


def test_a_mail_accepted_once_stays_accepted(rt: Runtime) -> None:
    notices(rt, 1)
    batch, ids = claim(rt)
    mark(rt, batch, ids)
    with rt.database.begin() as db:
        assert len(ledger.accepted(db, batch, dict.fromkeys(ids, "message-1"), rt.clock.now())) == 1
        assert ledger.accepted(db, batch, dict.fromkeys(ids, "message-2"), rt.clock.now()) == []
        ledger.refused(db, batch, ids, rt.clock.now(), "late answer")
        ledger.in_doubt(db, batch, ids, State.UNKNOWN, rt.clock.wall(), "late answer")
        assert db.execute(select(deliveries.c.provider_message)).scalar_one() == "message-1"
    assert states(rt) == [State.ACCEPTED]


def test_a_silent_claim_is_due_again_but_a_silent_sending_never_is(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 2)
    batch, ids = claim(rt)
    mark(rt, batch, ids[:1])
    clock.advance(seconds=119)
    with rt.database.begin() as db:
        assert (ledger.reclaim(db, clock.wall()), ledger.doubt(db, clock.wall(), State.UNKNOWN)) == (0, 0)
    clock.advance(seconds=2)
    with rt.database.begin() as db:
        assert (ledger.reclaim(db, clock.wall()), ledger.doubt(db, clock.wall(), State.UNKNOWN)) == (1, 1)
    assert sorted(states(rt)) == [State.SCHEDULED, State.UNKNOWN]
    clock.advance(days=30)
    with rt.database.begin() as db:
        assert (ledger.reclaim(db, clock.wall()), ledger.doubt(db, clock.wall(), State.UNKNOWN)) == (0, 0)
    assert State.UNKNOWN in states(rt)


def test_a_late_acceptance_settles_a_row_in_doubt(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 1)
    batch, ids = claim(rt)
    mark(rt, batch, ids)
    clock.advance(seconds=200)
    with rt.database.begin() as db:
        ledger.doubt(db, clock.wall(), State.HELD)
        ledger.accepted(db, batch, dict.fromkeys(ids), clock.now())
    assert states(rt) == [State.ACCEPTED]


KINDS = (Kind.LETTER, Kind.CONFIRMATION, Kind.ALREADY_SUBSCRIBED)


@pytest.mark.parametrize("kind", KINDS)
def test_marking_lets_through_exactly_what_the_rule_lets_through(rt: Runtime, kind: Kind) -> None:
    """`_may_be_sent` is `hindrance` in SQL: every combination of person, suppression and enrollment."""
    cases = list(product(SubscriberState, (None, *Suppression), EnrollmentState if kind is Kind.LETTER else [None]))
    allowed = {}
    reader = a_subscriber(rt)
    with rt.database.begin() as db:
        sequence = db.execute(select(enrollments.c.sequence_id)).scalar_one()
        db.execute(deliveries.delete())
        db.execute(people_table.delete().where(people_table.c.id == reader.id))
        for number, (state, suppressed, place) in enumerate(cases):
            who, bidx, enrollment = SubscriberId(new_id()), number.to_bytes(32, "big"), new_id()
            sealed = rt.sealer.seal("x", subscribers.email_place(who))
            subscribers.add(db, subscribers.Person(who, bidx, sealed, None, "UTC", state), rt.clock.now())
            if suppressed:
                subscribers.suppress(db, bidx, suppressed, rt.clock.now())
            if place:
                db.execute(
                    insert(enrollments).values(
                        id=enrollment, subscriber_id=who, sequence_id=sequence, state=place,
                        anchor_at=rt.clock.now(), started_at=rt.clock.now(),
                    )
                )  # fmt: skip
            letter = {"enrollment": enrollment, "step": "welcome"} if place else {}
            ledger.plan(db, [NewDelivery(kind, rt.clock.now(), who, bidx, **letter)], rt.clock.now())  # type: ignore[arg-type]
            allowed[who] = hindrance(kind, state, suppressed, place) is None
    batch, ids = claim(rt, limit=1000)
    marked = mark(rt, batch, ids)
    with rt.database.read() as db:
        found = {r[0]: r[1] for r in db.execute(select(deliveries.c.subscriber_id, deliveries.c.id))}
        cancelled = db.scalar(select(func.count()).where(deliveries.c.state == State.CANCELLED))
    assert {who: found[who] in marked for who in allowed} == allowed
    assert cancelled == len(cases) - len(marked)
    assert 0 < len(marked) < len(cases)


def test_leaving_after_the_claim_still_stops_the_mail(rt: Runtime) -> None:
    reader = a_subscriber(rt)
    batch, ids = claim(rt)
    with rt.database.begin() as db:
        subscribers.set_state(db, reader.id, SubscriberState.UNSUBSCRIBED)
        assert ledger.cancel_open(db, "unsubscribed", reader.id) >= 1
    assert mark(rt, batch, ids) == set()


def test_slots_of_the_fleet_are_handed_out_one_after_the_other(rt: Runtime, clock: ManualClock) -> None:
    with rt.database.begin() as db:
        first = ledger.reserve(db, 10, 5.0, clock.wall())
        second = ledger.reserve(db, 10, 5.0, clock.wall())
        third = ledger.reserve(db, 1, 5.0, clock.wall() + timedelta(seconds=60))
    assert (first, second) == (clock.wall(), clock.wall() + timedelta(seconds=2))
    assert third == clock.wall() + timedelta(seconds=60)


def test_the_standing_counts_what_is_due_and_for_how_long(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 2)
    clock.advance(seconds=90)
    with rt.database.begin() as db:
        ledger.beat(db, "tick", clock.wall())
        standing = ledger.standing(db, clock.now())
    assert (standing.states, standing.due, standing.oldest_due_seconds) == ({State.SCHEDULED: 2}, 2, 90.0)
    assert standing.last_tick == clock.wall()


def test_an_unconfirmed_sign_up_is_deleted_with_all_that_hangs_on_it(rt: Runtime, clock: ManualClock) -> None:
    sign_up(rt)
    kept = a_subscriber(rt)
    clock.advance(days=8)
    with rt.database.begin() as db:
        assert subscribers.delete_unconfirmed(db, clock.now() - timedelta(days=7)) == 1
        assert list(db.scalars(select(people_table.c.id))) == [kept.id]
        assert set(db.scalars(select(deliveries.c.subscriber_id))) == {kept.id}


def test_who_left_and_signed_up_again_in_vain_keeps_their_record(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    with rt.database.begin() as db:
        db.execute(update(people_table).values(state=SubscriberState.PENDING, created_at=clock.now()))
    clock.advance(days=8)
    with rt.database.begin() as db:
        assert subscribers.delete_unconfirmed(db, clock.now() - timedelta(days=7)) == 0
        person = subscribers.get(db, reader.id)
    assert person and person.state is SubscriberState.UNSUBSCRIBED
