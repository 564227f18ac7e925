"""What every mail has, whoever carries it, and what a mailer promises."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from functools import cached_property, lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from nurture.characters import BREAKS_HEADERS, code_point
from nurture.domain.delivery import DeliveryKind, Outcome
from nurture.errors import NurtureError
from nurture.ids import DeliveryId, RequestId
from nurture.mailers import mime

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
"""An address that needs no quotes (RFC 5322 section 3.4.1, dot-atom), as every door of this service takes them."""
_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")


class MailRefused(NurtureError):
    """A mail holds something that must never leave, a line break in a header for example. Nothing of it was sent."""


def check_address(name: str, address: str) -> None:
    """Check an address that becomes the header `name` or a line of SMTP. Raises MailRefused, which does not quote it.

    An address that reads as an encoded word (RFC 2047) is refused: mail apps and servers that decode it reach somebody else.
    """
    if "=?" in address or not _ADDRESS.fullmatch(address):
        raise MailRefused(f"The {name} of a mail is not one plain e-mail address.")


def _check_text(name: str, text: str) -> None:
    if found := BREAKS_HEADERS.search(text):
        raise MailRefused(f"The {name} of a mail holds {code_point(found[0])}, which could smuggle in other headers.")


@lru_cache(maxsize=32)  # what raises is not kept
def _check_sender(email: str, reply_to: str, name: str) -> None:
    check_address("From", email)
    check_address("Reply-To", reply_to)
    _check_text("From", name)


@lru_cache(maxsize=32)
def _are_tokens(names: tuple[str, ...]) -> bool:
    return all(_TOKEN.fullmatch(name) for name in names)


def _check_headers(headers: Mapping[str, str]) -> None:
    """Check names and values of structured headers. Raises MailRefused, which names the one that is wrong."""
    values = "".join(headers.values())
    if values.isascii() and values.isprintable() and "=?" not in values and _are_tokens(tuple(headers)):
        return  # nearly always: one look instead of one for each header
    for name, value in headers.items():
        _check_structured(name, value)


def _check_structured(name: str, value: str) -> None:
    if not (value.isascii() and value.isprintable() and _TOKEN.fullmatch(name)):
        raise MailRefused(f"The header {name!r} of a mail holds a line break, NUL or other character that is no plain ASCII.")
    if "=?" in value:
        raise MailRefused(f"The header {name!r} of a mail holds what reads as an encoded word (RFC 2047 section 5).")


LOGO = "logo"
"""The Content-ID by which a letter shows its logo (RFC 2392)."""


@dataclass(frozen=True)
class InlineImage:
    """A picture that goes out with a mail, so that showing it asks nobody for anything."""

    content: bytes = field(repr=False)
    subtype: str
    cid: str = LOGO
    """The Content-ID by which the mail shows it."""

    @property
    def file_name(self) -> str:
        """What a mail client calls it that lists it; nothing of it was typed by anybody."""
        return f"{self.cid}.{self.subtype}"


@dataclass(frozen=True)
class SenderIdentity:
    """Who mail comes from."""

    email: str
    name: str
    reply_to: str
    site: str
    """Origin of the links, from which List-Id and Message-ID take their host."""
    logo: InlineImage | None = None

    @cached_property
    def host(self) -> str:
        """Host of the site."""
        return urlsplit(self.site).hostname or "localhost"

    @cached_property
    def id_domain(self) -> str:
        """The host as the right side of a Message-ID. Raises MailRefused."""
        try:
            return mime.id_domain(self.host)
        except ValueError:
            raise MailRefused("The host of the site is no host name, so a mail could have no Message-ID.") from None

    @cached_property
    def list_id(self) -> str:
        """The List-Id of letters. Raises MailRefused."""
        try:
            return mime.list_id(self.host)
        except ValueError:
            raise MailRefused("The host of the site is no host name, so a mail could have no List-Id.") from None


@dataclass(frozen=True)
class Mail:
    """One finished mail to one person. Raises MailRefused on what could become, or decode into, another header or address."""

    delivery: DeliveryId
    request: RequestId
    """The request it goes in; every attempt has its own, so that a report tells which one arrived."""
    kind: DeliveryKind
    to: str
    subject: str
    html: str
    text: str
    sender: SenderIdentity
    headers: Mapping[str, str]
    at: datetime = field(compare=False)
    pictures: tuple[InlineImage, ...] = ()
    """Those its text shows."""

    def __post_init__(self) -> None:
        """Check what becomes a header (CWE-93)."""
        _check_sender(self.sender.email, self.sender.reply_to, self.sender.name)
        check_address("To", self.to)
        _check_text("Subject", self.subject)
        _check_headers(self.headers)
        for value in (self.delivery, *(picture.file_name for picture in self.pictures)):
            if not _TOKEN.fullmatch(value):
                raise MailRefused("The id of a mail or of a picture in it holds something else than letters and digits.")

    @property
    def enclosed(self) -> tuple[InlineImage, ...]:
        """What goes out with it: its pictures, and in letters the logo, also in those that somebody tries out."""
        logo = self.sender.logo if self.kind is DeliveryKind.LETTER or f"cid:{LOGO}" in self.html else None
        return (logo, *self.pictures) if logo is not None else self.pictures

    @property
    def message_id(self) -> str:
        """The same on every attempt, so that a receiver can drop a repeated mail (RFC 5322 section 3.6.4)."""
        return f"<{self.delivery}@{self.sender.id_domain}>"


def headers(sender: SenderIdentity, kind: DeliveryKind, delivery: DeliveryId, unsubscribe: str | None) -> dict[str, str]:
    """The headers of every mail: RFC 8058 and RFC 2369 (leaving), RFC 2919 (List-Id), RFC 3834 (no auto-replies).

    `unsubscribe`: the reader's link; None for a notice to the therapist, who is on no list.
    """
    found = {"Message-ID": f"<{delivery}@{sender.id_domain}>", "Auto-Submitted": "auto-generated"}
    if unsubscribe is not None:
        found |= {
            # No mailto: beside it. Nothing reads that mailbox, and some mail apps would use that form only.
            "List-Unsubscribe": f"<{unsubscribe}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "List-Id": sender.list_id,
            # Google: up to three group ids and a sender id, never a value of one person.
            "Feedback-ID": f"{kind.value.replace('_', '-')}:nurture",
        }
    return found


def as_bytes(mail: Mail) -> bytes:
    """The mail as it goes over the wire, lines ended by CRLF: text first, then HTML, then pictures.

    The same mail gives the same bytes, on every Python. Raises MailRefused if it holds what is no text, and if the finished
    bytes are not what was meant (`check_bytes`): nothing was sent then.
    """
    try:
        raw = b"".join((*_fields(mail), _content(mail)))
    except UnicodeEncodeError:  # half a surrogate pair
        raise MailRefused("The mail holds something that is no text.") from None
    check_bytes(raw, mail)
    return raw


def _fields(mail: Mail) -> list[bytes]:
    return [
        mime.mailbox("From", mail.sender.name, mail.sender.email),
        mime.mailbox("To", "", mail.to),
        mime.mailbox("Reply-To", "", mail.sender.reply_to),
        mime.subject(mail.subject),
        mime.structured("Date", format_datetime(mail.at)),
        *(mime.structured(name, value) for name, value in mail.headers.items()),
        mime.structured("X-Nurture-Delivery", mail.delivery),
        mime.structured("MIME-Version", "1.0"),
    ]


def _content(mail: Mail) -> bytes:
    html = mime.text_part(mail.html, "html")
    if enclosed := mail.enclosed:
        shown = [mime.picture_part(each.content, each.subtype, each.cid, each.file_name) for each in enclosed]
        html = mime.multipart("related", f"=_related_{mail.delivery}", [html, *shown])
    return mime.multipart("alternative", f"=_alternative_{mail.delivery}", [mime.text_part(mail.text, "plain"), html])


_MAY_BE_ENCODED = ("From", "Subject")
_NAMED = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"<>@,:;()\[\]\\]+) <(?P<address>[^<>]+)>')
"""One mailbox with a display name, in quotes or free of what would need them (RFC 5322 section 3.4)."""


def _is_from(value: str, address: str) -> bool:
    named = _NAMED.fullmatch(value)
    return (named["address"] if named else value) == address


def check_bytes(raw: bytes, mail: Mail) -> None:
    """Check a finished mail: every header field that was meant and no other, each with its value; lines within the limit.

    Reads the bytes by itself, not by what wrote them. Raises MailRefused.
    """
    try:
        fields = mime.read_fields(raw)
    except ValueError as error:
        raise MailRefused(f"The finished mail holds {error}.") from None
    exact = {
        "To": mail.to,
        "Reply-To": mail.sender.reply_to,
        "Date": format_datetime(mail.at),
        **mail.headers,
        "X-Nurture-Delivery": mail.delivery,
        "MIME-Version": "1.0",
    }
    meant = ["Content-Type", "From", "Subject", *exact]
    if sorted(name for name, _ in fields) != sorted(meant):
        raise MailRefused("The finished mail has other header fields than it should.")
    for name, value in fields:
        if name in exact and value != exact[name]:
            raise MailRefused(f"The header {name} of the finished mail is not what was meant.")
        if "=?" in value and name not in _MAY_BE_ENCODED:
            raise MailRefused(f"The header {name} of the finished mail holds an encoded word.")
        if name == "From" and not _is_from(value, mail.sender.email):
            raise MailRefused("The header From of the finished mail is not what was meant.")


@dataclass(frozen=True, slots=True)
class PreparedMail:
    """A mail with the bytes that carry it, complete before its row is marked as being sent."""

    mail: Mail
    content: tuple[bytes, ...] = field(repr=False)
    """In pieces, some of which may be shared by many mails: pictures, say."""


class Mailer(Protocol):
    """Carries mail. Never raises for anything a provider answers or fails to answer."""

    name: str
    gives_evidence: bool
    """Whether events about a mail can come back later; without, a mail in doubt waits for a person."""
    repeats_safely: bool
    """Whether posting a delivery again changes nothing; then there is no doubt to wait for."""
    per_request: int
    """Most mails one request carries; they share its outcome."""

    def prepare(self, mail: Mail) -> PreparedMail:
        """Build everything of a mail that can go wrong. What it raises concerns this mail alone, and nothing of it has left."""
        ...

    async def post(self, mails: Sequence[PreparedMail], within: float) -> Outcome:
        """Hand over one request and wait for its answer, at most `within` seconds in all. May raise only when it cannot be
        known whether a byte has left.
        """
        ...

    async def check(self, sender: SenderIdentity, within: float) -> Outcome:
        """Whether mail of `sender` could leave, found out in at most `within` seconds without sending any."""
        ...

    async def aclose(self) -> None:
        """Give back connections, in the loop that used them. May be used again afterwards."""
        ...
