"""SendGrid's Event Webhook: bytes in, events out. Own verifier over the raw bytes; nothing here touches the database.

Facts: Twilio SendGrid docs, "Event Webhook reference" and "Event Webhook security features". The signature is ECDSA P-256 with
SHA-256 over timestamp ‖ body, as base64 of DER; the key is base64 of a DER public key. Custom args arrive flattened among
SendGrid's own fields. Events come in any order, more than once, and for up to 24 hours.
"""

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from nurture.domain.event import Event, EventKind
from nurture.domain.subscriber import Suppression
from nurture.errors import NurtureError
from nurture.ids import DeliveryId, RequestId

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"
OLDEST, NEWEST = timedelta(hours=26), timedelta(hours=1)
"""How old a bundle's stamp may be, and how far ahead. SendGrid repeats a bundle for 24 hours, and whether it keeps the first
stamp is not documented; minutes would refuse a true repeat, and a replay changes nothing anyway."""

_ID = re.compile(r"[0-9a-f]{32}")
_PEM = re.compile(r"-----[^-]+-----")
_KEY = re.compile(r"[^=]+=*")
_KINDS = {
    "processed": EventKind.PROCESSED,
    "deferred": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "open": EventKind.OPENED,
    "click": EventKind.OPENED,
}
_DROPPED = {
    "Bounced Address": Suppression.BOUNCED,
    "Invalid": Suppression.BOUNCED,
    "Spam Reporting Address": Suppression.COMPLAINED,
    "Unsubscribed Address": Suppression.UNSUBSCRIBED,
    "Invalid SMTPAPI header": None,
    "Spam Content": None,
    "Recipient List over Package Quota": None,
}
_TYPES = {"blocked", "expired"}
_CLASSES = {
    "Content", "Frequency or Volume Too High", "Invalid Address", "Mailbox Unavailable", "Reputation", "Technical Failure",
    "Unclassified",
}  # fmt: skip
_LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()


class WebhookKeyRefused(NurtureError):
    """A verification key cannot be read."""


class NoEvents(NurtureError):
    """The body is no JSON array of events."""


Key = EllipticCurvePublicKey


def read_keys(text: str) -> list[Key]:
    """Verification keys as SendGrid shows them (base64 of DER) or as PEM; several, while one replaces another, may be
    separated by commas or white space. Raises WebhookKeyRefused.
    """
    keys = []
    for part in _PEM.sub(",", text).split(","):
        # A key may be broken into lines, so white space alone ends none; its padding does (91 bytes are 122 digits and "==").
        for plain in _KEY.findall("".join(part.split())):
            try:
                key = load_der_public_key(b64decode(plain, validate=True))
            except (ValueError, TypeError, UnsupportedAlgorithm):
                raise WebhookKeyRefused("is no public key as SendGrid shows it") from None
            if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
                raise WebhookKeyRefused("is a key of another kind than SendGrid's (P-256)")
            keys.append(key)
    if not keys:
        raise WebhookKeyRefused("holds no key")
    return keys


def is_timely(stamp: str | None, now: datetime) -> bool:
    """Whether a bundle with this stamp (epoch seconds) may be one that SendGrid sends at `now`. Raises nothing."""
    if not stamp or not stamp.isascii() or not stamp.isdigit() or len(stamp) > 11 or int(stamp) >= _LATEST:
        return False
    return -NEWEST <= now - datetime.fromtimestamp(int(stamp), UTC) <= OLDEST


def verify(raw: bytes, signature: str | None, stamp: str | None, keys: Sequence[Key]) -> bool:
    """Whether one of `keys` signed exactly these bytes with this stamp. Raises nothing."""
    if not signature or not stamp or not stamp.isascii():
        return False
    try:
        signed = b64decode(signature, validate=True)
    except ValueError:
        return False
    for key in keys:
        try:
            key.verify(signed, stamp.encode() + raw, ECDSA(SHA256()))
        except InvalidSignature:
            continue
        return True
    return False


@dataclass(frozen=True)
class Bundle:
    """The events of one POST, and how many of its entries were none."""

    events: list[Event]
    unreadable: int


def read_events(raw: bytes) -> Bundle:
    """Read a bundle. An entry that cannot be read is counted and left out. Raises NoEvents when it is no array at all."""
    try:
        entries = orjson.loads(raw)
    except orjson.JSONDecodeError:
        entries = _mildly(raw)
    if not isinstance(entries, list):
        raise NoEvents("The body is not a JSON array.")
    events = [event for entry in entries if (event := _read(entry)) is not None]
    return Bundle(events, len(entries) - len(events))


def _mildly(raw: bytes) -> object:
    """Half a surrogate or a stray byte in one entry's text must not lose the others: SendGrid gives up after a day."""
    try:
        return json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise NoEvents("The body is not JSON.") from None


def _read(entry: Any) -> Event | None:
    if not isinstance(entry, dict):
        return None
    name, stamp = entry.get("event"), entry.get("timestamp")
    if not isinstance(name, str) or isinstance(stamp, bool) or not isinstance(stamp, (int, float)):
        return None
    if not 0 <= stamp < _LATEST:  # NaN fails too
        return None
    kind, suppresses, detail = _meaning(name, entry)
    delivery = _id(entry, "nurture_delivery_id") or _id(entry, "delivery_id")
    request = _id(entry, "nurture_request_id")
    return Event(
        kind=kind,
        at=datetime.fromtimestamp(stamp, UTC),
        dedup_key=_dedup_key(entry, name, float(stamp), delivery),
        provider_id=_text(entry, "sg_event_id", 100),
        delivery=DeliveryId(delivery) if delivery else None,
        request=RequestId(request) if request else None,
        email=_text(entry, "email", 320) if suppresses else None,
        suppresses=suppresses,
        detail=detail,
    )


def _meaning(name: str, entry: Mapping[str, Any]) -> tuple[EventKind, Suppression | None, str | None]:
    """Kind, what it means for the address, and the class of the cause; never free text, which may quote an address."""
    if name == "bounce":
        cause = entry.get("bounce_classification")
        known = cause if isinstance(cause, str) and cause in _CLASSES else None
        sort = entry.get("type")
        if sort == "bounce":
            return EventKind.BOUNCED, Suppression.BOUNCED, known
        # Refused for now: by content, reputation, or after days of deferrals.
        return EventKind.BLOCKED, None, known or (sort if isinstance(sort, str) and sort in _TYPES else None)
    if name == "dropped":
        reason = entry.get("reason")
        if isinstance(reason, str) and reason in _DROPPED:
            return EventKind.DROPPED, _DROPPED[reason], reason
        return EventKind.DROPPED, None, None
    if name == "spamreport":
        return EventKind.COMPLAINED, Suppression.COMPLAINED, None
    if name in ("unsubscribe", "group_unsubscribe"):
        return EventKind.UNSUBSCRIBED, Suppression.UNSUBSCRIBED, None
    return _KINDS.get(name, EventKind.OTHER), None, None


def _id(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _text(entry: Mapping[str, Any], name: str, longest: int) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable() else None


def _dedup_key(entry: Mapping[str, Any], name: str, stamp: float, delivery: str | None) -> bytes:
    """Equal for repeats under a new id: message, kind and time (and delivery) are the same."""
    message = entry.get("sg_message_id") or entry.get("smtp-id") or entry.get("email") or ""
    told = f"{message}|{name}|{stamp}|{delivery}"
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()
