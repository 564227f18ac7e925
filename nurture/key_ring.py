"""Which keys open and index an installation's personal fields: the settings give them, the database says which it needs.

The database keeps three facts of them: the fingerprint of the index key, the index key itself encrypted with the newest field
key (so that old field keys may go), and the ids of all field keys that stored values may be encrypted with.
"""

from sqlalchemy import Connection

from nurture.encryption import DecryptionFailed, Encrypted, FieldCipher, FieldRef, derive, derive_index_key
from nurture.setting_checks import split_keys
from nurture.settings import PREFIX, SettingRefused, Settings
from nurture.store.state import app_state

SECRET_FILE = "secret.key"  # noqa: S105 - a file name
_FINGERPRINT, _INDEX_KEY, _IN_USE = "key_fingerprint", "index_key", "field_key_ids"
_PLACE = FieldRef("instance", "value", _INDEX_KEY)
_REMEDY = (
    f"Restore the {PREFIX}SECRET_KEY (or {SECRET_FILE} in {PREFIX}INSTANCE_DIR) and the {PREFIX}FIELD_KEYS that it had; keys "
    "that are new go in front of the old ones (docs/operations.md, Keys)."
)


def ring_of(settings: Settings, secret: bytes) -> list[bytes]:
    """The field keys, newest first. The one derived from the secret is always the last: it opens what was encrypted before
    NURTURE_FIELD_KEYS was set.
    """
    keys = split_keys(settings.field_keys) if settings.field_keys is not None else []
    return [*(key.encode() for key in keys), derive(secret, "field-keys")]


def stored_fingerprint(db: Connection) -> str | None:
    """Which index key the database was made with, whatever its schema; None for a new one."""
    return app_state.get_in_any_schema(db, _FINGERPRINT)


def open_cipher(db: Connection, settings: Settings, secret: bytes) -> FieldCipher:
    """What encrypts, opens and indexes the personal fields of this database. Raises SettingRefused if a key is missing."""
    ring = ring_of(settings, secret)
    given = ring[:-1] or ring
    kept = app_state.get(db, _INDEX_KEY)
    cipher = FieldCipher(
        ring, _kept_index_key(ring, kept) if kept else _first_index_key(ring, given, app_state.get(db, _FINGERPRINT))
    )
    if app_state.get_or_set(db, _FINGERPRINT, cipher.fingerprint()) != cipher.fingerprint():
        raise _does_not_fit()
    ids = app_state.get_or_set(db, _IN_USE, ",".join(FieldCipher([key]).newest_key_id() for key in given), lock=True).split(",")
    if not all(map(cipher.knows_key, ids)):
        raise SettingRefused(
            f"The keys of this installation do not fit its database: a field key that stored values are encrypted with is "
            f"missing. {_REMEDY}",
            "field_keys",
        )
    if kept is None or bytes.fromhex(kept)[1:5].hex() != cipher.newest_key_id():
        app_state.set_value(db, _INDEX_KEY, bytes(cipher.encrypt(cipher.index_key.hex(), _PLACE)).hex())
    if cipher.newest_key_id() not in ids:
        app_state.set_value(db, _IN_USE, ",".join([*ids, cipher.newest_key_id()]))
    return cipher


def note_rotated(db: Connection, cipher: FieldCipher) -> None:
    """From now on only the newest key is needed."""
    app_state.set_value(db, _IN_USE, cipher.newest_key_id())


def _kept_index_key(ring: list[bytes], kept: str) -> bytes:
    try:
        return bytes.fromhex(FieldCipher(ring).decrypt(Encrypted(bytes.fromhex(kept)), _PLACE))
    except DecryptionFailed:
        raise _does_not_fit() from None


def _first_index_key(ring: list[bytes], given: list[bytes], fingerprint: str | None) -> bytes:
    """Of the ring's keys the one that the database was made with; of a new database the oldest that was given."""
    if fingerprint is None:
        return derive_index_key(given[-1])
    found = [index_key for key in ring if FieldCipher([key], index_key := derive_index_key(key)).fingerprint() == fingerprint]
    if not found:
        raise _does_not_fit()
    return found[0]


def _does_not_fit() -> SettingRefused:
    return SettingRefused(
        f"The keys of this installation do not fit its database: addresses in it cannot be read or found. {_REMEDY}",
        "secret_key",
        "field_keys",
    )
