"""One SMTP conversation (RFC 5321) in the event loop. It knows how far it has come, and has no time-out of its own: whoever
holds it puts one deadline over everything (asyncio.timeout), so that a server that sends a byte a second ends too.

Not smtplib: its time-out is for each read, so that a conversation has no end, and it logs in with ASCII passwords only.
"""

import asyncio
import hmac
import re
import socket
import ssl
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import Any

from nurture.domain.refusals import Stage
from nurture.setting_values import SmtpAddress

_MOST_LINE, _MOST_LINES = 4096, 200
_CONNECT_SECONDS = 10.0
"""For each of a host's addresses, so that one that does not answer leaves time for the next."""
_ENHANCED = re.compile(rb"(?:#)?([245]\.\d{1,3}\.\d{1,3})\b")
_FULL_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class NoSmtp(Exception):
    """The connection ended, or the server spoke something that is no SMTP; the message says what, in few plain words."""


@dataclass(frozen=True)
class Reply:
    """A whole reply. `enhanced`: its code of RFC 3463, or empty; `words`: the rest of all lines, as the server wrote it."""

    code: int
    enhanced: str
    words: str


class ServerRefused(Exception):
    """The server replied 4yz or 5yz."""

    def __init__(self, stage: Stage, reply: Reply) -> None:
        """`stage`: what it replied to."""
        super().__init__()
        self.stage, self.reply = stage, reply


