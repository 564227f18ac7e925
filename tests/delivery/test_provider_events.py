"""EVENT and RESOLVE: reports settle what nobody knew, in any order and number; without them a doubt ends by its policy."""

import hashlib
import random
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from nurture.delivery import provider_events
from nurture.delivery.provider_events import EventReport
from nurture.delivery.reconcile import reconcile
from nurture.domain.delivery import Accepted, Ambiguous, DeliveryKind, Outcome, State
from nurture.domain.event import Event, EventKind
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.ids import DeliveryId, RequestId, new_id
from nurture.mailers.base import Mail
from nurture.runtime import Runtime
from nurture.services.operations import deliveries as service
from nurture.services.operations import health
from nurture.store.core.schema import deliveries, sequences
from nurture.store.core.schema import provider_events as event_rows
from nurture.store.deliveries import in_doubt
from nurture.store.subscribers import subscribers
from tests.clocks import ManualClock
from tests.people import Reader, a_subscriber, due, rows, run_tick, sign_up
from tests.scripted import Answering


def report(
    kind: EventKind,
    mail: Mail | None = None,
    at: datetime | None = None,
    suppresses: Suppression | None = None,
    **given: object,
) -> Event:
    moment = at or datetime.fromisoformat("2026-03-02T15:00:10+00:00")
    dedup_key = hashlib.blake2b(f"{kind}{mail and mail.delivery}{moment}{given}".encode(), digest_size=16).digest()
    values: dict[str, object] = {"provider_id": new_id()}
    values |= {"delivery": mail.delivery, "request": mail.request} if mail else {}
    return Event(kind, moment, dedup_key, suppresses=suppresses, **values | given)  # type: ignore[arg-type]


def a_doubt(rt: Runtime, reader: Reader | None = None) -> tuple[Reader, Mail, Answering]:
    """A welcome of which nobody can say whether it left."""
    reader = reader or a_subscriber(rt)
    with rt.database.begin() as db:
        db.execute(deliveries.delete().where(deliveries.c.kind != DeliveryKind.LETTER))
    mailer = Answering(lambda _: Ambiguous("no answer"))
    rt.mailer = mailer
    run_tick(rt)
    assert [row[1] for row in rows(rt, reader)] == [State.UNKNOWN]
    return reader, mailer.given[-1], mailer


def take(rt: Runtime, *found: Event) -> EventReport:
    return provider_events.record_events(rt, found)


@pytest.mark.parametrize(
    "kind", [EventKind.PROCESSED, EventKind.DEFERRED, EventKind.DELIVERED, EventKind.OPENED, EventKind.OTHER]
)
def test_any_report_settles_a_doubt_and_the_sequence_goes_on(rt: Runtime, clock: ManualClock, kind: str) -> None:
    reader, mail, mailer = a_doubt(rt)
    clock.advance(hours=8)
    assert take(rt, report(EventKind(kind), mail)) == EventReport(fresh=1, orphans=0, settled=1)
    first, second = rows(rt, reader)
    assert first[1] is (State.DELIVERED if kind == EventKind.DELIVERED else State.ACCEPTED)
    assert (second[1], second[2]) == (State.SCHEDULED, "history")
    clock.advance(days=1)
    run_tick(rt)
    assert len(mailer.given) == 1


def test_the_next_letter_counts_from_when_the_doubtful_one_was_sent(rt: Runtime, clock: ManualClock) -> None:
    usual = a_subscriber(rt)
    reader, mail, _ = a_doubt_beside(rt, usual)
    expected = due(rt, usual)
    clock.advance(hours=20)
    take(rt, report(EventKind.PROCESSED, mail))
    assert due(rt, reader) == expected


def a_doubt_beside(rt: Runtime, usual: Reader) -> tuple[Reader, Mail, Answering]:
    reader = a_subscriber(rt)
    mailer = Answering(lambda mail: Ambiguous("no answer") if mail.to == reader.email else Accepted("m"))
    rt.mailer = mailer
    run_tick(rt)
    return reader, next(m for m in mailer.given if m.to == reader.email and m.kind is DeliveryKind.LETTER), mailer


def test_the_same_report_forty_six_times_is_one(rt: Runtime) -> None:
    _, mail, _ = a_doubt(rt)
    event = report(EventKind.DELIVERED, mail)
    renamed = [Event(event.kind, event.at, event.dedup_key, new_id(), event.delivery, event.request) for _ in range(20)]
    assert take(rt, *[event] * 26, *renamed).fresh == 1
    assert take(rt, event) == EventReport(0, 0, 0)
    with rt.database.read() as db:
        assert db.execute(select(func.count()).select_from(event_rows)).scalar_one() == 1


