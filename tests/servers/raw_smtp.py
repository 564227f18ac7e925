"""An SMTP server on plain sockets that keeps the exact bytes of every mail and answers as its script says.

In a test:       with RawSmtp() as server: send(server.url); server.mails[0].raw
Scripted:        server.answer("RCPT:robin@example.org", Answer("550 5.1.1 no such user"))
                 server.answer("MAIL", Answer("421 4.7.0 too busy", times=3, closes=True))
As a program:    python -m tests.servers.raw_smtp --folder FOLDER [--script FILE.json]
                 prints its URL; writes one FOLDER/0001.eml for each mail it took. The script is an object of lists:
                 {"RCPT:robin@example.org": [{"text": "550 5.1.1 no such user", "times": 2}]}

No mail library takes part: what the client wrote is what is kept, dots unstuffed (RFC 5321 section 4.5.2).
"""

import argparse
import base64
import binascii
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

STAGES = ("CONNECT", "EHLO", "HELO", "AUTH", "MAIL", "RCPT", "DATA", "END", "RSET", "NOOP", "QUIT")
"""Where a scripted answer can be given: CONNECT is the greeting, END the reply after the final dot."""
EXTENSIONS = ("SIZE 33554432", "8BITMIME", "ENHANCEDSTATUSCODES")


@dataclass(frozen=True)
class Answer:
    """One scripted reply."""

    text: str = ""
    """Without CRLF, which is added; several lines of one reply are separated by \\n, each with its code. Empty: no reply."""
    times: int | None = None
    """How often it is given before the next one is; None: always."""
    closes: bool = False
    """Whether the server closes the connection afterwards."""
    delay: float = 0.0
    """Seconds before it is given; ends early when the server stops."""
    keeps: bool | None = None
    """At END: whether the mail counts as taken; None: if the reply is 2yz."""


@dataclass(frozen=True)
class RawMail:
    """One mail, taken or refused after the final dot."""

    raw: bytes
    """The mail as it came on the wire, dots unstuffed."""
    mail_from: str
    """Reverse path: what stands between < and > at MAIL."""
    recipients: tuple[str, ...]
    """Forward paths that were accepted at RCPT."""
    connection: int
    """Which connection since the start brought it, from 1."""
    taken: bool


@dataclass(frozen=True)
class Line:
    """One line that a client sent outside of a mail."""

    connection: int
    raw: bytes
    """Without its line end."""


class _Closed(Exception):
    """The conversation is over."""


