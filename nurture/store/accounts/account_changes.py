"""Changes of how somebody logs in, each told by mail at the address they had before."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from nurture.domain.user import AccountChange
from nurture.encryption import Encrypted, FieldRef
from nurture.ids import AccountChangeId
from nurture.store.core.desk_schema import account_changes

C = account_changes.c


@dataclass(frozen=True)
class ToldChange:
    """A change, and the address at which it is told, still sealed."""

    what: AccountChange
    email: Encrypted


def email_field(change: str) -> FieldRef:
    """Where the address of a change is sealed."""
    return FieldRef("account_changes", "email", change)


def add(db: Connection, change: AccountChangeId, told: ToldChange, real_now: datetime) -> None:
    """Write a change down."""
    db.execute(insert(account_changes).values(id=change, what=told.what, email_encrypted=told.email, made_at=real_now))


def find(db: Connection, ids: Collection[AccountChangeId]) -> dict[AccountChangeId, ToldChange]:
    """Those of `ids` that are changes."""
    rows = db.execute(select(C.id, C.what, C.email_encrypted).where(C.id.in_(ids)))
    return {row[0]: ToldChange(row[1], row[2]) for row in rows}


def forget(db: Connection, before: datetime) -> None:
    """Delete changes made before then."""
    db.execute(delete(account_changes).where(C.made_at < before))
