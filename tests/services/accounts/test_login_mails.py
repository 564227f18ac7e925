"""Log-in links by mail: how many, and that asking for one says nothing."""

from datetime import timedelta

from sqlalchemy import func, select

from nurture.domain.delivery import DeliveryKind
from nurture.runtime import Runtime
from nurture.services.accounts import login
from nurture.services.addresses import parse_address
from nurture.store.core.schema import link_requests
from tests.clocks import ManualClock
from tests.desk import a_colleague
from tests.people import rows, run_tick


def mailed(rt: Runtime) -> int:
    return [row[0] for row in rows(rt)].count(DeliveryKind.LOGIN_LINK)


def test_a_stranger_who_asks_all_day_brings_ten_mails_and_the_next_day_begins_anew(rt: Runtime, clock: ManualClock) -> None:
    dana = a_colleague(rt)
    for _ in range(120):
        login.ask_link(rt, parse_address(dana.email))
        run_tick(rt)
        clock.advance(minutes=5)
    assert mailed(rt) == 10
    clock.advance(days=1)
    login.ask_link(rt, parse_address(dana.email))
    run_tick(rt)
    assert mailed(rt) == 11


def test_known_and_unknown_addresses_leave_the_same_row(rt: Runtime) -> None:
    dana = a_colleague(rt)
    for email in (dana.email, "nobody@example.org"):
        login.ask_link(rt, parse_address(email))
    with rt.database.read() as db:
        assert db.scalar(select(func.count()).select_from(link_requests)) == 2
    assert mailed(rt) == 0
    login.mail_links(rt)
    assert mailed(rt) == 1
    with rt.database.read() as db:
        assert db.scalar(select(func.count()).select_from(link_requests)) == 0


def test_one_network_cannot_ask_without_end_and_a_request_of_long_ago_brings_nothing(rt: Runtime, clock: ManualClock) -> None:
    dana = a_colleague(rt)
    for _ in range(60):
        login.ask_link(rt, parse_address("nobody@example.org"), "203.0.113.0/24")
    with rt.database.read() as db:
        assert db.scalar(select(func.count()).select_from(link_requests)) == 20
    login.ask_link(rt, parse_address(dana.email))
    clock.at += timedelta(minutes=11)
    run_tick(rt)
    assert mailed(rt) == 0
