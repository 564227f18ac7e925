"""SendGrid's v3 API: the SDK builds the body, our own transport carries it, and every answer has a meaning.

The SDK's transport opens a TLS connection per call and has no time-out; `_PooledClient` replaces it behind the same
surface. Nothing here retries: only the ledger decides whether a mail may be sent again.
"""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.message import Message
from io import BytesIO
from typing import Any
from urllib.error import HTTPError

import urllib3
from python_http_client.client import Client
from python_http_client.exceptions import HTTPError as Answered
from python_http_client.exceptions import handle_error
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import (
    ClickTracking,
    Content,
    CustomArg,
    From,
    Ganalytics,
    Header,
    OpenTracking,
    ReplyTo,
    Subject,
    SubscriptionTracking,
    To,
    TrackingSettings,
)
from sendgrid.helpers.mail import Mail as Body
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError as TransportError

from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused, Rejected
from nurture.mailers.base import Mail

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
IDLE_SECONDS = 1.0
"""A connection idle for longer is not used for a request: were it closed meanwhile, nobody could say what got through."""
_LEAST, _MOST = timedelta(seconds=1), timedelta(hours=1)
_KEY_REFUSED = timedelta(minutes=5)


class _NotConnected(Exception):
    """No connection came about, so nothing of the request was written."""


def _connecting(connect: Callable[[], None]) -> None:
    try:
        connect()
    except Exception as error:  # DNS, refused, time-out, TLS: whatever it is, the request has not begun
        raise _NotConnected(type(error).__name__) from None


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


class _Pool:
    """Keep-alive connections to one host, made anew after a fork and after idle time."""

    def __init__(self, host: str, size: int, read_seconds: float) -> None:
        self._host, self._size, self._read_seconds = host, size, read_seconds
        self._lock = threading.Lock()
        self._used = time.monotonic()
        self._pool: urllib3.HTTPConnectionPool | None = None

    def request(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
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
        if self._pool is not None:
            self._pool.close()
            self._pool = None


class _PooledClient(Client):  # type: ignore[misc]
    """python_http_client over the pool. Headers are copied per call: in the SDK they leak from one call to the next."""

    def __init__(self, pool: _Pool, **values: Any) -> None:
        super().__init__(**values)
        self._pool = pool

    def _build_client(self, name: str | None = None) -> "_PooledClient":
        return _PooledClient(
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


def body(mail: Mail) -> Body:
    """The request body of one mail. All tracking is off; only random ids travel as metadata."""
    made = Body()
    made.from_email = From(mail.sender.email, mail.sender.name or None)
    made.reply_to = ReplyTo(mail.sender.reply_to)
    made.add_to(To(mail.to))
    made.subject = Subject(mail.subject)
    made.content = [Content("text/plain", mail.text), Content("text/html", mail.html)]
    for name, value in mail.headers.items():
        made.add_header(Header(name, value))
    # Events flatten custom_args among SendGrid's own fields, hence the prefix; `delivery_id` is our public contract.
    for name, value in (
        ("nurture_delivery_id", mail.delivery),
        ("nurture_batch_id", mail.batch),
        ("delivery_id", mail.delivery),
    ):
        made.add_custom_arg(CustomArg(name, value))
    made.tracking_settings = TrackingSettings(
        ClickTracking(False, False), OpenTracking(False), SubscriptionTracking(False), Ganalytics(False)
    )
    return made


def rate_limit_wait(headers: Any, now: datetime) -> timedelta:
    """How long to leave SendGrid alone after a 429, at least 1 s and at most 1 h.

    `X-RateLimit-Reset` is epoch seconds (SendGrid docs, "Rate limits"). Missing or unreadable: 60 s. Raises nothing.
    """
    value = str(headers.get("X-RateLimit-Reset") or "")
    if not value.isdigit() or len(value) > 11:
        return timedelta(seconds=60)
    return min(max(datetime.fromtimestamp(int(value), UTC) - now, _LEAST), _MOST)


def meaning(status: int, headers: Any, said: bytes, now: datetime) -> Outcome:
    """What an answer of `POST /v3/mail/send` means for the mails of the request.

    200 (sandbox) and 202 are the only successes. 5xx is ambiguous: "the request was valid, but an error occurred" may
    follow after the mail was queued (SendGrid docs, "Errors").
    """
    if status in (200, 202):
        return Accepted(headers.get("X-Message-Id"))
    if status == 429:
        return Refused("429 rate limit", rate_limit_wait(headers, now))
    if status in (401, 403):
        return Refused(f"{status} the API key was refused", _KEY_REFUSED)
    if status >= 500:
        return Ambiguous(f"{status} from SendGrid")
    return Rejected(f"{status} {_faults(said)}".strip())


def _faults(said: bytes) -> str:
    """The fields SendGrid complains about; its messages may quote an address, so they are left out."""
    try:
        errors = json.loads(said)["errors"]
        return ", ".join(sorted({str(error.get("field") or "request") for error in errors}))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


class SendGrid:
    """Carries mail by SendGrid, one request at a time per calling thread, over kept connections."""

    name = "sendgrid"
    gives_evidence = True
    repeats_safely = False

    def __init__(
        self, api_key: str, host: str, connections: int, now: Callable[[], datetime], read_seconds: float = READ_SECONDS
    ) -> None:
        """`connections`: most connections kept; `now`: real time, for `X-RateLimit-Reset`."""
        self._pool = _Pool(host, connections, read_seconds)
        self._now = now
        self._api = SendGridAPIClient(api_key, host=host)
        headers = {**self._api._default_headers, "Content-Type": "application/json"}
        self._api.client = _PooledClient(self._pool, host=host, version=3, request_headers=headers)

    def post(self, mails: Sequence[Mail], deadline: float) -> Outcome:
        """POST one mail. Whatever happens after the connection stands and before an answer is read is ambiguous."""
        (mail,) = mails
        try:
            request = body(mail).get()
        except (KeyError, TypeError, ValueError) as error:  # the SDK fails late and oddly on an address it cannot read
            return Rejected(f"the request could not be built ({type(error).__name__})")
        try:
            reply = self._api.send(request)
        except Answered as answered:
            return meaning(answered.status_code, answered.headers or {}, answered.body or b"", self._now())
        except _NotConnected as error:
            return Refused(f"no connection to SendGrid ({error})", wait=None)
        except (TransportError, OSError) as error:
            return Ambiguous(f"no answer from SendGrid ({type(error).__name__})")
        return meaning(reply.status_code, reply.headers, b"", self._now())

    def close(self) -> None:
        """Close kept connections."""
        self._pool.close()
