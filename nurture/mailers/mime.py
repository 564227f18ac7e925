"""A mail's parts as bytes: header fields, encoded words, bodies. Pure; needs nothing but the standard library.

The library's `email` package refolds headers by its own rules: it has put the link of `List-Unsubscribe` into an encoded
word, where RFC 2047 section 5 forbids one, and its rules differ between Python versions. Here a field's value stands in the
mail as it was given, and is folded at white space only (RFC 5322 section 2.2.3).
"""

import re
from base64 import b64encode, encodebytes
from binascii import b2a_qp
from collections.abc import Sequence
from ipaddress import ip_address

LONGEST_LINE = 998
"""Octets of a line without its CRLF (RFC 5322 section 2.1.1)."""
WISHED_LINE = 76
"""Octets a line is folded to: RFC 2047 section 2 wants at most 76 where an encoded word stands, RFC 5322 at most 78."""
LONGEST_LIST_ID = 255
"""Octets (RFC 2919 section 6)."""
_LONGEST_ENCODED_WORD = 75
_AROUND = len("=?utf-8?q??=")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
"""A phrase that needs no quotes (RFC 5322 section 3.2.3, atext)."""
_LITERAL_IN_Q = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
"""What stands for itself in the Q encoding inside a phrase (RFC 2047 section 5, rule 3)."""


def field(name: str, *words: str) -> bytes:
    """A header field: its words with one space between them, folded where a line would grow longer than WISHED_LINE.

    A word is never divided. One that is too long for any line stays beside what precedes it.
    """
    lines, line = list[str](), f"{name}:"
    for place, word in enumerate(words):
        if len(line) + 1 + len(word) > WISHED_LINE and (place or len(word) < WISHED_LINE):
            lines.append(line)
            line = ""
        line += f" {word}"
    return "\r\n".join([*lines, line, ""]).encode("ascii")


def structured(name: str, value: str) -> bytes:
    """A header field whose value is written as it is."""
    return field(name, *value.split(" "))


def subject(text: str) -> bytes:
    """The Subject field: literal if it is plain ASCII that no reader could take for an encoded word, else encoded."""
    if _literal(text):
        return structured("Subject", text)
    return field("Subject", *encoded_words(text, len("Subject: ")))


def mailbox(name: str, display_name: str, address: str) -> bytes:
    """A field with one mailbox, such as From (RFC 5322 section 3.4)."""
    if not display_name:
        return field(name, address)
    if not _literal(display_name):
        words = encoded_words(display_name, len(f"{name}: "))
    elif _ATOMS.fullmatch(display_name):
        words = display_name.split(" ")
    else:
        quoted = re.sub(r'(["\\])', r"\\\1", display_name)
        words = f'"{quoted}"'.split(" ")
    return field(name, *words, f"<{address}>")


def _literal(text: str) -> bool:
    """Whether text survives as it is: ASCII, single spaces, no word longer than a line, nothing like an encoded word."""
    plain = text.isascii() and text.isprintable() and "=?" not in text
    return plain and (not text or all(0 < len(word) < 60 for word in text.split(" ")))


def encoded_words(text: str, before: int) -> list[str]:
    """Text as encoded words in UTF-8 (RFC 2047), in the shorter of the two encodings, never divided inside a character.

    `before`: octets that stand before the first word on its line.
    """
    quoted = [_q(character) for character in text]
    in_base64 = sum(map(len, quoted)) > _base64_size(len(text.encode()))
    room = _LONGEST_ENCODED_WORD - _AROUND
    left = min(room, WISHED_LINE - before - _AROUND)
    chunks, chunk, used = [], "", 0
    for character, shown in zip(text, quoted, strict=True):
        size = len(character.encode()) if in_base64 else len(shown)
        total = used + size
        if chunk and (_base64_size(total) if in_base64 else total) > left:
            chunks.append(chunk)
            chunk, total, left = "", size, room
        chunk, used = chunk + character, total
    chunks.append(chunk)
    if in_base64:
        return [f"=?utf-8?b?{b64encode(chunk.encode()).decode()}?=" for chunk in chunks]
    return [f"=?utf-8?q?{''.join(map(_q, chunk))}?=" for chunk in chunks]


