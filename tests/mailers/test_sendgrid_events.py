"""Verifying and reading SendGrid's events: whatever arrives, an answer and never a fault."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.event import EventKind
from nurture.domain.subscriber import Suppression
from nurture.mailers.sendgrid.events import (
    SIGNATURE_HEADER,
    KeyRefused,
    NoEvents,
    read_events,
    read_keys,
    verify,
)
from nurture.words import new_id
from tests.servers.sendgrid_events import Signer, body, entry

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
K, S = EventKind, Suppression
RAW = b'[{"event":"processed"}]\r\n'


def signed(signer: Signer, raw: bytes = RAW, stamp: str = STAMP) -> str:
    return signer.headers(raw, stamp)[SIGNATURE_HEADER]


def test_a_bundle_is_believed_only_byte_for_byte_as_it_was_signed() -> None:
    ours, other = Signer(), Signer()
    keys = read_keys(ours.public)
    assert verify(RAW, signed(ours), STAMP, keys, NOW)
    assert not verify(RAW.replace(b"processed", b"processeD"), signed(ours), STAMP, keys, NOW), "one edited byte"
    assert not verify(RAW.rstrip(), signed(ours), STAMP, keys, NOW), "the trailing CRLF is signed too"
    assert not verify(RAW, signed(other), STAMP, keys, NOW), "another key"
    assert not verify(RAW, signed(ours), str(int(STAMP) + 1), keys, NOW), "another time"


def test_while_one_key_replaces_another_both_are_believed() -> None:
    old, new = Signer(), Signer()
    keys = read_keys(f"{new.public},\n {old.public}")
    assert verify(RAW, signed(old), STAMP, keys, NOW)
    assert verify(RAW, signed(new), STAMP, keys, NOW)


@pytest.mark.parametrize(
    ("hours", "believed"), [(0, True), (25.9, True), (26.1, False), (24 * 365, False), (-0.9, True), (-1.1, False)]
)
def test_a_repeat_of_yesterday_is_believed_and_nothing_older_or_from_the_future(hours: float, believed: bool) -> None:
    signer, stamp = Signer(), str(int((NOW - timedelta(hours=hours)).timestamp()))
    assert verify(RAW, signed(signer, stamp=stamp), stamp, read_keys(signer.public), NOW) is believed


@pytest.mark.parametrize(
    "signature", [None, "", "AAAA", "not base64!", "ü", b64encode(b"\x30\x06\x02\x01\x01\x02\x01\x01").decode()]
)
@pytest.mark.parametrize("stamp", [None, "", "-5", "soon", "1e9", "٣", "9" * 11, "9" * 40, STAMP])
def test_junk_in_the_headers_is_no_signature_and_no_fault(signature: str | None, stamp: str | None) -> None:
    assert not verify(RAW, signature, stamp, read_keys(Signer().public), NOW)


def test_a_key_is_read_as_base64_or_pem_and_anything_else_is_refused() -> None:
    signer = Signer()
    pem = f"-----BEGIN PUBLIC KEY-----\n{signer.public[:64]}\n{signer.public[64:]}\n-----END PUBLIC KEY-----"
    assert verify(RAW, signed(signer), STAMP, read_keys(pem), NOW)
    other = generate_private_key(SECP384R1()).public_key()
    wrong_curve = b64encode(other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    for text in ("", " , ", "SG.key", "AAAA", wrong_curve, signer.public[:-8]):
        with pytest.raises(KeyRefused):
            read_keys(text)


@pytest.mark.parametrize(
    ("given_entry", "kind", "suppresses", "detail"),
    [
        (entry("processed"), K.PROCESSED, None, None),
        (entry("deferred", response="451 try later robin@example.org"), K.DEFERRED, None, None),
        (entry("delivered"), K.DELIVERED, None, None),
        (entry("bounce", type="bounce", bounce_classification="Invalid Address"), K.BOUNCED, S.BOUNCED, "Invalid Address"),
        (entry("bounce", type="bounce", reason="550 robin@example.org"), K.BOUNCED, S.BOUNCED, None),
        (entry("bounce", type="blocked", bounce_classification="Unclassified"), K.BLOCKED, None, "Unclassified"),
        (entry("bounce", type="expired"), K.BLOCKED, None, None),
        (entry("bounce"), K.BLOCKED, None, None),
        (entry("dropped", reason="Bounced Address"), K.DROPPED, S.BOUNCED, "Bounced Address"),
        (entry("dropped", reason="Invalid"), K.DROPPED, S.BOUNCED, "Invalid"),
        (entry("dropped", reason="Spam Reporting Address"), K.DROPPED, S.COMPLAINED, "Spam Reporting Address"),
        (entry("dropped", reason="Unsubscribed Address"), K.DROPPED, S.UNSUBSCRIBED, "Unsubscribed Address"),
        (entry("dropped", reason="Recipient List over Package Quota"), K.DROPPED, None, "Recipient List over Package Quota"),
        (entry("dropped", reason="Spam Content"), K.DROPPED, None, "Spam Content"),
        (entry("dropped", reason="robin@example.org is odd"), K.DROPPED, None, None),
        (entry("spamreport"), K.COMPLAINED, S.COMPLAINED, None),
        (entry("unsubscribe"), K.UNSUBSCRIBED, S.UNSUBSCRIBED, None),
        (entry("group_unsubscribe", asm_group_id=1), K.UNSUBSCRIBED, S.UNSUBSCRIBED, None),
        (entry("group_resubscribe"), K.OTHER, None, None),
        (entry("open", sg_machine_open=True), K.OPENED, None, None),
        (entry("click", url="https://x"), K.OPENED, None, None),
        (entry("account_status_change"), K.OTHER, None, None),
    ],
)  # fmt: skip
def test_every_event_has_its_meaning(
    given_entry: dict[str, Any], kind: EventKind, suppresses: Suppression | None, detail: str | None
) -> None:
    (event,) = read_events(body([given_entry])).events
    assert (event.kind, event.suppresses, event.detail) == (kind, suppresses, detail)
    assert event.at == datetime.fromtimestamp(given_entry["timestamp"], UTC)


def test_ids_come_from_our_own_fields_and_nothing_else_passes_for_one() -> None:
    delivery, request = new_id(), new_id()
    ours = entry("delivered", delivery_id=delivery, nurture_delivery_id=delivery, nurture_request_id=request)
    odd = entry("delivered", delivery_id=delivery.upper(), nurture_request_id=[request], nurture_delivery_id=7)
    first, second = read_events(body([ours, odd])).events
    assert (first.delivery, first.request) == (delivery, request)
    assert (second.delivery, second.request) == (None, None)


def test_a_repeat_under_a_new_id_is_the_twin_of_the_first() -> None:
    first = entry("delivered", sg_message_id="m.1", nurture_delivery_id=new_id())
    others = [first | {"sg_message_id": "m.2"}, first | {"event": "open"}, first | {"timestamp": first["timestamp"] + 1}]
    one, renamed, *different = read_events(body([first, first | {"sg_event_id": "another"}, *others])).events
    assert one.twin == renamed.twin
    assert len({one.twin, *(event.twin for event in different)}) == 4


def test_an_address_is_kept_only_where_nothing_else_tells_who_is_meant() -> None:
    named = entry("bounce", type="bounce", email="robin@example.org", nurture_delivery_id=new_id())
    nameless = entry("bounce", type="bounce", email="robin@example.org")
    harmless = entry("delivered", email="robin@example.org")
    assert [event.email for event in read_events(body([named, nameless, harmless])).events] == [None, "robin@example.org", None]
    assert "robin" not in repr(read_events(body([nameless])).events)


@pytest.mark.parametrize("raw", [b"", b"{}", b'"x"', b"[", b"\xff\xfe", b"null", b"[NaN]", b"[" * 100_000])
def test_what_is_no_array_is_refused_as_a_whole(raw: bytes) -> None:
    with pytest.raises(NoEvents):
        read_events(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
FIELDS = [
    "event",
    "timestamp",
    "type",
    "reason",
    "email",
    "sg_event_id",
    "sg_message_id",
    "nurture_delivery_id",
    "bounce_classification",
]
KINDS = st.sampled_from(["bounce", "dropped", "delivered", "spamreport", "open", "x"])


@given(st.lists(JSON | st.dictionaries(st.sampled_from(FIELDS), JSON | KINDS, max_size=9), max_size=6))
def test_whatever_the_entries_hold_they_are_read_or_counted(entries: list[Any]) -> None:
    raw = json.dumps(entries).encode()
    try:
        bundle = read_events(raw)
    except NoEvents:
        assert "NaN" in raw.decode() or "Infinity" in raw.decode() or "\\ud" in raw.decode()
        return
    assert len(bundle.events) + bundle.unreadable == len(entries)
