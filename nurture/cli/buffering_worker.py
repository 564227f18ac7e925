"""gunicorn's worker with threads, where a thread is given to a request only once all of the request has arrived.

A client that connects and says nothing, or a byte now and then, costs a socket and a deadline, and never a thread. One that
does not read its answer costs a thread for seconds.
"""

import errno
import re
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

HEADER_SECONDS = 10
"""From the connection, or the answer before, to the end of a request's headers."""
BODY_SECONDS = 30
"""From the end of the headers to the end of the body."""
SEND_SECONDS = 15
"""How long a client may take nothing of an answer."""
_BODY_BYTES_PER_SECOND = 32 * 1024
"""How much longer a large body may take."""
_MOST_HEADER_BYTES = 64 * 1024
_MOST_BODY_BYTES = 16 * 1024 * 1024
"""More than any page takes: what says it is larger gets its refusal without being read."""
_MOST_BYTES = 64 * 1024 * 1024
"""Held at once by one process for all that is still arriving; the largest goes when it is more."""
_MISSING_SECONDS = 5
"""How long a thread waits for what is missing all the same, such as the rest of a body nobody reads."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


@dataclass(eq=False)
class _Arriving:
    """A request of which not all is here yet. `needed`: bytes of head and body, None until the head is complete, or while only
    its end tells (chunks).
    """

    deadline: float
    received: bytearray = field(default_factory=bytearray)
    searched: int = 0
    """Bytes in which the end of the head does not begin."""
    head: int = 0
    needed: int | None = None

    def is_complete(self, now: float) -> bool:
        """Whether a thread can go on from here: all has arrived, or the thread will refuse it."""
        if not self.head:
            end = self.received.find(b"\r\n\r\n", self.searched)
            if end < 0:
                self.searched = max(0, len(self.received) - 3)
                return len(self.received) > _MOST_HEADER_BYTES
            self.head = end + 4
            head = bytes(self.received[: self.head])
            length = _LENGTH.search(head)
            self.needed = None if _CHUNKED.search(head) else self.head + (int(length[1]) if length else 0)
            body = self.needed - self.head if self.needed is not None else 0
            self.deadline = now + BODY_SECONDS + body / _BODY_BYTES_PER_SECOND
        if self.needed is None:
            return self.received.endswith(b"\r\n\r\n", self.head - 2) or len(self.received) > _MOST_BODY_BYTES
        return self.needed - self.head > _MOST_BODY_BYTES or len(self.received) >= self.needed


class _Unreader(SocketUnreader):  # type: ignore[misc]
    """Reads from a socket, for no longer than to `deadline`."""

    deadline = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """What has come. Raises ConnectionResetError after the deadline."""
        readable, _, _ = select.select([self.sock], [], [], max(0.0, self.deadline - time.monotonic()))
        if not readable:
            raise ConnectionResetError(errno.ECONNRESET, "the client fell silent")
        found: bytes = super().chunk(size_hint)
        return found


class BufferingWorker(ThreadWorker):  # type: ignore[misc]
    """Waits for whole requests in the loop that accepts connections."""

    def __init__(self, *given: Any, **named: Any) -> None:
        """See ThreadWorker."""
        super().__init__(*given, **named)
        self._arriving: dict[TConn, _Arriving] = {}

    def accept(self, listener: Any) -> None:
        """Take a connection, and wait for its first request."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", SEND_SECONDS, 0))
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.init()
        conn.parser.unreader = _Unreader(conn.sock)
        self.enqueue_req(conn)

    def enqueue_req(self, conn: TConn) -> None:
        """Wait for all of a request, then give it to a thread."""
        begun = _Arriving(time.monotonic() + HEADER_SECONDS, bytearray(conn.parser.unreader.take_buffered()))
        conn.sock.setblocking(False)
        self._arriving[conn] = begun
        self.poller.register(conn.sock, EVENT_READ, partial(self._receive, conn))
        if begun.received:
            self._look(conn)

    def _receive(self, conn: TConn, _socket: object) -> None:
        try:
            found = conn.sock.recv(64 * 1024)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            found = b""
        if not found:
            self._drop(conn)
            return
        self._arriving[conn].received += found
        self._look(conn)

    def _look(self, conn: TConn) -> None:
        if self._arriving[conn].is_complete(time.monotonic()):
            begun = self._forget(conn)
            conn.parser.unreader.unread(bytes(begun.received))
            conn.parser.unreader.deadline = time.monotonic() + _MISSING_SECONDS
            super().enqueue_req(conn)
        elif sum(len(each.received) for each in self._arriving.values()) > _MOST_BYTES:
            self._drop(max(self._arriving, key=lambda each: len(self._arriving[each].received)))

    def _forget(self, conn: TConn) -> _Arriving:
        self.poller.unregister(conn.sock)
        return self._arriving.pop(conn)

    def _drop(self, conn: TConn) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer a request. Raises ConnectionResetError when the client does not read."""
        try:
            return super().handle_request(req, conn)
        except BlockingIOError:  # SO_SNDTIMEO has passed
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read") from None

    def murder_pending(self) -> None:
        """Close what did not arrive in time; a worker that stops waits for nothing much longer."""
        now = time.monotonic()
        for conn, begun in list(self._arriving.items()):
            if not self.alive:
                begun.deadline = min(begun.deadline, now + STOP_KEEPALIVE_LINGER)
            if begun.deadline <= now:
                self._drop(conn)