class RawSmtp:
    """The server; use it as a context manager. Everything public may be used from any thread, at any time."""

    def __init__(
        self,
        script: Mapping[str, Sequence[Answer]] | None = None,
        *,
        extensions: Sequence[str] = EXTENSIONS,
        port: int = 0,
        on_mail: Callable[[RawMail], None] = lambda mail: None,
    ) -> None:
        """`script`: by stage, or by stage and argument as in "RCPT:robin@example.org", which is looked at first.

        `extensions`: what EHLO offers, "AUTH PLAIN LOGIN" among them if a client should log in.
        `on_mail` is called before the final reply.
        """
        self._script: dict[str, list[Answer]] = {}
        self._given: dict[tuple[str, int], int] = {}
        self._extensions = tuple(extensions)
        self._on_mail = on_mail
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._mails: list[RawMail] = []
        self._lines: list[Line] = []
        self._logins: list[tuple[bytes, bytes]] = []
        self._threads: list[threading.Thread] = []
        self._open: dict[int, socket.socket] = {}
        self._connections = 0
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        for stage, answers in (script or {}).items():
            self.answer(stage, *answers)

    @property
    def url(self) -> str:
        """For `NURTURE_SMTP_URL`, without a log-in."""
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def mails(self) -> list[RawMail]:
        """The mails it took."""
        with self._changed:
            return [mail for mail in self._mails if mail.taken]

    @property
    def refused(self) -> list[RawMail]:
        """The mails it read to the final dot and did not take."""
        with self._changed:
            return [mail for mail in self._mails if not mail.taken]

    @property
    def lines(self) -> list[Line]:
        """Every command line, in the order of arrival; log-in lines too."""
        with self._changed:
            return list(self._lines)

    @property
    def logins(self) -> list[tuple[bytes, bytes]]:
        """User and password of each log-in, as bytes."""
        with self._changed:
            return list(self._logins)

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        with self._changed:
            return self._connections

    def answer(self, stage: str, *answers: Answer) -> None:
        """Answer like this from now on; with no answers as usual. Raises ValueError on an unknown stage."""
        if stage.partition(":")[0] not in STAGES:
            raise ValueError(f"{stage!r} is no stage. Use one of {', '.join(STAGES)}.")
        with self._changed:
            self._script[stage] = list(answers)
            self._given = {key: count for key, count in self._given.items() if key[0] != stage}

    def wait_for(self, count: int, within: float = 120.0) -> list[RawMail]:
        """Wait until it has taken `count` mails, at most `within` seconds. Raises AssertionError."""
        with self._changed:
            if not self._changed.wait_for(lambda: sum(mail.taken for mail in self._mails) >= count, within):
                raise AssertionError(f"{sum(mail.taken for mail in self._mails)} of {count} mails came in {within} s")
        return self.mails

    def __enter__(self) -> "RawSmtp":
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, end every conversation and wait for its thread."""
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            for connection in self._open.values():
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name="raw-smtp", daemon=True)
        with self._changed:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self._connections += 1
                number = self._connections
                self._open[number] = connection
            self._start(lambda number=number, connection=connection: self._converse(number, connection))  # type: ignore[misc]

    def _converse(self, number: int, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as reader:
                _Conversation(self, number, connection, reader).run()
        except (OSError, _Closed):
            pass
        finally:
            with self._changed:
                del self._open[number]

    # What a conversation asks of the server.

    def scripted(self, stage: str, argument: str) -> Answer | None:
        """The answer that is next for this stage, or None."""
        with self._changed:
            for key in (f"{stage}:{argument}", stage):
                for place, answer in enumerate(self._script.get(key, ())):
                    given = self._given.get((key, place), 0)
                    if answer.times is None or given < answer.times:
                        self._given[(key, place)] = given + 1
                        return answer
        return None

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the server stops."""
        if seconds:
            self._stopped.wait(seconds)

    def heard(self, line: Line) -> None:
        """Keep a command line."""
        with self._changed:
            self._lines.append(line)

    def logged_in(self, user: bytes, password: bytes) -> None:
        """Keep a log-in."""
        with self._changed:
            self._logins.append((user, password))

    def came(self, mail: RawMail) -> None:
        """Keep a mail."""
        self._on_mail(mail)
        with self._changed:
            self._mails.append(mail)
            self._changed.notify_all()

    @property
    def offered(self) -> tuple[str, ...]:
        """The extensions of EHLO."""
        return self._extensions


