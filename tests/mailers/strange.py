"""Mails as strange as the doors of the service let them be, for Hypothesis."""

from datetime import UTC, datetime
from typing import NamedTuple

from hypothesis import strategies as st

from nurture.characters import unusable_character
from nurture.domain.delivery import DeliveryKind
from nurture.ids import DeliveryId, RequestId
from nurture.mailers.base import InlineImage, Mail, SenderIdentity, headers

_LOOKALIKES = st.sampled_from([
    "=?utf-8?q?=0D=0ABcc:_x?=", "=?utf-8?b?QmNjOiB4?=", "=?", "?=", "=?utf-8?q?x", "a =?iso-8859-1?q?=E9?= b",
    'Dana "D" Ünal', "Dr. Dana O'Neil, LCSW", "dana@example.org", "<b>", "Dana\\", "(Dana)", "🙂" * 20, "дана", "x" * 70, "-- ",
])  # fmt: skip


def one_line(text: str) -> str:
    """As the desk keeps a line: single spaces, none at its ends."""
    return " ".join("".join(mark for mark in text if not unusable_character(mark)).split())


def lines(longest: int) -> st.SearchStrategy[str]:
    """Any line somebody may type: any script, anything that looks like a header or an encoded word."""
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=longest)
    printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=longest)
    mixed = st.lists(_LOOKALIKES | st.text(max_size=12), max_size=8).map(" ".join)
    return (anything | printable | mixed).map(lambda text: one_line(text)[:longest].strip())


_ATEXT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+/^_`{|}~-"
_LDH = "abcdefghijklmnopqrstuvwxyz0123456789"


@st.composite
def hosts(draw: st.DrawFn, longest: int = 253) -> str:
    """A host name of any length up to `longest`, its labels of 1 to 63 letters."""
    length = draw(st.integers(4, longest) | st.just(longest))
    top = draw(st.sampled_from(["example", "org", "xn--p1ai"])) if length > 12 else "de"
    left = length - len(top) - 1
    labels = []
    while left > 0:
        size = min(left, draw(st.integers(1, 63) | st.just(63)))
        if left - size == 1:  # what is left must hold a dot and a letter
            size = size - 1 or 2
        labels.append(draw(st.text(_LDH, min_size=size, max_size=size)))
        left -= size + 1
    return ".".join([*labels, top])


@st.composite
def addresses(draw: st.DrawFn) -> str:
    """An address of any length up to 254 (RFC 5321 section 4.5.3.1), its local part up to 64."""
    local = draw(st.text(_ATEXT, min_size=1, max_size=64) | st.text(_ATEXT, min_size=64, max_size=64))
    return f"{local}@{draw(hosts(254 - 1 - len(local)))}"


def sites() -> st.SearchStrategy[str]:
    """Origins as NURTURE_BASE_URL takes them."""
    special = st.sampled_from(["localhost", "127.0.0.1", "[::1]", "[2001:db8::8a2e:370:7334]", "bücher.example", "пример.рф"])
    port = st.none() | st.integers(1, 65535)
    return st.builds(
        lambda scheme, host, port: f"{scheme}://{host}{f':{port}' if port else ''}",
        st.sampled_from(["http", "https"]), special | hosts(), port,
    )  # fmt: skip


IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
TOKENS = st.text(_LDH + "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_", min_size=1, max_size=300)
BODIES = st.text(st.characters(exclude_categories=["Cs"]), max_size=400) | st.sampled_from([
    ".", "..\n.\n", "From here\n", "a" * 3000, "wörter " * 400, " \t \n\t", "x=\ny", "\r", "a\r\nb\rc\n",
    "--\n", "--=_related\n",
])  # fmt: skip
PICTURES = st.lists(
    st.builds(InlineImage, st.binary(max_size=300), st.sampled_from(["png", "jpeg"])), max_size=3
).map(lambda found: tuple(InlineImage(each.content, each.subtype, f"picture-{n}") for n, each in enumerate(found)))  # fmt: skip


class Drawn(NamedTuple):
    """What a mail is made of, before any of our code saw it."""

    delivery: str
    kind: str
    to: str
    subject: str
    html: str
    text: str
    sender_email: str
    sender_name: str
    reply_to: str
    site: str
    unsubscribe: str | None
    pictures: tuple[InlineImage, ...]
    logo: InlineImage | None


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    """Everything a mail is made of."""
    kind = draw(st.sampled_from(list(DeliveryKind)))
    site = draw(sites())
    logo = draw(st.none() | st.builds(InlineImage, st.binary(max_size=200), st.just("png")))
    return Drawn(
        draw(IDS), kind.value, draw(addresses()), draw(lines(300)) or "x", draw(BODIES) + "\n", draw(BODIES) + "\n",
        draw(addresses()), draw(lines(60)), draw(addresses()), site,
        f"/unsubscribe/{draw(TOKENS)}" if kind is not DeliveryKind.NOTICE else None, draw(PICTURES), logo,
    )  # fmt: skip


def mail_of(drawn: Drawn) -> Mail:
    """The mail; `site` must be as the settings keep it."""
    sender = SenderIdentity(drawn.sender_email, drawn.sender_name, drawn.reply_to, drawn.site, drawn.logo)
    unsubscribe = drawn.site + drawn.unsubscribe if drawn.unsubscribe else None
    kind, delivery = DeliveryKind(drawn.kind), DeliveryId(drawn.delivery)
    return Mail(
        delivery, RequestId("0" * 32), kind, drawn.to, drawn.subject, drawn.html, drawn.text, sender,
        headers(sender, kind, delivery, unsubscribe), datetime(2026, 3, 2, 15, tzinfo=UTC), drawn.pictures,
    )  # fmt: skip
