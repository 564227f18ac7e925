"""The sender's domain, asked for real: of a name server and a SendGrid of our own; what was seen is remembered."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nurture import runtime
from nurture.domain.email_auth.findings import Level, Topic
from nurture.mailers.dns_client import DnsClient
from nurture.runtime import Runtime
from nurture.services.operations import dashboard
from nurture.services.operations.dashboard import AttentionItem, AttentionKind
from nurture.services.settings import sender_domain
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.servers.dns import NameServer
from tests.servers.sendgrid import KEY
from tests.servers.sendgrid_domains import SendGridWithDomains, authenticated

FROM = "letters@practice.test"
KEYS = {
    (f"s{n}._domainkey.practice.test", "CNAME"): [f"s{n}.domainkey.u1.wl.sendgrid.net"] for n in (1, 2)
} | {(f"s{n}.domainkey.u1.wl.sendgrid.net", "TXT"): ["k=rsa; t=s; p=AAAA"] for n in (1, 2)}  # fmt: skip
SOUND = {
    ("practice.test", "TXT"): ["v=spf1 include:_spf.google.com ~all"],
    ("practice.test", "MX"): ["mx.practice.test"],
    ("_dmarc.practice.test", "TXT"): ["v=DMARC1; p=none"],
    ("_spf.google.com", "TXT"): ["v=spf1 include:_netblocks.google.com ~all"],
    ("_netblocks.google.com", "TXT"): ["v=spf1 ip4:192.0.2.0/24 ~all"],
    ("em77.practice.test", "CNAME"): ["u1.wl.sendgrid.net"],
    **KEYS,
}


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer(SOUND) as running:
        yield running


@contextmanager
def built(folder: Path, url: str, clock: ManualClock, server: NameServer, **given: object) -> Iterator[Runtime]:
    rt = runtime.build(settings_for(folder, url, from_email=FROM, postal_address="1 Oak Street", **given))
    rt.clock, rt.dns = clock, DnsClient([server.address])
    yield rt
    rt.close()


@pytest.fixture
def smtp(tmp_path: Path, database_url: str, clock: ManualClock, server: NameServer) -> Iterator[Runtime]:
    with built(tmp_path, database_url, clock, server, mailer="smtp", smtp_url="smtp://u:p@smtp.gmail.com:587") as rt:
        yield rt


def levels(checked: sender_domain.Checked | None) -> dict[Topic, Level]:
    assert checked is not None
    return {each.topic: each.level for each in checked.findings}


def test_what_was_seen_is_remembered_as_it_was(smtp: Runtime, server: NameServer, clock: ManualClock) -> None:
    assert sender_domain.last(smtp, FROM) is None
    del server.zone["_dmarc.practice.test", "TXT"]
    checked = sender_domain.check(smtp, FROM)
    assert checked.at == clock.real_now()
    assert levels(checked) == {
        Topic.DOMAIN: Level.GOOD, Topic.SIGNATURE: Level.UNSURE, Topic.SERVERS: Level.GOOD, Topic.POLICY: Level.TO_DO,
        Topic.REPLIES: Level.GOOD,
    }  # fmt: skip
    asked = server.asked.total()
    clock.advance(days=1)
    assert sender_domain.last(smtp, "Letters@PRACTICE.test") == checked
    assert server.asked.total() == asked
    server.zone["_dmarc.practice.test", "TXT"] = ["v=DMARC1; p=none"]
    again = sender_domain.check(smtp, FROM)
    assert sender_domain.last(smtp, FROM) == again
    assert levels(again)[Topic.POLICY] is Level.GOOD


def test_what_was_seen_of_another_domain_or_with_another_service_is_not_shown(
    smtp: Runtime, tmp_path: Path, database_url: str, clock: ManualClock, server: NameServer
) -> None:
    sender_domain.check(smtp, FROM)
    assert sender_domain.last(smtp, "letters@elsewhere.test") is None
    with built(tmp_path, database_url, clock, server, mailer="sendgrid", sendgrid_api_key=KEY) as other:
        assert sender_domain.last(other, FROM) is None


def test_a_name_server_that_never_answers_costs_seconds_and_claims_nothing(smtp: Runtime, server: NameServer) -> None:
    server.deeds["*"] = "silence"
    began = time.monotonic()
    checked = sender_domain.check(smtp, FROM)
    assert time.monotonic() - began < 6
    assert levels(checked) == {Topic.DOMAIN: Level.UNSURE}
    assert not checked.asks_for_something


def test_a_domain_that_does_not_exist(smtp: Runtime, server: NameServer) -> None:
    server.zone.clear()
    assert levels(sender_domain.check(smtp, FROM)) == {Topic.DOMAIN: Level.TO_DO}


def test_nobody_is_asked_about_an_address_at_gmail(smtp: Runtime, server: NameServer) -> None:
    assert levels(sender_domain.check(smtp, "dana@gmail.com")) == {Topic.DOMAIN: Level.TO_DO}
    assert not server.asked


def test_sendgrid_says_itself_what_it_wants_to_find(
    tmp_path: Path, database_url: str, clock: ManualClock, server: NameServer
) -> None:
    with (
        SendGridWithDomains() as provider,
        built(tmp_path, database_url, clock, server, mailer="sendgrid", sendgrid_api_key=KEY, sendgrid_host=provider.url) as rt,
    ):
        provider.domains.append(authenticated("practice.test"))
        assert set(levels(sender_domain.check(rt, "dana@letters.practice.test"))) == {Topic.DOMAIN}
        assert set(levels(sender_domain.check(rt, FROM)).values()) == {Level.GOOD}
        del server.zone["s2._domainkey.practice.test", "CNAME"]
        (found,) = [each for each in sender_domain.check(rt, FROM).findings if each.topic is Topic.SIGNATURE]
        assert [record.name for record in found.records] == ["s2._domainkey.practice.test"]
        provider.domains.clear()
        (found,) = [each for each in sender_domain.check(rt, FROM).findings if each.topic is Topic.SIGNATURE]
        assert "not been told" in found.do


@pytest.mark.parametrize("fine", [True, False])
def test_home_says_so_once_something_was_found_and_only_where_mail_leaves_the_machine(
    smtp: Runtime, rt: Runtime, server: NameServer, fine: bool
) -> None:
    need = AttentionItem(AttentionKind.DOMAIN)
    assert need not in dashboard.load(smtp, 0, ZoneInfo("UTC")).needs
    if not fine:
        server.zone["practice.test", "TXT"] = ["v=spf1 +all"]
    sender_domain.check(smtp, FROM)
    assert (need in dashboard.load(smtp, 0, ZoneInfo("UTC")).needs) is not fine
    rt.dns = DnsClient([server.address])
    sender_domain.check(rt, rt.sender.email)
    assert need not in dashboard.load(rt, 0, ZoneInfo("UTC")).needs
