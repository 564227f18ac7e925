"""Does mail leave? Found out before a mailer is kept, and by a real mail to oneself after that."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nurture.config import mailer_of
from nurture.delivery.render import own_mail
from nurture.domain.delivery import Accepted, DeliveryKind, Outcome, State
from nurture.ids import ConsultationId
from nurture.letters.filling import fill
from nurture.runtime import Runtime
from nurture.services.accounts.accounts import Account
from nurture.services.letters import previews
from nurture.services.settings.desk_settings import carried_by
from nurture.store.letters import drafts
from nurture.store.letters.drafts import TestEmailStatus

CHECK_SECONDS = 10.0

_MEANINGS = (
    (
        r"refused user or password",
        "The mail server does not accept this user name and password. Please type them again; some services want a "
        "password made for apps, not the one you log in with.",
    ),
    (
        r"gaierror",
        "There is no mail server by that name. Please check it.",
    ),
    (
        r"ConnectionRefused",
        "The server is there, but takes no mail at this port. Most use 587, some 465.",
    ),
    (
        r"Timeout",
        "The server did not answer. Is the port right? Some networks let no mail out by themselves; whoever hosts "
        "this service can tell.",
    ),
    (
        r"SSLCertVerification",
        "The server could not prove who it is: its certificate does not fit its name. Please check the name.",
    ),
    (
        r"SSLError|SMTPServerDisconnected",
        "The server and we did not understand each other. With port 465 choose “encrypted from the start”, with 587 do not.",
    ),
    (
        r"SMTPNotSupported",
        "The server offers no encryption. Letters of this kind must not travel in the open: please choose another "
        "port, or another service.",
    ),
    (
        r"(?i)^(?!429).*\b(limit|quota|credits)\b",
        "Your account with the mail service has reached a limit. It is tried again by itself.",
    ),
    (
        r"^401\b",
        "SendGrid does not know this key. Please copy all of it, or make a new one there.",
    ),
    (
        r"^403\b",
        "SendGrid knows this key, but does not let it send. Give the key the right “Mail Send”, and check that your "
        "sender address, or its domain, is verified there.",
    ),
    (
        r"^429\b|SMTP 4\d\d\b",
        "Your mail service asks us to wait. It goes on by itself in a few minutes.",
    ),
    (
        r"^400\b.*\bfrom\b",
        "SendGrid does not take mail from your sender address. Please check it on the page “Sender”.",
    ),
    (
        r"SMTP 5\d\d\b.* at RCPT",
        "The mail server takes no mail to this address, or none from you to it.",
    ),
    (
        r"^400\b.*\bto\b|SMTP 55[0-4]",
        "The mail service refused this mail. Most often it does not know your sender address as yours.",
    ),
    (
        r"no connection to SendGrid",
        "SendGrid cannot be reached from here. Whoever hosts this service can tell why.",
    ),
    (
        r"from SendGrid",
        "SendGrid did not say whether it took the mail. Look into your inbox; if nothing has come, try again.",
    ),
    (
        r"no SMTP conversation",
        "We could not talk with the mail server. Please check its name, its port and the encryption.",
    ),
    (
        r"no SMTP reply",
        "The mail server did not say whether it took the mail. Look into your inbox; if nothing has come, try again.",
    ),
)
"""What a mailer's reason means, and what to do."""


_OWN_WORDS = re.compile(r"(?:SMTP )?[345]\d\d\b[^:]*: (.+)", re.DOTALL)
"""What follows code and place in the reason of a refusal (mailers.smtp, mailers.sendgrid)."""


def explain_failure(why: str) -> str:
    """What a mailer's or the ledger's reason means, and what to do; then the words of the server, if it had any."""
    said = next((words for pattern, words in _MEANINGS if re.search(pattern, why)), "")
    own = _OWN_WORDS.match(why)
    if said and own:
        return f"{said} Its own words: “{own[1]}”."
    return said or f"The mail service says: {why}."


def check(rt: Runtime, changes: Mapping[str, str]) -> str:
    """Whether mail could leave with another mailer: nothing if so, otherwise why not, in plain words. Sends nothing.

    Takes up to half a minute. Raises SettingsRefused where something is missing.
    """
    mailer = mailer_of(carried_by(rt, changes), rt.clock)

    async def ask() -> Outcome:
        try:
            return await mailer.check(rt.sender, CHECK_SECONDS)
        finally:
            await mailer.aclose()

    match asyncio.run(ask()):
        case Accepted():
            return ""
        case failed:
            return explain_failure(failed.why)


@dataclass(frozen=True)
class DeliveryResult:
    """What became of a mail to oneself. `said`: in plain words, empty while nothing is wrong."""

    done: bool
    arrived: bool
    said: str = ""


_ARRIVED = (State.ACCEPTED, State.DELIVERED)
_ENDED = (*_ARRIVED, State.BOUNCED, State.DROPPED, State.COMPLAINED, State.FAILED, State.HELD, State.UNKNOWN, State.CANCELLED)


def send(rt: Runtime, me: Account) -> ConsultationId:
    """Mail a few words to whoever is at the desk, by the way all mail goes."""
    content = fill(own_mail(DeliveryKind.NOTICE, "trial"), previews.values(rt))
    return previews.plan_test_emails(rt, me, [(content, None)])[0]


def load_result(rt: Runtime, which: ConsultationId) -> DeliveryResult | None:
    """How a mail to oneself stands now; None if there is none."""
    with rt.database.read() as db:
        found = next((each for each in drafts.test_emails(db) if each.id == which), None)
    return None if found is None else delivery_result(found)


def delivery_result(tried: TestEmailStatus) -> DeliveryResult:
    """What a row of the ledger means for whoever waits for the mail."""
    arrived, done = tried.state in _ARRIVED, tried.state in _ENDED
    match tried.state:
        case State.BOUNCED | State.DROPPED:
            return DeliveryResult(done, arrived, "It came back: your own address did not take it.")
        case _ if not arrived and tried.why and tried.why != "given back":
            return DeliveryResult(done, arrived, explain_failure(tried.why))
        case _:
            return DeliveryResult(done, arrived)
