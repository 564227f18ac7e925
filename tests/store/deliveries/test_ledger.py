"""The ledger's statements, on both databases."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, insert, select, update

from nurture.domain.delivery import DeliveryKind, FrequencyCaps, State
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState, Suppression, hindrance
from nurture.ids import BatchId, ConsultationId, DeliveryId, RequestId, StepKey, SubscriberId, new_id
from nurture.runtime import Runtime
from nurture.services.subscribers.consultations import details_field
from nurture.store.core.schema import deliveries, enrollments
from nurture.store.core.schema import subscribers as people_table
from nurture.store.deliveries import claims, in_doubt, ledger, rate_limit, transitions
from nurture.store.deliveries.ledger import NewDelivery, Offered
from nurture.store.subscribers import consultations, subscribers
from tests.clocks import ManualClock
from tests.people import a_subscriber, enrollment_of, rows, sign_up

LEASE = timedelta(seconds=120)
GUARDS = FrequencyCaps()


def claim(rt: Runtime, limit: int = 100) -> tuple[BatchId, list[DeliveryId]]:
    batch = BatchId(new_id())
    now, real_now = rt.clock.now(), rt.clock.real_now()
    with rt.database.begin() as db:
        return batch, ledger.claim(db, batch, "test", now, real_now, real_now + LEASE, limit)


def mark(rt: Runtime, batch: BatchId, ids: Iterable[DeliveryId], caps: FrequencyCaps = GUARDS) -> dict[DeliveryId, RequestId]:
    """Offer rows, each for a request of its own; returns those that may enter it."""
    ids, now, real_now = list(ids), rt.clock.now(), rt.clock.real_now()
    day = now.astimezone(ZoneInfo("America/New_York")).replace(hour=0, minute=0)
    with rt.database.begin() as db:
        kinds = {row[0]: row[1] for row in db.execute(select(deliveries.c.id, deliveries.c.kind))}
        offered = {row: Offered(kinds[row], RequestId(new_id()), day) for row in ids}
        marked = ledger.mark(db, batch, offered, caps, "test", now, real_now)
        ledger.cancel_ineligible(db, batch, offered.keys() - marked, "test", real_now)
    return {row: offered[row].request for row in marked}


def accept(rt: Runtime, requests: dict[DeliveryId, RequestId], message: str | None = None) -> int:
    with rt.database.begin() as db:
        answered = {row: (request, message) for row, request in requests.items()}
        return len(ledger.accepted(db, answered, "test", rt.clock.now(), rt.clock.real_now()))


def notices(rt: Runtime, count: int, due: datetime | None = None) -> None:
    with rt.database.begin() as db:
        requests = [ConsultationId(new_id()) for _ in range(count)]
        for request in requests:
            consultations.add(db, request, None, rt.cipher.encrypt("{}", details_field(request)), rt.clock.now())
        planned = [NewDelivery(DeliveryKind.NOTICE, due or rt.clock.now(), consultation=request) for request in requests]
        ledger.plan(db, planned, rt.clock.now())


def states(rt: Runtime) -> list[State]:
    return [row[1] for row in rows(rt)]


def test_a_step_is_planned_once_however_often_it_is_tried(rt: Runtime) -> None:
    reader = a_subscriber(rt)
    ((_, _, step, _),) = rows(rt, reader, DeliveryKind.LETTER)
    again = NewDelivery(
        DeliveryKind.LETTER, rt.clock.now(), reader.id, b"x" * 32, enrollment_of(rt, reader), StepKey(step or "")
    )
    with rt.database.begin() as db:
        ledger.plan(db, [again, again], rt.clock.now())
    assert len(rows(rt, reader, DeliveryKind.LETTER)) == 1


def test_a_claim_takes_what_is_due_oldest_first_and_no_more_than_asked(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 3)
    notices(rt, 1, clock.now() - timedelta(hours=1))
    notices(rt, 1, clock.now() + timedelta(seconds=1))
    batch, ids = claim(rt, limit=2)
    with rt.database.read() as db:
        taken = [row.planned for row in claims.read_batch(db, batch)]
    assert len(ids) == 2
    assert taken == [clock.now() - timedelta(hours=1), clock.now()]
    assert len(claim(rt)[1]) == 2
    assert claim(rt)[1] == []


def test_rows_of_another_request_are_left_alone_by_every_write(rt: Runtime) -> None:
    notices(rt, 1)
    batch, ids = claim(rt)
    mark(rt, batch, ids)
    stranger, now, real_now = RequestId(new_id()), rt.clock.now(), rt.clock.real_now()
    assert accept(rt, dict.fromkeys(ids, stranger)) == 0
    with rt.database.begin() as db:
        theirs = dict.fromkeys(ids, stranger)
        ledger.refused(db, theirs, now, "test", real_now, "x")
        ledger.in_doubt(db, theirs, State.UNKNOWN, "test", real_now, "x")
        ledger.failed(db, theirs, "test", real_now, "x")
        claims.unfit(db, BatchId(new_id()), dict.fromkeys(ids, "x"), "test", real_now)
        assert claims.release(db, batch, "test", real_now, "x") == 0, "what is marked is not given back"
    assert states(rt) == [State.SENDING]


def test_only_the_batch_that_claimed_a_row_can_mark_it(rt: Runtime) -> None:
    notices(rt, 1)
    _, ids = claim(rt)
    assert mark(rt, BatchId(new_id()), ids) == {}
    assert states(rt) == [State.CLAIMED]


def test_marking_notes_who_sends_what_in_which_request(rt: Runtime) -> None:
    notices(rt, 3)
    batch, ids = claim(rt)
    requests = mark(rt, batch, ids)
    with rt.database.read() as db:
        found = db.execute(select(deliveries.c.id, deliveries.c.request_id, deliveries.c.owner)).all()
    assert {row[0]: row[1] for row in found} == requests
    assert {row[2] for row in found} == {"test"}


def test_a_mail_accepted_once_stays_accepted(rt: Runtime) -> None:
    notices(rt, 1)
    batch, ids = claim(rt)
    requests = mark(rt, batch, ids)
    assert accept(rt, requests, "message-1") == 1
    assert accept(rt, requests, "message-2") == 0
    with rt.database.begin() as db:
        ledger.refused(db, requests, rt.clock.now(), "test", rt.clock.real_now(), "late answer")
        ledger.in_doubt(db, requests, State.UNKNOWN, "test", rt.clock.real_now(), "late answer")
        assert db.execute(select(deliveries.c.provider_message)).scalar_one() == "message-1"
    assert states(rt) == [State.ACCEPTED]


def reconciled(rt: Runtime, clock: ManualClock, to: State = State.UNKNOWN) -> tuple[int, int]:
    with rt.database.begin() as db:
        return in_doubt.reclaim(db, "test", clock.real_now()), in_doubt.mark_in_doubt(db, "test", clock.real_now(), to)


def test_a_silent_claim_is_due_again_but_a_silent_sending_never_is(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 2)
    batch, ids = claim(rt)
    mark(rt, batch, ids[:1])
    clock.advance(seconds=119)
    assert reconciled(rt, clock) == (0, 0)
    clock.advance(seconds=2)
    assert reconciled(rt, clock) == (1, 1)
    assert sorted(states(rt)) == [State.SCHEDULED, State.UNKNOWN]
    clock.advance(days=30)
    assert reconciled(rt, clock) == (0, 0)
    assert State.UNKNOWN in states(rt)


def test_a_lease_renewed_is_not_over(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 1)
    batch, _ = claim(rt)
    clock.advance(seconds=100)
    with rt.database.begin() as db:
        claims.extend(db, batch, clock.real_now() + LEASE)
    clock.advance(seconds=100)
    assert reconciled(rt, clock) == (0, 0)


@pytest.mark.parametrize("doubt", [State.UNKNOWN, State.HELD])
def test_a_late_acceptance_settles_a_row_in_doubt_and_says_so(rt: Runtime, clock: ManualClock, doubt: State) -> None:
    notices(rt, 1)
    batch, ids = claim(rt)
    requests = mark(rt, batch, ids)
    clock.advance(seconds=200)
    reconciled(rt, clock, doubt)
    accept(rt, requests)
    assert states(rt) == [State.ACCEPTED]
    with rt.database.read() as db:
        story = transitions.history(db, ids[0])
    assert [line.state for line in story] == [State.SCHEDULED, State.CLAIMED, State.SENDING, doubt, State.ACCEPTED]


def test_a_late_acceptance_stops_a_second_attempt_that_was_only_claimed(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 1)
    batch, ids = claim(rt)
    first = mark(rt, batch, ids)
    clock.advance(seconds=200)
    reconciled(rt, clock)
    with rt.database.begin() as db:
        assert in_doubt.decide(db, ids, State.SCHEDULED, "test", clock.real_now(), "no evidence") == 1
    again, ids = claim(rt)
    assert accept(rt, first) == 1, "the slow answer of the first attempt"
    assert mark(rt, again, ids) == {}
    assert states(rt) == [State.ACCEPTED]


def test_the_story_of_a_delivery_keeps_every_attempt(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 1)
    batch, ids = claim(rt)
    requests = mark(rt, batch, ids)
    clock.advance(seconds=1)
    with rt.database.begin() as db:
        ledger.refused(db, requests, clock.now(), "host:1", clock.real_now(), "429 rate limit")
    clock.advance(seconds=1)
    batch, ids = claim(rt)
    clock.advance(seconds=1)
    accept(rt, mark(rt, batch, ids))
    with rt.database.read() as db:
        story = transitions.history(db, ids[0])
    s = State
    assert [(line.state, line.attempt) for line in story] == [
        (s.SCHEDULED, 0), (s.CLAIMED, 1), (s.SENDING, 1), (s.SCHEDULED, 1), (s.CLAIMED, 2), (s.SENDING, 2), (s.ACCEPTED, 2),
    ]  # fmt: skip
    assert (story[3].by, story[3].why) == ("host:1", "429 rate limit")
    assert [line.at for line in story] == sorted(line.at for line in story)


def three_letters(rt: Runtime) -> list[DeliveryId]:
    """Three letters to one person, all due: only a bug, an edit or an import could ask for that."""
    reader = a_subscriber(rt)
    with rt.database.begin() as db:
        db.execute(deliveries.delete())
        place = enrollment_of(rt, reader)
        email_index = db.execute(select(people_table.c.email_index)).scalar_one()
        letters = [
            NewDelivery(DeliveryKind.LETTER, rt.clock.now(), reader.id, email_index, place, StepKey(f"step-{n}"))
            for n in range(3)
        ]
        ledger.plan(db, letters, rt.clock.now())
    return claim(rt)[1]


def test_no_two_letters_to_one_person_within_the_gap(rt: Runtime, clock: ManualClock) -> None:
    ids = three_letters(rt)
    with rt.database.read() as db:
        batch = BatchId(db.execute(select(deliveries.c.batch_id).limit(1)).scalar_one())
    loose = FrequencyCaps(gap=timedelta(hours=20), letters=9)
    assert len(mark(rt, batch, ids[:1], loose)) == 1
    clock.advance(hours=20, seconds=-1)
    assert mark(rt, batch, ids[1:2], loose) == {}
    clock.advance(seconds=2)
    assert len(mark(rt, batch, ids[1:2], loose)) == 1


def test_no_more_letters_on_a_day_of_the_readers_calendar_than_allowed(rt: Runtime, clock: ManualClock) -> None:
    ids = three_letters(rt)  # ten in the morning in New York
    with rt.database.read() as db:
        batch = BatchId(db.execute(select(deliveries.c.batch_id).limit(1)).scalar_one())
    daily = FrequencyCaps(gap=timedelta(0), letters=1)
    assert len(mark(rt, batch, ids[:1], daily)) == 1
    clock.advance(hours=13, minutes=59)
    assert mark(rt, batch, ids[1:2], daily) == {}, "a minute before midnight there"
    clock.advance(minutes=2)
    assert len(mark(rt, batch, ids[1:2], daily)) == 1


def test_a_refused_letter_does_not_count_against_the_gap(rt: Runtime, clock: ManualClock) -> None:
    ids = three_letters(rt)
    with rt.database.read() as db:
        batch = BatchId(db.execute(select(deliveries.c.batch_id).limit(1)).scalar_one())
    requests = mark(rt, batch, ids[:1])
    with rt.database.begin() as db:
        ledger.refused(db, requests, clock.now(), "test", clock.real_now(), "429")
    assert len(mark(rt, batch, ids[1:2])) == 1


KINDS = (DeliveryKind.LETTER, DeliveryKind.CONFIRMATION, DeliveryKind.ALREADY_SUBSCRIBED)


@pytest.mark.parametrize("kind", KINDS)
def test_marking_lets_through_exactly_what_the_rule_lets_through(rt: Runtime, kind: DeliveryKind) -> None:
    """`_may_be_sent` is `hindrance` in SQL: every combination of person, suppression and enrollment."""
    cases = list(product(SubscriberState, (None, *Suppression), EnrollmentState if kind is DeliveryKind.LETTER else [None]))
    allowed = {}
    reader = a_subscriber(rt)
    with rt.database.begin() as db:
        sequence = db.execute(select(enrollments.c.sequence_id)).scalar_one()
        db.execute(deliveries.delete())
        db.execute(people_table.delete().where(people_table.c.id == reader.id))
        for number, (state, suppressed, place) in enumerate(cases):
            who, email_index, enrollment = SubscriberId(new_id()), number.to_bytes(32, "big"), new_id()
            sealed = rt.cipher.encrypt("x", subscribers.email_field(who))
            subscribers.add(db, subscribers.Subscriber(who, email_index, sealed, None, "UTC", state), rt.clock.now())
            if suppressed:
                subscribers.suppress(db, email_index, suppressed, rt.clock.now())
            if place:
                db.execute(
                    insert(enrollments).values(
                        id=enrollment, subscriber_id=who, sequence_id=sequence, state=place,
                        anchor_at=rt.clock.now(), started_at=rt.clock.now(),
                    )
                )  # fmt: skip
            letter = {"enrollment": enrollment, "step": "welcome"} if place else {}
            ledger.plan(db, [NewDelivery(kind, rt.clock.now(), who, email_index, **letter)], rt.clock.now())  # type: ignore[arg-type]
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
        assert ledger.cancel_open(db, "unsubscribed", reader.id, rt.clock.real_now()) >= 1
    assert mark(rt, batch, ids) == {}


def test_slots_of_the_fleet_are_handed_out_one_after_the_other(rt: Runtime, clock: ManualClock) -> None:
    with rt.database.begin() as db:
        first = rate_limit.reserve(db, 10, 5.0, clock.real_now())
        second = rate_limit.reserve(db, 10, 5.0, clock.real_now())
        third = rate_limit.reserve(db, 1, 5.0, clock.real_now() + timedelta(seconds=60))
    assert (first, second) == (clock.real_now(), clock.real_now() + timedelta(seconds=2))
    assert third == clock.real_now() + timedelta(seconds=60)


def test_the_standing_counts_what_is_due_and_for_how_long(rt: Runtime, clock: ManualClock) -> None:
    notices(rt, 2)
    clock.advance(seconds=90)
    with rt.database.begin() as db:
        standing = in_doubt.ledger_counts(db, clock.now())
    assert (standing.states, standing.due, standing.oldest_due_seconds) == ({State.SCHEDULED: 2}, 2, 90.0)


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
