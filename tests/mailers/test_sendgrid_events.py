"""Verifying and reading SendGrid's events: whatever arrives, an answer and never a fault."""

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_private_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.event import EventKind
from nurture.domain.subscriber import Suppression
from nurture.ids import new_id
from nurture.mailers.sendgrid.events import (
    SIGNATURE_HEADER,
    NoEvents,
    WebhookKeyRefused,
    is_timely,
    read_events,
    read_keys,
    verify,
)
from tests.servers.sendgrid_events import Signer, body, entry

DOCUMENTED_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1"
    "flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
)
DOCUMENTED_SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
DOCUMENTED_STAMP = "1600112502"
DOCUMENTED_BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)
"""A bundle that SendGrid has signed, as the tests of its libraries quote it (github.com/sendgrid/sendgrid-python)."""

ID = new_id()
KEYS = read_keys(Signer().public)
RSA = generate_private_rsa_key(65537, 2048).public_key()
NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
K, S = EventKind, Suppression
RAW = b'[{"event":"processed"}]\r\n'


def signed(signer: Signer, raw: bytes = RAW, stamp: str = STAMP) -> str:
    return signer.headers(raw, stamp)[SIGNATURE_HEADER]


def test_a_bundle_is_believed_only_byte_for_byte_as_it_was_signed() -> None:
    ours, other = Signer(), Signer()
    keys = read_keys(ours.public)
    assert verify(RAW, signed(ours), STAMP, keys)
    assert not verify(RAW.replace(b"processed", b"processeD"), signed(ours), STAMP, keys), "one edited byte"
    assert not verify(RAW.rstrip(), signed(ours), STAMP, keys), "the trailing CRLF is signed too"
    assert not verify(RAW, signed(other), STAMP, keys), "another key"
    assert not verify(RAW, signed(ours), str(int(STAMP) + 1), keys), "another time"


def test_what_sendgrid_itself_has_signed_is_believed_and_read() -> None:
    keys = read_keys(DOCUMENTED_KEY)
    assert verify(DOCUMENTED_BODY, DOCUMENTED_SIGNATURE, DOCUMENTED_STAMP, keys)
    assert not verify(DOCUMENTED_BODY.rstrip(), DOCUMENTED_SIGNATURE, DOCUMENTED_STAMP, keys), "without the trailing CRLF"
    (event,) = read_events(DOCUMENTED_BODY).events
    assert (event.kind, event.suppresses, event.detail) == (K.DROPPED, S.BOUNCED, "Bounced Address")
    assert event.provider_id == "ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA"
    assert (event.email, event.at) == ("hello@world.com", datetime(2020, 9, 14, 19, 41, 32, tzinfo=UTC))


@given(st.data())
def test_no_edit_of_body_stamp_or_signature_goes_unnoticed(data: st.DataObject) -> None:
    parts = [DOCUMENTED_BODY, b64decode(DOCUMENTED_SIGNATURE), DOCUMENTED_STAMP.encode()]
    which = data.draw(st.integers(0, 2))
    at = data.draw(st.integers(0, len(parts[which]) - 1))
    other = data.draw(st.integers(1, 255))
    edited = parts[which][:at] + bytes([parts[which][at] ^ other]) + parts[which][at + 1 :]
    raw, signature, stamp = [edited if part == which else parts[part] for part in range(3)]
    assert not verify(raw, b64encode(signature).decode(), stamp.decode("latin-1"), read_keys(DOCUMENTED_KEY))


def test_body_and_stamp_are_told_apart_by_more_than_their_concatenation() -> None:
    signer = Signer()
    signature, keys = signed(signer, b"5[]", STAMP), read_keys(signer.public)
    assert verify(b"5[]", signature, STAMP, keys)
    assert not is_timely(STAMP + "5", NOW), "the signature fits the same bytes cut elsewhere; its time does not"


def test_while_one_key_replaces_another_both_are_believed() -> None:
    old, new = Signer(), Signer()
    for between in (",", ",\n ", " ", "\n"):
        keys = read_keys(f"{new.public}{between}{old.public}")
        assert verify(RAW, signed(old), STAMP, keys)
        assert verify(RAW, signed(new), STAMP, keys)
    assert not verify(RAW, signed(old), STAMP, read_keys(new.public)), "and once it is gone, the old one is not"


@pytest.mark.parametrize(
    ("hours", "believed"), [(0, True), (25.9, True), (26.1, False), (24 * 365, False), (-0.9, True), (-1.1, False)]
)
def test_a_repeat_of_yesterday_is_believed_and_nothing_older_or_from_the_future(hours: float, believed: bool) -> None:
    assert is_timely(str(int((NOW - timedelta(hours=hours)).timestamp())), NOW) is believed


