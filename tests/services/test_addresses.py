"""What people type is taken as it is meant or refused in plain words, and never causes anything else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.services.addresses import Address, InputRefused, parse_address, parse_time_zone

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates, controls and all
RIGHT_TO_LEFT, ZERO_WIDTH, LONE_SURROGATE = "\u202e", "\u200b", "\ud800"


# Addresses


@pytest.mark.parametrize(
    ("typed", "send_to", "canonical"),
    [
        ("robin@example.org", "robin@example.org", "robin@example.org"),
        ("  robin@example.org \r\n", "robin@example.org", "robin@example.org"),
        ("Robin@Example.ORG", "Robin@example.org", "robin@example.org"),
        ("robin+letters@example.org", "robin+letters@example.org", "robin+letters@example.org"),
        ("r.o.b.i.n@example.org", "r.o.b.i.n@example.org", "r.o.b.i.n@example.org"),
        ("o'neil_!#$%&*/?=^`{|}~-@example.org", "o'neil_!#$%&*/?=^`{|}~-@example.org", "o'neil_!#$%&*/?=^`{|}~-@example.org"),
        ("robin@bücher.example", "robin@xn--bcher-kva.example", "robin@xn--bcher-kva.example"),
        ("robin@BÜCHER.example", "robin@xn--bcher-kva.example", "robin@xn--bcher-kva.example"),
        ("robin@bu\u0308cher.example", "robin@xn--bcher-kva.example", "robin@xn--bcher-kva.example"),
        ("robin@xn--bcher-kva.example", "robin@xn--bcher-kva.example", "robin@xn--bcher-kva.example"),
        ("robin@例え.jp", "robin@xn--r8jz45g.jp", "robin@xn--r8jz45g.jp"),
        (f"{'r' * 64}@example.org", f"{'r' * 64}@example.org", f"{'r' * 64}@example.org"),
    ],
)
def test_an_address_is_taken_as_typed_and_found_by_its_canonical_form(typed: str, send_to: str, canonical: str) -> None:
    address = parse_address(typed)
    assert (address.send_to, address.canonical) == (send_to, canonical)


@pytest.mark.parametrize(
    "pair",
    [("robin+a@example.org", "robin@example.org"), ("ro.bin@example.org", "robin@example.org"),
     ("robin@mail.example.org", "robin@example.org"), ("robin@gmail.com", "robin@googlemail.com")],
)  # fmt: skip
def test_addresses_that_may_belong_to_two_people_stay_two(pair: tuple[str, str]) -> None:
    one, other = pair
    assert parse_address(one).canonical != parse_address(other).canonical


@pytest.mark.parametrize(
    "typed",
    [
        "robin", "robin@", "@example.org", "robin@example", "robin@@example.org", "robin@kim@example.org", "a b@example.org",
        "robin..r@example.org", ".robin@example.org", "robin.@example.org", "robin@-example.org", "robin@example..org",
        "robin@example.org.", "robin@localhost", "robin@mail.test", "robin@mail.invalid", "robin@mail.local",
        '"robin"@example.org', '"ro bin"@example.org', '"robin@home"@example.org',
        "robin@[192.0.2.1]", "robin@[IPv6:2001:db8::1]", "robin@192.0.2.1",
        "Robin <robin@example.org>", "<robin@example.org>", "mailto:robin@example.org",
        "=?utf-8?q?victim=40evil.example=2C?=@example.org", "=?utf-8?b?dmljdGlt?=@example.org", "a=?b@example.org",
        "robin@example.org,kim@example.org", "robin@example.org;kim@example.org", "robin@example.org kim@example.org",
        "robin(at home)@example.org", "rōbin@example.org", "😀@example.org", "robin@😀😀.example..org", "robin@xn--a.org",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(typed: str) -> None:
    with pytest.raises(InputRefused, match=r"name@example\.org"):
        parse_address(typed)


@pytest.mark.parametrize(
    "poison",
    [
        "robin\0@example.org", "robin@exam\0ple.org", "robin@example.org\0",
        "robin@example.org\r\nBcc: kim@example.org", "robin\n@example.org", "robin@example\r.org", "robin\t@example.org",
        f"{RIGHT_TO_LEFT}robin@example.org", f"robin@{RIGHT_TO_LEFT}example.org", f"ro{ZERO_WIDTH}bin@example.org",
        f"robin{LONE_SURROGATE}@example.org", f"robin@{LONE_SURROGATE}.org", f"robin@example.org{LONE_SURROGATE}",
        f"{'r' * 250}@example.org", f"robin@{'e' * 64}.org", "r" * 10_000 + "@example.org", "robin@" + "e." * 5_000 + "org",
        "@" * 10_000, "robin@" + "ü" * 10_000 + ".org", "=cmd|' /C calc'!A0", "robin@example.org\u2028Bcc: kim@example.org",
    ],
    ids=lambda text: ascii(text[:40]),
)  # fmt: skip
def test_a_poisoned_address_is_refused_without_repeating_it(poison: str) -> None:
    with pytest.raises(InputRefused, match=r"^This does not look like an e-mail address\. Please check it, for example"):
        parse_address(poison)


@pytest.mark.parametrize("typed", ["", "   ", "\r\n"])
def test_an_empty_field_asks_for_an_address(typed: str) -> None:
    with pytest.raises(InputRefused, match="Please type your e-mail address"):
        parse_address(typed)


def test_reserved_test_domains_are_let_through_only_where_asked_for() -> None:
    assert parse_address("robin@mail.test", test_names=True).send_to == "robin@mail.test"


def is_fit_for_a_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and text.count("@") == 1


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT | st.builds("{}@{}.org".format, ANY_TEXT, ANY_TEXT) | st.emails())
def test_any_text_becomes_an_address_fit_for_a_header_or_is_refused(typed: str) -> None:
    try:
        address = parse_address(typed)
    except InputRefused:
        return
    assert is_fit_for_a_header(address.send_to)
    assert address.canonical == address.send_to.lower()
    assert parse_address(address.send_to) == address, "taken again, it is the same"


def test_an_address_prints_without_itself() -> None:
    address = parse_address("robin@example.org")
    assert {repr(address), str(address), f"{address}"} == {"Address(‹sealed›)"}
    assert repr([address]) == "[Address(‹sealed›)]"
    assert address == Address("robin@example.org", "robin@example.org")


# Time zones


@pytest.mark.parametrize(
    ("typed", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("America/New_York", "America/New_York"),
        ("", "UTC"),
        ("Berlin", "UTC"),
        ("europe/berlin", "UTC"),
        ("../../etc/passwd", "UTC"),
        ("/etc/passwd", "UTC"),
        ("Europe/Berlin\0", "UTC"),
        ("x" * 10_000, "UTC"),
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_a_zone_nobody_knows_is_no_reason_to_fail(typed: str, zone: str) -> None:
    assert parse_time_zone(typed, "UTC") == zone


@pytest.mark.parametrize("typed", ["a@р\u0430ypal.com", "a@pаypal.com", "a@exαmple.org"])
def test_a_domain_that_mixes_lookalike_alphabets_is_refused_with_a_hint(typed: str) -> None:
    with pytest.raises(InputRefused, match="different alphabets that look alike"):
        parse_address(typed)


@pytest.mark.parametrize("typed", ["a@пример.рф", "a@münchen.de", "a@例え.jp", "a@παράδειγμα.gr"])
def test_a_domain_in_one_alphabet_is_fine(typed: str) -> None:
    assert parse_address(typed).send_to.isascii()
