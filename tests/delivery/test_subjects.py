"""A notice whose subject is gone is cancelled, and never sent as a notice about something else."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from nurture.delivery.sender import Sender
from nurture.delivery.tick import tick
from nurture.domain.delivery import DeliveryKind, Refused, State
from nurture.domain.user import AccountChange, Role
from nurture.ids import BatchId, RequestId, new_id
from nurture.letters.filling import Content
from nurture.runtime import Runtime
from nurture.services.accounts import account_changes, accounts, login
from nurture.services.accounts.accounts import Account
from nurture.services.addresses import parse_address
from nurture.services.letters import previews
from nurture.services.operations import retention
from nurture.services.subscribers import consultation_links
from nurture.services.subscribers import consultations as goals
from nurture.store.accounts import users
from nurture.store.core.desk_schema import account_changes as account_change_rows
from nurture.store.core.desk_schema import login_links, test_emails
from nurture.store.core.schema import consultations, deliveries
from nurture.store.deliveries import claims, ledger, send_blocks
from nurture.store.deliveries.ledger import Offered
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.deliveries.subjects import GONE
from tests.clocks import ManualClock
from tests.people import a_subscriber, inbox, run_tick
from tests.scripted import Answering

COLLEAGUE = "editor@example.org"


def a_colleague(rt: Runtime) -> Account:
    who = accounts.add(rt, parse_address(COLLEAGUE), "Ed", Role.EDITOR)
    return next(each for each in accounts.everyone(rt) if each.id == who)


def a_login_link(rt: Runtime) -> None:
    a_colleague(rt)
    login.mail_link(rt, parse_address(COLLEAGUE))


def a_test_email(rt: Runtime) -> None:
    previews.plan_test_emails(rt, a_colleague(rt), [(Content("A letter to try", "<p>x</p>", "x"), None)])


def a_request_for_a_call(rt: Runtime) -> None:
    request = goals.ConsultationRequest("Robin", "robin@example.org", "OR", "email", "robin@example.org", False, "mornings")
    goals.request_consultation(rt, request, parse_address("robin@example.org"), None)


def account_removed(rt: Runtime) -> None:
    who = next(each for each in accounts.everyone(rt) if each.email == COLLEAGUE)
    accounts.add(rt, parse_address("owner@example.org"), "Owner", Role.OWNER)
    accounts.remove(rt, who.id)


def link_expired_and_deleted(rt: Runtime) -> None:
    rt.clock.sleep(11 * 60)
    retention.retain(rt)


def link_expired(rt: Runtime) -> None:
    rt.clock.sleep(11 * 60)


def link_used(rt: Runtime) -> None:
    with rt.database.begin() as db:
        db.execute(update(login_links).values(used_at=rt.clock.real_now()))


def mail_to_oneself_deleted(rt: Runtime) -> None:
    with rt.database.begin() as db:
        db.execute(delete(test_emails))


def request_deleted(rt: Runtime) -> None:
    with rt.database.begin() as db:
        db.execute(delete(consultations))


def an_account_change(rt: Runtime) -> None:
    who = a_colleague(rt)
    with rt.database.begin() as db:
        before = users.get(db, who.id)
        assert before
        account_changes.tell(rt, db, before, AccountChange.CODES)


def account_change_deleted(rt: Runtime) -> None:
    with rt.database.begin() as db:
        db.execute(delete(account_change_rows))


Act = Callable[[Runtime], None]
GOING: list[tuple[Act, Act]] = [
    (a_login_link, link_expired_and_deleted),
    (a_login_link, link_expired),
    (a_login_link, link_used),
    (a_login_link, account_removed),
    (a_test_email, account_removed),
    (a_test_email, mail_to_oneself_deleted),
    (a_request_for_a_call, request_deleted),
    (an_account_change, account_change_deleted),
]


def state_and_reason(rt: Runtime) -> tuple[State, str | None]:
    with rt.database.read() as db:
        row = db.execute(select(deliveries.c.state, deliveries.c.reason)).one()
    return row[0], row[1]


@pytest.mark.parametrize(("planned", "goes"), GOING)
def test_what_is_gone_before_the_claim_is_cancelled(rt: Runtime, planned: Act, goes: Act) -> None:
    with rt.database.begin() as db:
        send_blocks.block(db, BlockKind.STOP, "stopped at the desk", "dana", rt.clock.real_now())
    planned(rt)
    goes(rt)
    with rt.database.begin() as db:
        send_blocks.unblock(db, BlockKind.STOP)
    run_tick(rt)
    assert inbox(rt) == []
    assert state_and_reason(rt) == (State.CANCELLED, GONE)


@pytest.mark.parametrize(("planned", "goes"), GOING)
def test_what_goes_between_claim_and_sending_is_cancelled(rt: Runtime, planned: Act, goes: Act) -> None:
    planned(rt)
    claimed: list[BatchId] = []
    tick(rt, claimed.append)
    goes(rt)
    sender = Sender(rt)
    try:
        sender.submit(claimed[0])
        sender.finish()
    finally:
        sender.close()
    assert inbox(rt) == []
    assert state_and_reason(rt) == (State.CANCELLED, GONE)


@pytest.mark.parametrize(("planned", "goes"), GOING)
def test_what_goes_after_the_mail_is_made_is_cancelled_when_it_would_be_marked(rt: Runtime, planned: Act, goes: Act) -> None:
    """The mail may be finished when its subject goes: the statement that marks it looks once more."""
    planned(rt)
    claimed: list[BatchId] = []
    tick(rt, claimed.append)
    with rt.database.read() as db:
        (row,) = claims.read_batch(db, claimed[0])
    goes(rt)
    now, real_now = rt.clock.now(), rt.clock.real_now()
    with rt.database.begin() as db:
        offered = {row.id: Offered(row.kind, RequestId(new_id()), now)}
        assert ledger.mark(db, claimed[0], offered, rt.frequency_caps, "test", now, real_now) == set()
        ledger.cancel_ineligible(db, claimed[0], {row.id}, "test", real_now)
    assert state_and_reason(rt) == (State.CANCELLED, GONE)


@pytest.mark.parametrize("planned", [a_login_link, a_test_email, a_request_for_a_call])
def test_what_is_there_goes_out_as_what_it_is(rt: Runtime, planned: Act) -> None:
    planned(rt)
    run_tick(rt)
    (mail,) = inbox(rt)
    to = rt.settings.notices_to if planned is a_request_for_a_call else COLLEAGUE
    assert mail.message["To"] == to
    with rt.database.read() as db:
        assert db.scalar(select(deliveries.c.state)) is State.ACCEPTED


def test_a_login_link_held_in_doubt_and_sent_again_by_a_person_too_late_is_cancelled(rt: Runtime, clock: ManualClock) -> None:
    outbox = rt.mailer
    rt.mailer = Answering(lambda _: Refused("421", timedelta(minutes=12), everyone=False))
    a_login_link(rt)
    run_tick(rt)
    rt.mailer = outbox
    clock.advance(minutes=13)
    run_tick(rt)
    assert inbox(rt) == []
    assert state_and_reason(rt) == (State.CANCELLED, GONE)


def test_a_question_about_a_call_is_cancelled_when_it_would_be_marked_and_its_request_is_gone(rt: Runtime) -> None:
    a_subscriber(rt, "robin@example.org")
    run_tick(rt)
    a_request_for_a_call(rt)
    assert consultation_links.ask_readers(rt) == 1
    claimed: list[BatchId] = []
    tick(rt, claimed.append)
    with rt.database.begin() as db:
        question, batch = db.execute(
            select(deliveries.c.id, deliveries.c.batch_id).where(deliveries.c.kind == DeliveryKind.CONSULTATION_QUESTION)
        ).one()
        db.execute(delete(consultations))
    now, real_now = rt.clock.now(), rt.clock.real_now()
    with rt.database.begin() as db:
        offered = {question: Offered(DeliveryKind.CONSULTATION_QUESTION, RequestId(new_id()), now)}
        assert ledger.mark(db, batch, offered, rt.frequency_caps, "test", now, real_now) == set()
        ledger.cancel_ineligible(db, batch, {question}, "test", real_now)
    with rt.database.read() as db:
        found = db.execute(select(deliveries.c.state, deliveries.c.reason).where(deliveries.c.id == question)).one()
    assert tuple(found) == (State.CANCELLED, GONE)
