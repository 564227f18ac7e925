"""Rotation of field keys: every encrypted value is encrypted anew with the newest key, while the service goes on."""

from collections.abc import Callable
from dataclasses import dataclass

from nurture import key_ring, log
from nurture.encryption import DecryptionFailed, Encrypted
from nurture.runtime import Runtime
from nurture.store.core import encrypted_fields
from nurture.store.core.encrypted_fields import ENCRYPTED_FIELDS, EncryptedField

_log = log.get(__name__)
_ROWS = 200
"""Per transaction: short enough that nobody waits for it."""


@dataclass(frozen=True)
class Rotation:
    """`rotated`: values encrypted anew. `unreadable`: values that no key of this installation opens; they stay as they are."""

    rotated: int
    unreadable: int


def rotate(rt: Runtime, on_progress: Callable[[int], None] = lambda _: None) -> Rotation:
    """Encrypt everything with the newest key. May be cut short and run again at any time: it goes on with what is left.

    `on_progress` gets the number of values done so far. Afterwards, if nothing was unreadable, only the newest key is needed.
    """
    rotated = unreadable = 0
    for field in ENCRYPTED_FIELDS:
        after: str | None = None
        while True:
            keys, done, failed = _rotate_some(rt, field, after)
            rotated, unreadable = rotated + done, unreadable + failed
            on_progress(rotated)
            if len(keys) < _ROWS:
                break
            after = keys[-1]
    if not unreadable:
        with rt.database.begin() as db:
            key_ring.note_rotated(db, rt.cipher)
    _log.info("field_keys_rotated", count=rotated, unreadable=unreadable)
    return Rotation(rotated, unreadable)


def _rotate_some(rt: Runtime, field: EncryptedField, after: str | None) -> tuple[list[str], int, int]:
    with rt.database.begin() as db:
        rows = encrypted_fields.not_encrypted_by(db, field, bytes.fromhex(rt.cipher.newest_key_id()), after, _ROWS)
        changes: list[tuple[str, Encrypted, Encrypted]] = []
        for key, old in rows:
            try:
                place = field.place(key)
                changes.append((key, old, rt.cipher.encrypt(rt.cipher.decrypt(old, place), place)))
            except DecryptionFailed:
                continue
        done = encrypted_fields.replace_encrypted(db, field, changes)
    return [key for key, _ in rows], done, len(rows) - len(changes)
