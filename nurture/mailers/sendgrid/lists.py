"""SendGrid's own suppression lists: whom it does not deliver to, whatever we think.

An address is in what these calls carry, and nowhere else: not in a message of ours, not in a log.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import count
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient

from nurture.errors import NurtureError
from nurture.mailers.http_connection import ConnectionLost, HttpClient, NotConnected
from nurture.mailers.sendgrid.client import WireClient
from nurture.mailers.sendgrid.mailer import rate_limit_wait

PAGE = 500
"""Most entries of one page (SendGrid's OpenAPI description, tsg_suppressions_v3)."""
_MOST_BYTES = PAGE * 16_384
"""Room for the reasons in a page of bounces, which quote whole SMTP answers."""
_REQUEST_SECONDS = 30.0
_LONGEST_WAIT = timedelta(minutes=2)
"""How long one page may wait, in all, for SendGrid's rate limit."""
_KEY_REFUSED = timedelta(hours=1)


class ListName(StrEnum):
    """SendGrid's lists, by the names in its API. `blocks` is none of them: a block is of one mail, not of an address."""

    BOUNCES = "bounces"
    INVALID_EMAILS = "invalid_emails"
    SPAM_REPORTS = "spam_reports"
    UNSUBSCRIBES = "unsubscribes"


@dataclass(frozen=True)
class SuppressionEntry:
    """One line of a list."""

    address: str = field(repr=False)
    """As SendGrid has it; empty if the line cannot be read."""
    created: datetime
    """When it came onto the list, real time to the second (UTC)."""


class ListsFailed(NurtureError):
    """SendGrid did not do, or did not say, what it was asked. Whether it did is unknown; asking again does no harm."""

    def __init__(self, why: str, wait: timedelta = timedelta()) -> None:
        """`why`: in words without any address; `wait`: before that (real time) asking again is of no use."""
        super().__init__(f"SendGrid's suppression lists: {why}. It is asked again later.")
        self.why, self.wait = why, wait


class RateLimited(ListsFailed):
    """Too many requests: after `wait` there may be more."""


class ListRequestRejected(ListsFailed):
    """SendGrid will not take this request as it is; another one it might."""

    def __init__(self, status: int) -> None:
        """`status`: of the answer."""
        super().__init__(f"{status} from SendGrid")
        self.status = status


def _failure(status: int, headers: Mapping[str, str], now: datetime) -> ListsFailed:
    if status == 429:
        return RateLimited("429 rate limit", rate_limit_wait(headers, now))
    if status in (401, 403):
        return ListsFailed(f"{status} the API key was refused: it needs full access to Suppressions", _KEY_REFUSED)
    if status >= 500 or status < 400:
        return ListsFailed(f"{status} from SendGrid")
    return ListRequestRejected(status)


class SuppressionApi:
    """A conversation about the lists, over one kept connection, for one thread: `with Lists(…) as lists`."""

    def __init__(
        self,
        api_key: str,
        host: str,
        now: Callable[[], datetime],
        pause: Callable[[float], bool],
        within: float = _REQUEST_SECONDS,
    ) -> None:
        """`host`: origin of the API; `now`: real time, for `X-RateLimit-Reset`; `pause`: waits for real seconds, and is True
        if the wait was broken off; `within`: most seconds of one request in all.
        """
        self._now, self._pause = now, pause
        self._wire, self._runner = HttpClient(host, most_bytes=_MOST_BYTES), asyncio.Runner()
        headers = SendGridAPIClient(api_key, host=host)._default_headers
        self._client = WireClient(self._wire, self._runner, within, host=host, version=3, request_headers=headers)

    def __enter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give back the connection."""
        self._runner.run(self._wire.aclose())
        self._runner.close()

    def suppressed(self, name: ListName, start: datetime, end: datetime) -> Iterator[SuppressionEntry]:
        """Who came onto a list from `start` to `end` (real time; the seconds of both belong to it), page by page.

        While it is read, entries may be taken away, and then others slip past between two pages: read overlapping spans.
        A rate limit is waited for, within bounds. Raises ListsFailed, possibly after some entries.
        """
        span = {"start_time": int(start.timestamp()), "end_time": int(end.timestamp()), "limit": PAGE}
        for offset in count(0, PAGE):
            page = self._page(name, {**span, "offset": offset})
            yield from (_entry(line, end) for line in page)
            if len(page) < PAGE:
                return

    def _page(self, name: ListName, query: Mapping[str, int]) -> list[Any]:
        waited = timedelta()
        while True:
            try:
                said = self._ask(self._client.suppression._(name.value).get, query_params=dict(query))
                break
            except RateLimited as limited:
                waited += limited.wait
                if waited > _LONGEST_WAIT or self._pause(limited.wait.total_seconds()):
                    raise
        try:
            page = json.loads(said)
        except ValueError:
            page = None
        if not isinstance(page, list):
            raise ListsFailed("an answer that cannot be read")
        return page

    def add(self, addresses: Sequence[str]) -> None:
        """Have SendGrid deliver nothing to these addresses any more. Those on the list already stay. Raises ListsFailed."""
        self._ask(self._client.asm.suppressions._("global").post, request_body={"recipient_emails": list(addresses)})

    def remove(self, address: str) -> None:
        """Have SendGrid deliver to an address again; fine for one that is not on the list. Raises ListsFailed."""
        try:
            self._ask(self._client.asm.suppressions._("global")._(quote(address, safe="")).delete)
        except ListRequestRejected as rejected:
            if rejected.status != 404:
                raise

    def _ask(self, call: Callable[..., Any], **values: Any) -> bytes:
        """The body of a successful answer. `from None`: what the SDK raises quotes the answer, and so may hold an address."""
        try:
            said: bytes = call(**values).body
            return said
        except NotConnected as error:
            raise ListsFailed(f"no connection ({error})") from None
        except (ConnectionLost, TimeoutError, OSError) as error:
            raise ListsFailed(f"no answer ({type(error).__name__})") from None
        except HTTPError as error:
            raise _failure(error.status_code, error.headers, self._now()) from None


def _entry(line: Any, otherwise: datetime) -> SuppressionEntry:
    try:
        return SuppressionEntry(str(line["email"]), datetime.fromtimestamp(float(line["created"]), UTC))
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return SuppressionEntry("", otherwise)