class _Conversation:
    """One connection, one command after the other."""

    def __init__(self, server: RawSmtp, number: int, connection: socket.socket, reader: BinaryIO) -> None:
        self._server, self._number, self._connection, self._reader = server, number, connection, reader
        self._mail_from = ""
        self._recipients: list[str] = []

    def run(self) -> None:
        self._reply("CONNECT", "", "220 raw.example ESMTP")
        while True:
            line = self._read_line()
            word, _, argument = line.decode("utf-8", "surrogateescape").strip().partition(" ")
            command = getattr(self, f"_{word.lower()}", None) if word.upper() in STAGES else None
            if command is None:
                self._say("502 5.5.1 not a command of this server")
            else:
                command(argument.strip())

    def _read_line(self) -> bytes:
        line = self._reader.readline()
        if not line.endswith(b"\n"):
            raise _Closed
        self._server.heard(Line(self._number, line.rstrip(b"\r\n")))
        return line

    def _say(self, text: str) -> None:
        self._connection.sendall(b"".join(line.encode() + b"\r\n" for line in text.split("\n")))

    def _reply(self, stage: str, argument: str, usual: str) -> bool:
        """Give the scripted reply or the usual one; whether it was positive (2yz or 3yz)."""
        answer = self._server.scripted(stage, argument) or Answer(usual)
        self._give(answer)
        return answer.text[:1] in ("2", "3")

    def _give(self, answer: Answer) -> None:
        self._server.pause(answer.delay)
        if answer.text:
            self._say(answer.text)
        if answer.closes:
            raise _Closed

    def _ehlo(self, argument: str) -> None:
        lines = ("raw.example", *self._server.offered)
        self._reply("EHLO", argument, "\n".join(f"250{'-' if line != lines[-1] else ' '}{line}" for line in lines))

    def _helo(self, argument: str) -> None:
        self._reply("HELO", argument, "250 raw.example")

    def _auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        try:
            if mechanism.upper() == "PLAIN":
                _, user, password = _decoded(initial or self._challenge("")).split(b"\0")
            else:
                user = _decoded(initial or self._challenge("Username:"))
                password = _decoded(self._challenge("Password:"))
        except (ValueError, binascii.Error):
            self._say("501 5.5.2 cannot read this")
            return
        self._server.logged_in(user, password)
        self._reply("AUTH", mechanism.upper(), "235 2.7.0 welcome")

    def _challenge(self, asked: str) -> str:
        self._say(f"334 {base64.b64encode(asked.encode()).decode()}")
        return self._read_line().decode("ascii").strip()

    def _mail(self, argument: str) -> None:
        path = _path(argument)
        if self._reply("MAIL", path, "250 2.1.0 ok"):
            self._mail_from, self._recipients = path, []

    def _rcpt(self, argument: str) -> None:
        path = _path(argument)
        if self._reply("RCPT", path, "250 2.1.5 ok"):
            self._recipients.append(path)

    def _data(self, argument: str) -> None:
        if not self._reply("DATA", argument, "354 go on"):
            return
        raw = b"".join(self._mail_lines())
        answer = self._server.scripted("END", self._recipients[0] if self._recipients else "") or Answer("250 2.0.0 queued")
        taken = answer.text.startswith("2") if answer.keeps is None else answer.keeps
        self._server.came(RawMail(raw, self._mail_from, tuple(self._recipients), self._number, taken))
        self._give(answer)

    def _mail_lines(self) -> Iterator[bytes]:
        while (line := self._reader.readline()) != b".\r\n":
            if not line:
                raise _Closed
            yield line[1:] if line.startswith(b".") else line

    def _rset(self, argument: str) -> None:
        self._mail_from, self._recipients = "", []
        self._reply("RSET", argument, "250 2.0.0 ok")

    def _noop(self, argument: str) -> None:
        self._reply("NOOP", argument, "250 2.0.0 ok")

    def _quit(self, argument: str) -> None:
        self._reply("QUIT", argument, "221 2.0.0 bye")
        raise _Closed


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _path(argument: str) -> str:
    """What stands between the first < and the last > of MAIL FROM:<…> or RCPT TO:<…>."""
    return argument.partition("<")[2].rpartition(">")[0]


@contextmanager
def served(script: Mapping[str, Sequence[Answer]], folder: Path, port: int = 0) -> Iterator[RawSmtp]:
    """A server that writes each mail it is sent as a file of its own: 0001.eml, or 0001.refused."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = iter(range(1, 1_000_000))

    def write(mail: RawMail) -> None:
        (folder / f"{next(numbers):04d}.{'eml' if mail.taken else 'refused'}").write_bytes(mail.raw)

    with RawSmtp(script, port=port, on_mail=write) as server:
        yield server


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    planned = json.loads(given.script.read_text()) if given.script else {}
    script = {stage: [Answer(**answer) for answer in answers] for stage, answers in planned.items()}
    with served(script, given.folder, given.port) as server:
        print(server.url, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
