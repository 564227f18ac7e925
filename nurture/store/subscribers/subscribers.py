"""People, their consents and suppressions. A person is found by the blind index of their address, never by the address."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, Select, bindparam, delete, func, insert, select, update

from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.encryption import Encrypted, FieldRef
from nurture.ids import ConsentId, SubscriberId, new_id
from nurture.store.core.insert import insert_into
from nurture.store.core.schema import consents, subscribers, suppressions
from nurture.store.subscribers import departures
from nurture.store.subscribers.departures import DepartureKind

S = subscribers.c


@dataclass(frozen=True)
class Subscriber:
    """A subscriber as stored; personal values are still sealed."""

    id: SubscriberId
    email_index: bytes
    email: Encrypted
    first_name: Encrypted | None
    time_zone: str
    state: SubscriberState
    confirmed: datetime | None = None
    plain_sender: bool | None = None
    """Whether they chose the plainer sender's name."""


def email_field(who: str) -> FieldRef:
    """Where the address of `who` is sealed."""
    return FieldRef("subscribers", "email", who)


def first_name_field(who: str) -> FieldRef:
    """Where the first name of `who` is sealed."""
    return FieldRef("subscribers", "first_name", who)


@cache
def _add(dialect: str) -> Executable:
    return insert_into(subscribers, dialect).on_conflict_do_nothing(index_elements=[S.email_index]).returning(S.id)


def add(db: Connection, person: Subscriber, now: datetime) -> bool:
    """Write a new person; False, and nothing written, if their address is known."""
    values = {
        "id": person.id, "email_index": person.email_index, "email_encrypted": person.email,
        "first_name_encrypted": person.first_name, "time_zone": person.time_zone, "state": person.state,
        "created_at": now, "plain_sender": person.plain_sender,
    }  # fmt: skip
    return db.execute(_add(db.dialect.name), values).first() is not None


_PERSON = select(
    S.id, S.email_index, S.email_encrypted, S.first_name_encrypted, S.time_zone, S.state, S.confirmed_at, S.plain_sender
)  # fmt: skip
_BY_ID, _BY_ADDRESS = _PERSON.where(S.id == bindparam("of")), _PERSON.where(S.email_index == bindparam("of"))
_LOCK_BY_ID, _LOCK_BY_ADDRESS = (query.with_for_update(key_share=True) for query in (_BY_ID, _BY_ADDRESS))
"""With `key_share`: others may still add rows that refer to this person."""


def _one(db: Connection, query: Select[Any], of: bytes | str) -> Subscriber | None:
    row = db.execute(query, {"of": of}).first()
    return Subscriber(*row) if row else None


def find(db: Connection, email_index: bytes) -> Subscriber | None:
    """The person with that address, locked until the transaction ends."""
    return _one(db, _LOCK_BY_ADDRESS, email_index)


def get(db: Connection, subscriber_id: SubscriberId) -> Subscriber | None:
    """A person by id, locked until the transaction ends."""
    return _one(db, _LOCK_BY_ID, subscriber_id)


def get_unlocked(db: Connection, subscriber_id: SubscriberId) -> Subscriber | None:
    """A person by id, for reading."""
    return _one(db, _BY_ID, subscriber_id)


@dataclass(frozen=True)
class Mailable:
    """What a letter may say of a person who may still get one."""

    id: SubscriberId
    first_name: Encrypted | None
    time_zone: str
    confirmed: datetime | None


_LIVING = S.state.in_([SubscriberState.PENDING, SubscriberState.ACTIVE, SubscriberState.PAUSED])


def count_mailable(db: Connection) -> int:
    """How many people may still get letters: on the list, paused, or about to confirm."""
    return db.execute(select(func.count()).select_from(subscribers).where(_LIVING)).scalar_one()


def mailable(db: Connection, after: SubscriberId | None, limit: int) -> list[Mailable]:
    """The next of them, in the order of their ids."""
    query = select(S.id, S.first_name_encrypted, S.time_zone, S.confirmed_at).where(_LIVING).order_by(S.id).limit(limit)
    return [Mailable(*row) for row in db.execute(query if after is None else query.where(S.id > after))]