@pytest.mark.parametrize(
    "signature", [None, "", "AAAA", "not base64!", "ü", b64encode(b"\x30\x06\x02\x01\x01\x02\x01\x01").decode()]
)
@pytest.mark.parametrize("stamp", [None, "", "-5", "soon", "1e9", "٣", "9" * 11, "9" * 40, STAMP])
def test_junk_in_the_headers_is_no_signature_and_no_fault(signature: str | None, stamp: str | None) -> None:
    assert not verify(RAW, signature, stamp, read_keys(Signer().public))
    assert is_timely(stamp, NOW) is (stamp == STAMP)


def test_a_key_is_read_as_base64_or_pem_and_anything_else_is_refused() -> None:
    signer = Signer()
    pem = f"-----BEGIN PUBLIC KEY-----\n{signer.public[:64]}\n{signer.public[64:]}\n-----END PUBLIC KEY-----\n"
    for several in (pem, pem + pem, f"{pem},{signer.public}", f" {signer.public} , "):
        assert verify(RAW, signed(signer), STAMP, read_keys(several))
    other = generate_private_key(SECP384R1()).public_key()
    wrong_curve = b64encode(other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    rsa = RSA.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    nonsense = ("", " , ", "SG.key", "AAAA", "====", "ü", wrong_curve, b64encode(rsa).decode(), signer.public[:-8])
    for text in (*nonsense, f"{signer.public},SG.key"):
        with pytest.raises(WebhookKeyRefused):
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
        (entry("bounce", type="blocked", bounce_classification="robin@example.org"), K.BLOCKED, None, "blocked"),
        (entry("bounce", type="expired"), K.BLOCKED, None, "expired"),
        (entry("bounce", type="robin@example.org"), K.BLOCKED, None, None),
        (entry("bounce", type=["bounce"]), K.BLOCKED, None, None),
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
    assert one.dedup_key == renamed.dedup_key
    assert len({one.dedup_key, *(event.dedup_key for event in different)}) == 4


def test_the_fields_of_the_documented_samples_are_read() -> None:
    sample: dict[str, object] = {
        "email": "example@test.com", "timestamp": 1513299569, "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "category": ["cat facts"], "sg_event_id": "sg_event_id", "sg_message_id": "sg_message_id",
    }  # fmt: skip
    told: list[dict[str, object]] = [
        {"event": "processed", "pool": {"name": "new_MY_test", "id": 210}},
        {"event": "deferred", "response": "400 try again later", "attempt": "5"},
        {"event": "delivered", "response": "250 OK", "ip": "168.1.1.1", "tls": 1},
        {"event": "open", "useragent": "Mozilla/4.0", "ip": "255.255.255.255", "sg_machine_open": False},
        {"event": "click", "url": "http://www.sendgrid.com/", "url_offset": {"index": 0, "type": "html"}},
        {"event": "bounce", "reason": "500 unknown recipient", "status": "5.0.0", "type": "bounce"},
        {"event": "dropped", "reason": "Bounced Address", "status": "5.0.0"}, {"event": "spamreport"}, {"event": "unsubscribe"},
        {"event": "group_unsubscribe", "url": "http://www.sendgrid.com/", "asm_group_id": 10},
        {"event": "group_resubscribe", "url": "http://www.sendgrid.com/", "asm_group_id": 10},
    ]  # fmt: skip
    bundle = read_events(body([sample | each for each in told]))
    assert bundle.unreadable == 0
    assert [event.kind for event in bundle.events] == [
        K.PROCESSED, K.DEFERRED, K.DELIVERED, K.OPENED, K.OPENED, K.BOUNCED, K.DROPPED, K.COMPLAINED, K.UNSUBSCRIBED,
        K.UNSUBSCRIBED, K.OTHER,
    ]  # fmt: skip
    assert len({event.dedup_key for event in bundle.events}) == len(told)
    assert {event.at for event in bundle.events} == {datetime(2017, 12, 15, 0, 59, 29, tzinfo=UTC)}


def test_an_address_is_kept_only_where_it_may_be_needed_and_never_shown() -> None:
    bounced, harmless = entry("bounce", type="bounce", email="robin@example.org"), entry("delivered", email="robin@example.org")
    bundle = read_events(body([bounced, harmless]))
    assert [event.email for event in bundle.events] == ["robin@example.org", None]
    assert "robin" not in repr(bundle)


@pytest.mark.parametrize("field", ["sg_event_id", "email"])
@pytest.mark.parametrize("value", ["", "x" * 321, "line\nbreak", "nul\0", 5, None, ["x"], {"x": 1}, True])
def test_a_text_of_the_wrong_kind_counts_as_none(field: str, value: object) -> None:
    (event,) = read_events(body([entry("spamreport", email="robin@example.org") | {field: value}])).events
    assert (event.provider_id if field == "sg_event_id" else event.email) is None
    assert event.kind is K.COMPLAINED


@pytest.mark.parametrize("length", [100, 101])
def test_an_id_of_sendgrids_own_is_at_most_a_hundred_characters_long(length: int) -> None:
    (event,) = read_events(body([entry("delivered", sg_event_id="x" * length)])).events
    assert event.provider_id == ("x" * 100 if length == 100 else None)


@pytest.mark.parametrize("stamp", [-1, 4_102_444_800, 10**18, 10**400, -(10**400), "1513299569", True, None, [1], {}])
def test_a_time_out_of_all_bounds_makes_an_event_unreadable(stamp: object) -> None:
    bundle = read_events(json.dumps([entry("delivered") | {"timestamp": stamp}, entry("open")]).encode())
    assert ([event.kind for event in bundle.events], bundle.unreadable) == ([K.OPENED], 1)


@pytest.mark.parametrize("stamp", [0, 1_513_299_569, 1_513_299_569.5, 4_102_444_799])
def test_a_time_within_bounds_is_read(stamp: float) -> None:
    (event,) = read_events(json.dumps([entry("delivered") | {"timestamp": stamp}]).encode()).events
    assert event.at.timestamp() == stamp


def test_seconds_as_whole_or_broken_number_are_the_same_time() -> None:
    first = entry("delivered", sg_message_id="m", timestamp=1_513_299_569)
    one, other = read_events(body([first, first | {"timestamp": 1_513_299_569.0}])).events
    assert one.dedup_key == other.dedup_key


@pytest.mark.parametrize("flaw", [rb'"\ud83d"', b'"\xff\xfe"', b"NaN", b"Infinity", b"1" * 400])
def test_a_flaw_in_one_entry_does_not_lose_the_others(flaw: bytes) -> None:
    """A strict parser refuses the whole bundle for it, and SendGrid would repeat it for a day and then give up."""
    good = json.dumps(entry("delivered")).encode()
    raw = b'[{"event":"open","timestamp":1513299569,"useragent":' + flaw + b"}," + good + b"]\r\n"
    bundle = read_events(raw)
    assert [event.kind for event in bundle.events] == [K.OPENED, K.DELIVERED]


@pytest.mark.parametrize("raw", [b"", b"{}", b'"x"', b"[", b"\xff\xfe", b"null", b"NaN", b"[" * 100_000, b"[1" * 9_000])
def test_what_is_no_array_is_refused_as_a_whole(raw: bytes) -> None:
    with pytest.raises(NoEvents):
        read_events(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
THEIRS = ["event", "timestamp", "type", "reason", "email", "sg_event_id", "sg_message_id", "smtp-id", "bounce_classification"]
FIELDS = st.sampled_from([*THEIRS, "nurture_delivery_id", "nurture_request_id", "delivery_id"])
WORDS = st.sampled_from(["bounce", "blocked", "dropped", "delivered", "spamreport", "open", "Invalid", "a@b.example", ID])
ENTRIES = st.lists(JSON | st.dictionaries(FIELDS, JSON | WORDS | st.integers(0, 2_000_000_000), max_size=9), max_size=6)


@given(ENTRIES)
def test_whatever_the_entries_hold_they_are_read_or_counted(entries: list[Any]) -> None:
    bundle = read_events(json.dumps(entries).encode())
    assert len(bundle.events) + bundle.unreadable == len(entries)
    for event in bundle.events:
        assert len(event.dedup_key) == 16
        assert event.at.tzinfo is UTC
        assert event.provider_id is None or 0 < len(event.provider_id) <= 100
        assert event.detail is None or "@" not in event.detail


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_bytes_are_they_are_read_or_refused(raw: bytes) -> None:
    try:
        read_events(raw)
    except NoEvents as refused:
        assert str(refused)


@given(st.text() | st.none(), st.text() | st.none())
def test_whatever_the_headers_hold_they_are_no_signature(signature: str | None, stamp: str | None) -> None:
    assert not verify(RAW, signature, stamp, KEYS)
    is_timely(stamp, NOW)


@given(st.text() | st.binary().map(lambda raw: b64encode(raw).decode()))
def test_whatever_the_setting_holds_it_is_a_key_or_refused(text: str) -> None:
    with pytest.raises(WebhookKeyRefused):
        read_keys(text)
