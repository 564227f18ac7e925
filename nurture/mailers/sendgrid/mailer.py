"""SendGrid's v3 API: the SDK builds the body, our own transport carries it, and every answer has a meaning.

The SDK's transport opens a TLS connection per call and has no time-out; `PooledClient` replaces it behind the same
surface. Nothing here retries: only the ledger decides whether a mail may be sent again.
"""

import json
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import orjson
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import (
    Attachment,
    ClickTracking,
    Content,
    ContentId,
    CustomArg,
    Disposition,
    FileName,
    FileType,
    From,
    Ganalytics,
    Header,
    MailSettings,
    OpenTracking,
    ReplyTo,
    SandBoxMode,
    Subject,
    SubscriptionTracking,
    To,
    TrackingSettings,
)
from sendgrid.helpers.mail import Mail as Body

from nurture.domain.delivery import Accepted, Ambiguous, Concern, DeliveryKind, Outcome, Refused, Rejected
from nurture.domain.refusals import outcome_of, sendgrid_rule
from nurture.domain.server_words import masked, private_parts
from nurture.ids import DeliveryId, RequestId
from nurture.mailers.base import InlineImage, Mail, MailRefused, PreparedMail, SenderIdentity
from nurture.mailers.http_connection import ConnectionLost, HttpClient, NotConnected
from nurture.setting_values import ValueRefused, header_value, http_authority
from nurture.settings import SettingRefused

_ACCEPTED = (200, 202)
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_LEAST, _MOST = timedelta(seconds=1), timedelta(hours=1)
_MOST_ERRORS = 5


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
    for picture in reversed(mail.enclosed):  # the SDK puts each before the one added last
        content, kind, name = b64encode(picture.content).decode(), FileType(f"image/{picture.subtype}"), picture.file_name
        made.add_attachment(Attachment(content, FileName(name), kind, Disposition("inline"), ContentId(picture.cid)))
    # Events flatten custom_args among SendGrid's own fields, hence the prefix; `delivery_id` is our public contract.
    for name, value in (
        ("nurture_delivery_id", mail.delivery),
        ("nurture_request_id", mail.request),
        ("delivery_id", mail.delivery),
    ):
        made.add_custom_arg(CustomArg(name, value))
    made.tracking_settings = TrackingSettings(
        ClickTracking(False, False), OpenTracking(False), SubscriptionTracking(False), Ganalytics(False)
    )
    return made


def rate_limit_wait(headers: Mapping[str, str], now: datetime) -> timedelta:
    """How long to leave SendGrid alone after a 429, at least 1 s and at most 1 h.

    `X-RateLimit-Reset` is epoch seconds (SendGrid docs, "Rate limits"). Missing or unreadable: 60 s. Raises nothing.
    """
    value = str(headers.get("x-ratelimit-reset") or "")
    if not value.isdigit() or len(value) > 11:
        return timedelta(seconds=60)
    return min(max(datetime.fromtimestamp(int(value), UTC) - now, _LEAST), _MOST)


def meaning(status: int, headers: Mapping[str, str], said: bytes, now: datetime, private: Iterable[str] = ()) -> Outcome:
    """What an answer of `POST /v3/mail/send` means for the mails of the request. `private`: what it may quote and is masked.

    200 (sandbox) and 202 are the only successes. 5xx is ambiguous: "the request was valid, but an error occurred" may
    follow after the mail was queued (SendGrid docs, "Errors"); and so is any other 2xx, which SendGrid does not give.
    """
    if status in _ACCEPTED:
        return Accepted(headers.get("x-message-id", "")[:120] or None)
    if status >= 500 or status < 300:
        return Ambiguous(f"{status} from SendGrid")
    if status == 429:
        return Refused("429 rate limit", rate_limit_wait(headers, now))
    errors = _errors(said)
    rule = sendgrid_rule(status, errors)
    fields = ", ".join(sorted({re.sub(r"\d+", "#", field) for field, _ in errors if field}))
    private = [*private]
    words = " ".join(masked(message, private, numbers=rule.concerns is Concern.SENDER) for _, message in errors)
    why = f"{status} {masked(fields)}".strip()
    return outcome_of(rule, f"{why}: {masked(words)}" if words else why, permanent=True)


