"""Reads a mail from its bytes by the rules of the RFCs, and by nothing of the library that could have written it.

Strict: what a mail app could read in two ways is an AssertionError.
"""

import base64
import re
from dataclasses import dataclass

_ENCODED_WORD = re.compile(r"=\?([!#$%&'*+^_`{|}~0-9A-Za-z-]+)\?([bBqQ])\?([!->@-~]+)\?=")
_LOOKS_ENCODED = re.compile(r"=\?[^?]*\?[^?]*\?[^?]*\?=")


@dataclass(frozen=True)
class Field:
    """A header field; `value` is unfolded, nothing in it decoded."""

    name: str
    value: str
    lines: tuple[bytes, ...]


@dataclass(frozen=True)
class Part:
    """A MIME part, or a whole mail."""

    fields: tuple[Field, ...]
    body: bytes
    """Encoded, as it came."""

    def values(self, name: str) -> list[str]:
        return [field.value for field in self.fields if field.name.lower() == name.lower()]

    def value(self, name: str) -> str:
        (found,) = self.values(name)
        return found

    @property
    def content_type(self) -> str:
        return self.value("Content-Type").partition(";")[0]

    def parameter(self, field: str, name: str) -> str:
        """A quoted parameter of a field (RFC 2045 section 5.1)."""
        (found,) = re.findall(rf';\s*{name}="([^"\\]*)"', self.value(field))
        return str(found)

    def parts(self) -> list["Part"]:
        """The parts of a multipart (RFC 2046 section 5.1)."""
        boundary = self.parameter("Content-Type", "boundary").encode()
        assert 0 < len(boundary) <= 70
        pieces = re.split(rb"(?:^|\r\n)--" + re.escape(boundary) + rb"(--)?\r\n", self.body)
        assert pieces[0] == b"", "no preamble"
        assert pieces[-1] == b"", "no epilogue"
        assert pieces[1:-2:2] == [None] * (len(pieces) // 2 - 1), "one end"
        assert pieces[-2] == b"--"
        return [read(piece) for piece in pieces[2:-2:2]]

    def leaves(self) -> list["Part"]:
        """The parts that hold something, depth first."""
        if not self.content_type.startswith("multipart/"):
            return [self]
        return [leaf for part in self.parts() for leaf in part.leaves()]

    def content(self) -> bytes:
        """The decoded body."""
        assert all(len(line) <= 76 for line in self.body.split(b"\r\n"))
        if self.value("Content-Transfer-Encoding") == "base64":
            return base64.b64decode(self.body.replace(b"\r\n", b""), validate=True)
        assert self.value("Content-Transfer-Encoding") == "quoted-printable"
        return _quoted_printable(self.body)


def read(raw: bytes) -> Part:
    """A mail or part. Every line ends in CRLF, and is within 998 octets of printable ASCII (RFC 5322 section 2.1)."""
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", raw), "a bare CR or LF"
    assert not re.search(rb"[^\t\r\n\x20-\x7e]", raw), "not printable ASCII"
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    head, gap, body = raw.partition(b"\r\n\r\n")
    assert gap
    fields: list[list[bytes]] = []
    for line in head.split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            assert line.strip(), "a folded line of white space only (RFC 5322 section 3.2.2)"
            fields[-1].append(line)
        else:
            fields.append([line])
    return Part(tuple(_field(lines) for lines in fields), body)


def _field(lines: list[bytes]) -> Field:
    name, colon, value = b"".join(lines).decode("ascii").partition(":")
    assert colon
    assert re.fullmatch(r"[A-Za-z0-9-]+", name)
    assert value.startswith(" ")
    return Field(name, value[1:], tuple(lines))


def _quoted_printable(body: bytes) -> bytes:
    """RFC 2045 section 6.7; soft line breaks go, hard ones are CRLF."""
    assert not re.search(rb"[ \t](\r\n|$)", body), "white space at the end of a line is lost on the way"
    assert not re.search(rb"=(?![0-9A-F]{2}|\r\n)", body)
    plain = body.replace(b"=\r\n", b"")
    return re.sub(rb"=([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), plain)


def decoded(text: str) -> str:
    """Free text with its encoded words decoded, each by itself (RFC 2047); white space between two of them is dropped."""
    found, end, before = "", 0, False
    for word in _ENCODED_WORD.finditer(text):
        between = text[end : word.start()]
        assert len(word[0]) <= 75
        assert word[1].lower() == "utf-8"
        found += ("" if before and not between.strip() else between) + _word(word[2], word[3])
        end, before = word.end(), True
    rest = text[end:]
    assert not _LOOKS_ENCODED.search(rest), "an encoded word that is none by the letter of RFC 2047, yet some apps decode it"
    return found + rest


def _word(encoding: str, text: str) -> str:
    if encoding.lower() == "b":
        return base64.b64decode(text, validate=True).decode("utf-8")
    octets = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), text.replace("_", " ").encode())
    return octets.decode("utf-8")


def display_name(mailbox: str) -> tuple[str, str]:
    """Display name and address of a field with one mailbox (RFC 5322 section 3.4)."""
    if "<" not in mailbox:
        return "", mailbox
    shown, bracket, address = mailbox.rpartition("<")
    assert bracket
    assert address.endswith(">")
    shown = shown.strip()
    if shown.startswith('"'):
        assert re.fullmatch(r'"([^"\\]|\\.)*"', shown)
        assert not _LOOKS_ENCODED.search(shown), "in quotes it is no encoded word, yet some apps decode it"
        return re.sub(r"\\(.)", r"\1", shown[1:-1]), address[:-1]
    if not _ENCODED_WORD.search(shown):
        assert re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*", shown), "these marks need quotes"
    else:
        assert re.fullmatch(r"(=\?[^?\s]+\?([bB]\?[A-Za-z0-9+/=]+|[qQ]\?[A-Za-z0-9!*+/=_-]+)\?=\s*)+", shown), "RFC 2047, 5 (3)"
    return decoded(shown), address[:-1]


def check_lines(field: Field) -> None:
    """Lines within 78 octets, 76 with an encoded word, unless a line holds one word that cannot be divided."""
    for number, line in enumerate(field.lines):
        most = 76 if b"=?" in line else 78
        words = line.split() if number else line.partition(b":")[2].split()
        assert len(line) <= most or len(words) == 1, line
