"""Checks of settings that become a line of a protocol: what an SMTP address or an HTTP header may hold. Nothing here is quoted
in an error, because the value may be a secret.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

SMTP_PORTS = {"smtp": 587, "smtps": 465}
_HOST = re.compile(r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?/?")
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_SMTP_PATH = re.compile(r"[\x21-\x3b\x3d\x3f-\x7e]{1,320}")


class ValueRefused(ValueError):
    """A value cannot be used; the message says what is wrong with it without quoting it."""


@dataclass(frozen=True)
class SmtpAddress:
    """Where and as whom an SMTP mailer delivers. `encrypted`: TLS from the first byte (port 465)."""

    host: str
    port: int
    user: str = field(repr=False)
    password: str = field(repr=False)
    encrypted: bool


def parse_smtp_url(text: str) -> SmtpAddress:
    """Read smtp://user:password@host:587 or smtps://…; user and password may hold any text, `%` written as %25.

    Everything before the last @ is user and password, so that `/`, `#`, `?` and `@` in a password need no escape. Raises
    ValueRefused.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator or scheme.lower() not in SMTP_PORTS:
        raise ValueRefused("does not begin with smtp:// or smtps://")
    credentials, _, place = rest.rpartition("@")
    found = _HOST.fullmatch(place)
    if found is None:
        raise ValueRefused("names no mail server: after the last @ a host name in ASCII, and perhaps a port, is expected")
    port = int(found["port"]) if found["port"] else SMTP_PORTS[scheme.lower()]
    if not 0 < port < 65536:
        raise ValueRefused("has a port that is not between 1 and 65535")
    user, _, password = credentials.partition(":")
    return SmtpAddress(
        found["host"].strip("[]").lower(),
        port,
        _decoded(user, "user name"),
        _decoded(password, "password"),
        scheme.lower() == "smtps",
    )


def write_smtp_url(address: SmtpAddress) -> str:
    """The same as one setting: what `parse_smtp_url` reads."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    who = f"{quote(address.user, safe='')}:{quote(address.password, safe='')}@" if address.user else ""
    return f"{'smtps' if address.encrypted else 'smtp'}://{who}{host}:{address.port}"


def _decoded(text: str, what: str) -> str:
    try:
        return smtp_credential(unquote_to_bytes(text).decode("utf-8"), what)
    except UnicodeDecodeError:
        raise ValueRefused(f"has a {what} whose %-escapes are not UTF-8") from None


def smtp_credential(text: str, what: str) -> str:
    """A user name or password for AUTH: any text but NUL and line breaks (RFC 4616 section 2). Raises ValueRefused."""
    if any(mark in text for mark in "\0\r\n"):
        raise ValueRefused(f"has a {what} with a line break or NUL in it")
    return text


def header_value(text: str) -> str:
    """A key for an HTTP header: white space around it is dropped, and what is left is visible ASCII. Raises ValueRefused."""
    key = text.strip()
    if not _VISIBLE_ASCII.fullmatch(key):
        raise ValueRefused("holds a line break, a space or a character that is not ASCII: copy it again")
    return key


def http_authority(text: str) -> str:
    """Host and perhaps port, as the Host header holds them (RFC 9110 section 7.2). Raises ValueRefused."""
    if not _HOST.fullmatch(text) or text.endswith("/"):
        raise ValueRefused("names no host: a host name in ASCII, and perhaps a port, is expected, without user or password")
    return text


def is_smtp_path(address: str) -> bool:
    """Whether an address can stand in MAIL FROM:<…> or RCPT TO:<…> without SMTPUTF8 (RFC 5321 section 4.1.2)."""
    return "@" in address and _SMTP_PATH.fullmatch(address) is not None