def _errors(said: bytes) -> list[tuple[str, str]]:
    """The field and the message of each error in an answer, the first few; none where it is no such JSON, as after a 413."""
    try:
        errors = json.loads(said)["errors"]
        return [(str(error.get("field") or ""), str(error.get("message") or "")) for error in errors[:_MOST_ERRORS]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


@lru_cache(maxsize=32)  # with pictures one may be 700 kB
def _frame(
    sender: SenderIdentity, kind: DeliveryKind, header_names: tuple[str, ...], enclosed: tuple[InlineImage, ...]
) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """The SDK's body for mails of one sender that enclose the same: its pieces, every second one a gap, and the names of what
    goes into the gaps.

    The SDK's helper classes cost more than filling a whole letter, and only a dozen strings differ from mail to mail.
    """
    mark = f"nurture{secrets.token_hex(8)}"
    names = ["to", "subject", "text", "html", "delivery", "request", *header_names]
    stand_in = {name: f"{mark}_{number}_" for number, name in enumerate(names)}
    sample = Mail(
        DeliveryId(stand_in["delivery"]),
        RequestId(stand_in["request"]),
        kind,
        "to@example.org",
        stand_in["subject"],
        stand_in["html"],
        stand_in["text"],
        replace(sender, logo=None),
        {name: stand_in[name] for name in header_names},
        _ANY_TIME,
        enclosed,
    )
    written = json.dumps(body(sample).get()).replace('"to@example.org"', f'"{stand_in["to"]}"')
    pieces = re.split(rf'"{mark}_(\d+)_"', written)
    return tuple(piece.encode() for piece in pieces), tuple(names[int(number)] for number in pieces[1::2])


def pieces_of(mail: Mail) -> tuple[bytes, ...]:
    """The request body of one mail: what `body(mail).get()` says, in a tenth of the time. Raises orjson.JSONEncodeError for
    half a surrogate pair, which is no text.
    """
    values = {
        "to": mail.to,
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "delivery": mail.delivery,
        "request": mail.request,
        **mail.headers,
    }
    frame, names = _frame(mail.sender, mail.kind, tuple(mail.headers), mail.enclosed)
    pieces = list(frame)
    pieces[1::2] = [orjson.dumps(values[name]) for name in names]
    return tuple(pieces) if mail.enclosed else (b"".join(pieces),)  # pictures are shared by the mails that enclose them


def written(mail: Mail) -> bytes:
    """The same in one piece."""
    return b"".join(pieces_of(mail))


class SendGrid:
    """Carries mail by SendGrid, one mail a request, over kept connections."""

    name = "sendgrid"
    gives_evidence = True
    repeats_safely = False
    per_request = 1

    def __init__(self, api_key: str, host: str, now: Callable[[], datetime]) -> None:
        """`host`: origin of the API; `now`: real time, for `X-RateLimit-Reset`. Raises SettingRefused for a key or a host that
        cannot be part of a request's head.
        """
        try:
            api_key = header_value(api_key)
        except ValueRefused as refused:
            raise SettingRefused(f"NURTURE_SENDGRID_API_KEY {refused}.") from None
        self._wire = HttpClient(host)
        try:
            http_authority(self._wire.authority)
        except ValueRefused as refused:
            raise SettingRefused(f"NURTURE_SENDGRID_HOST {refused}. Set it to https://api.sendgrid.com.") from None
        self._key = api_key
        self._now = now
        api = SendGridAPIClient(api_key, host=host)
        headers = {"Host": self._wire.authority, **api._default_headers, "Content-Type": "application/json"}
        path = api.client.mail.send._build_url(None).removeprefix(host)
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "Content-Length: "]
        self._head = "\r\n".join(lines).encode()

    def prepare(self, mail: Mail) -> PreparedMail:
        """The request's body."""
        return PreparedMail(mail, pieces_of(mail))

    async def post(self, mails: Sequence[PreparedMail], within: float) -> Outcome:
        """POST one mail. Whatever happens after the connection stands and before an answer is read is ambiguous."""
        (prepared,) = mails
        return await self._send(prepared.content, within, prepared.mail.to)

    async def check(self, sender: SenderIdentity, within: float) -> Outcome:
        """Whether mail could leave: a mail to the sender itself in SendGrid's sandbox, which reads it and sends none
        (SendGrid docs, "Sandbox Mode"). At most `within` seconds.
        """
        try:
            sample = Mail(
                DeliveryId("0" * 32),
                RequestId("0" * 32),
                DeliveryKind.NOTICE,
                sender.email,
                "-",
                "<p>-</p>",
                "-",
                sender,
                {},
                _ANY_TIME,
            )
        except MailRefused as refused:
            return Rejected(str(refused))
        tried = body(sample)
        tried.mail_settings = MailSettings(sandbox_mode=SandBoxMode(True))
        return await self._send((orjson.dumps(tried.get()),), within, "")

    async def _send(self, content: Sequence[bytes], within: float, to: str) -> Outcome:
        head = b"%b%d\r\n\r\n" % (self._head, sum(map(len, content)))
        try:
            answer = await self._wire.send(b"".join((head, *content)), within)
        except NotConnected as error:
            return Refused(f"no connection to SendGrid ({error})", wait=None)
        except (ConnectionLost, TimeoutError, OSError) as error:
            return Ambiguous(f"no answer from SendGrid ({type(error).__name__})")
        private = () if answer.status in _ACCEPTED else {*private_parts(to), self._key}  # nothing of an acceptance is shown
        return meaning(answer.status, answer.headers, answer.body, self._now(), private)

    async def aclose(self) -> None:
        """Close kept connections."""
        await self._wire.aclose()
