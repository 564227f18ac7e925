"""Accounts of the desk: who may use it, and their second factors."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, func, insert, or_, select, update

from nurture.domain.user import Role
from nurture.encryption import Encrypted, FieldRef
from nurture.ids import UserId
from nurture.store.core.desk_schema import desk_sessions, passkeys, recovery_codes, users

U, R = users.c, recovery_codes.c


@dataclass(frozen=True)
class User:
    """An account as stored; address, name and the app's secret are still sealed."""

    id: UserId
    role: Role
    email: Encrypted | None = None
    name: Encrypted | None = None
    password: str | None = None
    totp: Encrypted | None = None
    totp_step: int | None = None
    seen: datetime | None = None
    email_index: bytes | None = None
    has_passkeys: bool = False

    @property
    def has_app(self) -> bool:
        """Whether it has a password and an app, which come and go together."""
        return bool(self.password and self.totp)

    @property
    def is_protected(self) -> bool:
        """Whether it has more to prove itself with than a link."""
        return self.has_app or self.has_passkeys


_COLUMNS = (
    U.id, U.role, U.email_encrypted, U.name_encrypted, U.password, U.totp_encrypted, U.totp_step, U.seen_at, U.email_index,
    exists().where(passkeys.c.user_id == U.id),
)  # fmt: skip


def field_of(column: str, who: str) -> FieldRef:
    """Where a personal value of an account is sealed."""
    return FieldRef("users", column, who)


def add(db: Connection, user: User, real_now: datetime) -> None:
    """Write a new account. The address must be nobody else's."""
    db.execute(
        insert(users).values(
            id=user.id, role=user.role, email_index=user.email_index, email_encrypted=user.email, name_encrypted=user.name,
            created_at=real_now,
        )
    )  # fmt: skip


def get(db: Connection, user_id: UserId) -> User | None:
    """An account by id."""
    row = db.execute(select(*_COLUMNS).where(U.id == user_id)).first()
    return User(*row) if row else None


def by_email(db: Connection, email_index: bytes) -> User | None:
    """The account with that address."""
    row = db.execute(select(*_COLUMNS).where(U.email_index == email_index)).first()
    return User(*row) if row else None


def everyone(db: Connection) -> list[User]:
    """All accounts, oldest first."""
    return [User(*row) for row in db.execute(select(*_COLUMNS).order_by(U.created_at, U.id))]


_ACCOUNTS = 0x6E75727475726523
"""Advisory lock on PostgreSQL, taken by whoever decides on accounts by looking at all of them."""


def lock_accounts(db: Connection) -> None:
    """From here to the end of the transaction nobody else adds or removes an account, or changes its role. Take it before
    anything is read. SQLite has one writer anyway.
    """
    if db.dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_ACCOUNTS)))


def owners(db: Connection) -> int:
    """How many owners there are; whoever acts on it holds the accounts (`hold`)."""
    return db.execute(select(func.count()).select_from(users).where(U.role == Role.OWNER)).scalar_one()


def change(db: Connection, user_id: UserId, **values: Any) -> None:
    """Set columns of an account."""
    db.execute(update(users).where(U.id == user_id).values(**values))


def remove(db: Connection, user_id: UserId) -> None:
    """Delete an account, its sessions, second factors and passkeys."""
    db.execute(delete(users).where(U.id == user_id))


def take_step(db: Connection, user_id: UserId, step: int) -> bool:
    """Note that the code of these 30 seconds has been used; False if it, or a later one, was before."""
    fresh = (U.id == user_id, or_(U.totp_step.is_(None), U.totp_step < step))
    return bool(db.execute(update(users).where(*fresh).values(totp_step=step)).rowcount)


def put_codes(db: Connection, user_id: UserId, codes: Iterable[bytes]) -> None:
    """Replace the recovery codes of an account by new ones, as hashes."""
    db.execute(delete(recovery_codes).where(R.user_id == user_id))
    rows = [{"user_id": user_id, "code": code} for code in codes]
    if rows:
        db.execute(insert(recovery_codes), rows)


def use_code(db: Connection, user_id: UserId, code: bytes, real_now: datetime) -> bool:
    """Use a recovery code up; False if it was used or never existed."""
    fresh = (R.user_id == user_id, R.code == code, R.used_at.is_(None))
    return bool(db.execute(update(recovery_codes).where(*fresh).values(used_at=real_now)).rowcount)


def codes_left(db: Connection, user_id: UserId) -> int:
    """How many recovery codes still work."""
    left = (R.user_id == user_id, R.used_at.is_(None))
    return db.execute(select(func.count()).select_from(recovery_codes).where(*left)).scalar_one()


def end_sessions(db: Connection, user_id: UserId, but: str | None = None) -> None:
    """End the sessions of an account, all or all but one."""
    theirs = desk_sessions.c.user_id == user_id
    db.execute(delete(desk_sessions).where(theirs if but is None else theirs & (desk_sessions.c.id != but)))
