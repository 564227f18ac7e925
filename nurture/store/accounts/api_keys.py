"""Keys with which programs prove who they are."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from nurture.domain.user import Scope
from nurture.ids import KeyId, UserId
from nurture.store.core.desk_schema import api_keys

K = api_keys.c


@dataclass(frozen=True)
class Key:
    """A key, without its secret."""

    id: KeyId
    label: str
    prefix: str
    """How its secret begins."""
    scope: Scope
    made: datetime
    by: UserId
    used: datetime | None = None
    """When it was last used, to some minutes."""
    revoked: datetime | None = None


_COLUMNS = (K.id, K.label, K.prefix, K.scope, K.made_at, K.made_by, K.last_used_at, K.revoked_at)


def add(db: Connection, key: Key, secret_hash: bytes) -> None:
    """Keep a new key."""
    values = {"id": key.id, "label": key.label, "prefix": key.prefix, "scope": key.scope, "made_at": key.made}
    db.execute(insert(api_keys).values(values | {"made_by": key.by, "secret_hash": secret_hash}))


def everything(db: Connection) -> list[Key]:
    """All keys, revoked ones too, newest first."""
    return [Key(*row) for row in db.execute(select(*_COLUMNS).order_by(K.made_at.desc(), K.id.desc()))]


def living(db: Connection, secret_hash: bytes) -> Key | None:
    """The key with this hash, if nobody has taken it back."""
    row = db.execute(select(*_COLUMNS).where(K.secret_hash == secret_hash, K.revoked_at.is_(None))).first()
    return Key(*row) if row else None


def touch(db: Connection, key: KeyId, real_now: datetime) -> None:
    """Note that a key was used."""
    db.execute(update(api_keys).where(K.id == key).values(last_used_at=real_now))


def revoke(db: Connection, key: KeyId, real_now: datetime) -> bool:
    """Take a key back; False if there is no such living one."""
    return bool(db.execute(update(api_keys).where(K.id == key, K.revoked_at.is_(None)).values(revoked_at=real_now)).rowcount)


def revoke_of(db: Connection, user_id: UserId, real_now: datetime) -> int:
    """Take back every living key that somebody made; returns how many."""
    return db.execute(update(api_keys).where(K.made_by == user_id, K.revoked_at.is_(None)).values(revoked_at=real_now)).rowcount


def forget(db: Connection, before: datetime) -> None:
    """Delete keys that were taken back before then."""
    db.execute(delete(api_keys).where(K.revoked_at < before))
