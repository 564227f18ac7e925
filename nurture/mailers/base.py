"""What every mail has, whoever carries it, and what a mailer promises."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cached_property
from typing import Protocol
from urllib.parse import urlsplit

from nurture.domain.delivery import Kind, Outcome
from nurture.words import DeliveryId, NurtureError, RequestId

_FORBIDDEN = re.compile(r"[\r\n\0]")


class MailRefused(NurtureError):
    """A mail holds something that must never reach a provider, a line break in a header for example."""


LOGO = "logo"
"""The Content-ID by which a letter shows its logo (RFC 2392)."""


@dataclass(frozen=True)
class Picture:
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
class Sender:
    """Who mail comes from."""

    email: str
    name: str
    reply_to: str
    site: str
    """Origin of the links, from which List-Id and Message-ID take their host."""
    logo: Picture | None = None

    @cached_property
    def host(self) -> str:
        """Host part of message ids and list ids."""
        return urlsplit(self.site).hostname or "localhost"


@dataclass(frozen=True)
class Mail:
    """One finished mail to one person. Raises MailRefused on CR, LF or NUL where a header could be split."""

    delivery: DeliveryId
    request: RequestId
    """The request it goes in; every attempt has its own, so that a report tells which one arrived."""
    kind: Kind
    to: str
    subject: str
    html: str
    text: str
    sender: Sender
    headers: Mapping[str, str]
    at: datetime = field(compare=False)
    pictures: tuple[Picture, ...] = ()
    """Those its text shows."""

    def __post_init__(self) -> None:
        """Check what becomes a header (CWE-93)."""
        for name, value in (
            ("To", self.to),
            ("Subject", self.subject),
            ("From", self.sender.name),
            *self.headers.items(),
        ):
            if _FORBIDDEN.search(value):
                raise MailRefused(f"The {name} of a mail holds a line break or NUL, which could smuggle in other headers.")

    @property
    def enclosed(self) -> tuple[Picture, ...]:
        """What goes out with it: its pictures, and in letters the logo, also in those that somebody tries out."""
        logo = self.sender.logo if self.kind is Kind.LETTER or f"cid:{LOGO}" in self.html else None
        return (logo, *self.pictures) if logo is not None else self.pictures

    @property
    def message_id(self) -> str:
        """The same on every attempt, so that a receiver can drop a repeated mail (RFC 5322 section 3.6.4)."""
        return f"<{self.delivery}@{self.sender.host}>"


def headers(sender: Sender, kind: Kind, delivery: DeliveryId, unsubscribe: str | None) -> dict[str, str]:
    """The headers of every mail: RFC 8058 and RFC 2369 (leaving), RFC 2919 (List-Id), RFC 3834 (no auto-replies).

    `unsubscribe`: the reader's link; None for a notice to the therapist, who is on no list.
    """
    found = {"Message-ID": f"<{delivery}@{sender.host}>", "Auto-Submitted": "auto-generated"}
    if unsubscribe is not None:
        found |= {
            "List-Unsubscribe": f"<{unsubscribe}>, <mailto:{sender.reply_to}?subject=unsubscribe>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "List-Id": f"<letters.{sender.host}>",
            # Google: up to three group ids and a sender id, never a value of one person.
            "Feedback-ID": f"{kind.value.replace('_', '-')}:nurture",
        }
    return found


def as_message(mail: Mail) -> EmailMessage:
    """The mail as MIME: text first, then HTML, lines within RFC 5322's 998 octets."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(mail.sender.name, addr_spec=mail.sender.email)
    message["To"] = mail.to
    message["Reply-To"] = mail.sender.reply_to
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(mail.at)
    for name, value in mail.headers.items():
        message[name] = value
    message["X-Nurture-Delivery"] = mail.delivery
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    for picture in mail.enclosed:
        parts: list[EmailMessage] = message.get_payload()  # type: ignore[assignment]
        parts[1].add_related(
            picture.content, "image", picture.subtype, cid=f"<{picture.cid}>", disposition="inline", filename=picture.file_name
        )
    return message


@dataclass(frozen=True, slots=True)
class Prepared:
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

    def prepare(self, mail: Mail) -> Prepared:
        """Build everything of a mail that can go wrong. What it raises concerns this mail alone, and nothing of it has left."""
        ...

    async def post(self, mails: Sequence[Prepared], within: float) -> Outcome:
        """Hand over one request and wait for its answer, at most `within` seconds in all. May raise only when it cannot be
        known whether a byte has left.
        """
        ...

    async def rest(self) -> None:
        """Give back connections, in the loop that used them. May be used again afterwards."""
        ...
