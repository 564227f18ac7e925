"""Passkeys of accounts, and what browsers were asked to sign with one."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from nurture.domain.passkey import PasskeyUse
from nurture.encryption import Encrypted, FieldRef
from nurture.ids import UserId
from nurture.store.core.desk_schema import passkey_challenges, passkeys
from nurture.store.core.insert import insert_into

P, C = passkeys.c, passkey_challenges.c


@dataclass(frozen=True)
class Passkey:
    """A passkey as stored; its name is still sealed. `used`: when it was last used (UTC)."""

    id: str
    user: UserId
    credential: bytes
    public_key: bytes
    sign_count: int
    backed_up: bool
    name: Encrypted
    added: datetime
    used: datetime | None = None


_COLUMNS = (
    P.id, P.user_id, P.credential, P.public_key, P.sign_count, P.backed_up, P.name_encrypted, P.added_at, P.used_at,
)  # fmt: skip


def name_field(passkey: str) -> FieldRef:
    """Where the name of a passkey is sealed."""
    return FieldRef("passkeys", "name", passkey)


def add(db: Connection, new: Passkey) -> None:
    """Write a new one."""
    db.execute(
        insert(passkeys).values(
            id=new.id, user_id=new.user, credential=new.credential, public_key=new.public_key, sign_count=new.sign_count,
            backed_up=new.backed_up, name_encrypted=new.name, added_at=new.added,
        )
    )  # fmt: skip


def of_account(db: Connection, user_id: UserId) -> list[Passkey]:
    """The passkeys of an account, oldest first."""
    return [Passkey(*row) for row in db.execute(select(*_COLUMNS).where(P.user_id == user_id).order_by(P.added_at, P.id))]


def by_credential(db: Connection, credential: bytes) -> Passkey | None:
    """The passkey that a browser names."""
    row = db.execute(select(*_COLUMNS).where(P.credential == credential)).first()
    return Passkey(*row) if row else None


def note_use(db: Connection, passkey: str, sign_count: int, backed_up: bool, real_now: datetime) -> bool:
    """Note that a passkey was used. False, and nothing noted, if it does not count on from its last use: two devices have the
    same key then. One that never counts says 0 each time.
    """
    counts_on = or_(P.sign_count < sign_count, (P.sign_count == 0) & (sign_count == 0))
    used = update(passkeys).where(P.id == passkey, counts_on)
    return bool(db.execute(used.values(sign_count=sign_count, backed_up=backed_up, used_at=real_now)).rowcount)


def rename(db: Connection, user_id: UserId, passkey: str, name: Encrypted) -> bool:
    """Call a passkey of an account something else; False if it has no such passkey."""
    return bool(db.execute(update(passkeys).where(P.id == passkey, P.user_id == user_id).values(name_encrypted=name)).rowcount)


def remove(db: Connection, user_id: UserId, passkey: str) -> bool:
    """Delete a passkey of an account; False if it has no such passkey."""
    return bool(db.execute(delete(passkeys).where(P.id == passkey, P.user_id == user_id)).rowcount)


def remove_all(db: Connection, user_id: UserId) -> None:
    """Delete every passkey of an account."""
    db.execute(delete(passkeys).where(P.user_id == user_id))


def count(db: Connection, user_id: UserId) -> int:
    """How many passkeys an account has."""
    return db.execute(select(func.count()).select_from(passkeys).where(P.user_id == user_id)).scalar_one()


def put_challenge(db: Connection, holder: str, use: PasskeyUse, challenge: bytes, real_now: datetime) -> None:
    """Note what a holder was asked to sign; what they were asked before is void."""
    new = {"use": use, "challenge": challenge, "made_at": real_now}
    written = insert_into(passkey_challenges, db.dialect.name).values(holder=holder, **new)
    db.execute(written.on_conflict_do_update(index_elements=[C.holder], set_=new))


def take_challenge(db: Connection, holder: str, use: PasskeyUse, since: datetime) -> bytes | None:
    """What a holder was asked to sign for this use since then (UTC). Whatever they were asked is used up."""
    row = db.execute(
        delete(passkey_challenges).where(C.holder == holder).returning(C.use, C.challenge, C.made_at)
    ).first()  # fmt: skip
    return bytes(row[1]) if row and row[0] == use and row[2] > since else None


def forget_challenges(db: Connection, before: datetime) -> None:
    """Delete challenges that were made before then, and answered by nobody."""
    db.execute(delete(passkey_challenges).where(C.made_at <= before))
