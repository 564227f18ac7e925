"""Personal fields at rest: encrypted one by one and bound to their row, found again by a keyed blind index.

A sealed value is `01 | key id (4) | nonce (12) | AES-256-GCM`, its associated data `table|column|row id`: a value moved to
another row or column does not open. Keys come from a ring by HKDF-SHA256 (RFC 5869), newest first; the key id says which.
The blind index is HMAC-SHA256 over the canonical address. Its key is derived from the first field key an installation had,
and outlives every rotation of those, because hashes of suppressed addresses cannot be made anew without the address.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nurture.errors import NurtureError

_VERSION = b"\x01"


class DecryptionFailed(NurtureError):
    """A sealed value does not open: another key, another row, or damaged bytes."""


class Encrypted(bytes):
    """An encrypted personal value. It prints as ‹sealed›, so that no log or error can show even its bytes."""

    def __repr__(self) -> str:
        """Always ‹sealed›."""
        return "‹sealed›"

    __str__ = __repr__


@dataclass(frozen=True)
class FieldRef:
    """Where a sealed value lives. It opens nowhere else."""

    table: str
    column: str
    row: str

    def bytes(self) -> bytes:
        """The associated data of the encryption."""
        return f"{self.table}|{self.column}|{self.row}".encode()


def derive(key: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF-SHA256, RFC 5869); knowing one tells nothing about another."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"nurture|{purpose}".encode()).derive(key)


def derive_index_key(key: bytes) -> bytes:
    """The key of the blind index, of an installation whose first field key is `key`."""
    return derive(key, "index|email|v1")


def links_fingerprint(key: bytes) -> str:
    """Names the secret that signs links, without revealing it."""
    return hmac.digest(derive(key, "links-fingerprint"), b"fingerprint", "sha256").hex()[:16]


class FieldCipher:
    """Encrypts, decrypts and indexes personal values with a ring of keys, newest first."""

    def __init__(self, ring: Sequence[bytes], index_key: bytes | None = None) -> None:
        """`ring`: secrets of any length, newest first; must not be empty. `index_key`: derived from the oldest unless given."""
        self._ring = {hashlib.sha256(b"id|" + key).digest()[:4]: AESGCM(derive(key, "fields")) for key in ring}
        self._newest = next(iter(self._ring))
        self.index_key = index_key or derive_index_key(ring[-1])

    def encrypt(self, value: str, place: FieldRef) -> Encrypted:
        """Encrypt `value` for one place."""
        nonce = os.urandom(12)
        return Encrypted(
            _VERSION + self._newest + nonce + self._ring[self._newest].encrypt(nonce, value.encode(), place.bytes())
        )

    def decrypt(self, sealed: bytes, place: FieldRef) -> str:
        """Decrypt a value of that place. Raises DecryptionFailed."""
        key = self._ring.get(sealed[1:5])
        if sealed[:1] != _VERSION or key is None:
            raise DecryptionFailed(
                f"A value in {place.table}.{place.column} was sealed with a key this installation does not have. "
                "Put the old key back behind the newer ones of NURTURE_FIELD_KEYS, or restore NURTURE_SECRET_KEY."
            )
        try:
            return key.decrypt(sealed[5:17], sealed[17:], place.bytes()).decode()
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce
            raise DecryptionFailed(f"A value in {place.table}.{place.column} is damaged or belongs to another row.") from None

    def blind_index(self, canonical: str) -> bytes:
        """The 32 bytes by which an address is found without storing it; equal addresses give equal bytes."""
        return hmac.digest(self.index_key, f"email|v1|{canonical}".encode(), "sha256")

    def keyed_hash(self, purpose: str, secret: str) -> bytes:
        """The 32 bytes kept instead of a secret, for one purpose; they find it again, and give nothing of it away."""
        return hmac.digest(self.index_key, f"{purpose}|v1|{secret}".encode(), "sha256")

    def newest_key_id(self) -> str:
        """Names the key that encrypts now, without revealing it, as every value it has encrypted does."""
        return self._newest.hex()

    def knows_key(self, key_id: str) -> bool:
        """Whether values sealed with the key of this id open here."""
        return bytes.fromhex(key_id) in self._ring

    def fingerprint(self) -> str:
        """Names the index key without revealing it: kept in the database, so that a wrong key is noticed at start."""
        return hmac.digest(self.index_key, b"fingerprint", "sha256").hex()[:16]
