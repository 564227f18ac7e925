"""What people type is taken as it is meant or refused in plain words, and never causes anything else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.services.addresses import MOST_NAME, Address, InputRefused, parse_address, parse_first_name, parse_time_zone

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


# First names


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Robin", "Robin"),
        ("Zoë", "Zoë"),
        ("Zoe\u0308", "Zoë"),
        ("O'Neil", "O'Neil"),
        ("O’Neil", "O’Neil"),
        ("José-María", "José-María"),
        ("Ng", "Ng"),
        ("X", "X"),
        ("日本", "日本"),
        ("अनु", "अनु"),
        ("محمد", "محمد"),
        ("Nguyễn Văn", "Nguyễn Văn"),
        ("q\u0307\u0323", "q\u0323\u0307"),
        ("J. R.", "J. R."),
        ("J.R.R.", "J.R.R."),
        ("St. John", "St. John"),
        ("  Anna   Lena ", "Anna Lena"),
        ("Anna\nLena\r\n", "Anna Lena"),
        ("Anna\u2028Lena\tM", "Anna Lena M"),
        ("e\u0301" * 40, "é" * 40),
        ("a" * 40, "a" * 40),
        ("", ""),
        (" \r\n ", ""),
    ],
    ids=ascii,
)
def test_a_name_of_any_script_is_taken_on_one_line(typed: str, name: str) -> None:
    assert parse_first_name(typed) == name


@pytest.mark.parametrize(
    "typed",
    [
        "Robin2", "٣", "R0bin", "http://example.org", "https:example", "//example", "www.example", "visit example.com",
        "Win at casino.example", "example.COM", "example.рф", "ex.ample.c o", "<script>", "<b>Robin</b>", "Robin & Kim",
        "robin@example", "😀", "Robin 😀", "Robin!", "Robin, hi", "a/b", "a\\b", "{{ reader }}", "{% raw %}", "%s", "`Robin`",
        '"Robin"', "=cmd|x", "+Robin", "...", "'", "- -", "\u0301", "Robin\0", "Ro\x1bbin", "Robin\x7f",
        f"{RIGHT_TO_LEFT}nibor", f"Ro{ZERO_WIDTH}bin", f"Robin{LONE_SURROGATE}", "example。com", "example．com",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_name_is_refused(typed: str) -> None:
    with pytest.raises(InputRefused, match="Please use letters only; spaces, hyphens, apostrophes and dots are fine too"):
        parse_first_name(typed)


@pytest.mark.parametrize("typed", ["a" * 41, "x" * 10_000, "a\u0301\u0302" * 21], ids=["41", "10 kB", "marks"])
def test_a_name_that_is_too_long_is_refused_with_the_limit(typed: str) -> None:
    with pytest.raises(InputRefused, match=f"at most {MOST_NAME} characters"):
        parse_first_name(typed)


@settings(max_examples=300)
@given(ANY_TEXT)
def test_any_text_becomes_one_short_line_or_is_refused(typed: str) -> None:
    try:
        name = parse_first_name(typed)
    except InputRefused:
        return
    assert len(name) <= MOST_NAME
    assert len(name.splitlines()) <= 1
    assert not set(name) & set('<>&"{}%/\\@:;=+0123456789')
    assert parse_first_name(name) == name


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
