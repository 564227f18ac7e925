"""An SMTP server of our own (aiosmtpd) on a real socket: plain, STARTTLS or SMTPS, every failure, and a ledger.

In a test:       with SmtpServer("starttls", auth=("user", "pass")) as server: send(server.url, trust=server.ca_file)
As a program:    python -m tests.servers.smtp --mode smtps --auth user:pass --ledger FILE --fault '{"at": "data", …}'
                 prints its URL, then the file of its CA certificate; read_ledger(FILE) tells what it took.

A mail is written to the ledger before its final reply: from then on it is the server's (RFC 5321 section 4.2.5).
"""

import argparse
import asyncio
import base64
import json
import os
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import quote

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers import Certificate, self_signed

Mode = Literal["plain", "starttls", "smtps"]
Stage = Literal["connect", "mail", "rcpt", "data"]
Deed = Literal["reply", "close", "reset", "hang"]
_STAGES, _DEEDS = ("connect", "mail", "rcpt", "data"), ("reply", "close", "reset", "hang")


@dataclass(frozen=True)
class ReceivedMail:
    """One mail that the server took, to one or more people."""

    mail_from: str
    """Envelope sender (RFC 5321 MAIL FROM)."""
    rcpt_tos: tuple[str, ...]
    """Envelope recipients."""
    raw: bytes
    """The mail as it came, dots unstuffed."""
    received_at: float
    """Unix seconds."""
    received_monotonic: float
    """`time.monotonic()`, the same for all processes of this machine."""
    connection: int
    """Which connection since the start brought it, from 1."""
    tls: bool
    user: str | None
    """Who had logged in."""

    @cached_property
    def message(self) -> EmailMessage:
        """Parsed by `email.policy.default`."""
        return message_from_bytes(self.raw, policy=policy.default)

    @property
    def message_id(self) -> str:
        """The Message-ID header, or an empty string."""
        return str(self.message["Message-ID"] or "")

    @property
    def subject(self) -> str:
        """The Subject header, decoded."""
        return str(self.message["Subject"] or "")

    def part(self, kind: Literal["plain", "html"]) -> str:
        """The decoded text of the first such part, or an empty string."""
        found = self.message.get_body((kind,))
        return str(found.get_content()) if found is not None else ""


def _line(mail: ReceivedMail) -> bytes:
    record = {
        "mail_from": mail.mail_from,
        "rcpt_tos": mail.rcpt_tos,
        "message_id": mail.message_id,
        "received_at": mail.received_at,
        "received_monotonic": mail.received_monotonic,
        "connection": mail.connection,
        "tls": mail.tls,
        "user": mail.user,
        "raw": base64.b64encode(mail.raw).decode(),
    }
    return json.dumps(record).encode() + b"\n"


def read_ledger(path: Path) -> list[ReceivedMail]:
    """The mails in a ledger file. A torn last line, of a killed server, never got a reply and does not count."""
    mails = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        record = json.loads(line)
        del record["message_id"]
        record |= {"rcpt_tos": tuple(record["rcpt_tos"]), "raw": base64.b64decode(record["raw"])}
        mails.append(ReceivedMail(**record))
    return mails


@dataclass(frozen=True)
class SmtpFault:
    """What goes wrong at a stage of a conversation; made by the functions below, or from JSON."""

    at: Stage
    does: Deed
    code: int = 451
    keeps: bool = False
    """At "data", that is after the final dot: whether the mail is in the ledger all the same."""
    recipient: str | None = None
    """At "rcpt": only for this address."""
    seconds: float | None = None
    """How long to hang before the connection is closed; None: until the client goes."""

    def __post_init__(self) -> None:
        """Refuse what a planned JSON fault cannot mean."""
        if self.at not in _STAGES or self.does not in _DEEDS:
            raise ValueError(f"A fault is at one of {', '.join(_STAGES)} and does one of {', '.join(_DEEDS)}.")
        if self.does == "reply" and not 400 <= self.code <= 599:
            raise ValueError(f"{self.code} is no failure. Use 400 to 599 (RFC 5321 section 4.2.1).")
        if self.keeps and self.at != "data":
            raise ValueError("A mail can only be kept at stage data: before, there is none.")


def refuse(at: Stage, code: int, recipient: str | None = None, keeps: bool = False) -> SmtpFault:
    """Reply 4yz (try later) or 5yz (never); `keeps`: at "data" and although the mail was taken."""
    return SmtpFault(at, "reply", code=code, recipient=recipient, keeps=keeps)


def disconnect(at: Stage, keeps: bool = False, reset: bool = False) -> SmtpFault:
    """Close the connection without a reply; `reset`: by RST; `keeps`: at "data" and after the mail was taken."""
    return SmtpFault(at, "reset" if reset else "close", keeps=keeps)


def hang(at: Stage, keeps: bool = False, seconds: float | None = None) -> SmtpFault:
    """No reply until the client goes, or the connection is closed after `seconds`."""
    return SmtpFault(at, "hang", keeps=keeps, seconds=seconds)


