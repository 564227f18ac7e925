"""Spellings of one mailbox."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.mailbox import mailbox_of


@pytest.mark.parametrize(
    ("address", "mailbox"),
    [
        ("v.i.c.tim+list@gmail.com", "victim@gmail.com"),
        ("victim@googlemail.com", "victim@gmail.com"),
        ("victim+a+b@outlook.com", "victim@outlook.com"),
        ("vic.tim@outlook.com", "vic.tim@outlook.com"),
        ("vic_t-i.m+x@protonmail.com", "victim@proton.me"),
        ("victim@me.com", "victim@icloud.com"),
        ("victim@ya.ru", "victim@yandex.ru"),
        ("vic.tim+x@example.org", "vic.tim@example.org"),
        ("+x@example.org", "+x@example.org"),
        ("...@gmail.com", "...@gmail.com"),
    ],
)
def test_one_mailbox_for_all_its_spellings(address: str, mailbox: str) -> None:
    assert mailbox_of(address) == mailbox


LOCALS = st.text("ab.+-_", min_size=1, max_size=12)
DOMAINS = st.sampled_from(["gmail.com", "googlemail.com", "proton.me", "pm.me", "example.org", "mac.com"])


@given(LOCALS, DOMAINS)
def test_a_mailbox_is_its_own_mailbox_and_has_a_local_part(local: str, domain: str) -> None:
    found = mailbox_of(f"{local}@{domain}")
    assert mailbox_of(found) == found
    assert not found.startswith("@")


@given(st.text("abc", min_size=1, max_size=8), st.text("xyz.+", max_size=6), st.lists(st.integers(0, 8), max_size=4))
def test_no_dots_and_no_tag_make_another_gmail_box(local: str, tag: str, dots: list[int]) -> None:
    spelled = local
    for at in dots:
        spelled = f"{spelled[:at]}.{spelled[at:]}"
    assert mailbox_of(f"{spelled}+{tag}@googlemail.com") == f"{local}@gmail.com"