class _Lines(asyncio.Protocol):
    """Bytes out, lines in."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    @property
    def has_unread(self) -> bool:
        return bool(self._buffer)

    async def line(self) -> bytes:
        """The next line without its end. Raises NoSmtp."""
        while (end := self._buffer.find(b"\n")) < 0:
            if self.lost:
                raise NoSmtp("SMTPServerDisconnected")
            if len(self._buffer) > _MOST_LINE:
                raise NoSmtp("a line without end")
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line


class Conversation:
    """A conversation with one server, from its greeting on: `await Conversation.start(…)`."""

    def __init__(self, lines: _Lines) -> None:
        """`lines`: a connection that stands."""
        self._lines = lines
        self._extensions: dict[str, str] = {}
        self.stage = Stage.CONNECT

    @classmethod
    async def start(cls, address: SmtpAddress, trust: ssl.SSLContext, may_be_plain: bool) -> "Conversation":
        """Connect, greet, encrypt and log in. `may_be_plain`: without TLS if the server offers none.

        Raises OSError, NoSmtp or ServerRefused; nothing is left open then.
        """
        conversation = cls(await _connect(address, trust))
        try:
            await conversation._open(address, trust, may_be_plain)
        except BaseException:
            conversation.abort()
            raise
        return conversation

    async def _open(self, address: SmtpAddress, trust: ssl.SSLContext, may_be_plain: bool) -> None:
        self._expect(await self._reply(), Stage.CONNECT)
        await self._greet()
        if not address.encrypted:
            await self._encrypt(address.host, trust, may_be_plain)
        if address.user:
            await self._log_in(address.user, address.password)

    async def _greet(self) -> None:
        self.stage = Stage.EHLO
        reply = await self._ask(f"EHLO {self._own_name()}")
        if reply.code in (500, 502):  # RFC 5321 section 3.2: a server that knows HELO only
            reply = await self._ask(f"HELO {self._own_name()}")
        self._expect(reply, Stage.EHLO)
        offered = [re.split(r"[ =]", line, maxsplit=1) for line in reply.words.splitlines()[1:]]
        self._extensions = {}
        for name, *rest in offered:  # some servers say AUTH twice, once in the old form "AUTH=LOGIN"
            self._extensions[name.upper()] = " ".join([self._extensions.get(name.upper(), ""), *rest]).upper()

    def _own_name(self) -> str:
        """The full name of this machine, or its address as a literal (RFC 5321 section 4.1.3). Asks no name server."""
        name = socket.gethostname()
        if _FULL_NAME.fullmatch(name):
            return name
        own = self._lines.transport.get_extra_info("sockname")[0]
        return f"[IPv6:{own}]" if ":" in own else f"[{own}]"

    async def _encrypt(self, host: str, trust: ssl.SSLContext, may_be_plain: bool) -> None:
        if "STARTTLS" not in self._extensions:
            if may_be_plain:
                return
            raise NoSmtp("SMTPNotSupported: the server offers no STARTTLS")
        self.stage = Stage.STARTTLS
        self._expect(await self._ask("STARTTLS"), Stage.STARTTLS)
        if self._lines.has_unread:  # what came before the handshake is nobody's word (RFC 3207 section 6)
            raise NoSmtp("the server spoke before the encryption began")
        loop, lines = asyncio.get_running_loop(), self._lines
        encrypted = await loop.start_tls(lines.transport, lines, trust, server_hostname=host)
        if encrypted is None:
            raise NoSmtp("SMTPServerDisconnected")
        lines.transport = encrypted
        await self._greet()

    async def _log_in(self, user: str, password: str) -> None:
        """Log in with UTF-8 (RFC 4616 section 2), by the first of these ways that the server offers."""
        self.stage = Stage.AUTH
        offered = self._extensions.get("AUTH", "").replace("=", " ").split()
        name, secret = user.encode(), password.encode()
        if "PLAIN" in offered:
            reply = await self._ask(f"AUTH PLAIN {_base64(b'%b%b%b%b' % (bytes(1), name, bytes(1), secret))}")
        elif "LOGIN" in offered:
            reply = await self._ask("AUTH LOGIN")
            for answer in (name, secret):
                if reply.code == 334:
                    reply = await self._ask(_base64(answer))
        elif "CRAM-MD5" in offered:
            reply = await self._ask("AUTH CRAM-MD5")
            if reply.code == 334:
                digest = hmac.new(secret, _challenge(reply.words), "md5").hexdigest()  # RFC 2195
                reply = await self._ask(_base64(name + b" " + digest.encode()))
        else:
            raise NoSmtp("the server offers no way to log in that we know: PLAIN, LOGIN or CRAM-MD5")
        self._expect(reply, Stage.AUTH)

    async def name_envelope(self, sender: str, recipient: str) -> None:
        """Say from whom and to whom, and ask to begin. Until this returns nothing of the mail has been sent.

        Raises NoSmtp or ServerRefused.
        """
        for stage, line in (
            (Stage.MAIL, f"MAIL FROM:<{sender}>"),
            (Stage.RCPT, f"RCPT TO:<{recipient}>"),
            (Stage.DATA, "DATA"),
        ):
            self.stage = stage
            self._expect(await self._ask(line), stage, 354 if stage is Stage.DATA else 250)

    async def send_mail(self, payload: bytes) -> None:
        """Send the mail with its final dot. When this raises NoSmtp, the mail may have been taken or not.

        Raises ServerRefused where it has definitely not.
        """
        self.stage = Stage.END
        stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in payload.split(b"\r\n"))
        self._lines.transport.write(stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n")
        self._lines.transport.write(b".\r\n")
        reply = await self._reply()
        if reply.code < 200 or 300 <= reply.code < 400:
            raise NoSmtp(f"{reply.code} after the mail")
        self._expect(reply, Stage.END)

    @property
    def is_open(self) -> bool:
        """Whether it stands, and the server has said nothing that nobody asked for, such as that it will close."""
        return not (self._lines.lost or self._lines.has_unread or self._lines.transport.is_closing())

    def end(self) -> None:
        """Say QUIT, wait for nothing, and close."""
        if not self._lines.transport.is_closing():
            self._lines.transport.write(b"QUIT\r\n")
            self._lines.transport.close()

    def abort(self) -> None:
        """Close at once, unless it is closing: what has not been sent is dropped."""
        if not self._lines.transport.is_closing():
            self._lines.transport.abort()

    async def _ask(self, line: str) -> Reply:
        self._lines.transport.write(line.encode("ascii") + b"\r\n")
        return await self._reply()

    async def _reply(self) -> Reply:
        """RFC 5321 section 4.2.1: lines of one code, "-" after it in all but the last."""
        words: list[bytes] = []
        enhanced = ""
        for _ in range(_MOST_LINES):
            line = await self._lines.line()
            if not re.match(rb"[1-5]\d\d(?:[ -]|$)", line):
                raise NoSmtp("a line that is no SMTP reply")
            said = line[4:]
            found = _ENHANCED.match(said) or (_ENHANCED.search(said) if b"#" in said else None)
            if found and found[1][:1] == line[:1]:
                enhanced = enhanced or found[1].decode()
                said = said[: found.start()] + said[found.end() :] if found.start() == 0 else said
            words.append(said.strip())
            if line[3:4] != b"-":
                return Reply(int(line[:3]), enhanced, b"\n".join(words).decode("utf-8", "replace"))
        raise NoSmtp("a reply without end")

    def _expect(self, reply: Reply, stage: Stage, code: int = 200) -> None:
        """Raises ServerRefused for 4yz and 5yz, and NoSmtp for what has no meaning here."""
        if reply.code >= 400:
            raise ServerRefused(stage, reply)
        if reply.code // 100 != code // 100:
            raise NoSmtp(f"{reply.code} in reply to {stage.value}")


async def _connect(address: SmtpAddress, trust: ssl.SSLContext) -> _Lines:
    """Try the host's addresses one after the other. Raises OSError (TimeoutError is one)."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    tls: dict[str, Any] = {"ssl": trust, "server_hostname": address.host} if address.encrypted else {}
    failure: OSError = OSError("no address")
    for family, _, _, _, place in found:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, lines = await loop.create_connection(_Lines, str(place[0]), address.port, family=family, **tls)
                return lines
        except OSError as error:
            failure = error
    raise failure


def _challenge(words: str) -> bytes:
    try:
        return b64decode(words, validate=True)
    except (NotBase64, ValueError):
        raise NoSmtp("a challenge that is no Base64") from None


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
