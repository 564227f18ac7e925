"""Sign-up and confirmation."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.runtime import Runtime
from nurture.services.settings import consent_texts
from nurture.services.subscribers import unsubscribe
from nurture.services.subscribers.signup import confirm as confirm_token
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import consents, enrollments
from nurture.store.core.schema import subscribers as table
from nurture.store.subscribers import subscribers
from nurture.tokens import Purpose, TokenRefused
from tests.clocks import START, ManualClock
from tests.people import a_subscriber, confirm, enrollment_of, inbox, rows, run_tick, sign_up, subjects


def consent_acts(rt: Runtime) -> list[tuple[str, str, str, str]]:
    with rt.database.read() as db:
        query = select(consents.c.act, consents.c.wording, consents.c.wording_version, consents.c.source)
        return [tuple(row) for row in db.execute(query.order_by(consents.c.at, consents.c.act.desc()))]


def test_signing_up_sends_a_confirmation_and_nothing_else(rt: Runtime) -> None:
    reader = sign_up(rt, first_name="Zebedee")
    run_tick(rt)
    (mail,) = inbox(rt, reader)
    assert rows(rt, reader)[0][:2] == (DeliveryKind.CONFIRMATION, State.ACCEPTED)
    assert "Zebedee" not in mail.source, "no user text in a confirmation: it may reach somebody who never asked"


def test_the_wording_its_version_the_time_and_the_source_are_on_record(rt: Runtime) -> None:
    a_subscriber(rt)
    (said,) = consent_texts.history(rt)
    assert consent_acts(rt) == [("given", said.text, said.version, "/"), ("confirmed", said.text, said.version, "/confirm")]


def test_confirming_starts_the_sequence_at_once_and_twice_is_the_same_as_once(rt: Runtime) -> None:
    reader = sign_up(rt)
    confirm(rt, reader)
    confirm(rt, reader)
    assert [row[0] for row in rows(rt, reader)].count(DeliveryKind.LETTER) == 1
    run_tick(rt)
    assert len(inbox(rt, reader)) == 1, "the confirmation was cancelled, the welcome went out"


def test_a_confirmation_link_dies_after_a_week_or_when_it_is_tampered_with(rt: Runtime, clock: ManualClock) -> None:
    reader = sign_up(rt)
    run_tick(rt)
    (mail,) = inbox(rt, reader)
    token = mail.part("plain").split("/confirm/")[1].split()[0]
    clock.advance(days=7, seconds=1)
    for wrong in (token, token[:-1] + ("A" if token[-1] != "A" else "B"), rt.tokens.mint(Purpose.UNSUBSCRIBE, reader.id)):
        with pytest.raises(TokenRefused):
            confirm_token(rt, wrong)
    clock.advance(seconds=-2)
    confirm_token(rt, token)


class AMonthAMinute(ManualClock):
    """A fast clock by hand: the timeline runs 43,200 times real time."""

    def now(self) -> datetime:
        return START + (self.at - START) * 43_200


def test_on_a_fast_clock_there_is_still_time_to_press_the_button(rt: Runtime) -> None:
    clock = AMonthAMinute()
    rt.clock = clock
    reader = sign_up(rt)
    run_tick(rt)
    token = inbox(rt, reader)[0].part("plain").split("/confirm/")[1].split()[0]
    clock.advance(minutes=5)  # five months of the timeline
    confirm_token(rt, token)
    assert rows(rt, reader, DeliveryKind.LETTER) != []


def test_the_same_address_in_other_capitals_is_the_same_reader(rt: Runtime) -> None:
    sign_up(rt, "Robin.Smith+list@Example.ORG")
    sign_up(rt, "robin.smith+LIST@example.org")
    with rt.database.read() as db:
        assert len(db.execute(select(table.c.id)).all()) == 1


def test_nobody_can_flood_an_address_with_confirmations(rt: Runtime, clock: ManualClock) -> None:
    for hours in (0, 1, 25, 26, 72, 100):
        clock.at = clock.at.replace(hour=15, minute=0) + timedelta(hours=hours)
        sign_up(rt, "victim@example.org")
    assert [row[0] for row in rows(rt)] == [DeliveryKind.CONFIRMATION] * 2


def test_a_reader_who_signs_up_again_is_told_so_once_in_thirty_days(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    for _ in range(3):
        sign_up(rt, reader.email)
    assert [row[0] for row in rows(rt, reader)].count(DeliveryKind.ALREADY_SUBSCRIBED) == 1
    clock.advance(days=30)
    sign_up(rt, reader.email)
    assert [row[0] for row in rows(rt, reader)].count(DeliveryKind.ALREADY_SUBSCRIBED) == 2


def test_who_left_may_come_back_by_signing_up_and_starts_afresh(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    first = enrollment_of(rt, reader)
    clock.advance(days=40)
    sign_up(rt, reader.email)
    run_tick(rt)
    confirm(rt, reader)
    clock.advance(seconds=1)
    run_tick(rt)
    assert enrollment_of(rt, reader) != first
    assert len(subjects(rt, reader)) == 3, "welcome, then confirmation, then the welcome again"
    with rt.database.read() as db:
        assert subscribers.suppression(db, rt.cipher.blind_index(reader.email)) is None


@pytest.mark.parametrize("reason", [Suppression.BOUNCED, Suppression.COMPLAINED])
def test_a_bounced_or_complaining_address_is_left_in_peace(rt: Runtime, reason: Suppression) -> None:
    reader = a_subscriber(rt)
    with rt.database.begin() as db:
        subscribers.suppress(db, rt.cipher.blind_index(reader.email), reason, rt.clock.now())
        subscribers.set_state(db, reader.id, SubscriberState(reason.value))
    before = len(rows(rt, reader))
    sign_up(rt, reader.email)
    run_tick(rt)
    assert len(rows(rt, reader)) == before
    assert inbox(rt, reader) == []


def test_a_database_without_letters_says_what_to_do(rt: Runtime) -> None:
    from nurture.services.subscribers.signup import NothingToSend
    from nurture.store.core.schema import sequences, steps

    reader = sign_up(rt)
    with rt.database.begin() as db:
        for each in (steps, enrollments):
            db.execute(each.delete())
        from nurture.store.core.schema import editions

        db.execute(editions.delete())
        db.execute(sequences.delete())
    with pytest.raises(NothingToSend, match="nurture init"):
        confirm(rt, reader)
