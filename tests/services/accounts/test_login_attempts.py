"""Tries of passwords when many come at the same moment, and what is kept of them."""

import re
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from nurture.domain.client import Client
from nurture.runtime import Runtime
from nurture.services.accounts import accounts, login, security_events
from nurture.services.accounts import login_attempts as tries
from nurture.services.accounts.login import LogInRefused
from nurture.services.accounts.login_attempts import Check, TooManyAttempts
from nurture.services.addresses import parse_address
from nurture.services.operations import retention
from nurture.store.core.desk_schema import account_changes, known_devices, login_attempts
from nurture.web.desk.accounts.accounts import HAPPENED
from tests.clocks import ManualClock
from tests.desk import PASSWORD, a_colleague
from tests.services.accounts.test_accounts import at_once

ROOT = Path(__file__).parents[3]
ELSEWHERE = Client("198.51.100.0/24")


def test_of_many_tries_at_the_same_moment_five_are_judged(rt: Runtime) -> None:
    raised = at_once(*[partial(tries.count, rt, Check.LOG_IN, "somebody", None, ELSEWHERE)] * 12)
    assert raised == [TooManyAttempts.__name__] * 7


def test_a_bucket_that_nothing_fell_into_for_a_day_begins_anew(rt: Runtime, clock: ManualClock) -> None:
    for _ in range(4):
        tries.count(rt, Check.LOG_IN, "somebody", None, ELSEWHERE)
    clock.advance(hours=25)
    for _ in range(5):
        tries.count(rt, Check.LOG_IN, "somebody", None, ELSEWHERE)
    with pytest.raises(TooManyAttempts):
        tries.count(rt, Check.LOG_IN, "somebody", None, ELSEWHERE)


def test_nothing_kept_of_tries_names_anybody_and_it_goes(rt: Runtime, clock: ManualClock) -> None:
    dana = a_colleague(rt)
    clock.advance(seconds=61)
    device = "d" * 32
    with pytest.raises(LogInRefused):
        login.log_in(rt, parse_address("nobody@example.org"), "wrong", ELSEWHERE)
    tries.remember_device(rt, dana.id, device)
    with rt.database.read() as db:
        kept = [bytes(bucket) for bucket in db.scalars(select(login_attempts.c.bucket))]
        kept += [bytes(each) for each in db.scalars(select(known_devices.c.device))]
    assert len(kept) == 3
    for secret in (b"198.51", b"nobody", bytes.fromhex(device), rt.cipher.blind_index("nobody@example.org")):
        assert all(secret not in each for each in kept)
    clock.advance(days=2)
    retention.retain(rt)
    with rt.database.read() as db:
        assert db.scalar(select(func.count()).select_from(login_attempts)) == 0
        assert db.scalar(select(func.count()).select_from(known_devices)) == 1


def test_a_flood_of_refused_tries_is_a_few_rows(rt: Runtime, clock: ManualClock) -> None:
    for number in range(60):
        with pytest.raises(LogInRefused):
            login.log_in(rt, parse_address(f"noise{number}@example.org"), "wrong", Client(f"198.{number}.100.0/24"))
    (event,) = security_events.happened(rt)
    assert (event.kind, event.times) == ("password_refused", 60)
    clock.advance(hours=2)
    with pytest.raises(LogInRefused):
        login.log_in(rt, parse_address("noise@example.org"), "wrong", ELSEWHERE)
    assert [event.times for event in security_events.happened(rt)] == [1, 60]


def test_a_device_is_known_by_its_own_cookie_only_and_not_after_a_reset(rt: Runtime, clock: ManualClock) -> None:
    dana = a_colleague(rt)
    cookie = tries.remember_device(rt, dana.id, "")
    device = tries.device_of(rt, cookie)
    assert len(device) == 32
    assert tries.device_of(rt, cookie[:-2] + "AA") == tries.device_of(rt, "") == tries.device_of(rt, "x" * 5000) == ""
    for _ in range(6):
        with pytest.raises((LogInRefused, TooManyAttempts)):
            login.log_in(rt, parse_address(dana.email), "wrong", ELSEWHERE)
    assert login.log_in(rt, parse_address(dana.email), PASSWORD, Client("", device)).mfa_pending
    accounts.reset(rt, dana.id)
    with pytest.raises(TooManyAttempts):
        login.log_in(rt, parse_address(dana.email), PASSWORD, Client("", device))
    with rt.database.read() as db:
        assert db.scalar(select(func.count()).select_from(account_changes)) == 1


def test_every_kind_of_event_belongs_to_a_group_and_has_words() -> None:
    written = set[str]()
    for path in (ROOT / "nurture").rglob("*.py"):
        for call in re.findall(r"\bnote\(rt, db, [^\n]*", path.read_text("utf-8")):
            written |= set(re.findall('"([a-z_]+)"', call))
    assert {"logged_in", "proof_refused", "link_made"} <= written
    assert written <= security_events.KINDS
    assert set(HAPPENED) >= security_events.KINDS
    assert not security_events.REFUSED & (security_events.LOG_INS | security_events.CHANGES)
