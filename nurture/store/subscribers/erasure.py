"""Forgetting a person: what names them goes, the rows of the ledger stay without anything that leads to them."""

import os
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, delete, or_, select, update

from nurture.domain.delivery import OPEN, TO_DESK, State
from nurture.encryption import Encrypted
from nurture.ids import ConsultationId, DeliveryId, SubscriberId, TestEmailId
from nurture.store.core.desk_schema import bulk_action_targets, csv_imports, notes, tags, test_emails
from nurture.store.core.schema import consents, consultations, deliveries, subscribers
from nurture.store.core.sign_up_schema import sign_ups
from nurture.store.deliveries import transitions
from nurture.store.deliveries.transitions import is_in

D = deliveries.c
CONCERNED = (
    subscribers,
    consents,
    consultations,
    deliveries,
    notes,
    tags,
    test_emails,
    bulk_action_targets,
    csv_imports,
    sign_ups,
)
"""Tables in which erasing somebody leaves rows that nobody sees any more."""


def forget(db: Connection, subscriber_id: SubscriberId, empty: Encrypted) -> None:
    """Take a person's values away; `empty` is encrypted in place of their address. Files of people to add go as a whole."""
    db.execute(
        update(subscribers)
        .where(subscribers.c.id == subscriber_id)
        .values(
            email_encrypted=empty, email_index=os.urandom(32), first_name_encrypted=None, time_zone="UTC", plain_sender=None
        )  # the hash among the suppressions must lead to no row
    )  # fmt: skip
    db.execute(update(deliveries).where(D.subscriber_id == subscriber_id).values(email_index=None, provider_message=None))
    db.execute(update(consents).where(consents.c.subscriber_id == subscriber_id).values(evidence_encrypted=None))
    db.execute(delete(notes).where(notes.c.subscriber_id == subscriber_id))
    db.execute(delete(tags).where(tags.c.subscriber_id == subscriber_id))
    db.execute(delete(bulk_action_targets).where(bulk_action_targets.c.target_id == subscriber_id))
    db.execute(delete(csv_imports))


def cancel_mails(db: Connection, mails: Collection[DeliveryId], real_now: datetime) -> None:
    """Stop those of these mails that have not been handed to a mailer."""
    if mails:
        mine = (D.id.in_(mails), is_in(*OPEN))
        transitions.apply(db, State.CANCELLED, "desk", real_now, "erased", *mine, lease_until=None, batch_id=None)


def mails_to_desk_about(
    db: Connection, requests: Collection[ConsultationId], emails: Collection[TestEmailId]
) -> list[DeliveryId]:
    """The mails that tell the practice of requests for a call, and these test emails."""
    about = or_(D.consultation_id.in_(requests), D.test_email_id.in_(emails))
    return list(db.scalars(select(D.id).where(D.kind.in_(TO_DESK), about)))
