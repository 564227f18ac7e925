"""Forgetting a person: what names them goes, the rows of the ledger stay without anything that leads to them."""

import os
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from nurture.domain.delivery import OPEN, DeliveryKind, State
from nurture.encryption import Encrypted
from nurture.ids import ConsultationId, DeliveryId, SubscriberId
from nurture.store.core.desk_schema import act_people, imports, notes, tags, trials
from nurture.store.core.schema import consents, consultations, deliveries, subscribers
from nurture.store.core.sign_up_schema import sign_ups
from nurture.store.deliveries import transitions
from nurture.store.deliveries.transitions import is_in

D = deliveries.c
CONCERNED = (subscribers, consents, consultations, deliveries, notes, tags, trials, act_people, imports, sign_ups)
"""Tables in which erasing somebody leaves rows that nobody sees any more."""


def forget(db: Connection, subscriber_id: SubscriberId, empty: Encrypted) -> None:
    """Take a person's values away; `empty` is sealed in place of their address. Files of people to add go as a whole."""
    db.execute(
        update(subscribers)
        .where(subscribers.c.id == subscriber_id)
        .values(
            email_sealed=empty, email_bidx=os.urandom(32), first_name_sealed=None, time_zone="UTC", plain_sender=None
        )  # the hash among the suppressions must lead to no row
    )  # fmt: skip
    db.execute(update(deliveries).where(D.subscriber_id == subscriber_id).values(email_bidx=None, provider_message=None))
    db.execute(update(consents).where(consents.c.subscriber_id == subscriber_id).values(evidence_sealed=None))
    db.execute(delete(notes).where(notes.c.subscriber_id == subscriber_id))
    db.execute(delete(tags).where(tags.c.subscriber_id == subscriber_id))
    db.execute(delete(act_people).where(act_people.c.target_id == subscriber_id))
    db.execute(delete(imports))


def cancel_notices(db: Connection, about: Collection[ConsultationId], real_now: datetime) -> None:
    """Stop notices about requests that are gone."""
    if about:
        mine = (D.kind == DeliveryKind.NOTICE, D.about_id.in_(about), is_in(*OPEN))
        transitions.apply(db, State.CANCELLED, "desk", real_now, "erased", *mine, lease_until=None, batch_id=None)


def mails_about(db: Connection, about: Collection[ConsultationId]) -> list[DeliveryId]:
    """The mails that told somebody at the desk about these."""
    return list(db.scalars(select(D.id).where(D.about_id.in_(about)))) if about else []
