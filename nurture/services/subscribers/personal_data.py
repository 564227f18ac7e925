"""What the law calls access and erasure: everything stored about one person as one document, and forgetting it."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError

from nurture import log
from nurture.delivery.suppress import suppress
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.encryption import DecryptionFailed
from nurture.ids import DeliveryId, SubscriberId
from nurture.mailers.outbox import Outbox
from nurture.runtime import Runtime
from nurture.services.addresses import InputRefused, parse_address
from nurture.services.subscribers import consultations as goals
from nurture.services.subscribers.detail import NoSuchSubscriber, evidence_of
from nurture.services.subscribers.listing import decrypt
from nurture.store.core.database import describe_failure
from nurture.store.deliveries import ledger
from nurture.store.letters import drafts
from nurture.store.subscribers import consultations, erasure, listing, personal_data, sign_ups, subscribers, suppression_pushes
from nurture.store.subscribers.sign_ups import StoredSignUp

_log = log.get(__name__)


def export(rt: Runtime, subscriber_id: SubscriberId) -> dict[str, Any]:
    """Everything stored about a person, opened, by plain names. Raises NoSuchSubscriber."""
    with rt.database.read() as db:
        rows, person = listing.some(db, [subscriber_id]), subscribers.get_unlocked(db, subscriber_id)
        if not rows or person is None or person.state is SubscriberState.ERASED:
            raise NoSuchSubscriber("There is nobody here, or not any more.")
        row = rows[0]
        return {
            "about": "Everything stored about one person. Times are UTC.",
            "person": {
                "id": row.id,
                "address": decrypt(rt, row.email, subscribers.email_field(subscriber_id)),
                "first_name": decrypt(rt, row.first_name, subscribers.first_name_field(subscriber_id)),
                "time_zone": row.time_zone,
                "state": row.state,
                "signed_up": row.joined,
                "confirmed": row.confirmed,
                "left": row.left,
                "chose_the_plainer_sender": bool(row.plain_sender),
                "must_not_be_written_to": subscribers.suppression(db, person.email_index),
            },
            "typed_at_sign_up": [_typed(rt, each) for each in sign_ups.of_address(db, person.email_index)],
            "consents": [
                asdict(each) | {"evidence": evidence_of(rt, each)} for each in personal_data.consents_of(db, subscriber_id)
            ],
            **personal_data.everything(db, subscriber_id),
            "requests_for_a_call": [
                {
                    "id": each.id,
                    "state": each.state,
                    "at": each.at,
                    "came_by": each.origin,
                    "details": _details(rt, each.id, each.details),
                }
                for each in personal_data.requests_of(db, subscriber_id)
            ],
            "notes": [
                {"at": note.at, "text": decrypt(rt, note.text, personal_data.note_field(note.id))}
                for note in personal_data.notes_of(db, subscriber_id)
            ],
            "tags": listing.tags_of(db, [subscriber_id]).get(subscriber_id, []),
        }


def _typed(rt: Runtime, typed: StoredSignUp) -> dict[str, Any]:
    return {
        "at": typed.at,
        "address": decrypt(rt, typed.email, sign_ups.email_field(typed.id)),
        "first_name": decrypt(rt, typed.first_name, sign_ups.first_name_field(typed.id)),
        "time_zone": typed.time_zone,
        "wording_version": typed.wording_version,
    }


def _details(rt: Runtime, request: str, sealed: Any) -> Any:
    text = decrypt(rt, sealed, goals.details_field(request))
    try:
        return json.loads(text)
    except ValueError:
        return text


def erase(rt: Runtime, subscriber_id: SubscriberId) -> bool:
    """Forget a person: their values, notes, tags and requests for a call. Returns whether something may still be on its way.

    The hash of their address stays among the suppressions, so that nobody writes to them by mistake, and the ledger's rows
    stay without anything that leads to a person. After this commit nothing of theirs passes the ledger's `mark`: what was
    claimed is cancelled, and what is in doubt can no longer be sent again. Raises NoSuchSubscriber.
    """
    with rt.database.begin() as db:
        person = subscribers.get(db, subscriber_id)
        if person is None or person.state is SubscriberState.ERASED:
            raise NoSuchSubscriber("There is nobody here, or not any more.")
        suppress(rt, db, person, Suppression.ERASED)
        subscribers.set_state(db, subscriber_id, SubscriberState.ERASED, left=rt.clock.now())
        arriving = ledger.may_still_arrive(db, subscriber_id)
        mails = _forget(rt, db, subscriber_id, person.email_index)
    if isinstance(rt.mailer, Outbox):
        rt.mailer.forget(mails)
    scrub(rt)
    _log.info("subscriber_erased")
    return arriving


def scrub(rt: Runtime) -> None:
    """Make the database let go of what was deleted or changed: it keeps old values in its log and its pages for a while."""
    try:
        is_done = rt.database.scrub(erasure.CONCERNED)
    except DatabaseError as error:
        _log.warning("scrub_failed", error=describe_failure(error))
        return
    if not is_done:
        _log.warning("scrub_postponed")


def _forget(rt: Runtime, db: Connection, subscriber_id: SubscriberId, email_index: bytes) -> list[DeliveryId]:
    """Take away what names a person. Returns the mails they got."""
    sign_ups.erase(db, email_index)
    suppression_pushes.forget(db, subscriber_id)  # the provider is told nothing more about them
    theirs = [row.id for row in consultations.unassigned(db) if _is_of(rt, row, email_index)]
    requests = [*consultations.of_subscriber(db, subscriber_id), *theirs]
    emails = drafts.test_emails_imitating(db, subscriber_id)
    about_them = erasure.mails_to_desk_about(db, requests, emails)
    erasure.cancel_mails(db, about_them, rt.clock.real_now())
    consultations.remove(db, requests)
    drafts.remove_test_emails(db, emails)
    mails = [mail.id for mail in personal_data.mails_of(db, subscriber_id, limit=100_000)] + about_them
    erasure.forget(db, subscriber_id, rt.cipher.encrypt("", subscribers.email_field(subscriber_id)))
    return mails


def finish(rt: Runtime, db: Connection) -> int:
    """Take away the values of people whose erasure a restored database learned of from the journal of departures
    (delivery.departures). Returns how many.
    """
    unfinished = subscribers.half_erased(db)
    for who in unfinished:
        person = subscribers.get(db, who)
        if person is not None:
            mails = _forget(rt, db, who, person.email_index)
            if isinstance(rt.mailer, Outbox):
                rt.mailer.forget(mails)
    return len(unfinished)


def _is_of(rt: Runtime, row: consultations.ConsultationRow, email_index: bytes) -> bool:
    """Whether a request that nobody on the list made was theirs: made before they signed up, from the same address."""
    try:
        details = json.loads(rt.cipher.decrypt(row.details, goals.details_field(row.id)))
        address = parse_address(str(details["email"]), test_names=True)
    except (DecryptionFailed, ValueError, KeyError, InputRefused):
        return False
    return rt.cipher.blind_index(address.canonical) == email_index
