"""How a letter looks to somebody: filled for a sample reader or a real one, and sent to oneself to try it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

from nurture import log
from nurture.delivery.render import about_reader, public_links
from nurture.domain.delivery import DeliveryKind
from nurture.errors import NurtureError
from nurture.ids import EditionId, SubscriberId, TestEmailId, new_id
from nurture.letters.compiler import compile_letter
from nurture.letters.filling import Content, Unfillable, Values, fill
from nurture.letters.source import Letter, LetterRefused
from nurture.runtime import Runtime
from nurture.services.accounts.accounts import Account
from nurture.services.addresses import Address
from nurture.services.letters import images
from nurture.store.deliveries import ledger
from nurture.store.deliveries.ledger import NewDelivery
from nurture.store.letters import drafts
from nurture.store.letters.drafts import TestEmail
from nurture.store.subscribers import subscribers

_log = log.get(__name__)

NAMED, NAMELESS = "named", "nameless"
"""Two readers who do not exist: one who gave a first name, and one who did not."""


class CannotShow(NurtureError):
    """A letter cannot be shown as it is; the message says what to change."""


@dataclass(frozen=True)
class Inbox:
    """What an inbox, or a telephone that is locked, shows of a letter."""

    sender: str
    subject: str
    preheader: str


def values(rt: Runtime, who: str = NAMED) -> Values:
    """What a letter is filled with for a sample reader, or for a subscriber by id."""
    links = public_links(rt.settings.base_url) | {"unsubscribe": rt.settings.base_url, "confirm": "", "desk": ""}
    today = rt.clock.now()
    about = {"first_name": "Robin" if who == NAMED else "", "signed_up_on": f"{today.day} {today:%B %Y}"}
    if who not in (NAMED, NAMELESS):
        with rt.database.read() as db:
            person = subscribers.get_unlocked(db, SubscriberId(who))
        if person is not None:
            about = about_reader(rt, person.id, person.first_name, person.confirmed or today, person.time_zone)
    return {**rt.template_globals, "reader": about, "links": links}


def shown(rt: Runtime, letter: Letter, who: str = NAMED) -> Content:
    """A letter as somebody would get it. Raises CannotShow."""
    try:
        return fill(compile_letter(letter, known=images.known(rt, letter.body)), values(rt, who))
    except LetterRefused as refused:
        raise CannotShow(refused.advice) from None
    except Unfillable as refused:
        raise CannotShow(f"{refused}.") from None


def inbox(rt: Runtime, letter: Letter, who: str = NAMED) -> Inbox:
    """The line an inbox shows. Raises CannotShow."""
    head = replace(letter, body="-\n")
    subject = shown(rt, head, who).subject
    preheader = shown(rt, replace(head, subject=letter.preheader or " "), who).subject
    return Inbox(rt.sender.name or rt.sender.email, subject, preheader)


def find_reader(rt: Runtime, address: Address) -> SubscriberId | None:
    """The subscriber with an address, to look at a letter with their eyes."""
    with rt.database.read() as db:
        person = subscribers.find(db, rt.cipher.blind_index(address.canonical))
    return person.id if person else None


def send_to_self(rt: Runtime, letters: list[Letter], me: Account, who: str = NAMED) -> str:
    """Mail letters to whoever is at the desk, as a sample reader gets them; returns where they go. Raises CannotShow.

    They go through the ledger like any mail, and hold nobody's link for leaving.
    """
    to = address_of(rt, me)
    imitated = None if who in (NAMED, NAMELESS) else SubscriberId(who)
    plan_test_emails(rt, me, [(shown(rt, letter, who), None) for letter in letters], imitated)
    return to


def address_of(rt: Runtime, me: Account) -> str:
    """Where mail to whoever is at the desk goes: to their own address, or while they have none, to where notices go."""
    return me.email or rt.settings.notices_to


_BETWEEN = timedelta(seconds=2)
"""Between two mails to oneself, so that they arrive in their order."""


def plan_test_emails(
    rt: Runtime, me: Account, mails: Sequence[tuple[Content, EditionId | None]], imitated: SubscriberId | None = None
) -> list[TestEmailId]:
    """Mail finished content to whoever is at the desk, one after the other, each with the edition it shows if it is one.

    `imitated`: the subscriber whom it was filled for; it goes when they are erased.
    """
    real_now, now = rt.clock.real_now(), rt.clock.now()
    emails = list[tuple[TestEmail, EditionId | None]]()
    for content, edition in mails:
        key = TestEmailId(new_id())
        emails.append(
            (TestEmail(key, me.id, rt.cipher.encrypt(json.dumps(asdict(content)), drafts.field_of_test_email(key))), edition)
        )
    with rt.database.begin() as db:
        for email, edition in emails:
            drafts.add_test_email(db, email, rt.mailer.name, real_now, edition, imitated)
        rows = [
            NewDelivery(DeliveryKind.TEST_EMAIL, now + rt.clock.stretch(number * _BETWEEN), test_email=email.id)
            for number, (email, _) in enumerate(emails)
        ]
        ledger.plan(db, rows, now)
    _log.info("letters_tried", count=len(emails), account=me.id)
    return [email.id for email, _ in emails]
