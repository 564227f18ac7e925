"""Everything stored about one person: their consents, their mail, what the therapist noted. Personal values stay sealed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select

from nurture.domain.consultation import RequestOrigin
from nurture.domain.delivery import DeliveryKind, State
from nurture.encryption import Encrypted, FieldRef
from nurture.ids import DeliveryId, EditionId, SequenceId, StepKey, SubscriberId, UserId
from nurture.store.core.desk_schema import notes
from nurture.store.core.schema import (
    consents,
    consultations,
    deliveries,
    delivery_history,
    enrollments,
    provider_events,
    sequences,
    subscribers,
)

C, D, N, E, V = consents.c, deliveries.c, notes.c, enrollments.c, provider_events.c


@dataclass(frozen=True)
class Consent:
    """One line of the record: what was shown, what was answered, when, from where."""

    act: str
    wording: str
    version: str
    source: str
    at: datetime
    id: str = ""
    evidence: Encrypted | None = None
    """What a list of another program says of when and from where they agreed; still sealed (`subscribers.evidence_place`)."""


_ORDER = ("given", "confirmed", "withdrawn", "restored")


def consents_of(db: Connection, subscriber_id: SubscriberId) -> list[Consent]:
    """The record of a person's consent, oldest first."""
    columns = (C.act, C.wording, C.wording_version, C.source, C.at, C.id, C.evidence_encrypted)
    found = [Consent(*row) for row in db.execute(select(*columns).where(C.subscriber_id == subscriber_id))]
    return sorted(found, key=lambda each: (each.at, _ORDER.index(each.act)))


@dataclass(frozen=True)
class SentMail:
    """One mail to a person, as the ledger has it."""

    id: DeliveryId
    kind: DeliveryKind
    state: State
    sequence: SequenceId | None
    step: StepKey | None
    edition: EditionId | None
    planned: datetime
    due: datetime
    accepted: datetime | None
    reason: str | None


_MAILED = (
    D.id, D.kind, D.state, E.sequence_id, D.step_key, D.edition_id, D.planned_at, D.due_at, D.accepted_at, D.reason,
)  # fmt: skip


def mails_of(db: Connection, subscriber_id: SubscriberId, limit: int = 500) -> list[SentMail]:
    """The mail of a person, newest promise first."""
    query = select(*_MAILED).outerjoin(enrollments, E.id == D.enrollment_id).where(D.subscriber_id == subscriber_id)
    return [SentMail(*tuple(row)) for row in db.execute(query.order_by(D.planned_at.desc(), D.id.desc()).limit(limit))]


def mail_of(db: Connection, subscriber_id: SubscriberId, delivery: DeliveryId) -> SentMail | None:
    """One mail of a person."""
    query = select(*_MAILED).outerjoin(enrollments, E.id == D.enrollment_id)
    row = db.execute(query.where(D.id == delivery, D.subscriber_id == subscriber_id)).first()
    return SentMail(*tuple(row)) if row else None


@dataclass(frozen=True)
class StoredNote:
    """What the therapist wrote down about a person; the text is still sealed."""

    id: str
    text: Encrypted
    at: datetime
    by: UserId | None
    """Their account may be gone."""


def note_field(note: str) -> FieldRef:
    """Where the text of a note is sealed."""
    return FieldRef("notes", "text", note)


def notes_of(db: Connection, subscriber_id: SubscriberId) -> list[StoredNote]:
    """The notes about a person, newest first."""
    query = select(N.id, N.text_encrypted, N.written_at, N.written_by).where(N.subscriber_id == subscriber_id)
    return [StoredNote(*row) for row in db.execute(query.order_by(N.written_at.desc(), N.id))]


def count_notes(db: Connection, subscriber_id: SubscriberId) -> int:
    """How many notes there are about a person."""
    return db.execute(select(func.count()).select_from(notes).where(N.subscriber_id == subscriber_id)).scalar_one()


def add_note(
    db: Connection, note: str, subscriber_id: SubscriberId, text: Encrypted, by: UserId | None, real_now: datetime
) -> None:
    """Write a note."""
    db.execute(
        insert(notes).values(id=note, subscriber_id=subscriber_id, text_encrypted=text, written_at=real_now, written_by=by)
    )


def delete_note(db: Connection, subscriber_id: SubscriberId, note: str) -> bool:
    """Delete a note; False if this person has none of that id."""
    return bool(db.execute(delete(notes).where(N.id == note, N.subscriber_id == subscriber_id)).rowcount)


@dataclass(frozen=True)
class StoredRequest:
    """A request for a call, as a person's page names it."""

    id: str
    state: str
    at: datetime
    details: Encrypted
    origin: RequestOrigin | None
    """FORM: somebody typed the person's address, and nobody has said so far that it was them."""


def requests_of(db: Connection, subscriber_id: SubscriberId) -> list[StoredRequest]:
    """The requests for a call of a person, or with their address, newest first."""
    q = consultations.c
    address = select(subscribers.c.email_index).where(subscribers.c.id == subscriber_id).scalar_subquery()
    theirs = or_(q.subscriber_id == subscriber_id, and_(q.subscriber_id.is_(None), q.email_index == address))
    query = select(q.id, q.state, q.created_at, q.details_encrypted, q.origin).where(theirs)
    return [StoredRequest(*row) for row in db.execute(query.order_by(q.created_at.desc(), q.id))]


def everything(db: Connection, subscriber_id: SubscriberId) -> Mapping[str, list[dict[str, Any]]]:
    """What the ledger and its reports hold about a person, for them to read: no column that only the machinery needs."""
    q, h = sequences.c, delivery_history.c
    theirs = select(D.id).where(D.subscriber_id == subscriber_id)
    queries = {
        "sequences": select(
            q.title.label("sequence"), E.state, E.reason, E.last_step.label("last_letter"), E.started_at, E.ended_at
        )
        .join(sequences, q.id == E.sequence_id)
        .where(E.subscriber_id == subscriber_id)
        .order_by(E.started_at),
        "mails": select(
            D.id, D.kind, D.step_key.label("letter"), D.state, D.planned_at, D.due_at, D.marked_at.label("sent_at"),
            D.accepted_at, D.reason, D.edition_id.label("edition"), D.provider_message.label("provider_number"),
        )
        .where(D.subscriber_id == subscriber_id)
        .order_by(D.planned_at),
        "mail_history": select(h.delivery_id.label("mail"), h.state, h.at, h.reason)
        .where(h.delivery_id.in_(theirs))
        .order_by(h.at, h.id),
        "reports": select(V.delivery_id.label("mail"), V.kind, V.at, V.detail)
        .where(V.delivery_id.in_(theirs))
        .order_by(V.at, V.id),
    }  # fmt: skip
    return {name: [dict(row._mapping) for row in db.execute(query)] for name, query in queries.items()}
