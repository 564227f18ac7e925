"""The SDK's client over kept connections: for everything but sending mail.

The SDK's transport opens a TLS connection per call and has no time-out; `PooledClient` replaces it behind the same surface.
Nothing here retries.
"""

import threading
import time
import urllib.request
from collections.abc import Callable
from email.message import Message
from io import BytesIO
from typing import Any
from urllib.error import HTTPError

import urllib3
from python_http_client.client import Client
from python_http_client.exceptions import handle_error
from urllib3.connection import HTTPConnection, HTTPSConnection

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
IDLE_SECONDS = 1.0
"""A connection idle for longer is not used for a request: were it closed meanwhile, nobody could say what got through."""


class NotConnected(Exception):
    """No connection came about, so nothing of the request was written."""


def _connecting(connect: Callable[[], None]) -> None:
    try:
        connect()
    except Exception as error:  # DNS, refused, time-out, TLS: whatever it is, the request has not begun
        raise NotConnected(type(error).__name__) from None


class _PlainConnection(HTTPConnection):
    def connect(self) -> None:
        _connecting(super().connect)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        _connecting(super().connect)


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Reply:
    """What python_http_client wants of an answer."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer
        self._headers = Message()
        for name, value in answer.headers.items():
            self._headers[name] = value

    def getcode(self) -> int:
        return self._answer.status

    def read(self) -> bytes:
        return self._answer.data

    def info(self) -> Message:
        return self._headers


class Pool:
    """Keep-alive connections to one host, made anew after a fork and after idle time."""

    def __init__(self, host: str, size: int, read_seconds: float) -> None:
        """`host`: an origin; `size`: most connections; `read_seconds`: longest wait for the next byte."""
        self._host, self._size, self._read_seconds = host, size, read_seconds
        self._lock = threading.Lock()
        self._used = time.monotonic()
        self._pool: urllib3.HTTPConnectionPool | None = None

    def request(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """One request. Raises NotConnected if nothing of it was written, else what urllib3 raises."""
        with self._lock:
            if self._pool is None or time.monotonic() - self._used > IDLE_SECONDS:
                self.close()
                kind = _TlsPool if self._host.startswith("https://") else _PlainPool
                parts = urllib3.util.parse_url(self._host)
                timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=self._read_seconds)
                self._pool = kind(parts.host or "", parts.port, maxsize=self._size, block=True, timeout=timeout, retries=False)
            pool, self._used = self._pool, time.monotonic()
        path = url.removeprefix(self._host)
        answer = pool.urlopen(method, path, body=body, headers=headers, redirect=False, retries=False)
        with self._lock:
            self._used = time.monotonic()
        return answer

    def close(self) -> None:
        """Give back connections."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


class PooledClient(Client):  # type: ignore[misc]
    """python_http_client over the pool. Headers are copied per call: in the SDK they leak from one call to the next."""

    def __init__(self, pool: Pool, **values: Any) -> None:
        """`values`: what python_http_client's Client takes."""
        super().__init__(**values)
        self._pool = pool

    def _build_client(self, name: str | None = None) -> "PooledClient":
        return PooledClient(
            self._pool,
            host=self.host,
            version=self._version,
            request_headers=dict(self.request_headers),
            url_path=[*self._url_path, name] if name else self._url_path,
        )

    def _make_request(self, opener: object, request: urllib.request.Request, timeout: float | None = None) -> _Reply:
        data = request.data if isinstance(request.data, bytes) else b""
        answer = self._pool.request(request.get_method(), request.full_url, data, dict(request.header_items()))
        reply = _Reply(answer)
        if answer.status >= 400:
            raised = HTTPError(request.full_url, answer.status, answer.reason or "", reply.info(), BytesIO(answer.data))
            raise handle_error(raised)
        return reply