def _base64_size(octets: int) -> int:
    return (octets + 2) // 3 * 4


def _q(character: str) -> str:
    if character == " ":
        return "_"
    return "".join(chr(octet) if octet in _LITERAL_IN_Q else f"={octet:02X}" for octet in character.encode())


def text_part(text: str, subtype: str) -> bytes:
    """A text part in quoted-printable (RFC 2045 section 6.7). Any line end of `text` becomes CRLF."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    return b"".join(
        (
            field("Content-Type", f"text/{subtype};", 'charset="utf-8"'),
            field("Content-Transfer-Encoding", "quoted-printable"),
            b"\r\n",
            b2a_qp(plain, istext=True).replace(b"\n", b"\r\n"),
        )
    )


def picture_part(content: bytes, subtype: str, cid: str, file_name: str) -> bytes:
    """A picture that the HTML part shows by its Content-ID (RFC 2392)."""
    return b"".join(
        (
            field("Content-Type", f"image/{subtype}"),
            field("Content-Transfer-Encoding", "base64"),
            field("Content-Disposition", "inline;", f'filename="{file_name}"'),
            field("Content-ID", f"<{cid}>"),
            b"\r\n",
            encodebytes(content).replace(b"\n", b"\r\n"),
        )
    )


def multipart(kind: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    """Parts between boundaries, with the header fields of the whole (RFC 2046 section 5.1).

    `kind`: alternative or related. `boundary` must begin with `=_`, which neither quoted-printable nor base64 can produce.
    """
    words = ["multipart/related;", 'type="text/html";'] if kind == "related" else [f"multipart/{kind};"]
    begin = f"--{boundary}\r\n".encode()
    return b"".join(
        (
            field("Content-Type", *words, f'boundary="{boundary}"'),
            b"\r\n",
            *(begin + part + b"\r\n" for part in parts),
            f"--{boundary}--\r\n".encode(),
        )
    )


def id_domain(host: str) -> str:
    """A host as the right side of a Message-ID (RFC 5322 section 3.6.4): A-labels, an IPv6 address as a literal.

    Raises ValueError on a host that is none.
    """
    try:
        address = ip_address(host)
    except ValueError:
        # IDNA 2003 serves: an id only has to be unique and the same each time; links hold what the setting says.
        name = host.removesuffix(".").lower().encode("idna").decode()
        if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
            raise ValueError("not a host name") from None
        return name
    return f"[IPv6:{address.compressed}]" if address.version == 6 else address.compressed


def list_id(host: str) -> str:
    """The List-Id of the letters of a host, at most LONGEST_LIST_ID octets between the brackets (RFC 2919 section 2).

    An address is no domain name: such a list is unmanaged, in the name space `localhost`. Raises ValueError.
    """
    name = id_domain(host)
    if name.startswith("[") or name.replace(".", "").isdigit():
        name = "localhost"
    long = f"letters.{name}"
    return f"<{long if len(long) <= LONGEST_LIST_ID else f'l.{name}'}>"


_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_ODD_OCTETS = re.compile(rb"[^\t\r\n -~]")


def read_fields(raw: bytes) -> list[tuple[str, str]]:
    """The header fields of a finished mail, unfolded, nothing decoded. Raises ValueError naming what no mail of ours holds.

    Independent of what wrote them, so that it can check it.
    """
    if not raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n"):
        raise ValueError("a bare CR or LF")
    if _ODD_OCTETS.search(raw):
        raise ValueError("an octet that is no printable ASCII")
    if max(map(len, raw.split(b"\r\n"))) > LONGEST_LINE:
        raise ValueError("a line that is too long")
    found = []
    for line in _FIELD_END.split(raw.partition(b"\r\n\r\n")[0]):
        name, colon, value = line.decode("ascii").partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9-]+", name):
            raise ValueError("a header line without a name")
        found.append((name, value.replace("\r\n", "").removeprefix(" ")))
    return found
