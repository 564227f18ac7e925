"""A stolen database names nobody: sealed values open in one place with our key, and print as ‹sealed›."""

import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.encryption import DecryptionFailed, Encrypted, FieldCipher, FieldRef, derive

KEY, NEWER, STRANGE = b"k" * 32, b"n" * 32, b"s" * 32
PLACE = FieldRef("subscribers", "email", "0123456789abcdef0123456789abcdef")
ADDRESS = "robin@example.org"


def by_hand(key: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 without salt, 32 bytes, from RFC 5869 section 2: what `derive` must stay equal to, release by release."""
    extracted = hmac.digest(b"\0" * 32, key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


@given(st.text(max_size=300))
def test_what_is_sealed_opens_in_its_place(value: str) -> None:
    cipher = FieldCipher([KEY])
    assert cipher.decrypt(cipher.encrypt(value, PLACE), PLACE) == value


@pytest.mark.parametrize("part", ["table", "column", "row"])
def test_a_value_moved_to_another_place_does_not_open(part: str) -> None:
    cipher = FieldCipher([KEY])
    sealed = cipher.encrypt(ADDRESS, PLACE)
    with pytest.raises(DecryptionFailed, match="belongs to another row"):
        cipher.decrypt(sealed, replace(PLACE, **{part: "other"}))


def test_another_installations_key_does_not_open_and_the_message_says_what_to_do() -> None:
    sealed = FieldCipher([KEY]).encrypt(ADDRESS, PLACE)
    with pytest.raises(
        DecryptionFailed, match=r"subscribers\.email .* NURTURE_FIELD_KEYS, or restore NURTURE_SECRET_KEY"
    ) as refused:
        FieldCipher([STRANGE]).decrypt(sealed, PLACE)
    assert ADDRESS not in str(refused.value)


def test_a_key_that_only_claims_to_be_ours_does_not_open() -> None:
    ours, strange = FieldCipher([KEY]).encrypt(ADDRESS, PLACE), FieldCipher([STRANGE]).encrypt(ADDRESS, PLACE)
    with pytest.raises(DecryptionFailed):
        FieldCipher([KEY]).decrypt(strange[:1] + ours[1:5] + strange[5:], PLACE)


def test_an_old_key_on_the_ring_still_opens() -> None:
    sealed = FieldCipher([KEY]).encrypt(ADDRESS, PLACE)
    assert FieldCipher([NEWER, KEY]).decrypt(sealed, PLACE) == ADDRESS


def test_new_values_are_sealed_with_the_newest_key() -> None:
    sealed = FieldCipher([NEWER, KEY]).encrypt(ADDRESS, PLACE)
    assert FieldCipher([NEWER]).decrypt(sealed, PLACE) == ADDRESS
    with pytest.raises(DecryptionFailed):
        FieldCipher([KEY]).decrypt(sealed, PLACE)


def test_no_bit_can_be_changed() -> None:
    cipher = FieldCipher([KEY])
    sealed = cipher.encrypt("Zoë", PLACE)
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionFailed):
            cipher.decrypt(bytes(changed), PLACE)


def test_no_byte_can_be_missing_or_added() -> None:
    cipher = FieldCipher([KEY])
    sealed = cipher.encrypt("Zoë", PLACE)
    for length in range(len(sealed)):
        with pytest.raises(DecryptionFailed):
            cipher.decrypt(sealed[:length], PLACE)
    with pytest.raises(DecryptionFailed):
        cipher.decrypt(sealed + b"\0", PLACE)


def test_the_same_value_is_never_sealed_to_the_same_bytes() -> None:
    cipher = FieldCipher([KEY])
    sealed = [cipher.encrypt(ADDRESS, PLACE) for _ in range(100)]
    assert len({one[5:17] for one in sealed}) == 100, "nonces"
    assert len({one[17:] for one in sealed}) == 100


def test_a_sealed_value_prints_as_sealed_however_it_is_printed() -> None:
    sealed = FieldCipher([KEY]).encrypt(ADDRESS, PLACE)
    assert {str(sealed), repr(sealed), f"{sealed}", f"{sealed!r}"} == {"‹sealed›"}
    assert repr([sealed]) == "[‹sealed›]"


def test_sealed_bytes_hold_neither_value_nor_key() -> None:
    sealed = FieldCipher([KEY]).encrypt(ADDRESS, PLACE)
    assert isinstance(sealed, Encrypted)
    assert bytes(sealed)[:1] == b"\x01"
    assert len(sealed) == len(ADDRESS) + 33
    for part in (ADDRESS.encode(), b"robin", KEY[:8]):
        assert part not in bytes(sealed)


def test_keys_of_two_purposes_have_nothing_in_common() -> None:
    assert derive(KEY, "fields") == by_hand(KEY, b"nurture|fields")
    assert derive(KEY, "fields") != derive(KEY, "links")
    assert derive(KEY, "fields") != derive(STRANGE, "fields")


def test_the_blind_index_is_keyed_and_stays_as_documented() -> None:
    expected = hmac.digest(by_hand(KEY, b"nurture|index|email|v1"), b"email|v1|robin@example.org", "sha256")
    assert FieldCipher([KEY]).blind_index(ADDRESS) == expected
    assert FieldCipher([KEY]).blind_index(ADDRESS) != hashlib.sha256(ADDRESS.encode()).digest()
    assert FieldCipher([STRANGE]).blind_index(ADDRESS) != expected
    assert FieldCipher([KEY]).blind_index("kim@example.org") != expected


def test_the_blind_index_outlives_a_rotation_while_the_oldest_key_stays_last() -> None:
    assert FieldCipher([NEWER, KEY]).blind_index(ADDRESS) == FieldCipher([KEY]).blind_index(ADDRESS)
    assert FieldCipher([KEY, NEWER]).blind_index(ADDRESS) != FieldCipher([KEY]).blind_index(ADDRESS)


def test_the_fingerprint_notices_a_wrong_index_key_and_nothing_else() -> None:
    assert FieldCipher([NEWER, KEY]).fingerprint() == FieldCipher([KEY]).fingerprint()
    assert FieldCipher([STRANGE]).fingerprint() != FieldCipher([KEY]).fingerprint()
    assert derive(KEY, "index|email|v1").hex()[:16] != FieldCipher([KEY]).fingerprint()