class _Conversation(SMTP):
    """One connection. A fault at "connect" comes where the greeting should be."""

    def __init__(self, server: "SmtpServer", starttls: ssl.SSLContext | None) -> None:
        super().__init__(
            _Hooks(server, self),
            hostname="localhost",
            ident="our SMTP server",
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=server._check_login if server.auth else None,
            loop=server._loop,
        )
        # Not by parameters: aiosmtpd warns of AUTH without TLS, and of TLS it knows only what it began by STARTTLS.
        self._auth_required = server.auth is not None
        self._auth_require_tls = starttls is not None
        self.server = server
        self.number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection once: after STARTTLS this is called again."""
        if not self.number:
            self.number = self.server._count_connection(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Over."""
        self.server._open.discard(self)
        super().connection_lost(error)

    async def _handle_client(self) -> None:
        fault = self.server._draw("connect")
        if fault is None:
            await super()._handle_client()
            return
        reply = await self.fail(fault)
        await self.push(reply)
        self.abort(reset=False)

    async def fail(self, fault: SmtpFault) -> str:
        """Go wrong as planned: the reply to give, or no return, because the connection ends and this with it."""
        if fault.does == "reply":
            return f"{fault.code} {'Try again later' if fault.code < 500 else 'No'}"
        if fault.does == "hang" and fault.seconds is None:
            await asyncio.Event().wait()
        elif fault.does == "hang":
            await asyncio.sleep(fault.seconds or 0)
        self.abort(reset=fault.does == "reset")
        await asyncio.Event().wait()  # aiosmtpd cancels the conversation when its connection is lost
        raise AssertionError("unreachable")

    def abort(self, reset: bool) -> None:
        """Close by FIN or by RST (socket(7), SO_LINGER with time 0)."""
        transport = self.transport
        if transport is None:
            return
        assert isinstance(transport, asyncio.Transport)
        if not reset:
            transport.close()
            return
        plain = transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class _Hooks:
    """Where aiosmtpd lets one in (its docs, "Handler hooks")."""

    def __init__(self, server: "SmtpServer", conversation: _Conversation) -> None:
        self._server, self._conversation = server, conversation

    async def handle_MAIL(self, _: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        """MAIL FROM."""
        fault = self._server._draw("mail")
        if fault is not None:
            return await self._conversation.fail(fault)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, _: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        """RCPT TO."""
        fault = self._server._draw("rcpt", address)
        if fault is not None:
            return await self._conversation.fail(fault)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """The final dot has arrived."""
        fault = self._server._draw("data")
        if fault is None or fault.keeps:
            self._server._keep(session, envelope, self._conversation.number)
        return "250 OK" if fault is None else await self._conversation.fail(fault)


class SmtpServer:
    """An SMTP server on 127.0.0.1 while the `with` block lasts.

    `url` holds user and password; `ca_file` is what a client must trust.
    """

    def __init__(
        self,
        mode: Mode = "plain",
        auth: tuple[str, str] | None = None,
        *,
        port: int = 0,
        ledger: Path | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """`auth`: user and password that every client must give (RFC 4954). `certificate`: by default a fresh one.

        `ledger`: file that each mail is appended to, as a line, before the final reply; an existing one is continued.
        """
        self.mode, self.auth = mode, auth
        self.connections = 0
        self.spent: Counter[str] = Counter()
        """Faults that came about, by stage and deed."""
        self._port, self._path, self._given = port, ledger, certificate
        self._certificate = certificate
        self._file: BinaryIO | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._mails: list[ReceivedMail] = []
        self._planned: list[SmtpFault] = []
        self._changed = threading.Condition()
        self._open: set[_Conversation] = set()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="smtp-server", daemon=True)

    # Life

    def __enter__(self) -> "SmtpServer":
        """Listen. Raises OSError if the port is taken."""
        if self.mode != "plain" and self._certificate is None:
            self._folder = tempfile.TemporaryDirectory(prefix="smtp-server-")
            self._certificate = self_signed(Path(self._folder.name))
        if self._path is not None:
            if self._path.exists():
                os.truncate(self._path, self._path.read_bytes().rfind(b"\n") + 1)
                self._mails = read_ledger(self._path)
            self._file = self._path.open("ab")
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exc: object) -> None:
        """Close every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._file is not None:
            self._file.close()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def url(self) -> str:
        """As `smtp://user:password@127.0.0.1:port`, or `smtps://…`."""
        who = f"{quote(self.auth[0], safe='')}:{quote(self.auth[1], safe='')}@" if self.auth else ""
        return f"{'smtps' if self.mode == 'smtps' else 'smtp'}://{who}127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def ca_file(self) -> Path | None:
        """PEM file that makes the server's certificate trusted; None without TLS."""
        return self._certificate.cert if self._certificate else None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(_quiet_ends)
        context = None
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate.cert, self._certificate.key)
        listening = await self._loop.create_server(
            lambda: _Conversation(self, context if self.mode == "starttls" else None),
            "127.0.0.1",
            self._port,
            ssl=context if self.mode == "smtps" else None,
            backlog=1024,
        )
        self._port = listening.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        listening.close()
        conversations = [one._handler_coroutine for one in self._open if one._handler_coroutine]
        for one in list(self._open):
            one.abort(reset=True)
        await asyncio.gather(*conversations, return_exceptions=True)  # aiosmtpd cancels those whose connection is lost

    # What a test asks

    @property
    def mails(self) -> list[ReceivedMail]:
        """Every mail taken, in order."""
        with self._changed:
            return list(self._mails)

    def wait_for(self, n: int, timeout: float = 10.0) -> list[ReceivedMail]:
        """Block until `n` mails are taken and return all. Raises TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._mails) >= n, timeout):
                raise TimeoutError(f"{len(self._mails)} mails were taken in {timeout} s, {n} were awaited.")
            return list(self._mails)

    def by_message_id(self) -> Counter[str]:
        """How often each Message-ID was taken; mails without one are counted under the empty string."""
        return Counter(mail.message_id for mail in self.mails)

    def duplicates(self) -> dict[str, int]:
        """Message-IDs taken more than once."""
        return {message_id: times for message_id, times in self.by_message_id().items() if times > 1}

    def to(self, address: str) -> list[ReceivedMail]:
        """The mails whose envelope holds that recipient."""
        return [mail for mail in self.mails if address.lower() in map(str.lower, mail.rcpt_tos)]

    def plan(self, *faults: SmtpFault) -> None:
        """What happens once each, in this order per stage, to whoever comes to that stage."""
        with self._changed:
            self._planned.extend(faults)

    def reset(self) -> None:
        """Forget mails, counts, faults and the ledger file's lines. Connections stay."""
        with self._changed:
            self._mails.clear()
            self._planned.clear()
            self.spent.clear()
            self.connections = 0
            if self._file is not None:
                self._file.truncate(0)

    # What the conversations ask

    def _count_connection(self, conversation: _Conversation) -> int:
        self._open.add(conversation)
        self.connections += 1
        return self.connections

    def _draw(self, stage: Stage, recipient: str | None = None) -> SmtpFault | None:
        with self._changed:
            for index, fault in enumerate(self._planned):
                wanted = fault.recipient is None or (recipient or "").lower() == fault.recipient.lower()
                if fault.at == stage and wanted:
                    self.spent[f"{fault.at} {fault.does}"] += 1
                    return self._planned.pop(index)
        return None

    def _check_login(self, _: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        given = (data.login.decode(), data.password.decode()) if isinstance(data, LoginPassword) else None
        if given is not None and given == self.auth:
            return AuthResult(success=True, auth_data=given[0])
        return AuthResult(success=False, handled=False)  # aiosmtpd replies 535

    def _keep(self, session: Session, envelope: Envelope, connection: int) -> None:
        assert isinstance(envelope.original_content, bytes)
        mail = ReceivedMail(
            mail_from=envelope.mail_from or "",
            rcpt_tos=tuple(envelope.rcpt_tos),
            raw=envelope.original_content,
            received_at=time.time(),
            received_monotonic=time.monotonic(),
            connection=connection,
            tls=self.mode == "smtps" or session.ssl is not None,
            user=session.auth_data if session.authenticated else None,
        )
        if self._file is not None:
            self._file.write(_line(mail))
            self._file.flush()  # to the kernel: survives the death of this process, which is what tests bring about
        with self._changed:
            self._mails.append(mail)
            self._changed.notify_all()


def _quiet_ends(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Connections that break off, also in a TLS handshake, are part of the tests, not news."""
    if not isinstance(context.get("exception"), (ssl.SSLError, ConnectionError)):
        loop.default_exception_handler(context)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers.smtp",
        description="An SMTP server with a ledger. Prints its URL, then the CA file, and serves until killed.",
        epilog="Example:  python -m tests.servers.smtp --mode starttls --auth me:secret --ledger /tmp/mails.jsonl",
    )
    parser.add_argument("--mode", choices=("plain", "starttls", "smtps"), default="plain")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="what clients must log in with")
    parser.add_argument("--ledger", type=Path, help="append each mail to this file before the final reply")
    parser.add_argument("--tls", type=Path, nargs=2, metavar=("CERT", "KEY"), help="PEM files instead of fresh ones")
    parser.add_argument(
        "--fault",
        type=json.loads,
        action="append",
        default=[],
        metavar="JSON",
        help='as {"at": "data", "does": "close"}',
    )
    given = parser.parse_args(arguments)
    user, _, password = (given.auth or "").partition(":")
    server = SmtpServer(
        given.mode,
        auth=(user, password) if given.auth else None,
        port=given.port,
        ledger=given.ledger,
        certificate=Certificate(*given.tls) if given.tls else None,
    )
    server.plan(*(SmtpFault(**fault) for fault in given.fault))
    with server:
        print(server.url, server.ca_file or "", sep="\n", flush=True)
        with suppress(KeyboardInterrupt):
            server._thread.join()


if __name__ == "__main__":
    main()
