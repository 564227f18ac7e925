"""What the desk's settings say, over what the environment says; and how often that changed, so that processes keep up."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from nurture.encryption import Encrypted, FieldRef
from nurture.ids import UserId
from nurture.store.core.desk_schema import facts
from nurture.store.core.insert import insert_into
from nurture.store.state import app_state

F = facts.c
_VERSION = "facts_version"


@dataclass(frozen=True)
class SettingOverride:
    """One setting as the desk says. A secret is sealed, and its `value` empty."""

    value: str
    sealed: Encrypted | None
    set_at: datetime
    set_by: UserId | None


def field_of(name: str) -> FieldRef:
    """Where a secret setting is sealed to."""
    return FieldRef("facts", "sealed", name)


def all_overrides(db: Connection) -> dict[str, SettingOverride]:
    """All settings that the desk has a say in, by name."""
    return {row[0]: SettingOverride(*row[1:]) for row in db.execute(select(F.name, F.value, F.sealed, F.set_at, F.set_by))}


def version(db: Connection) -> int:
    """How often settings have changed."""
    return int(app_state.get(db, _VERSION) or 0)


def put(db: Connection, changes: Mapping[str, str | Encrypted], by: UserId | None, real_now: datetime) -> None:
    """Set facts, and count it as one change. A sealed value is a secret."""
    for name, value in changes.items():
        is_secret = isinstance(value, Encrypted)
        row = {"value": "" if is_secret else value, "sealed": value if is_secret else None, "set_at": real_now, "set_by": by}
        written = insert_into(facts, db.dialect.name).values(name=name, **row)
        db.execute(written.on_conflict_do_update(index_elements=["name"], set_=row))
    app_state.count(db, _VERSION)