def test_a_report_may_come_before_our_own_answer_is_written(rt: Runtime) -> None:
    reader = sign_up(rt)

    def reported_first(mail: Mail) -> Outcome:
        take(rt, report(EventKind.DELIVERED, mail))
        return Accepted("m")

    rt.mailer = Answering(reported_first)
    run_tick(rt)
    assert [row[1] for row in rows(rt, reader)] == [State.DELIVERED]


def test_a_report_of_an_unknown_delivery_is_kept_as_an_orphan(rt: Runtime) -> None:
    stranger = report(EventKind.DELIVERED, delivery=DeliveryId(new_id()), request=RequestId(new_id()))
    assert take(rt, stranger) == EventReport(fresh=1, orphans=1, settled=0)


@pytest.mark.parametrize("seed", range(12))
def test_in_whatever_order_reports_come_the_end_is_the_same(rt: Runtime, seed: int) -> None:
    reader, mail, _ = a_doubt(rt)
    story = [
        report(EventKind.PROCESSED, mail), report(EventKind.DEFERRED, mail), report(EventKind.DELIVERED, mail),
        report(EventKind.OPENED, mail), report(EventKind.COMPLAINED, mail, suppresses=Suppression.COMPLAINED),
    ]  # fmt: skip
    chance = random.Random(seed)
    story += chance.choices(story, k=8)
    chance.shuffle(story)
    while story:
        bundle = [story.pop() for _ in range(min(len(story), chance.randint(1, 4)))]
        take(rt, *bundle)
    assert [row[1] for row in rows(rt, reader) if row[2] == "welcome"] == [State.COMPLAINED]
    assert person(rt, reader) == (SubscriberState.COMPLAINED, Suppression.COMPLAINED)
    assert all(row[1] is not State.SCHEDULED for row in rows(rt, reader))


def person(rt: Runtime, reader: Reader) -> tuple[SubscriberState, Suppression | None]:
    with rt.database.read() as db:
        found = subscribers.get_unlocked(db, reader.id)
        assert found
        return found.state, subscribers.suppression(db, found.email_index)


def test_a_bounce_stops_the_letters_and_a_block_does_not(rt: Runtime) -> None:
    bounced, blocked = a_subscriber(rt), a_subscriber(rt)
    mailer = Answering(lambda _: Accepted("m"))
    rt.mailer = mailer
    run_tick(rt)
    by_reader = {mail.to: mail for mail in mailer.given if mail.kind is DeliveryKind.LETTER}
    take(
        rt,
        report(EventKind.BOUNCED, by_reader[bounced.email], suppresses=Suppression.BOUNCED),
        report(EventKind.BLOCKED, by_reader[blocked.email]),
    )
    assert person(rt, bounced) == (SubscriberState.BOUNCED, Suppression.BOUNCED)
    assert due(rt, bounced) is None
    assert person(rt, blocked) == (SubscriberState.ACTIVE, None)
    assert due(rt, blocked) is not None


def test_a_bounce_that_names_no_delivery_is_found_by_its_address(rt: Runtime) -> None:
    reader = a_subscriber(rt)
    take(rt, report(EventKind.BOUNCED, suppresses=Suppression.BOUNCED, email=reader.email))
    assert person(rt, reader) == (SubscriberState.BOUNCED, Suppression.BOUNCED)
    take(rt, report(EventKind.BOUNCED, suppresses=Suppression.BOUNCED, email="nobody@example.org"))
    with rt.database.read() as db:
        email_index = rt.cipher.blind_index("nobody@example.org")
        assert subscribers.suppression(db, email_index) is Suppression.BOUNCED


def wait(rt: Runtime, clock: ManualClock, minutes: float, looks: int = 10) -> None:
    for _ in range(looks):
        reconcile(rt)
        run_tick(rt)
        clock.advance(minutes=minutes / looks)
    reconcile(rt)
    run_tick(rt)


def someone_elses_mail_is_reported(rt: Runtime, clock: ManualClock) -> None:
    """The webhook is healthy: of a mail sent later than the doubtful one a report has come."""
    clock.advance(seconds=5)
    sign_up(rt)
    mailer = rt.mailer
    rt.mailer = healthy = Answering(lambda _: Accepted("m"))
    run_tick(rt)
    rt.mailer = mailer
    take(rt, *[report(EventKind.PROCESSED, mail) for mail in healthy.given])


