"""Every encrypted column, and with which key each value in it was encrypted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, Table, func, select, update

from nurture.encryption import Encrypted, FieldRef
from nurture.store.accounts import account_changes, passkeys, users
from nurture.store.core import desk_schema, schema
from nurture.store.letters import drafts
from nurture.store.state import setting_overrides
from nurture.store.subscribers import csv_imports, personal_data, sign_ups, subscribers


@dataclass(frozen=True)
class EncryptedField:
    """One encrypted column. `key`: the column that names a row; `place`: where the value of such a row is bound to."""

    column: Column[Any]
    key: Column[Any]
    place: Callable[[str], FieldRef]

    @property
    def table(self) -> Table:
        """Whose column it is."""
        return self.column.table


def _consultation(consultation: str) -> FieldRef:
    return FieldRef("consultations", "details", consultation)


ENCRYPTED_FIELDS = (
    EncryptedField(schema.subscribers.c.email_encrypted, schema.subscribers.c.id, subscribers.email_field),
    EncryptedField(schema.subscribers.c.first_name_encrypted, schema.subscribers.c.id, subscribers.first_name_field),
    EncryptedField(schema.consents.c.evidence_encrypted, schema.consents.c.id, subscribers.evidence_field),
    EncryptedField(schema.sign_ups.c.email_encrypted, schema.sign_ups.c.id, sign_ups.email_field),
    EncryptedField(schema.sign_ups.c.first_name_encrypted, schema.sign_ups.c.id, sign_ups.first_name_field),
    EncryptedField(schema.consultations.c.details_encrypted, schema.consultations.c.id, _consultation),
    EncryptedField(desk_schema.users.c.email_encrypted, desk_schema.users.c.id, partial(users.field_of, "email")),
    EncryptedField(desk_schema.users.c.name_encrypted, desk_schema.users.c.id, partial(users.field_of, "name")),
    EncryptedField(desk_schema.users.c.totp_encrypted, desk_schema.users.c.id, partial(users.field_of, "totp")),
    EncryptedField(desk_schema.passkeys.c.name_encrypted, desk_schema.passkeys.c.id, passkeys.name_field),
    EncryptedField(
        desk_schema.account_changes.c.email_encrypted, desk_schema.account_changes.c.id, account_changes.email_field
    ),
    EncryptedField(
        desk_schema.setting_overrides.c.value_encrypted, desk_schema.setting_overrides.c.name, setting_overrides.field_of
    ),
    EncryptedField(desk_schema.notes.c.text_encrypted, desk_schema.notes.c.id, personal_data.note_field),
    EncryptedField(desk_schema.csv_imports.c.content_encrypted, desk_schema.csv_imports.c.id, csv_imports.content_field),
    EncryptedField(desk_schema.csv_imports.c.report_encrypted, desk_schema.csv_imports.c.id, csv_imports.report_field),
    EncryptedField(desk_schema.test_emails.c.content_encrypted, desk_schema.test_emails.c.id, drafts.field_of_test_email),
)
"""A test compares this with the schema: a column that is missing here would be lost when its key goes."""


def not_encrypted_by(
    db: Connection, field: EncryptedField, key_id: bytes, after: str | None, limit: int
) -> list[tuple[str, Encrypted]]:
    """Rows whose value another key encrypted, with the value, by their key from `after` on.

    `key_id`: bytes 2 to 5 of what the key that is wanted has encrypted.
    """
    query = select(field.key, field.column).where(func.substr(field.column, 2, 4, type_=field.column.type) != Encrypted(key_id))
    if after is not None:
        query = query.where(field.key > after)
    return [(row[0], row[1]) for row in db.execute(query.order_by(field.key).limit(limit))]


def replace_encrypted(db: Connection, field: EncryptedField, changes: Sequence[tuple[str, Encrypted, Encrypted]]) -> int:
    """Put new values where the old ones still stand (key, old, new); returns how many did."""
    return sum(
        db.execute(update(field.table).where(field.key == key, field.column == old).values({field.column.name: new})).rowcount
        for key, old, new in changes
    )
