"""Does mail leave? Found out before a mailer is kept, and by a real mail to oneself after that."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nurture.config import mailer_of
from nurture.delivery.render import own_mail
from nurture.domain.delivery import Accepted, DeliveryKind, Outcome, State
from nurture.ids import TestEmailId
from nurture.letters.filling import fill
from nurture.mailer_registry import MAILERS
from nurture.mailers.description import describe
from nurture.runtime import Runtime
from nurture.services.accounts.accounts import Account
from nurture.services.letters import previews
from nurture.services.settings.desk_settings import carried_by
from nurture.store.letters import drafts
from nurture.store.letters.drafts import TestEmailStatus

CHECK_SECONDS = 10.0

_OWN_WORDS = re.compile(r"(?:SMTP )?[345]\d\d\b[^:]*: (.+)", re.DOTALL)
"""What follows code and place in the reason of a refusal (mailers.smtp, mailers.sendgrid)."""


def explain_failure(why: str, mailer: str) -> str:
    """What a reason of the mailer of that name, or of the ledger, means, and what to do; then the words of the server, if it
    had any.
    """
    meanings = describe(mailer).meanings if mailer in MAILERS else ()
    said = next((words for pattern, words in meanings if re.search(pattern, why)), "")
    own = _OWN_WORDS.match(why)
    if said and own:
        return f"{said} Its own words: “{own[1]}”."
    return said or f"The mail service says: {why}."


def check(rt: Runtime, changes: Mapping[str, str]) -> str:
    """Whether mail could leave with another mailer: nothing if so, otherwise why not, in plain words. Sends nothing.

    Takes up to half a minute. Raises SettingsRefused where something is missing.
    """
    settings = carried_by(rt, changes)
    mailer = mailer_of(settings, rt.clock)

    async def ask() -> Outcome:
        try:
            return await mailer.check(rt.sender, CHECK_SECONDS)
        finally:
            await mailer.aclose()

    match asyncio.run(ask()):
        case Accepted():
            return ""
        case failed:
            return explain_failure(failed.why, settings.mailer)


@dataclass(frozen=True)
class DeliveryResult:
    """What became of a mail to oneself. `said`: in plain words, empty while nothing is wrong."""

    done: bool
    arrived: bool
    said: str = ""


_ARRIVED = (State.ACCEPTED, State.DELIVERED)
_ENDED = (*_ARRIVED, State.BOUNCED, State.DROPPED, State.COMPLAINED, State.FAILED, State.HELD, State.UNKNOWN, State.CANCELLED)


def send(rt: Runtime, me: Account) -> TestEmailId:
    """Mail a few words to whoever is at the desk, by the way all mail goes."""
    content = fill(own_mail(DeliveryKind.TEST_EMAIL), previews.values(rt))
    return previews.plan_test_emails(rt, me, [(content, None)])[0]


def load_result(rt: Runtime, which: TestEmailId) -> DeliveryResult | None:
    """How a mail to oneself stands now; None if there is none."""
    with rt.database.read() as db:
        found = next((each for each in drafts.all_test_emails(db) if each.id == which), None)
    return None if found is None else delivery_result(found)


def delivery_result(tried: TestEmailStatus) -> DeliveryResult:
    """What a row of the ledger means for whoever waits for the mail."""
    arrived, done = tried.state in _ARRIVED, tried.state in _ENDED
    match tried.state:
        case State.BOUNCED | State.DROPPED:
            return DeliveryResult(done, arrived, "It came back: your own address did not take it.")
        case _ if not arrived and tried.why and tried.why != "given back":
            return DeliveryResult(done, arrived, explain_failure(tried.why, tried.mailer))
        case _:
            return DeliveryResult(done, arrived)