def ask_again(db: Connection, subscriber_id: SubscriberId, plain_sender: bool, now: datetime) -> None:
    """Somebody has signed up with the address of a person who is not on the list: back to pending. What was typed stays with
    the sign-up until it is confirmed; only the wish for the plainer sender's name is heeded in the mail that asks.
    """
    plainer = {"plain_sender": True} if plain_sender else {}
    values = {"state": SubscriberState.PENDING, "created_at": now, **plainer}
    db.execute(update(subscribers).where(S.id == subscriber_id).values(values))


def take_values(
    db: Connection, subscriber_id: SubscriberId, first_name: Encrypted | None, time_zone: str, plain_sender: bool
) -> None:
    """Give a person what they typed into the form."""
    values = {"first_name_encrypted": first_name, "time_zone": time_zone, "plain_sender": plain_sender or None}
    db.execute(update(subscribers).where(S.id == subscriber_id).values(values))


def set_state(
    db: Connection,
    subscriber_id: SubscriberId,
    state: SubscriberState,
    confirmed: datetime | None = None,
    left: datetime | None = None,
) -> None:
    """Move a person to `state`; `confirmed` and `left` note when (UTC)."""
    when = {name: at for name, at in (("confirmed_at", confirmed), ("left_at", left)) if at is not None}
    db.execute(update(subscribers).where(S.id == subscriber_id).values(state=state, **when))


def evidence_field(consent: str) -> FieldRef:
    """Where the evidence of one line of the consent record is sealed."""
    return FieldRef("consents", "evidence", consent)


_RECORD_CONSENT = insert(consents)


def record_consent(
    db: Connection, subscriber_id: SubscriberId, act: str, wording: str, wording_version: str, source: str, at: datetime,
    consent: str = "", evidence: Encrypted | None = None,
) -> None:  # fmt: skip
    """Append to the consent record. `act`: given, confirmed, withdrawn or restored.

    `consent`: the id of the new line, needed with `evidence`, which is sealed for it (`evidence_place`).
    """
    values = {
        "id": consent or new_id(), "subscriber_id": subscriber_id, "act": act, "wording": wording,
        "wording_version": wording_version, "source": source, "at": at, "evidence_encrypted": evidence,
    }  # fmt: skip
    db.execute(_RECORD_CONSENT, values)


def agreed_to(db: Connection, subscriber_id: SubscriberId) -> tuple[str, str]:
    """The wording, and its version, of the last yes a person gave; empty if none is on record."""
    said = select(consents.c.wording, consents.c.wording_version).where(
        consents.c.subscriber_id == subscriber_id, consents.c.act == "given"
    )
    row = db.execute(said.order_by(consents.c.at.desc(), consents.c.id.desc()).limit(1)).first()
    return (row[0], row[1]) if row else ("", "")


def last_yes(db: Connection, subscriber_id: SubscriberId) -> datetime | None:
    """When a person last asked for letters: signed up, confirmed, or took back an unsubscribe (timeline)."""
    said = consents.c.act.in_(("given", "confirmed", "restored"))
    found: datetime | None = db.scalar(select(func.max(consents.c.at)).where(consents.c.subscriber_id == subscriber_id, said))
    return found


def left_at(db: Connection, subscriber_id: SubscriberId) -> datetime | None:
    """When a person last left (timeline)."""
    found: datetime | None = db.scalar(select(S.left_at).where(S.id == subscriber_id))
    return found


def withdrawal_at(db: Connection, subscriber_id: SubscriberId, at: datetime) -> ConsentId | None:
    """The line of the consent record by which a person left at `at` by their own act."""
    theirs = (consents.c.subscriber_id == subscriber_id, consents.c.act == "withdrawn", consents.c.at == at)
    return db.scalar(select(consents.c.id).where(*theirs).limit(1))


def withdrawal(db: Connection, consent: ConsentId) -> tuple[SubscriberId, datetime] | None:
    """Who left by that line of the consent record, and when (timeline)."""
    mine = (consents.c.id == consent, consents.c.act == "withdrawn")
    row = db.execute(select(consents.c.subscriber_id, consents.c.at).where(*mine)).first()
    return (row[0], row[1]) if row else None


