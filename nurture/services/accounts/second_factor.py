"""The second proof at log-in: a code of an app on the telephone (RFC 6238), or one of the recovery codes."""

import hashlib
import hmac
import re
import secrets
from base64 import b32encode
from datetime import UTC, datetime, timedelta

import pyotp

from nurture.ids import UserId

_PERIOD = 30
_CODES = 10
_CODE_BYTES = 10
"""80 random bits each: nobody guesses one, so a fast hash is enough (ASVS 5.0, V6.6.3)."""


def new_secret() -> str:
    """A secret for an app, in base32: 160 bits (RFC 4226 section 4)."""
    return pyotp.random_base32()


def app_uri(secret: str, issuer: str, account: str) -> str:
    """What the app reads from the picture."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer or "Letters")


def picture(uri: str) -> str:
    """The same as an SVG element, black on white also in the dark: some telephones read no other."""
    import segno  # here: only who sets up an app waits for it

    drawn: str = segno.make(uri, error="m").svg_inline(
        scale=4, border=3, dark="#000", light="#fff", svgclass="qr", lineclass=None
    )
    return drawn


def step_of(secret: str, code: str, real_now: datetime) -> int | None:
    """Which 30 seconds `code` belongs to, one before and one after `real_now` (UTC) counting too; None if it is wrong."""
    typed = re.sub(r"\s", "", code)
    for shift in (0, -1, 1):
        moment = real_now.astimezone(UTC) + timedelta(seconds=_PERIOD * shift)
        if hmac.compare_digest(pyotp.TOTP(secret).at(moment).encode(), typed.encode()):
            return int(moment.timestamp()) // _PERIOD
    return None


def new_recovery_codes() -> list[str]:
    """Ten codes, each for one log-in, as they are shown: `ABCD-EFGH-IJKL-MNOP`."""
    drawn = (b32encode(secrets.token_bytes(_CODE_BYTES)).decode() for _ in range(_CODES))
    return ["-".join(re.findall("....", code)) for code in drawn]


def recovery_hash(user_id: UserId, code: str) -> bytes:
    """What is stored instead of a recovery code. Spaces, dashes and small letters do not matter."""
    return hashlib.sha256(f"{user_id}|{re.sub('[^A-Z2-7]', '', code.upper())}".encode()).digest()


def looks_like_recovery(code: str) -> bool:
    """Whether somebody typed a recovery code and not one of the app's."""
    return len(re.sub("[^A-Z2-7]", "", code.upper())) == _CODE_BYTES * 8 // 5
