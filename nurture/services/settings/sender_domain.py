"""Looks whether mail services can tell that letters come from the practice, and remembers what it saw."""

import json
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from nurture.domain.dns import DnsAnswer, DnsQuestion, parents
from nurture.domain.email_auth.domain import findings, questions
from nurture.domain.email_auth.findings import Case, DomainFinding, Level, Record, Topic, asks_for_something, domain_of
from nurture.mailers.description import describe
from nurture.runtime import Runtime
from nurture.store.state import app_state

_KEY = "sender_domain"
_SECONDS, _ROUND_SECONDS = 8.0, 3.0
"""How long a check may ask, in all and at once: somebody waits for the page."""


@dataclass(frozen=True)
class Checked:
    """What a check of one domain saw, and when (UTC, real time)."""

    domain: str
    at: datetime
    findings: tuple[DomainFinding, ...]

    @property
    def asks_for_something(self) -> bool:
        """Whether there is something to do."""
        return asks_for_something(self.findings)


def carrier(rt: Runtime) -> str:
    """Who carries the mail, as its mailer says (`sendgrid`, the host of a server); empty where no mail leaves this machine."""
    if rt.settings.mail_stays_here:
        return ""
    return describe(rt.settings.mailer).carrier(rt.settings) or rt.settings.mailer


def check(rt: Runtime, from_address: str, answers_to: str = "") -> Checked:
    """Ask about the domain of the address that letters come from, and remember what was seen.

    `answers_to`: where answers go, if that is another address. Takes some seconds at most; raises nothing for an answer.
    """
    domain, by = domain_of(from_address), carrier(rt)
    elsewhere = bool(answers_to) and domain_of(answers_to) != domain
    until = time.monotonic() + _SECONDS
    case = Case(domain, by, elsewhere, _wanted(rt, domain))
    found: dict[DnsQuestion, DnsAnswer] = {}
    while (left := until - time.monotonic()) > 0 and (asked := questions(case, found)):
        found |= rt.dns.ask(asked, min(left, _ROUND_SECONDS))
    checked = Checked(domain, rt.clock.real_now(), tuple(findings(case, found)))
    with rt.database.begin() as db:
        app_state.set_value(db, _KEY, _written(checked, by))
    return checked


def _wanted(rt: Runtime, domain: str) -> tuple[Record, ...] | None:
    """What SendGrid wants to find at the domain, or at the nearest above that it was told of."""
    known = rt.signed_domains() if rt.signed_domains and domain else None
    if known is None:
        return None
    by_name = {each.name: each.records for each in known}
    return next((by_name[name] for name in parents(domain) if name in by_name), ())


def last(rt: Runtime, from_address: str) -> Checked | None:
    """What the last check saw; None if there was none of this domain with this mail service."""
    with rt.database.read() as db:
        text = app_state.get(db, _KEY)
    if text is None:
        return None
    kept = json.loads(text)
    if (kept["domain"], kept["carrier"]) != (domain_of(from_address), carrier(rt)):
        return None
    return Checked(kept["domain"], datetime.fromisoformat(kept["at"]), tuple(_read(each) for each in kept["findings"]))


def _written(checked: Checked, by: str) -> str:
    found = [asdict(each) for each in checked.findings]
    return json.dumps({"domain": checked.domain, "carrier": by, "at": checked.at.isoformat(), "findings": found})


def _read(kept: dict[str, Any]) -> DomainFinding:
    records = tuple(Record(**each) for each in kept["records"])
    return DomainFinding(Topic(kept["topic"]), Level(kept["level"]), kept["said"], kept["do"], records)