def suppress(db: Connection, email_index: bytes, reason: Suppression, at: datetime) -> None:
    """Never mail this address again, for `reason`. An earlier bounce or complaint is kept: it weighs more. The journal of
    departures learns of it when the transaction has committed.
    """
    written = insert_into(suppressions, db.dialect.name).values(email_index=email_index, reason=reason, at=at)
    news: dict[str, Any] = {"index_elements": ["email_index"], "set_": {"reason": reason, "at": at}}
    if reason is Suppression.UNSUBSCRIBED:
        changed = db.execute(written.on_conflict_do_nothing())
    elif reason is Suppression.ERASED:
        taken_back_alike = suppressions.c.reason == Suppression.UNSUBSCRIBED
        changed = db.execute(written.on_conflict_do_update(**news, where=taken_back_alike))
    else:
        changed = db.execute(written.on_conflict_do_update(**news))
    if changed.rowcount or reason is Suppression.ERASED:  # an erasure is news whatever was known of the address
        departures.note(db, departures.kind_of(reason), email_index, at)


_SUPPRESSION = select(suppressions.c.reason).where(suppressions.c.email_index == bindparam("of"))


def suppression(db: Connection, email_index: bytes) -> Suppression | None:
    """Why an address must not be mailed; None if it may."""
    return db.scalar(_SUPPRESSION, {"of": email_index})


def lift_suppression(db: Connection, email_index: bytes, at: datetime) -> bool:
    """A reader came back at `at` (timeline) by their own act: lift an unsubscribe or an erasure, never a bounce or a complaint.
    Returns whether there was one. The journal of departures learns of it when the transaction has committed.
    """
    liftable = (Suppression.UNSUBSCRIBED, Suppression.ERASED)
    theirs = (suppressions.c.email_index == email_index, suppressions.c.reason.in_(liftable))
    lifted = bool(db.execute(delete(suppressions).where(*theirs)).rowcount)
    if lifted:
        departures.note(db, DepartureKind.RETURNED, email_index, at)
    return lifted


def suppressed(db: Connection) -> dict[bytes, tuple[Suppression, datetime]]:
    """Every address that must not be mailed: why, and since when (timeline)."""
    rows = db.execute(select(suppressions.c.email_index, suppressions.c.reason, suppressions.c.at))
    return {bytes(row[0]): (row[1], row[2]) for row in rows}


def last_return(db: Connection, email_index: bytes) -> datetime | None:
    """When the reader with that address last came onto the list by their own act: confirmed, or took an unsubscribe back."""
    acts = (consents.c.subscriber_id == S.id, consents.c.act.in_(("confirmed", "restored")))
    found: datetime | None = db.scalar(select(func.max(consents.c.at)).where(S.email_index == email_index, *acts))
    return found


def is_on_file(db: Connection, email_index: bytes) -> bool:
    """Whether there is a person with that address. An erased one has none any more."""
    return db.execute(select(S.id).where(S.email_index == email_index, S.state != SubscriberState.ERASED)).first() is not None


def half_erased(db: Connection) -> list[SubscriberId]:
    """People whose erasure was replayed from the journal and whose values are still here: their row is marked, and is still
    found by their address.
    """
    still = suppressions.c.email_index == S.email_index
    return [row[0] for row in db.execute(select(S.id).where(S.state == SubscriberState.ERASED, still))]


def delete_unconfirmed(db: Connection, before: datetime) -> int:
    """Delete sign-ups made before `before` (UTC) that nobody confirmed, with all that hangs on them.

    One who was on the list earlier and left goes back to having left: the record of their consent is kept.
    """
    stale = (S.state == SubscriberState.PENDING, S.created_at < before)
    db.execute(update(subscribers).where(*stale, S.confirmed_at.is_not(None)).values(state=SubscriberState.UNSUBSCRIBED))
    return db.execute(delete(subscribers).where(*stale)).rowcount
