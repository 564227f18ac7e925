"""A token opens one thing for one person, and nothing that only looks like it does."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from itertools import product
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.tokens import Purpose, TokenRefused, Tokens

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
WHO = "0123456789abcdef0123456789abcdef"
TOKENS = Tokens({purpose: bytes([purpose]) * 32 for purpose in Purpose})
ids = st.binary(min_size=16, max_size=16).map(bytes.hex)


def refused(token: str, purpose: Purpose = Purpose.UNSUBSCRIBE, now: datetime = NOW) -> bool:
    try:
        TOKENS.read(purpose, token, now)
    except TokenRefused as refusal:
        assert str(refusal).startswith("This link is not valid")
        return True
    return False


@given(st.sampled_from(Purpose), ids)
def test_a_token_brings_back_the_id_it_was_made_for(purpose: Purpose, who: str) -> None:
    assert TOKENS.read(purpose, TOKENS.mint(purpose, who, NOW + timedelta(days=7)), NOW) == who


@pytest.mark.parametrize(("meant", "used"), [pair for pair in product(Purpose, Purpose) if pair[0] != pair[1]])
def test_a_token_for_one_purpose_is_refused_for_every_other(meant: Purpose, used: Purpose) -> None:
    assert refused(TOKENS.mint(meant, WHO), used)


def test_purposes_stay_apart_even_if_their_keys_were_the_same() -> None:
    careless = Tokens(dict.fromkeys(Purpose, b"k" * 32))
    with pytest.raises(TokenRefused):
        careless.read(Purpose.DESK_SESSION, careless.mint(Purpose.UNSUBSCRIBE, WHO), NOW)


def test_another_installations_token_is_refused() -> None:
    other = Tokens(dict.fromkeys(Purpose, b"other" * 8))
    assert refused(other.mint(Purpose.UNSUBSCRIBE, WHO))


@pytest.mark.parametrize(
    ("after", "is_refused"), [(timedelta(0), False), (timedelta(days=7), False), (timedelta(days=7, seconds=1), True)]
)
def test_a_token_works_until_it_expires(after: timedelta, is_refused: bool) -> None:
    token = TOKENS.mint(Purpose.CONFIRM, WHO, NOW + timedelta(days=7))
    assert refused(token, Purpose.CONFIRM, NOW + after) is is_refused


def test_a_token_without_an_expiry_works_for_ever() -> None:
    assert not refused(TOKENS.mint(Purpose.UNSUBSCRIBE, WHO), now=datetime(9999, 1, 1, tzinfo=UTC))


def test_no_bit_can_be_changed() -> None:
    raw = urlsafe_b64decode(TOKENS.mint(Purpose.UNSUBSCRIBE, WHO, NOW + timedelta(days=7)))
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        assert refused(urlsafe_b64encode(bytes(changed)).rstrip(b"=").decode()), f"bit {bit}"


def test_no_character_can_be_changed_dropped_or_doubled() -> None:
    token = TOKENS.mint(Purpose.UNSUBSCRIBE, WHO)
    for place, mark in enumerate(token):
        for other in f"{ascii_letters}{digits}-_":
            assert other == mark or refused(token[:place] + other + token[place + 1 :])
        assert refused(token[:place] + token[place + 1 :])
        assert refused(token[:place] + mark + token[place:])


@pytest.mark.parametrize("extra", ["=", "==", "====", "\n", " ", "!", ".", "\0", "é", "A"])
def test_a_token_with_something_added_is_refused_though_base64_would_ignore_it(extra: str) -> None:
    token = TOKENS.mint(Purpose.UNSUBSCRIBE, WHO)
    assert not refused(token)
    for place in (0, 17, len(token)):
        assert refused(token[:place] + extra + token[place:])


def test_the_other_alphabet_of_base64_is_refused() -> None:
    minted = (TOKENS.mint(Purpose.UNSUBSCRIBE, f"{number:032x}") for number in range(1000))
    token = next(token for token in minted if "-" in token and "_" in token)
    assert not refused(token)
    assert refused(token.replace("-", "+"))
    assert refused(token.replace("_", "/"))


@given(st.text(st.characters(exclude_categories=()), max_size=80))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    assert refused(text)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    assert refused(urlsafe_b64encode(raw).rstrip(b"=").decode())


def test_a_very_long_token_is_refused() -> None:
    assert refused("A" * 100_000)


def test_a_token_is_short_and_needs_no_escaping_in_a_link() -> None:
    for purpose in Purpose:
        assert re.fullmatch(r"[A-Za-z0-9_-]{52}", TOKENS.mint(purpose, WHO, NOW))


def test_a_token_holds_version_purpose_expiry_and_id_and_nothing_more() -> None:
    raw = urlsafe_b64decode(TOKENS.mint(Purpose.CONFIRM, WHO, NOW))
    assert raw[:23] == b"\x01\x01" + int(NOW.timestamp()).to_bytes(5, "big") + bytes.fromhex(WHO)
    assert len(raw[23:]) == 16


def test_the_numbers_of_purposes_never_change_because_links_in_letters_hold_them() -> None:
    known = ["CONFIRM", "UNSUBSCRIBE", "CONSULTATION", "DESK_LOGIN", "DESK_SESSION", "CSRF", "UNDO"]
    assert [Purpose[name].value for name in known] == [1, 2, 3, 4, 5, 6, 7]
