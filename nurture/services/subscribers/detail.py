"""One person: what they agreed to, everything sent to them as they read it, what comes next, notes and tags."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from nurture import log
from nurture.characters import normalize
from nurture.delivery.render import UNFIT, about_reader, own_mail, public_links
from nurture.domain.consultation import RequestOrigin
from nurture.domain.delivery import OPEN, DeliveryKind, State
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.errors import NurtureError
from nurture.ids import DeliveryId, EnrollmentId, SubscriberId, UserId, new_id
from nurture.letters.compiler import Edition
from nurture.letters.filling import fill
from nurture.runtime import Runtime
from nurture.services.addresses import InputRefused
from nurture.services.letters import images
from nurture.services.subscribers.listing import Catalogue, NamedLetter, Summary, decrypt, summaries
from nurture.store.sequences import sequences
from nurture.store.subscribers import listing, personal_data, subscribers
from nurture.store.subscribers.listing import EnrollmentRow
from nurture.store.subscribers.personal_data import Consent, SentMail

_log = log.get(__name__)

MOST_NOTE, MOST_NOTES = 4000, 200
MOST_TAG, MOST_TAGS = 40, 20
_MOST_TYPED = 400
"""Characters of a tag with the spaces around it."""

_LEFT_THE_HOUSE = (State.ACCEPTED, State.DELIVERED, State.BOUNCED, State.DROPPED, State.COMPLAINED)


class NoSuchSubscriber(NurtureError):
    """There is no such person, or they have been erased."""


@dataclass(frozen=True)
class SentLetter:
    """One mail to a person. `letter`: which of the sequence, if any; `readable`: whether it can be shown as they read it."""

    id: DeliveryId
    kind: DeliveryKind
    state: State
    letter: NamedLetter | None
    planned: datetime
    due: datetime
    accepted: datetime | None
    reason: str
    readable: bool


@dataclass(frozen=True)
class ShownNote:
    """What the therapist wrote down, opened."""

    id: str
    text: str
    at: datetime
    by: UserId | None
    """Who wrote it; their account may be gone."""

    def __repr__(self) -> str:
        """Never the text."""
        return f"Note({self.id})"


@dataclass(frozen=True)
class SubscriberDetail:
    """One person, opened, with all that is known of them."""

    summary: Summary
    consents: tuple[Consent, ...]
    sent: tuple[SentLetter, ...]
    """What was sent, or was to be, newest first."""
    to_come: tuple[NamedLetter, ...]
    """The letters they are still to get, the next one first."""
    notes: tuple[ShownNote, ...]
    requests: tuple[tuple[str, str, datetime, bool], ...]
    """Requests for a call: id, state, when, and whether it is sure that they were theirs."""
    suppressed: Suppression | None
    known_tags: tuple[str, ...]
    evidence: Mapping[str, Mapping[str, str]]
    """By line of the consent record: what the list of another program says of how they agreed (domain.list_status.Role)."""


def load(rt: Runtime, subscriber_id: SubscriberId) -> SubscriberDetail:
    """One person. Raises NoSuchSubscriber."""
    with rt.database.read() as db:
        rows = listing.some(db, [subscriber_id])
        stored = subscribers.get_unlocked(db, subscriber_id)
        if not rows or stored is None:
            raise NoSuchSubscriber("There is nobody here, or not any more.")
        catalogue = Catalogue(listing.letters(db))
        mails = personal_data.mails_of(db, subscriber_id)
        consents = personal_data.consents_of(db, subscriber_id)
        return SubscriberDetail(
            summaries(rt, db, rows, sources=True)[0],
            tuple(consents),
            tuple(_letter(mail, catalogue) for mail in mails if mail.state not in OPEN),
            tuple(_to_come(listing.courses(db, [subscriber_id]).get(subscriber_id), catalogue)),
            tuple(
                ShownNote(n.id, decrypt(rt, n.text, personal_data.note_field(n.id)), n.at, n.by)
                for n in personal_data.notes_of(db, subscriber_id)
            ),
            tuple(
                (each.id, each.state, each.at, each.origin is not RequestOrigin.FORM)
                for each in personal_data.requests_of(db, subscriber_id)
            ),
            subscribers.suppression(db, stored.email_index),
            tuple(listing.all_tags(db)),
            {each.id: evidence_of(rt, each) for each in consents if each.evidence is not None},
        )


def evidence_of(rt: Runtime, consent: Consent) -> dict[str, str]:
    """What the list of another program says of how somebody agreed, opened; empty where none is kept, or it does not open."""
    text = decrypt(rt, consent.evidence, subscribers.evidence_field(consent.id))
    try:
        found: dict[str, str] = json.loads(text)
    except ValueError:
        return {}
    return found


def enrollment_of(rt: Runtime, subscriber_id: SubscriberId) -> EnrollmentId:
    """Where their letters are: the sequence that says most of them. Raises NoSuchSubscriber if they are in none."""
    with rt.database.read() as db:
        course = listing.courses(db, [subscriber_id]).get(subscriber_id)
    if course is None:
        raise NoSuchSubscriber("They are in no sequence.")
    return course.enrollment


def _letter(mail: SentMail, catalogue: Catalogue) -> SentLetter:
    named = catalogue.find(mail.sequence, mail.step) if mail.sequence else None
    left = mail.state in _LEFT_THE_HOUSE
    readable = left and (mail.kind is not DeliveryKind.LETTER or mail.edition is not None)
    return SentLetter(mail.id, mail.kind, mail.state, named, mail.planned, mail.due, mail.accepted, mail.reason or "", readable)


def _to_come(course: EnrollmentRow | None, catalogue: Catalogue) -> list[NamedLetter]:
    """What is still to come for somebody in the middle of a sequence, paused or not; by the plain order of the letters."""
    if course is None or course.state not in sequences.RUNNING:
        return []
    letters = catalogue.letters(course.sequence)
    keys = [each.key for each in letters]
    if course.next_step in keys:
        return letters[keys.index(course.next_step) :]
    return letters[keys.index(course.last_step) + 1 :] if course.last_step in keys else letters


@dataclass(frozen=True)
class ShownMail:
    """A mail as its reader got it; `html` is finished."""

    subject: str
    html: str
    sent: datetime
    letter: NamedLetter | None
    kind: DeliveryKind

    def __repr__(self) -> str:
        """Never the text: it may greet its reader by name."""
        return "Shown(‹sealed›)"


def as_read(rt: Runtime, subscriber_id: SubscriberId, delivery: DeliveryId) -> ShownMail:
    """One mail in the very edition that went out. Its links lead to public pages, not to what only its reader may do.

    Raises NoSuchSubscriber where there is no such mail, or it never left.
    """
    with rt.database.read() as db:
        rows = listing.some(db, [subscriber_id])
        mail = personal_data.mail_of(db, subscriber_id, delivery)
        if not rows or mail is None or mail.state not in _LEFT_THE_HOUSE:
            raise NoSuchSubscriber("There is no such mail.")
        edition = _edition(db, mail)
        catalogue = Catalogue(listing.letters(db))
    base, row = rt.settings.base_url, rows[0]
    links = public_links(base) | {"unsubscribe": base, "confirm": base, "desk": base}
    try:
        reader = about_reader(
            rt, subscriber_id, None if mail.kind is DeliveryKind.CONFIRMATION else row.first_name, row.confirmed, row.time_zone
        )
        content = fill(edition, {**rt.template_globals, "reader": reader, "links": links})
    except UNFIT:
        raise NoSuchSubscriber("This mail can no longer be put together.") from None
    html = content.html.replace("<head>", '<head><base target="_blank">', 1)
    named = catalogue.find(mail.sequence, mail.step) if mail.sequence else None
    return ShownMail(content.subject, images.on_a_page(rt, html), mail.accepted or mail.due, named, mail.kind)


def _edition(db: Connection, mail: SentMail) -> Edition:
    if mail.kind is not DeliveryKind.LETTER:
        return own_mail(mail.kind)
    found = sequences.read_editions(db, [mail.edition] if mail.edition else [])
    if mail.edition not in found:
        raise NoSuchSubscriber("The edition of this letter is gone.")
    stored = found[mail.edition]
    return Edition(stored.subject, stored.html, stored.text)


def _living(db: Connection, subscriber_id: SubscriberId) -> None:
    person = subscribers.get(db, subscriber_id)
    if person is None or person.state is SubscriberState.ERASED:
        raise NoSuchSubscriber("There is nobody here, or not any more.")


def add_note(rt: Runtime, subscriber_id: SubscriberId, typed: str, by: UserId | None) -> None:
    """Write a note about a person. Raises InputRefused, NoSuchSubscriber."""
    text = typed.replace("\r\n", "\n").strip()
    if not text:
        raise InputRefused("Please write something first.")
    if len(text) > MOST_NOTE:
        raise InputRefused(f"Please use at most {MOST_NOTE:,} characters; this is {len(text):,}.")
    note = new_id()
    with rt.database.begin() as db:
        _living(db, subscriber_id)
        if personal_data.count_notes(db, subscriber_id) >= MOST_NOTES:
            raise InputRefused(f"There are {MOST_NOTES} notes already. Please delete some first.")
        personal_data.add_note(
            db, note, subscriber_id, rt.cipher.encrypt(text, personal_data.note_field(note)), by, rt.clock.real_now()
        )
    _log.info("note_added")


def delete_note(rt: Runtime, subscriber_id: SubscriberId, note: str) -> bool:
    """Delete a note for good; False if there is none."""
    with rt.database.begin() as db:
        gone = personal_data.delete_note(db, subscriber_id, note)
    if gone:
        _log.info("note_deleted")
    return gone


def parse_tag(typed: str) -> str:
    """A tag as it is kept: lower case, one space between words. Raises InputRefused."""
    tag = " ".join(normalize("NFC", typed[:_MOST_TYPED]).lower().split())
    if not tag:
        raise InputRefused("Please type a tag, for example: workshop in spring.")
    if len(tag) > MOST_TAG or len(typed) > _MOST_TYPED:
        raise InputRefused(f"Please use at most {MOST_TAG} characters.")
    if any(mark not in " -" and unicodedata.category(mark)[0] not in "LMN" for mark in tag):
        raise InputRefused("Please use only letters, digits, spaces and hyphens. A tag must name nobody, so no addresses.")
    return tag


def add_tag(rt: Runtime, subscriber_id: SubscriberId, tag: str) -> None:
    """Give a person a tag (`parse_tag`). Raises InputRefused if they have too many, NoSuchSubscriber."""
    with rt.database.begin() as db:
        _living(db, subscriber_id)
        if len(listing.tags_of(db, [subscriber_id]).get(subscriber_id, ())) >= MOST_TAGS:
            raise InputRefused(f"{MOST_TAGS} tags are the most. Please take one off first.")
        listing.add_tag(db, [subscriber_id], tag)
    _log.info("tags_changed", count=1)


def remove_tag(rt: Runtime, subscriber_id: SubscriberId, tag: str) -> None:
    """Take a tag off a person; fine if they do not have it."""
    with rt.database.begin() as db:
        listing.remove_tag(db, [subscriber_id], tag)
    _log.info("tags_changed", count=1)
