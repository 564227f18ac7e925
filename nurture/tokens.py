"""Opaque tokens for links: one module mints and reads them all.

A token is url-safe base64 of `01 | purpose (1) | expiry (5, epoch seconds, 0 = never) | id (16) | MAC (16)`; the MAC is
HMAC-SHA256 over what precedes it, keyed per purpose, cut to 128 bits (RFC 2104 section 5). It holds a random id and no
person's data, works for one purpose only, and is compared in constant time. Unsubscribe tokens never expire.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from enum import IntEnum

from nurture.errors import NurtureError

_VERSION = 1
_SIGNED, _MAC = 23, 16


class Purpose(IntEnum):
    """What a token lets its holder do. A token for one purpose is refused for every other."""

    CONFIRM = 1
    UNSUBSCRIBE = 2
    CONSULTATION = 3
    """The link in letters of versions before: it names the reader, and has no time. Not minted any more."""
    DESK_LOGIN = 4
    DESK_SESSION = 5
    CSRF = 6
    UNDO = 7
    DESK_DEVICE = 9
    LETTER_CONSULTATION = 11
    """The link in a letter to ask for a call: it names the letter's delivery."""
    CONFIRM_CONSULTATION = 12
    """The button of the mail that asks whether a request for a call was theirs: it names the request."""
    FORM = 16
    DESK_PASSKEY = 17
    """The cookie of a browser that was asked for a passkey before anybody has logged in."""


class TokenRefused(NurtureError):
    """The token is damaged, forged, expired, or meant for something else. The reader is told the same in every case."""


class Tokens:
    """Mints and reads tokens with one secret."""

    def __init__(self, keys: dict[Purpose, bytes]) -> None:
        """`keys`: 32 bytes for each purpose."""
        self._keyed = {purpose: hmac.new(key, digestmod="sha256") for purpose, key in keys.items()}

    def _mac(self, purpose: Purpose, signed: bytes) -> bytes:
        mac = self._keyed[purpose].copy()  # unlike hmac.digest, it keeps the interpreter: another thread may be busy
        mac.update(signed)
        return mac.digest()[:_MAC]

    def mint(self, purpose: Purpose, who: str, expires: datetime | None = None) -> str:
        """A token for `who` (an id of 32 hex digits); `expires` (UTC) None means never."""
        until = int(expires.timestamp()) if expires else 0
        signed = bytes((_VERSION, purpose)) + until.to_bytes(5, "big") + bytes.fromhex(who)
        return urlsafe_b64encode(signed + self._mac(purpose, signed)).rstrip(b"=").decode()

    def read(self, purpose: Purpose, token: str, now: datetime) -> str:
        """The id inside a valid token. Raises TokenRefused."""
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except ValueError:
            raw = b""
        if urlsafe_b64encode(raw).rstrip(b"=") != token.encode("ascii", "replace"):
            raw = b""  # base64 has several spellings of the same bytes; we accept the one we mint
        signed, mac = raw[:_SIGNED], raw[_SIGNED:]
        if not hmac.compare_digest(mac, self._mac(purpose, signed)) or signed[:2] != bytes((_VERSION, purpose)):
            raise TokenRefused("This link is not valid.")
        until = int.from_bytes(signed[2:7], "big")
        if until and now > datetime.fromtimestamp(until, UTC):
            raise TokenRefused("This link is not valid any more.")
        return signed[7:].hex()
