"""What was typed into the sign-up form, until it is decided on, and until the confirmation that it led to is answered."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, or_, select, update

from nurture.domain.delivery import DeliveryKind
from nurture.domain.limits import Suspicion
from nurture.encryption import Encrypted, FieldRef
from nurture.ids import SignUpId, SubscriberId
from nurture.store.core.schema import deliveries, sign_ups

U, D = sign_ups.c, deliveries.c


@dataclass(frozen=True)
class StoredSignUp:
    """One sign-up; personal values are still sealed."""

    id: SignUpId
    email_index: bytes
    email: Encrypted
    first_name: Encrypted | None
    time_zone: str
    plain_sender: bool
    wording: str
    wording_version: str
    source: str
    suspicion: Suspicion
    at: datetime


_STORED = (
    U.id, U.email_index, U.email_encrypted, U.first_name_encrypted, U.time_zone, U.plain_sender, U.wording, U.wording_version,
    U.source, U.suspicion, U.at,
)  # fmt: skip


def email_field(sign_up: str) -> FieldRef:
    """Where the address of a sign-up is sealed."""
    return FieldRef("sign_ups", "email", sign_up)


def first_name_field(sign_up: str) -> FieldRef:
    """Where the first name of a sign-up is sealed."""
    return FieldRef("sign_ups", "first_name", sign_up)


_ADD = insert(sign_ups)


def add(db: Connection, new: StoredSignUp) -> None:
    """Store a sign-up, to be decided on."""
    values = {
        "id": new.id, "email_index": new.email_index, "email_encrypted": new.email, "first_name_encrypted": new.first_name,
        "time_zone": new.time_zone, "plain_sender": new.plain_sender, "wording": new.wording,
        "wording_version": new.wording_version, "source": new.source, "suspicion": new.suspicion, "at": new.at,
    }  # fmt: skip
    db.execute(_ADD, values)


_WAITS = select(U.id).where(U.asked_at.is_(None)).limit(1)


def has_waiting(db: Connection) -> bool:
    """Whether any is still to be decided on."""
    return db.execute(_WAITS).first() is not None


def count_waiting(db: Connection) -> int:
    """How many are still to be decided on."""
    return db.execute(select(func.count()).select_from(sign_ups).where(U.asked_at.is_(None))).scalar_one()


_TAKE_WAITING = select(*_STORED).where(U.asked_at.is_(None)).order_by(U.at, U.id).limit(1).with_for_update(skip_locked=True)


def take_waiting(db: Connection) -> StoredSignUp | None:
    """The oldest that is to be decided on and that no other process is at; locked until the transaction ends."""
    row = db.execute(_TAKE_WAITING).first()
    return StoredSignUp(*row) if row else None


_NOTE_ASKED = update(sign_ups).where(U.id == bindparam("of")).values(asked_at=bindparam("now"))


def note_asked(db: Connection, sign_up: SignUpId, at: datetime) -> None:
    """Note that a confirmation was planned for it."""
    db.execute(_NOTE_ASKED, {"of": sign_up, "now": at})


def note_confirmed(db: Connection, sign_up: SignUpId, at: datetime) -> None:
    """Note that its confirmation was answered."""
    db.execute(update(sign_ups).where(U.id == sign_up).values(confirmed_at=at))


def get(db: Connection, sign_up: SignUpId) -> StoredSignUp | None:
    """A sign-up by its id."""
    row = db.execute(select(*_STORED).where(U.id == sign_up)).first()
    return StoredSignUp(*row) if row else None


def reader_of(db: Connection, sign_up: SignUpId) -> SubscriberId | None:
    """To whom the confirmation of that id goes."""
    found = db.scalar(select(D.subscriber_id).where(D.id == sign_up, D.kind == DeliveryKind.CONFIRMATION))
    return SubscriberId(found) if found else None


def count_answers(db: Connection, since: datetime, until: datetime) -> tuple[int, int]:
    """Of the confirmations planned after `since` and up to `until`: how many, and how many were answered."""
    query = select(func.count(), func.count(U.confirmed_at)).where(U.asked_at > since, U.asked_at <= until)
    row = db.execute(query).one()
    return row[0], row[1]


def of_address(db: Connection, email_index: bytes) -> list[StoredSignUp]:
    """Everything that was typed with one address, oldest first."""
    return [StoredSignUp(*row) for row in db.execute(select(*_STORED).where(U.email_index == email_index).order_by(U.at, U.id))]


_REMOVE = delete(sign_ups).where(U.id == bindparam("of"))


def remove(db: Connection, sign_up: SignUpId) -> None:
    """Delete one."""
    db.execute(_REMOVE, {"of": sign_up})


def remove_waiting(db: Connection) -> int:
    """Delete all that are still to be decided on; returns how many."""
    return _delete(db, U.asked_at.is_(None))


def erase(db: Connection, email_index: bytes) -> None:
    """Delete what was typed with an address that is being erased."""
    _delete(db, U.email_index == email_index)


def forget(db: Connection, before: datetime) -> None:
    """Delete what is older than a confirmation link works."""
    _delete(db, or_(U.asked_at < before, U.asked_at.is_(None) & (U.at < before)))


def _delete(db: Connection, which: ColumnElement[bool]) -> int:
    return db.execute(delete(sign_ups).where(which)).rowcount
