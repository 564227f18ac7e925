"""Whose request for a call it is: the reader a letter's link stands for, or who says so from their mailbox.

A request by the open form proves nothing, so it changes no reader, and is answered alike whoever's address was typed: whether
that is on the list is looked up later, by a job, which asks its reader by mail.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from nurture import log
from nurture.delivery.plan import plan_requested
from nurture.domain.consultation import LETTER_LINK_LASTS, RequestOrigin, RequestState
from nurture.domain.delivery import DeliveryKind
from nurture.domain.limits import CONSULTATION_QUESTION
from nurture.domain.masking import mask_address, mask_name, mask_telephone
from nurture.domain.subscriber import SubscriberState, hindrance
from nurture.ids import ConsultationId, DeliveryId, SubscriberId
from nurture.runtime import Runtime
from nurture.services import limits
from nurture.services.addresses import parse_address
from nurture.services.subscribers import consultations as goals
from nurture.store.deliveries.ledger import NewDelivery
from nurture.store.state import app_state
from nurture.store.subscribers import consultations, subscribers
from nurture.store.subscribers.consultations import ConsultationRow
from nurture.store.subscribers.subscribers import Subscriber
from nurture.tokens import Purpose, TokenRefused

_log = log.get(__name__)

LOOK_UP_SECONDS = 5
_AT_ONCE = 100

TIMED_LINKS_SINCE = "timed_letter_links_since"
"""Key of store.state.app_state: since when (real time, ISO 8601) the links of letters carry a time."""


@dataclass(frozen=True)
class LetterReader:
    """The reader that the link in a letter stands for, opened."""

    id: SubscriberId
    name: str
    email: str

    def __repr__(self) -> str:
        """Never the values."""
        return f"LetterReader({self.id})"

    @property
    def masked_name(self) -> str:
        """Their name as the page shows it: the letter may have been forwarded."""
        return mask_name(self.name)

    @property
    def masked_email(self) -> str:
        """Their address as the page shows it."""
        return mask_address(self.email)


def reader_of(rt: Runtime, token: str) -> LetterReader | None:
    """Whom the link in a letter stands for; None for one that is damaged or too old, or whose reader has been erased."""
    who = _who(rt, token)
    if who is None:
        return None
    with rt.database.read() as db:
        person = subscribers.get_unlocked(db, who)
    if person is None or person.state is SubscriberState.ERASED:
        return None
    name = rt.cipher.decrypt(person.first_name, subscribers.first_name_field(who)) if person.first_name else ""
    return LetterReader(who, name, rt.cipher.decrypt(person.email, subscribers.email_field(who)))


def _who(rt: Runtime, token: str) -> SubscriberId | None:
    real_now = rt.clock.real_now()
    try:
        delivery = DeliveryId(rt.tokens.read(Purpose.LETTER_CONSULTATION, token, real_now))
    except TokenRefused:
        return _who_of_old_link(rt, token, real_now)
    with rt.database.read() as db:
        return consultations.reader_of_mail(db, delivery)


def _who_of_old_link(rt: Runtime, token: str, real_now: datetime) -> SubscriberId | None:
    """Links in letters of versions before name only the reader. They are read for as long after the upgrade as new ones."""
    try:
        who = SubscriberId(rt.tokens.read(Purpose.CONSULTATION, token, real_now))
    except TokenRefused:
        return None
    with rt.database.read() as db:
        since = app_state.get(db, TIMED_LINKS_SINCE)
    return who if since is not None and real_now <= datetime.fromisoformat(since) + LETTER_LINK_LASTS else None


def ask_readers(rt: Runtime) -> int:
    """Look up whose address requests by the open form have, and ask those on the list, by a mail with one button, if it was
    them.

    Safe in many processes at once. Returns how many are asked.
    """
    with rt.database.read() as db:
        waiting = consultations.to_look_up(db, _AT_ONCE)
    asked = sum(_look_up(rt, row) for row in waiting)
    if asked:
        _log.info("consultation_questions_planned", count=asked)
    return asked


def _look_up(rt: Runtime, row: ConsultationRow) -> bool:
    with rt.database.begin() as db:
        person = subscribers.find(db, row.email_index) if row.email_index else None  # the person first, as erasing does
        found = consultations.get(db, row.id, lock=True)
        if found is None or found.looked_up is not None:
            return False
        consultations.set_looked_up(db, row.id, rt.clock.real_now())
        if person is None or row.email_index is None:
            return False
        now = rt.clock.now()
        suppressed = subscribers.suppression(db, row.email_index)
        if hindrance(DeliveryKind.CONSULTATION_QUESTION, person.state, suppressed, None) is not None:
            return False
        if not limits.count_all(rt, db, [(CONSULTATION_QUESTION, _mailbox(rt, person))], now):
            return False
        question = NewDelivery(DeliveryKind.CONSULTATION_QUESTION, now, person.id, row.email_index, consultation=row.id)
        plan_requested(db, question, row.created, now, rt.clock.real_now())
    return True


def _mailbox(rt: Runtime, person: Subscriber) -> str:
    email = rt.cipher.decrypt(person.email, subscribers.email_field(person.id))
    return limits.mailbox(parse_address(email, test_names=True))


@dataclass(frozen=True)
class ConsultationQuestion:
    """A request whose reader is asked if it was theirs; nothing in it is in clear."""

    received: datetime
    """On their own clock."""
    name: str
    telephone: str
    """Empty if they are not to be called."""


def question_of(rt: Runtime, token: str) -> ConsultationQuestion:
    """What the button of the mail is about. Raises TokenRefused."""
    consultation = ConsultationId(rt.tokens.read(Purpose.CONFIRM_CONSULTATION, token, rt.clock.real_now()))
    with rt.database.read() as db:
        row = consultations.get(db, consultation)
        person = subscribers.get_unlocked(db, row.listed) if row and row.listed else None
    if row is None or person is None:
        raise TokenRefused("This link is not valid any more.")
    details = goals.ConsultationRequest(**json.loads(rt.cipher.decrypt(row.details, goals.details_field(row.id))))
    telephone = mask_telephone(details.contact_detail) if details.contact_detail else ""
    return ConsultationQuestion(row.created.astimezone(ZoneInfo(person.time_zone)), mask_name(details.name), telephone)


def confirm(rt: Runtime, token: str) -> None:
    """A reader says that a request was theirs: their letters end, as by the link in one. Twice is fine, and ends nothing that
    has begun since. Raises TokenRefused.
    """
    consultation = ConsultationId(rt.tokens.read(Purpose.CONFIRM_CONSULTATION, token, rt.clock.real_now()))
    with rt.database.read() as db:
        row = consultations.get(db, consultation)
    with rt.database.begin() as db:
        person = subscribers.find(db, row.email_index) if row and row.email_index else None
        found = consultations.get(db, consultation, lock=True)
        if found is None or person is None:
            raise TokenRefused("This link is not valid any more.")
        if found.origin is RequestOrigin.MAIL:
            return
        consultations.set_confirmed(db, consultation, person.id)
        why = goals.BOOKED if found.state is RequestState.BOOKED else goals.CONSULTATION
        goals.end_letters(rt, db, person.id, why)
        mailbox = _mailbox(rt, person)
    with rt.database.begin() as db:  # by itself, as in services.subscribers.signup
        limits.forget(rt, db, CONSULTATION_QUESTION, mailbox)
    _log.info("consultation_confirmed", request=consultation)