def test_without_any_evidence_a_letter_is_sent_again_after_half_an_hour(rt: Runtime, clock: ManualClock) -> None:
    reader, first, mailer = a_doubt(rt)
    someone_elses_mail_is_reported(rt, clock)
    mailer.answer = lambda _: Accepted("m")
    wait(rt, clock, 29)
    assert len(mailer.given) == 1
    wait(rt, clock, 3)
    assert [mail.delivery for mail in mailer.given] == [first.delivery] * 2
    assert mailer.given[1].request != first.request
    assert rows(rt, reader)[0][1] is State.ACCEPTED


def test_as_long_as_no_report_of_later_mail_comes_nothing_is_sent_again(rt: Runtime, clock: ManualClock) -> None:
    _, _, mailer = a_doubt(rt)
    wait(rt, clock, 25 * 60)
    assert len(mailer.given) == 1
    wait(rt, clock, 2 * 60)
    with rt.database.read() as db:
        assert len(in_doubt.in_doubt(db, State.HELD, 10)) == 1


def test_a_process_that_has_just_started_waits_its_own_half_hour(rt: Runtime, clock: ManualClock) -> None:
    _, _, mailer = a_doubt(rt)
    someone_elses_mail_is_reported(rt, clock)
    clock.advance(hours=3)
    reconcile(rt)
    run_tick(rt)
    assert len(mailer.given) == 1


def test_a_sequence_that_holds_is_never_sent_again_on_its_own(rt: Runtime, clock: ManualClock) -> None:
    with rt.database.begin() as db:
        db.execute(update(sequences).values(rules=sequences.c.rules + "\nwhen-in-doubt: hold\n"))
    _, _, mailer = a_doubt(rt)
    someone_elses_mail_is_reported(rt, clock)
    wait(rt, clock, 27 * 60)
    assert len(mailer.given) == 1
    with rt.database.read() as db:
        assert len(in_doubt.in_doubt(db, State.HELD, 10)) == 1


def test_late_evidence_stops_the_second_attempt_before_it_is_marked(rt: Runtime, clock: ManualClock) -> None:
    reader, mail, mailer = a_doubt(rt)
    with rt.database.begin() as db:
        in_doubt.decide(db, [mail.delivery], State.SCHEDULED, "test", clock.real_now(), "no evidence")
    take(rt, report(EventKind.PROCESSED, mail))
    run_tick(rt)
    assert len(mailer.given) == 1
    assert rows(rt, reader)[0][1] is State.ACCEPTED


def test_a_mail_that_went_out_twice_is_confirmed_and_counted(rt: Runtime, clock: ManualClock) -> None:
    _, first, mailer = a_doubt(rt)
    someone_elses_mail_is_reported(rt, clock)
    mailer.answer = lambda _: Accepted("m")
    wait(rt, clock, 33)
    take(rt, report(EventKind.DELIVERED, mailer.given[1]))
    assert health.ledger_summary(rt).duplicates_confirmed == 0
    take(rt, report(EventKind.PROCESSED, first))
    take(rt, report(EventKind.DELIVERED, first))
    assert health.ledger_summary(rt).duplicates_confirmed == 1
    assert "went out twice" in [line.why for line in service.history(rt, first.delivery)]


def test_a_person_settles_what_is_held_either_way(rt: Runtime, clock: ManualClock) -> None:
    with rt.database.begin() as db:
        db.execute(update(sequences).values(rules=sequences.c.rules + "\nwhen-in-doubt: hold\n"))
    reader, mail, mailer = a_doubt(rt)
    wait(rt, clock, 27 * 60)
    service.resolve(rt, mail.delivery, False, "dana")
    with pytest.raises(service.NotInDoubt):
        service.resolve(rt, mail.delivery, False, "dana")
    story = service.history(rt, mail.delivery)
    assert (story[-1].state, story[-1].by, story[-1].why) == (State.SCHEDULED, "dana", "to be sent again")
    mailer.answer = lambda _: Accepted("m")
    while len(mailer.given) < 2 and (at := due(rt, reader)):
        clock.at = max(clock.at, at)
        run_tick(rt)
    assert rows(rt, reader)[0][1] is State.ACCEPTED


def bundle(mails: Sequence[Mail]) -> list[Event]:
    return [report(EventKind.DELIVERED, mail, mail.at + timedelta(seconds=1)) for mail in mails]


def test_a_bundle_of_many_is_one_transaction(rt: Runtime) -> None:
    for _ in range(40):
        sign_up(rt)
    mailer = Answering(lambda _: Ambiguous("no answer"))
    rt.mailer = mailer
    run_tick(rt)
    assert take(rt, *bundle(mailer.given)) == EventReport(40, 0, 40)
    assert {row[1] for row in rows(rt)} == {State.DELIVERED}
