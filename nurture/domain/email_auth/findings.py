"""Findings about the domain that letters come from: what each says, what to do, and what to put where."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from nurture.domain.email_auth.mail_services import Service, is_below, service_of

AGAIN = "Press “Check again” in a few minutes. If it stays so, ask whoever looks after your website."
KEEPER = "where your domain's names are kept (usually where you bought it, on a page called DNS)"


class Level(StrEnum):
    """How it stands with one thing."""

    GOOD = "good"
    TO_DO = "to-do"
    UNSURE = "unsure"
    """It cannot be told from here."""


class Topic(StrEnum):
    """What a finding is about, in the order of their weight."""

    DOMAIN = "domain"
    SIGNATURE = "signature"
    SERVERS = "servers"
    POLICY = "policy"
    REPLIES = "replies"


@dataclass(frozen=True)
class Record:
    """A line for whoever keeps the domain's names: its type, the whole name, and the value to copy."""

    kind: str
    name: str
    value: str


@dataclass(frozen=True)
class DomainFinding:
    """How it stands with one thing: what it means, what to do, and what to put where."""

    topic: Topic
    level: Level
    said: str
    do: str = ""
    records: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Case:
    """Whom it is about."""

    domain: str
    """Of the address that letters come from: lower case; empty if there is none yet."""
    carrier: str = ""
    """`sendgrid`, the host of the SMTP server, or empty: nothing leaves this machine yet."""
    answers_elsewhere: bool = False
    """Whether answers go to an address at another domain."""
    wanted: tuple[Record, ...] | None = None
    """What SendGrid wants to find at the domain; empty if it was never told of it, None if it would not say."""

    @property
    def service(self) -> Service | None:
        """Who carries the mail, if it is one that we know."""
        return service_of(self.carrier)

    @property
    def by_sendgrid(self) -> bool:
        """Whether SendGrid carries it, by whatever way."""
        return self.service is not None and self.service.name == "SendGrid"


def domain_of(address: str) -> str:
    """The domain of an address, in lower case; empty for none, and for one of this machine."""
    domain = address.rpartition("@")[2].strip().rstrip(".").lower()
    return "" if "." not in domain or is_below(domain, "localdomain") else domain


def asks_for_something(given: Iterable[DomainFinding]) -> bool:
    """Whether any of the findings is something to do."""
    return any(each.level is Level.TO_DO for each in given)
