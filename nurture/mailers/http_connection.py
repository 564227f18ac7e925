"""HTTP/1.1 over kept connections, in one event loop, for the one request that must never be repeated unknowingly.

A general client hides what the ledger has to know: whether anything of a request was written, and when it is over in all.
Here a failure to connect raises `NotConnected`, and everything after that is in doubt until a whole answer has been read
(parsed by httptools). Nothing is repeated, redirected or reused after a rest.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httptools

from nurture import failpoints

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 1.0
"""A connection idle for longer is not used for a request: were it closed meanwhile, nobody could say what got through."""
_MOST_BYTES = 65536
_POST_HALF: failpoints.Point = "post.half"


class NotConnected(Exception):
    """No connection came about, so nothing of the request was written."""


class ConnectionLost(Exception):
    """The connection ended, or spoke something else than HTTP, before a whole answer was read."""


@dataclass
class HttpResponse:
    """A whole answer. Header names are lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    transport: asyncio.Transport

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[HttpResponse] | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.used = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def request(self, data: bytes, until: float) -> "asyncio.Future[HttpResponse]":
        self._answer = HttpResponse()
        self._parser = httptools.HttpResponseParser(self)
        self._waiting = self._loop.create_future()
        self._watch(until)
        if failpoints.chosen(_POST_HALF):
            half = len(data) // 2
            self.transport.write(data[:half])
            failpoints.point(_POST_HALF)
            data = data[half:]
        self.transport.write(data)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, AttributeError):  # AttributeError: spoken to before a request
            self._give_up(ConnectionLost())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        if len(self._answer.body) < self._most_bytes:
            self._answer.body += body

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        if self._answer.status < 200:  # 1xx: the answer proper is still to come (RFC 9110 section 15.2)
            self._answer = HttpResponse()
            return
        if not self._parser.should_keep_alive():
            self.transport.close()
        self.used = time.monotonic()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answer)
        self._waiting = None

    def connection_lost(self, error: Exception | None) -> None:
        self._give_up(ConnectionLost())
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self, until: float) -> None:
        """One timer, set anew only when it rings: nearly every answer is in time."""
        self._until = until
        if self._timer is not None and until < self._timer.when():
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if self._loop.time() < self._until:
            self._watch(self._until)
        else:
            self._give_up(TimeoutError())

    def _give_up(self, why: Exception) -> None:
        """End the connection, and the request that waits on it."""
        self.transport.abort()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(why)
        self._waiting = None

    @property
    def fresh(self) -> bool:
        return not self.transport.is_closing() and time.monotonic() - self.used <= IDLE_SECONDS


class HttpClient:
    """Requests to one origin. Connections belong to the event loop they were made in."""

    def __init__(
        self, origin: str, context: Callable[[], ssl.SSLContext] = ssl.create_default_context, most_bytes: int = _MOST_BYTES
    ) -> None:
        """`origin`: https://host[:port], http on loopback; `context`: whom to trust; `most_bytes`: how much of an answer's
        body is kept.
        """
        parts = urlsplit(origin)
        self._tls = parts.scheme == "https"
        self.host, self._port = parts.hostname or "", parts.port or (443 if self._tls else 80)
        self.authority = parts.netloc
        self._make_context, self._most_bytes = context, most_bytes
        self._context: ssl.SSLContext | None = None
        self._idle: list[_Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, data: bytes, within: float) -> HttpResponse:
        """One request, already written out, and its answer. Raises NotConnected, Lost, or TimeoutError after `within` s."""
        until = asyncio.get_running_loop().time() + within
        connection = await self._connection(min(CONNECT_SECONDS, within))
        try:
            answer = await connection.request(data, until)
        except BaseException:
            connection.transport.abort()  # whatever still comes belongs to no request
            raise
        if connection.fresh:
            self._idle.append(connection)
        return answer

    async def _connection(self, within: float) -> _Connection:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a new sender, or a child after a fork
            self._idle, self._loop = [], loop
        while self._idle:
            connection = self._idle.pop()
            if connection.fresh:
                return connection
            connection.transport.abort()
        try:
            tls: dict[str, Any] = {"ssl": self._trust(), "ssl_handshake_timeout": CONNECT_SECONDS} if self._tls else {}
            async with asyncio.timeout(within):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._most_bytes), self.host, self._port, **tls
                )
        except Exception as error:  # DNS, a name that is none, refused, time-out, TLS: the request has not begun
            raise NotConnected(type(error).__name__) from None
        return connection

    def _trust(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = self._make_context()
        return self._context

    async def aclose(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().transport.abort()
