"""Questions to the name service (DNS), and what it answered, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class RecordType(StrEnum):
    """Which records are asked for (RFC 1035 section 3.2.2, RFC 3596)."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    MX = "MX"
    TXT = "TXT"


@dataclass(frozen=True)
class DnsQuestion:
    """One name, without the last dot and in lower case, and one kind."""

    name: str
    kind: RecordType


class DnsStatus(StrEnum):
    """What kind of answer came."""

    SOMETHING = "something"
    NOTHING = "nothing"
    """The name exists, and has no record of this kind."""
    NO_SUCH_NAME = "no such name"
    """Neither the name nor anything below it exists (RFC 8020)."""
    SILENCE = "silence"
    """No answer in time, or only failures: nothing is known."""


@dataclass(frozen=True)
class DnsAnswer:
    """What was said to a question. Names in `values` are without the last dot and in lower case; of MX only the host."""

    status: DnsStatus
    values: tuple[str, ...] = ()


DnsCache = Mapping[DnsQuestion, DnsAnswer]
"""What is known so far. A question that is missing has not been asked."""

SILENT = DnsAnswer(DnsStatus.SILENCE)


def parents(domain: str, limit: int = 8) -> list[str]:
    """A domain and those above it, nearest first, without top-level ones; of very long names only the last `limit` labels.

    So receivers look for a policy, without a list of public suffixes (draft-ietf-dmarc-dmarcbis section 4.10, the tree walk).
    """
    labels = domain.split(".")
    above = [".".join(labels[start:]) for start in range(max(1, len(labels) - limit + 1), len(labels) - 1)]
    return [domain, *above]
