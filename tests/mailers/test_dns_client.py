"""Asking a real name server, by UDP and TCP, that answers, fails, stays silent or talks nonsense."""

import socket
import time
from collections.abc import Iterator

import pytest

from nurture.domain.dns import SILENT, DnsAnswer, DnsQuestion, DnsStatus, RecordType
from nurture.mailers.dns_client import DnsClient
from tests.servers.dns import Deed, NameServer

LONG = "v=spf1 " + " ".join(f"ip4:192.0.2.{n}" for n in range(120)) + " ~all"


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer(
        {
            ("practice.test", "TXT"): ["v=spf1 include:mail.test ~all", 'a "quoted" one'],
            ("practice.test", "MX"): ["mx.Practice.test", "mx2.practice.test"],
            ("practice.test", "A"): ["192.0.2.7"],
            ("practice.test", "AAAA"): ["2001:db8::7"],
            ("none.test", "MX"): [""],
            ("long.test", "TXT"): [LONG],
            ("s1._domainkey.practice.test", "CNAME"): ["s1.domainkey.u1.wl.SendGrid.net"],
            ("s1.domainkey.u1.wl.sendgrid.net", "TXT"): ["k=rsa; t=s; p=AAAA"],
            ("s1.domainkey.u1.wl.SendGrid.net", "TXT"): ["k=rsa; t=s; p=AAAA"],
        }
    ) as running:
        yield running


def ask(server: NameServer, name: str, kind: RecordType, within: float = 5.0) -> DnsAnswer:
    question = DnsQuestion(name, kind)
    return DnsClient([server.address]).ask([question], within)[question]


def test_every_kind_is_read_as_it_is_meant(server: NameServer) -> None:
    assert ask(server, "practice.test", RecordType.TXT).values == ('a "quoted" one', "v=spf1 include:mail.test ~all")
    assert ask(server, "practice.test", RecordType.MX).values == ("mx.practice.test", "mx2.practice.test")
    assert ask(server, "practice.test", RecordType.A).values == ("192.0.2.7",)
    assert ask(server, "practice.test", RecordType.AAAA).values == ("2001:db8::7",)
    assert ask(server, "none.test", RecordType.MX) == DnsAnswer(DnsStatus.SOMETHING, ("",))


def test_a_chain_of_names_is_followed_and_can_be_looked_at(server: NameServer) -> None:
    assert ask(server, "s1._domainkey.practice.test", RecordType.CNAME).values == ("s1.domainkey.u1.wl.sendgrid.net",)
    assert ask(server, "s1._domainkey.practice.test", RecordType.TXT).values == ("k=rsa; t=s; p=AAAA",)


def test_nothing_of_this_kind_and_no_such_name_are_two_answers(server: NameServer) -> None:
    assert ask(server, "none.test", RecordType.TXT) == DnsAnswer(DnsStatus.NOTHING)
    assert ask(server, "_domainkey.practice.test", RecordType.TXT) == DnsAnswer(DnsStatus.NOTHING)
    assert ask(server, "elsewhere.test", RecordType.TXT) == DnsAnswer(DnsStatus.NO_SUCH_NAME)


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", ".".join(["a" * 60] * 5)])
def test_what_can_be_no_name_is_not_asked(server: NameServer, name: str) -> None:
    assert ask(server, name, RecordType.TXT) == DnsAnswer(DnsStatus.NO_SUCH_NAME)
    assert not server.asked


def test_a_long_answer_comes_by_tcp_in_one_piece(server: NameServer) -> None:
    assert ask(server, "long.test", RecordType.TXT).values == (LONG[:2048],)
    assert server.asked["long.test", "TXT", "tcp"] == 1
    server.deeds["practice.test"] = "truncated"
    assert len(ask(server, "practice.test", RecordType.MX).values) == 2


@pytest.mark.parametrize("deed", ["servfail", "refused", "garbage", "silence"])
def test_failures_are_silence_and_take_no_longer_than_they_may(server: NameServer, deed: Deed) -> None:
    server.deeds["*"] = deed
    began = time.monotonic()
    asked = [DnsQuestion(f"{n}.practice.test", RecordType.TXT) for n in range(20)]
    assert set(DnsClient([server.address]).ask(asked, 1.0).values()) == {SILENT}
    assert time.monotonic() - began < 2.5


def test_one_silent_name_does_not_keep_the_others_from_being_known(server: NameServer) -> None:
    server.deeds["_dmarc.practice.test"] = "silence"
    silent, known = DnsQuestion("_dmarc.practice.test", RecordType.TXT), DnsQuestion("practice.test", RecordType.A)
    assert DnsClient([server.address]).ask([silent, known], 1.0) == {
        silent: SILENT,
        known: DnsAnswer(DnsStatus.SOMETHING, ("192.0.2.7",)),
    }


def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    question = DnsQuestion("practice.test", RecordType.A)
    assert DnsClient([("127.0.0.1", port)]).ask([question], 1.0) == {question: SILENT}


def test_the_second_server_answers_for_the_first(server: NameServer) -> None:
    with NameServer() as broken:
        broken.deeds["*"] = "servfail"
        question = DnsQuestion("practice.test", RecordType.A)
        assert DnsClient([broken.address, server.address]).ask([question], 3.0)[question].values == ("192.0.2.7",)


def test_this_machine_s_own_servers_are_asked_by_default() -> None:
    question = DnsQuestion("nurture.invalid", RecordType.A)  # RFC 6761: it never exists, and may be answered anywhere
    answer = DnsClient().ask([question], 1.0)[question]
    assert answer in (SILENT, DnsAnswer(DnsStatus.NO_SUCH_NAME), DnsAnswer(DnsStatus.NOTHING))
