"""What a setting's value must be, whichever door it came by: the environment, `.env` or the desk.

Each check returns the value as the service uses it, or raises ValueError with words that follow “which …” and repeat nothing
of the value, since it may be a secret.
"""

import re
import unicodedata
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, SecretStr

from nurture.characters import normalize
from nurture.setting_values import header_value, parse_smtp_url

_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of the text after them (Unicode Standard Annex 9)."""
_LONGEST_ADDRESS = 254
"""Octets of a mailbox in an SMTP path (RFC 5321 section 4.5.3.1.3, less its angle brackets)."""
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
"""A host name in ASCII: labels of at most 63 octets (RFC 1035 section 2.3.4), with the underscore that some networks use."""
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\]")
_MUST_BE_ENCODED = {"#": "%23", "/": "%2F", "?": "%3F", "@": "%40", "[": "%5B", "]": "%5D"}
_BROKERS = ("redis://", "rediss://", "redis+socket://", "amqp://", "amqps://")


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address stays on this machine (RFC 5735 section 3, RFC 4291 section 2.5.3)."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def line(text: str) -> str:
    """One line of text without anything unseen, in Unicode form NFC."""
    for mark in text:
        if unicodedata.category(mark) in _UNSEEN or ord(mark) & 0xFFFE == 0xFFFE:
            raise ValueError("holds a line break or a control character")
        if mark in _TURNING:
            raise ValueError("holds an invisible mark that turns the direction of the text")
    return normalize("NFC", text)


def header_text(text: str) -> str:
    """One line that becomes a part of a mail header, where “=?” begins encoded text (RFC 2047 section 2)."""
    if "=?" in text:
        raise ValueError("holds “=?”, which mail programs take for encoded text")
    return line(text)


def postal_lines(text: str) -> str:
    """A postal address: its lines become parts of one line."""
    return line(", ".join(part for part in (part.strip().rstrip(",") for part in text.splitlines()) if part))


def address(text: str) -> str:
    """One e-mail address without a name, an international domain as A-labels (RFC 5890 section 2.3.2.1)."""
    from email_validator import EmailNotValidError, validate_email  # here: it loads a DNS library

    if len(text) > _LONGEST_ADDRESS:
        raise ValueError("is not an e-mail address: it is longer than 254 characters")
    if "=?" in text:
        raise ValueError("is not an e-mail address: mail programs take “=?” for encoded text")
    if "<" in text:
        raise ValueError("is not a plain e-mail address: it has a name or angle brackets with it")
    if text.count("@") > 1 or any(mark in text for mark in ",;"):
        raise ValueError("is not one e-mail address")
    try:
        found = validate_email(
            normalize("NFC", text),
            check_deliverability=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_smtputf8=False,
            test_environment=True,
        )
    except EmailNotValidError:
        raise ValueError("is not an e-mail address that every mail server takes") from None
    return found.ascii_email or found.normalized


def _a_label(host: str) -> str:
    import idna  # here: only who has an international name waits for its tables

    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError("holds a host that is no domain name") from None


def _port(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,5}", text) and int(text) < 65536 else None


def _server(text: str, what: str) -> tuple[str, str]:
    """Host (international ones as A-labels) and “:port” or nothing. `what` it is for, in the words of a refusal."""
    found = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", text, re.DOTALL)
    if not found:
        raise ValueError(f"is not {what}: its host cannot be read")
    if found[2] is not None and not _port(found[2]):
        raise ValueError(f"is not {what}: its port is no number from 1 to 65535")
    host = _a_label(found[1])
    if (host and not (_HOST if host.startswith("[") else _NAME).fullmatch(host)) or len(host) > 253:
        raise ValueError(f"is not {what}: its host holds a character that no host has")
    return host, f":{found[2]}" if found[2] else ""


def origin(text: str) -> str:
    """Scheme, host and port of a site, and nothing else; an international host as A-labels."""
    if any(mark.isspace() or unicodedata.category(mark) in _UNSEEN for mark in text):
        raise ValueError("is not a web address: it holds a space or a line break")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is not a web address") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("is not a web address")
    if "@" in parts.netloc:
        raise ValueError("is not a plain web address: it holds “@”")
    if parts.path not in ("", "/") or parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("is not only scheme, host and port: something follows them")
    host, port = _server(parts.netloc.lower(), "a web address")
    if not host:
        raise ValueError("is not a web address")
    return f"{parts.scheme}://{host}{port}"


def path(given: Path) -> Path:
    """A file or folder, as the operating system takes it."""
    if str(given).startswith("~"):
        raise ValueError("begins with “~”, which only a shell replaces")
    line(str(given))
    return given


def listen(text: str) -> str:
    """Address and port to listen on; port 0 lets the system choose one."""
    host, _, port = text.rpartition(":")
    if not _HOST.fullmatch(host) or _port(port) is None:
        raise ValueError("is not an address with a port")
    return text


def zone(text: str) -> str:
    """A name of the time zone database."""
    if text not in available_timezones():
        raise ValueError("is not a time zone")
    return text


def _credentials(rest: str) -> tuple[str, str]:
    """User and password with their “@” as they stand in a URL, and what follows. Raises ValueError if one must be encoded."""
    credentials, at, after = rest.rpartition("@")
    for mark, encoded in _MUST_BE_ENCODED.items():
        if mark in credentials:
            raise ValueError(f"is not readable: its user or password holds “{mark}”, to be written {encoded}")
    if re.search(r"%(?![0-9A-Fa-f]{2})", credentials):
        raise ValueError("is not readable: its user or password holds “%”, to be written %25")
    try:
        decoded = unquote(credentials, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("is not readable: what is percent-encoded in its user or password is not UTF-8") from None
    if any(unicodedata.category(mark) in _UNSEEN for mark in decoded):
        raise ValueError("is not usable: its user or password holds a line break or a control character")
    return credentials + at, after


def smtp_url(secret: SecretStr) -> SecretStr:
    """Where the smtp mailer delivers."""
    text = secret.get_secret_value().strip()
    parse_smtp_url(text)
    return SecretStr(text)


def broker(secret: SecretStr) -> SecretStr:
    """Where Redis or RabbitMQ is."""
    text = secret.get_secret_value().strip()
    if not text.startswith(_BROKERS):
        raise ValueError("is not a broker this service can use")
    if not text.startswith("redis+socket://"):
        server = _credentials(text.partition("://")[2])[1]
        _server(re.split(r"[/?]", server, maxsplit=1)[0], "a broker's URL")
    return SecretStr(text)


def database(secret: SecretStr) -> SecretStr:
    """A SQLite file, or a PostgreSQL database by psycopg. SQLAlchemy takes any character but “@” in a password."""
    text = secret.get_secret_value().strip()
    if text.startswith("sqlite:///"):
        if text.removeprefix("sqlite:///").partition("?")[0] in ("", ":memory:"):
            raise ValueError("is not a database this service can use: one in memory is gone with the process")
        if text.startswith("sqlite:///~"):
            raise ValueError("begins its path with “~”, which only a shell replaces")
        return SecretStr(line(text))
    if not text.startswith("postgresql+psycopg://"):
        raise ValueError("is not a database this service can use")
    rest = text.partition("://")[2]
    if rest.partition("?")[0].count("@") > 1:
        raise ValueError("is not readable: its user or password holds “@”, to be written %40")
    server, _, name = rest.rpartition("@")[2].partition("/")
    _server(server.partition("?")[0], "a database URL")
    if not name.partition("?")[0]:
        raise ValueError("is not a database URL: it names no database after the host")
    return SecretStr(text)


def key(secret: SecretStr) -> SecretStr:
    """A key that becomes part of an HTTP header; space around it is left out."""
    return SecretStr(header_value(secret.get_secret_value()))


def readable(secret: SecretStr) -> SecretStr:
    """A secret that can be encoded. It stays as it is, space around it too: other keys are derived from it."""
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8") from None
    return secret


def key_ring(secret: SecretStr) -> SecretStr:
    """Keys separated by commas, each at least 32 characters, none twice."""
    keys = split_keys(readable(secret))
    if any(len(each) < 32 for each in keys):
        raise ValueError("is not a key ring: one of its keys is shorter than 32 characters")
    if len(set(keys)) < len(keys):
        raise ValueError("is not a key ring: it holds the same key twice")
    return secret


def split_keys(ring: SecretStr) -> list[str]:
    """The keys of a ring, newest first."""
    return [part.strip() for part in ring.get_secret_value().split(",")]


def may_hold_secret(value: object) -> bool:
    """Whether something that was set to no secret setting looks like one: a URL with a password, or SendGrid's key."""
    return isinstance(value, str) and (("://" in value and "@" in value) or "SG." in value)


