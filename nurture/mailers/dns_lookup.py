"""One question to the name service (dnspython)."""

import time
from collections.abc import Sequence

import dns.exception
import dns.name
import dns.nameserver
import dns.rdata
import dns.resolver

from nurture.domain.dns import SILENT, DnsAnswer, DnsQuestion, DnsStatus, RecordType

_TRY_SECONDS = 1.5
"""How long one server may take before the question is asked again, or another one is asked."""
_LONGEST = 2048
"""Characters of one record: far more than any that has a meaning here."""
_MOST = 60
"""Records of one answer."""


def create_resolver(servers: Sequence[tuple[str, int]]) -> dns.resolver.Resolver | None:
    """Asks `servers` (address and port), or those of /etc/resolv.conf; None if that names none."""
    try:
        resolver = dns.resolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration:
        return None
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in servers]
    resolver.timeout = _TRY_SECONDS
    return resolver


def ask(resolver: dns.resolver.Resolver, question: DnsQuestion, until: float) -> DnsAnswer:
    """The answer to one question, by `until` (seconds of the monotonic clock)."""
    left = until - time.monotonic()
    if left <= 0:
        return SILENT
    try:
        name = dns.name.from_text(question.name)
        reply = resolver.resolve(name, question.kind.value, raise_on_no_answer=False, lifetime=left, search=False)
    except dns.resolver.NXDOMAIN:
        return DnsAnswer(DnsStatus.NO_SUCH_NAME)
    except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.IDNAException):
        return DnsAnswer(DnsStatus.NO_SUCH_NAME)  # no such name can exist
    except (dns.exception.DNSException, OSError):  # time is up, failures only, or what cannot be read
        return SILENT
    if reply.rrset is None:
        return DnsAnswer(DnsStatus.NOTHING)
    values = sorted(_value(question.kind, record) for record in list(reply.rrset)[:_MOST])
    return DnsAnswer(DnsStatus.SOMETHING, tuple(values))


def _value(kind: RecordType, record: dns.rdata.Rdata) -> str:
    match kind:
        case (
            RecordType.TXT
        ):  # its pieces belong together without anything between (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2)
            text = b"".join(record.strings).decode("utf-8", "replace")  # type: ignore[attr-defined]
        case RecordType.MX:
            text = _name(record.exchange)  # type: ignore[attr-defined]
        case RecordType.CNAME:
            text = _name(record.target)  # type: ignore[attr-defined]
        case _:
            text = record.to_text()
    return text[:_LONGEST]


def _name(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower().removesuffix(".")
