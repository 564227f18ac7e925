"""Which domains SendGrid may sign for, over real sockets; whatever goes wrong is no answer, and soon."""

import time
from collections.abc import Iterator

import pytest

from nurture.domain.email_auth.findings import Record
from nurture.mailers.sendgrid.domains import SignedDomain, read_domains
from tests.servers.sendgrid import KEY, Fault, hang, junk_body, refuse_429, reset, status
from tests.servers.sendgrid_domains import SendGridWithDomains, authenticated
from tests.servers.sendgrid_lists import MAIL_ONLY_KEY


@pytest.fixture
def server() -> Iterator[SendGridWithDomains]:
    with SendGridWithDomains() as running:
        running.domains += [authenticated("practice.test"), authenticated("other.test", automatic=False)]
        yield running


def test_every_record_that_is_wanted_is_read(server: SendGridWithDomains) -> None:
    assert read_domains(KEY, server.url, 5) == [
        SignedDomain(
            "practice.test",
            (
                Record("CNAME", "em77.practice.test", "u1.wl.sendgrid.net"),
                Record("CNAME", "s1._domainkey.practice.test", "s1.domainkey.u1.wl.sendgrid.net"),
                Record("CNAME", "s2._domainkey.practice.test", "s2.domainkey.u1.wl.sendgrid.net"),
            ),
        ),
        SignedDomain(
            "other.test",
            (
                Record("MX", "em77.other.test", "mx.sendgrid.net"),
                Record("TXT", "em77.other.test", "v=spf1 include:sendgrid.net ~all"),
                Record("TXT", "m1._domainkey.other.test", "k=rsa; t=s; p=AAAA"),
            ),
        ),
    ]


def test_a_key_that_may_only_send_mail_gets_no_answer_and_no_domain_is_another(server: SendGridWithDomains) -> None:
    assert read_domains(MAIL_ONLY_KEY, server.url, 5) is None
    assert read_domains("SG.unknown", server.url, 5) is None
    server.domains.clear()
    assert read_domains(KEY, server.url, 5) == []


@pytest.mark.parametrize("fault", [refuse_429(60), status(500), reset(accepted=False), hang(accepted=False), junk_body()])
def test_failures_are_no_answer_within_the_time(server: SendGridWithDomains, fault: Fault) -> None:
    server.domain_faults.append(fault)
    began = time.monotonic()
    assert read_domains(KEY, server.url, 0.6) is None
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "said", [{"errors": []}, [1], [{"domain": "x.test"}], [{"domain": "x.test", "dns": {"a": None}}], None]
)
def test_an_answer_of_another_shape_is_none(server: SendGridWithDomains, said: object) -> None:
    server.domains = said  # type: ignore[assignment]
    assert read_domains(KEY, server.url, 5) in (None, [])


def test_nobody_there() -> None:
    assert read_domains(KEY, "http://127.0.0.1:9", 1) is None