def ping_url(secret: SecretStr) -> SecretStr:
    """The web address of a monitor, which may be a secret; https outside this machine."""
    url = secret.get_secret_value().strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a web address") from None
    if not re.fullmatch(r"[!-~]+", url) or not host or parts.username or parts.fragment:
        raise ValueError("is not a web address")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError("is not an https address")
    return SecretStr(url)


def networks(text: str) -> str:
    """Addresses and networks (CIDR), separated by commas."""
    for part in filter(None, (each.strip() for each in text.split(","))):
        try:
            ip_network(part)
        except ValueError:
            raise ValueError("holds something that is no address and no network such as 10.0.0.0/8") from None
    return text


PLAIN = ("is ", "holds ", "begins ", "has ", "names ", "does not ")
"""How a reason begins that can follow “which”."""
PingUrl = Annotated[SecretStr, AfterValidator(ping_url)]
Line = Annotated[str, AfterValidator(line)]
HeaderText = Annotated[str, AfterValidator(header_text)]
PostalAddress = Annotated[str, AfterValidator(postal_lines)]
Address = Annotated[str, AfterValidator(address)]
Origin = Annotated[str, AfterValidator(origin)]
FilePath = Annotated[Path, AfterValidator(path)]
Listen = Annotated[str, AfterValidator(listen)]
Zone = Annotated[str, AfterValidator(zone)]
Networks = Annotated[str, AfterValidator(networks)]
Key = Annotated[SecretStr, AfterValidator(key)]
SecretKey = Annotated[SecretStr, AfterValidator(readable)]
KeyRing = Annotated[SecretStr, AfterValidator(key_ring)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(database)]
SmtpUrl = Annotated[SecretStr, AfterValidator(smtp_url)]
BrokerUrl = Annotated[SecretStr, AfterValidator(broker)]
