"""SendGrid's v3 API: the SDK builds the body, our own transport carries it, and every answer has a meaning.

The SDK's transport opens a TLS connection per call and has no time-out; `PooledClient` replaces it behind the same
surface. Nothing here retries: only the ledger decides whether a mail may be sent again.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from python_http_client.exceptions import HTTPError as Answered
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
from urllib3.exceptions import HTTPError as TransportError

from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused, Rejected
from nurture.mailers.base import Mail
from nurture.mailers.sendgrid.client import READ_SECONDS, NotConnected, Pool, PooledClient

_LEAST, _MOST = timedelta(seconds=1), timedelta(hours=1)
_KEY_REFUSED = timedelta(minutes=5)


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
        self._pool = Pool(host, connections, read_seconds)
        self._now = now
        self._api = SendGridAPIClient(api_key, host=host)
        headers = {**self._api._default_headers, "Content-Type": "application/json"}
        self._api.client = PooledClient(self._pool, host=host, version=3, request_headers=headers)

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
        except NotConnected as error:
            return Refused(f"no connection to SendGrid ({error})", wait=None)
        except (TransportError, OSError) as error:
            return Ambiguous(f"no answer from SendGrid ({type(error).__name__})")
        return meaning(reply.status_code, reply.headers, b"", self._now())

    def close(self) -> None:
        """Close kept connections."""
        self._pool.close()
