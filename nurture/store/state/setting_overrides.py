"""What the desk's settings say, over what the environment says; and how often that changed, so that processes keep up."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from nurture.encryption import Encrypted, FieldRef
from nurture.ids import UserId
from nurture.store.core.desk_schema import setting_overrides
from nurture.store.core.insert import insert_into
from nurture.store.state import app_state

S = setting_overrides.c
_VERSION = "setting_overrides_version"


@dataclass(frozen=True)
class SettingOverride:
    """One setting as the desk says. A secret is encrypted, and its `value` empty."""

    value: str
    encrypted: Encrypted | None
    set_at: datetime
    set_by: UserId | None


def field_of(name: str) -> FieldRef:
    """Where a secret setting is sealed to."""
    return FieldRef("facts", "sealed", name)


def all_overrides(db: Connection) -> dict[str, SettingOverride]:
    """All settings that the desk has a say in, by name."""
    return {
        row[0]: SettingOverride(*row[1:]) for row in db.execute(select(S.name, S.value, S.value_encrypted, S.set_at, S.set_by))
    }


def version(db: Connection) -> int:
    """How often settings have changed."""
    return int(app_state.get(db, _VERSION) or 0)


def put(db: Connection, changes: Mapping[str, str | Encrypted], by: UserId | None, real_now: datetime) -> None:
    """Change settings, and count it as one change. An encrypted value is a secret."""
    for name, value in changes.items():
        is_secret = isinstance(value, Encrypted)
        row = {
            "value": "" if is_secret else value,
            "value_encrypted": value if is_secret else None,
            "set_at": real_now,
            "set_by": by,
        }
        written = insert_into(setting_overrides, db.dialect.name).values(name=name, **row)
        db.execute(written.on_conflict_do_update(index_elements=["name"], set_=row))
    app_state.count(db, _VERSION)
