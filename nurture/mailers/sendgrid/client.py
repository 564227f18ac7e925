"""The SDK's client over our own wire: for everything but sending mail.

The SDK's transport opens a TLS connection per call and has no time-out; `WireClient` replaces it behind the same surface.
Nothing here retries.
"""

import asyncio
import urllib.request
from collections.abc import Mapping
from typing import Any

from python_http_client.client import Client
from python_http_client.exceptions import HTTPError, err_dict

from nurture.mailers.http_connection import HttpClient, HttpResponse


class _Reply:
    """What python_http_client wants of an answer."""

    def __init__(self, answer: HttpResponse) -> None:
        self._answer = answer

    def getcode(self) -> int:
        return self._answer.status

    def read(self) -> bytes:
        return self._answer.body

    def info(self) -> Mapping[str, str]:
        return self._answer.headers


class WireClient(Client):  # type: ignore[misc]
    """python_http_client over a wire. A call raises what `Wire.send` raises, and python_http_client's HTTPError for every
    answer that is no success.

    Headers are copied per call: in the SDK they leak from one call to the next.
    """

    def __init__(self, wire: HttpClient, runner: asyncio.Runner, within: float, **values: Any) -> None:
        """`runner`: the loop the wire's connections live in; `within`: most seconds of a call in all; `values`: what
        python_http_client's Client takes.
        """
        super().__init__(**values)
        self._wire, self._runner, self._within = wire, runner, within

    def _build_client(self, name: str | None = None) -> "WireClient":
        return WireClient(
            self._wire,
            self._runner,
            self._within,
            host=self.host,
            version=self._version,
            request_headers=dict(self.request_headers),
            url_path=[*self._url_path, name] if name else self._url_path,
        )

    def _make_request(self, opener: object, request: urllib.request.Request, timeout: float | None = None) -> _Reply:
        body = request.data if isinstance(request.data, bytes) else b""
        headers = {"Host": self._wire.authority, **dict(request.header_items()), "Content-Length": str(len(body))}
        lines = [f"{request.get_method()} {request.full_url.removeprefix(self.host)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        answer = self._runner.run(self._wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body, self._within))
        if not 200 <= answer.status < 300:
            raise err_dict.get(answer.status, HTTPError)(answer.status, "", answer.body, answer.headers)
        return _Reply(answer)
