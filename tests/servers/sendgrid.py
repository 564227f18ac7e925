"""A SendGrid of our own: `POST /v3/mail/send` on a real socket, its documented limits, its failures, and a ledger.

The ledger is the judge of "once": it is written before any answer and knows nothing of what the sender believes.
In a test:       with SendGridServer() as server: send(server.url); assert server.duplicates() == {}
As a program:    python -m tests.servers.sendgrid --port 0 --ledger FILE --latency-ms 50 --tls CERT KEY
                 prints its URL; other processes use RemoteSendGrid(url), that is GET /_ledger, POST /_faults …

Where SendGrid is known to be stricter than its OpenAPI file, or two of its pages differ, the stricter reading holds.
Sources: "errors" = twilio.com/docs/sendgrid/api-reference/mail-send/errors (2026-07), "limits" = …/limitations,
"OAI" = github.com/twilio/sendgrid-oai tsg_mail_v3.yaml, "SGDOCS" = github.com/sendgrid/docs, "live" = an answer of the
real API quoted in the thread named. A message with no source beside it is from "errors".
One asyncio loop in one thread serves all connections.
"""

import argparse
import asyncio
import base64
import gc
import json
import math
import os
import random
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from tests.servers.sendgrid_events import CALM, Chaos, EventSide, RemoteEventSide

Json = dict[str, Any]
Complaint = dict[str, str | None]
"""One entry of `errors` in a 400: message, field, help."""

KEY = "SG.test-key"
READ_ONLY_KEY = "SG.read-only-key"
"""Known, but without the permission to send: 403."""

MOST_BYTES = 30_000_000  # limits: 30 MB; the smaller reading of "MB"
MOST_PERSONALIZATIONS = 1_000
MOST_RECIPIENTS = 1_000
MOST_CUSTOM_ARGS_BYTES = 10_000  # OAI; "errors" says 50,000
MOST_SUBSTITUTIONS_BYTES = 10_000  # OAI
MOST_CATEGORIES, MOST_CATEGORY_LENGTH = 10, 255
MOST_AHEAD_SECONDS = 72 * 3600
_MOST_HEAD_BYTES = 65_536


# --- What SendGrid refuses -------------------------------------------------------------------------------------------

_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."
_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_LOCAL}(?:\.{_LOCAL})*@(?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])")
_HEADER_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 section 2.2: printable ASCII without colon and space
_BREAK = re.compile(r"[\r\n\0]")


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


_RESERVED = _words(
    "x-sg-id x-sg-eid received dkim-signature content-type content-transfer-encoding to from subject reply-to cc bcc"
)
_TOP = _words(
    "personalizations from reply_to reply_to_list subject content attachments template_id sections headers categories "
    "custom_args send_at batch_id asm ip_pool_name mail_settings tracking_settings"
)
_PERSONAL = _words("from to cc bcc subject headers substitutions dynamic_template_data custom_args send_at")
_TRACKING = _words("click_tracking open_tracking subscription_tracking ganalytics")
_MAIL_SETTINGS = _words(
    "bypass_list_management bypass_spam_management bypass_bounce_management bypass_unsubscribe_management footer "
    "sandbox_mode bcc spam_check"
)
_CONTENT_RANK = {"text/plain": 0, "text/html": 1}
_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


class _Complaints:
    """Collects what is wrong, in SendGrid's own shape."""

    def __init__(self) -> None:
        self.found: list[Complaint] = []

    def add(self, message: str, field: str | None, anchor: str | None = None) -> None:
        """`anchor`: the part of the errors page, by default the field without its indexes."""
        if anchor is None and field is not None:
            anchor = ".".join(part for part in field.split(".") if not part.isdigit())
        self.found.append({"message": message, "field": field, "help": _HELP + anchor if anchor else None})

    def check_text(self, value: str, field: str, anchor: str | None = None) -> None:
        """Complain of a lone surrogate, which JSON can escape but UTF-8 cannot hold."""
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                self.add("Invalid UTF8 in request.", field, anchor)

    def is_type(self, value: object, wanted: type, field: str) -> bool:
        """Whether `value` is of that JSON type; complains in the words of the live API (Stack Overflow 79524448)."""
        if type(value) is wanted:
            return True
        given = _JSON_TYPES.get(type(value), "null")
        self.add(f"Invalid type. Expected: {_JSON_TYPES[wanted]}, given: {given}.", field)
        return False


def complaints(mail: object, now: float) -> list[Complaint]:
    """Everything SendGrid would refuse in the body of a mail/send request, at `now` (unix seconds). Empty: valid."""
    wrong = _Complaints()
    if not isinstance(mail, dict):
        wrong.add("Bad Request", None)
        return wrong.found
    _known_keys(wrong, mail, _TOP, "")
    _personalizations(wrong, mail, now)
    if not isinstance(mail.get("from"), dict) or not mail["from"].get("email"):
        wrong.add(
            "The from object must be provided for every email send. It is an object that requires the email parameter, "
            "but may also contain a name parameter.",
            "from.email",
            "from",
        )
    else:
        _address(wrong, mail["from"], "from")
    _content(wrong, mail)
    if "reply_to" in mail and "reply_to_list" in mail:  # OAI: mutually exclusive
        wrong.add("reply_to and reply_to_list are mutually exclusive.", "reply_to_list", "reply_to")
    if "reply_to" in mail:
        _address(wrong, mail["reply_to"], "reply_to")
    if "reply_to_list" in mail and wrong.is_type(mail["reply_to_list"], list, "reply_to_list"):
        for index, address in enumerate(mail["reply_to_list"]):
            _address(wrong, address, f"reply_to_list.{index}")
    if "headers" in mail:
        _headers(wrong, mail["headers"], "headers")
    if "custom_args" in mail:
        _custom_args(wrong, mail["custom_args"], "custom_args")
    if "send_at" in mail:
        _send_at(wrong, mail["send_at"], "send_at", now)
    if "categories" in mail:
        _categories(wrong, mail["categories"])
    _settings(wrong, mail, "tracking_settings", _TRACKING)
    _settings(wrong, mail, "mail_settings", _MAIL_SETTINGS)
    _rest(wrong, mail)
    return wrong.found


def _known_keys(wrong: _Complaints, values: Json, known: frozenset[str], prefix: str) -> None:
    # The live API is said to ignore some unknown keys; a typing error that it ignores is still one of ours.
    for key in values.keys() - known:
        wrong.add(f"Additional property {key} is not allowed", prefix + key, "")


def _address(wrong: _Complaints, value: object, field: str, recipient: bool = False) -> str | None:
    """The address in lower case, or None if something is wrong with it.

    Non-ASCII is refused everywhere: "limits" says so of `from`; for recipients an IDN has to come as punycode (nothing
    in the docs promises more). Lengths: RFC 5321 section 4.5.3.1.
    """
    if not wrong.is_type(value, dict, field):
        return None
    assert isinstance(value, dict)
    email, name = value.get("email"), value.get("name")
    if email is None:
        wrong.add("The email parameter is required.", f"{field}.email", field.split(".")[0])
        return None
    if name is not None and wrong.is_type(name, str, f"{field}.name"):
        if recipient and (";" in name or "," in name):  # limits
            wrong.add("The name of a recipient must not contain ';' or ','.", f"{field}.name")
        if _BREAK.search(name):
            wrong.add("Cannot contain CRLF characters.", f"{field}.name")
        wrong.check_text(name, f"{field}.name")
    if not wrong.is_type(email, str, f"{field}.email"):
        return None
    if len(email) > 254 or email.find("@") > 64 or not _ADDRESS.fullmatch(email):
        wrong.add("Does not contain a valid address.", f"{field}.email")
        return None
    return str(email).lower()


def _personalizations(wrong: _Complaints, mail: Json, now: float) -> None:
    all_of_them = mail.get("personalizations")
    if not isinstance(all_of_them, list) or not all_of_them:
        wrong.add("The personalizations field is required and must have at least one personalization.", "personalizations")
        return
    if len(all_of_them) > MOST_PERSONALIZATIONS:
        wrong.add(
            "The personalization block is limited to 1000 personalizations per API request. You have provided "
            f"{len(all_of_them)} personalizations. Please consider splitting this into multiple requests and resending "
            "your request.",
            "personalizations",
        )
        return
    seen: Counter[str] = Counter()
    shared = mail.get("custom_args")
    for index, one in enumerate(all_of_them):
        field = f"personalizations.{index}"
        if wrong.is_type(one, dict, field):
            _personalization(wrong, one, field, seen, shared if isinstance(shared, dict) else {}, now)
    if sum(seen.values()) > MOST_RECIPIENTS:
        wrong.add("There is a limit of 1000 total recipients (to + cc + bcc) per request.", "personalizations")
    for address in [address for address, times in seen.items() if times > 1] if len(seen) < seen.total() else ():
        wrong.add(
            "Each unique email address in the personalizations array should only be included once. You have included "
            f"{address} more than once.",
            "personalizations",
            "recipient-errors",
        )


def _personalization(wrong: _Complaints, one: Json, field: str, seen: Counter[str], shared: Json, now: float) -> None:
    _known_keys(wrong, one, _PERSONAL, field + ".")
    if not isinstance(one.get("to"), list) or not one["to"]:
        wrong.add(
            "The to array is required for all personalization objects, and must have at least one email object with a "
            "valid email address.",
            f"{field}.to",
        )
    for kind in ("to", "cc", "bcc"):
        people = one.get(kind)
        if people is None or not wrong.is_type(people, list, f"{field}.{kind}"):
            continue
        for index, person in enumerate(people):
            address = _address(wrong, person, f"{field}.{kind}.{index}", recipient=True)
            if address is not None:
                seen[address] += 1
    if "from" in one:
        _address(wrong, one["from"], f"{field}.from")
    if "headers" in one:
        _headers(wrong, one["headers"], f"{field}.headers")
    if "custom_args" in one:
        _custom_args(wrong, one["custom_args"], f"{field}.custom_args", shared)
    if "substitutions" in one:
        _substitutions(wrong, one["substitutions"], f"{field}.substitutions")
    if "send_at" in one:
        _send_at(wrong, one["send_at"], f"{field}.send_at", now)


def _content(wrong: _Complaints, mail: Json) -> None:
    """Subject and content: required without a template, text/plain before text/html before others."""
    template = mail.get("template_id")
    personal = [one for one in mail.get("personalizations") or [] if isinstance(one, dict)]
    subjects = [("subject", mail["subject"])] if "subject" in mail else []
    subjects += [(f"personalizations.{n}.subject", one["subject"]) for n, one in enumerate(personal) if "subject" in one]
    for field, subject in subjects:
        if not isinstance(subject, str) or not subject:
            wrong.add("The subject of your email must be a string at least one character in length.", field, "subject")
            continue
        if _BREAK.search(subject):
            wrong.add("The subject cannot contain CRLF characters.", field, "subject")  # ours: header injection
        wrong.check_text(subject, field, "subject")
    if "subject" not in mail and template is None and not (personal and all("subject" in one for one in personal)):
        wrong.add(
            "The subject is required. You can get around this requirement if you use a template with a subject defined "
            "or if every personalization has a subject defined.",
            "subject",
        )
    content = mail.get("content")
    if content is None:
        if template is None:
            wrong.add(
                "The content param is required unless you are using a transactional template and have defined a template_ID.",
                "content",
            )
        return
    if not isinstance(content, list) or not content:
        wrong.add(
            "There must be at least one defined content block. We typically suggest both text/plain and text/html "
            "blocks are included, but only one block is required.",
            "content",
        )
        return
    before = 0
    for index, part in enumerate(content):
        field = f"content.{index}"
        if not wrong.is_type(part, dict, field):
            continue
        kind, value = part.get("type"), part.get("value")
        if not isinstance(kind, str) or not kind:
            wrong.add("Your content type must be a string with length of at least one character.", f"{field}.type")
            continue
        if any(mark in kind for mark in ";,\r\n"):
            wrong.add("Cannot contain ';', or CRLF characters.", f"{field}.type")
        if not isinstance(value, str) or not value:
            wrong.add("The content value must be a string at least one character in length.", f"{field}.value")
        else:
            wrong.check_text(value, f"{field}.value")
        rank = _CONTENT_RANK.get(kind, 2)
        if rank < before:
            wrong.add(
                "Following RFC 1341, section 7.2, if either text/html or text/plain are to be sent in your email: "
                "text/plain needs to be first, followed by text/html, followed by any other content.",
                "content",
                "content.value",
            )
        before = max(before, rank)


def _headers(wrong: _Complaints, headers: object, field: str) -> None:
    if not wrong.is_type(headers, dict, field):
        return
    assert isinstance(headers, dict)
    lower = {name.lower() for name in headers}
    if len(lower) < len(headers):
        wrong.add("The headers can't contain duplicate keys.", field, "headers")
    for name in sorted(lower & _RESERVED):
        wrong.add(f"Header can not be one of the reserved keys. You provided {name}.", field, "headers")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            wrong.add("Header keys can't contain non-ASCII characters and empty spaces.", field, "headers")
        if not isinstance(value, str):
            wrong.add("The header values must be strings.", f"{field}.{name}", "headers")
            continue
        if _BREAK.search(value):  # RFC 5322 section 2.2
            wrong.add("The header values cannot contain CRLF characters.", f"{field}.{name}", "headers")
        wrong.check_text(value, f"{field}.{name}", "headers")


def _all_strings(values: Json) -> bool:
    return all(type(value) is str for value in values.values())


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _check_size(wrong: _Complaints, values: Json, limit: int, message: str, field: str) -> None:
    try:
        size = len(_compact(values).encode())
    except UnicodeEncodeError:
        wrong.add("Invalid UTF8 in request.", field)
    else:
        if size > limit:
            wrong.add(message, field)


def _custom_args(wrong: _Complaints, values: object, field: str, shared: Mapping[str, Any] | None = None) -> None:
    """`shared`: those of the message, which are merged in before the size is taken."""
    if not wrong.is_type(values, dict, field):
        return
    assert isinstance(values, dict)
    if not values:
        wrong.add("custom_args can't be empty.", field)
    elif not _all_strings(values):
        wrong.add("All values of custom arguments object must be strings", field)
    else:
        message = "The combined size of both global and personalization custom arguments may not exceed 10,000 bytes"
        _check_size(wrong, {**(shared or {}), **values}, MOST_CUSTOM_ARGS_BYTES, f"{message} per personalization.", field)


def _substitutions(wrong: _Complaints, values: object, field: str) -> None:
    if not wrong.is_type(values, dict, field):
        return
    assert isinstance(values, dict)
    if not _all_strings(values):
        wrong.add("The substitution values must be an object of key/value pairs, where the values are all strings.", field)
    else:
        message = "Substitutions are limited to 10000 bytes per personalization block."
        _check_size(wrong, values, MOST_SUBSTITUTIONS_BYTES, message, field)


def _send_at(wrong: _Complaints, value: object, field: str, now: float) -> None:
    if type(value) is not int:
        wrong.add(
            "The send_at parameter is expecting a UNIX timestamp as an integer. We will send immediately if you "
            "include a send_at timestamp that is in the past.",
            field,
        )
    elif value > now + MOST_AHEAD_SECONDS:
        wrong.add("Scheduling more than 72 hours in advance is forbidden.", field)


def _categories(wrong: _Complaints, values: object) -> None:
    if not isinstance(values, list) or not all(type(value) is str for value in values):
        wrong.add("Categories must be an array of strings.", "categories")
        return
    if len(values) > MOST_CATEGORIES:
        wrong.add(
            f"There is a limit of 10 categories for each email that is sent. You provided {len(values)} categories.",
            "categories",
        )
    for value, times in Counter(values).items():
        if times > 1:
            wrong.add(f"The categories must be a unique list, and you have included {value} more than once.", "categories")
        if len(value) > MOST_CATEGORY_LENGTH:
            wrong.add(f"Each category must not be longer than 255 characters. {value} exceeds this limit.", "categories")
        if not value.isascii():
            wrong.add("Categories can not contain non-ASCII characters.", "categories")


def _settings(wrong: _Complaints, mail: Json, field: str, known: frozenset[str]) -> None:
    settings = mail.get(field)
    if settings is None or not wrong.is_type(settings, dict, field):
        return
    _known_keys(wrong, settings, known, field + ".")
    for name, values in settings.items():
        if wrong.is_type(values, dict, f"{field}.{name}"):
            for switch in ("enable", "enable_text"):
                if not isinstance(values.get(switch, False), bool):
                    wrong.add(f"The {name} {switch} param should be a boolean value.", f"{field}.{name}.{switch}")


def _rest(wrong: _Complaints, mail: Json) -> None:
    """What nurture does not use, checked for its type only."""
    for field in ("template_id", "batch_id", "ip_pool_name"):
        if field in mail:
            wrong.is_type(mail[field], str, field)
    if "attachments" in mail and wrong.is_type(mail["attachments"], list, "attachments"):
        for number, each in enumerate(mail["attachments"]):
            _attachment(wrong, each, f"attachments.{number}")
    if "asm" in mail and wrong.is_type(mail["asm"], dict, "asm"):
        wrong.is_type(mail["asm"].get("group_id"), int, "asm.group_id")
        shown = mail["asm"].get("groups_to_display", [])
        if wrong.is_type(shown, list, "asm.groups_to_display") and len(shown) > 25:
            wrong.add(
                "There is a limit of 25 unsubscribe groups that can be displayed to a user at a time.",
                "asm.groups_to_display",
            )


def _attachment(wrong: _Complaints, each: Json, field: str) -> None:
    """Reference of POST /v3/mail/send, `attachments`: content in base64 and a file name are needed."""
    if not wrong.is_type(each, dict, field):
        return
    _known_keys(wrong, each, _words("content type filename disposition content_id"), field + ".")
    for name in ("content", "filename"):
        if not isinstance(each.get(name), str) or not each[name]:
            wrong.add(f"The attachment {name} parameter is required.", f"{field}.{name}")
    try:
        base64.b64decode(str(each.get("content", "")), validate=True)
    except ValueError:
        wrong.add("The attachment content must be base64 encoded.", f"{field}.content")
    if each.get("disposition", "attachment") not in ("inline", "attachment"):
        wrong.add("The attachment disposition is inline or attachment.", f"{field}.disposition")
    if each.get("disposition") == "inline" and not each.get("content_id"):
        wrong.add("An inline attachment needs a content_id.", f"{field}.content_id")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_DECODE = json.JSONDecoder(parse_constant=_no_constant).decode  # RFC 8259 knows no NaN


def parse(body: bytes) -> tuple[object, list[Complaint]]:
    """The JSON of a request body and what is wrong with its form. Raises nothing."""
    wrong = _Complaints()
    try:
        value = _DECODE(body.decode())
    except UnicodeError:
        wrong.add("Invalid UTF8 in request.", None)
    except (ValueError, RecursionError):
        wrong.add("Bad Request", None)  # live: sendgrid-nodejs #288, sendgrid/docs #5060
    else:
        return value, wrong.found
    return None, wrong.found


# --- The ledger ------------------------------------------------------------------------------------------------------


class AcceptedMail(NamedTuple):
    """One mail to one person that SendGrid has said it would deliver."""

    message_id: str
    """X-Message-Id: one per request (support article 35804743679259)."""
    request: int
    """Which mail/send request since the start brought it, from 1: mails of one request share it."""
    connection: int
    """Which connection since the start brought it, from 1."""
    received_at: float
    """Unix seconds."""
    received_monotonic: float
    """`time.monotonic()`, the same for all processes of this machine."""
    kind: str
    """to, cc or bcc."""
    address: str
    name: str
    subject: str
    sender: Json
    """`from`: email, name."""
    reply_to: Json | None
    headers: dict[str, str]
    """Those of the message, overridden by the personalization's, like custom_args (SGDOCS personalizations.md)."""
    custom_args: dict[str, str]
    text: str
    html: str
    tracking_settings: Json
    categories: list[str]
    send_at: int | None
    dropped: str = ""
    """Why SendGrid took it and will not deliver it, in the words of its `dropped` event; empty: it will."""
    attachments: Sequence[Json] = ()

    @property
    def delivery_id(self) -> str:
        """Which delivery of ours it is; empty if the sender did not say, and then no judge can tell it from others."""
        return self.custom_args.get("delivery_id", "")

    def header(self, name: str) -> str | None:
        """A header by its name in any case."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


def _merged(mail: Json, one: Json, key: str) -> Json:
    general, personal = mail.get(key), one.get(key)
    return {**general, **personal} if general and personal else dict(personal or general or {})


def _part(mail: Json, kind: str) -> str:
    return next((str(part["value"]) for part in mail.get("content") or () if part["type"] == kind), "")


def _mails(record: Json) -> list[AcceptedMail]:
    """The mails of a line of the ledger: one per recipient."""
    mail = record["body"]
    text, html = _part(mail, "text/plain"), _part(mail, "text/html")
    dropped = record.get("dropped") or {}
    return [
        AcceptedMail(
            message_id=record["message_id"],
            request=record["request"],
            connection=record["connection"],
            received_at=record["received_at"],
            received_monotonic=record["received_monotonic"],
            kind=kind,
            address=person["email"],
            name=person.get("name") or "",
            subject=one.get("subject") or mail.get("subject") or "",
            sender=one.get("from") or mail["from"],
            reply_to=mail.get("reply_to"),
            headers=_merged(mail, one, "headers"),
            custom_args=_merged(mail, one, "custom_args"),
            text=text,
            html=html,
            tracking_settings=mail.get("tracking_settings") or {},
            categories=mail.get("categories") or [],
            send_at=one.get("send_at") or mail.get("send_at"),
            dropped=dropped.get(person["email"].lower(), ""),
            attachments=mail.get("attachments") or [],
        )
        for one in mail["personalizations"]
        for kind in ("to", "cc", "bcc")
        for person in one.get(kind) or ()
    ]


def read_ledger(path: Path) -> list[AcceptedMail]:
    """The mails in a ledger file. A torn last line, of a killed server, was never answered and does not count."""
    return [mail for line in path.read_bytes().split(b"\n")[:-1] for mail in _mails(json.loads(line))]


class Judge:
    """What can be asked of a ledger, in this process or of another one."""

    @property
    def accepted(self) -> list[AcceptedMail]:
        """Every accepted mail, in order of acceptance."""
        raise NotImplementedError

    def by_delivery(self) -> Counter[str]:
        """How often each delivery was accepted; mails without a delivery id are counted under the empty string."""
        return Counter(mail.delivery_id for mail in self.accepted)

    def duplicates(self) -> dict[str, int]:
        """Deliveries accepted more than once. The one figure that must stay empty."""
        return {delivery: times for delivery, times in self.by_delivery().items() if times > 1}

    def arrived(self) -> list[AcceptedMail]:
        """The mails that somebody got."""
        return [mail for mail in self.accepted if not mail.dropped]

    def to(self, address: str) -> list[AcceptedMail]:
        """The mails to one address."""
        return [mail for mail in self.accepted if mail.address.lower() == address.lower()]


# --- Faults ----------------------------------------------------------------------------------------------------------

_HOWS = ("answer", "reset", "hang", "half", "junk", "slow", "late", "close")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; made by the functions below. It is plain data, so it can travel as JSON."""

    how: Literal["answer", "reset", "hang", "half", "junk", "slow", "late", "close"]
    accepts: bool
    """Whether the mails enter the ledger all the same. Then the request is checked first, and a 400 stays a 400."""
    status: int = 202
    seconds: float | None = None
    reset_in: float | None = None
    unread: bool = False
    silent: bool = False

    def __post_init__(self) -> None:
        """Refuse what a planned JSON fault cannot mean."""
        if self.how not in _HOWS:
            raise ValueError(f"There is no fault {self.how!r}. Use one of {', '.join(_HOWS)}.")

    @property
    def label(self) -> str:
        """For counts: `answer 503 accepted`."""
        return f"{self.how} {self.status} {'accepted' if self.accepts else 'not accepted'}"


def refuse_429(reset_in: float | None = 1.0) -> Fault:
    """Too many requests; X-RateLimit-Reset (epoch seconds, rounded up) lies `reset_in` ahead. None: no such header."""
    return Fault("answer", accepts=False, status=429, reset_in=reset_in)


def status(code: int, accepted: bool = False) -> Fault:
    """Answer with `code`, the mails thrown away or, the cruel case, accepted: "valid, but an error occurred"."""
    return Fault("answer", accepts=accepted, status=code)


def reset_unread() -> Fault:
    """RST as soon as the head of the request is read."""
    return Fault("reset", accepts=False, unread=True)


def reset(accepted: bool) -> Fault:
    """RST after the whole request was read, the mails accepted or not."""
    return Fault("reset", accepts=accepted)


def hang(accepted: bool, seconds: float | None = None) -> Fault:
    """No answer; the connection is closed when the client goes or after `seconds`."""
    return Fault("hang", accepts=accepted, seconds=seconds)


def half_body(code: int = 202, accepted: bool | None = None) -> Fault:
    """An answer that promises more bytes than it sends. Accepted by default if `code` says so."""
    return Fault("half", accepts=code < 300 if accepted is None else accepted, status=code)


def junk_body() -> Fault:
    """202 with bytes in it that are neither JSON nor UTF-8, and no X-Message-Id."""
    return Fault("junk", accepts=True)


def slow(interval: float) -> Fault:
    """The right answer, one byte each `interval` seconds."""
    return Fault("slow", accepts=True, seconds=interval)


def late(seconds: float) -> Fault:
    """The right answer, `seconds` after the mails were accepted."""
    return Fault("late", accepts=True, seconds=seconds)


def close_after(silent: bool = False) -> Fault:
    """The right answer, then the connection is closed; `silent`: without having said `Connection: close`."""
    return Fault("close", accepts=True, silent=silent)


@dataclass
class _Rule:
    matches: Callable[[Json], bool]
    fault: Fault
    times: int | None


@dataclass
class _Chaos:
    probability: float
    faults: Sequence[Fault]
    dice: random.Random


def _holds(address: str) -> Callable[[Json], bool]:
    wanted = address.lower()

    def matches(mail: Json) -> bool:
        people = [p for one in mail.get("personalizations") or () for kind in ("to", "cc", "bcc") for p in one.get(kind) or ()]
        return any(str(person.get("email")).lower() == wanted for person in people)

    return matches


class Faults:
    """What is planned. Order: the queue, then chaos (both without looking into the request), then the rules."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Fault | None] = deque()
        self._rules: list[_Rule] = []
        self._chaos: _Chaos | None = None
        self.spent: Counter[str] = Counter()

    def clear(self) -> None:
        """Plan nothing more and forget what was spent."""
        with self._lock:
            self._queue.clear()
            self._rules.clear()
            self._chaos = None
            self.spent.clear()

    def queue(self, faults: Iterable[Fault | None]) -> None:
        """One per coming request; None lets one through."""
        with self._lock:
            self._queue.extend(faults)

    def rule(self, matches: Callable[[Json], bool], fault: Fault, times: int | None) -> None:
        """For requests whose body matches, `times` times or always. Raises ValueError if the body is not to be read."""
        if fault.unread:
            raise ValueError("A fault before the body is read cannot be chosen by what the body says.")
        with self._lock:
            self._rules.append(_Rule(matches, fault, times))

    def chaos(self, probability: float, faults: Sequence[Fault], seed: int) -> None:
        """Each request meets one of `faults` with `probability`; the same seed deals the same to the n-th request."""
        with self._lock:
            self._chaos = _Chaos(probability, tuple(faults), random.Random(seed))

    def draw(self) -> Fault | None:
        """For the next request, before it is read."""
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            chaos = self._chaos
            if chaos is not None and chaos.dice.random() < chaos.probability:
                return chaos.dice.choice(chaos.faults)
            return None

    def for_body(self, mail: object) -> Fault | None:
        """For a request that can be read."""
        if not self._rules or not isinstance(mail, dict):
            return None
        with self._lock:
            for rule in self._rules:
                if rule.times != 0 and rule.matches(mail):
                    if rule.times is not None:
                        rule.times -= 1
                    return rule.fault
        return None


# --- HTTP/1.1 --------------------------------------------------------------------------------------------------------


class Gone(Exception):
    """The client is no longer there, or not worth talking to."""


@dataclass(frozen=True, slots=True)
class Head:
    """Request line and headers, names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    length: int
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `final`: the connection ends with it."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: str = ""
    """More header lines, each ending in CRLF."""
    final: bool = False


class NotHttp(ValueError):
    """A head that RFC 9112 tells a server to refuse."""


def read_head(raw: bytes) -> Head:
    """Parse a head without its empty line. Raises NotHttp."""
    try:
        first, *lines = raw.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        raise NotHttp("request line") from None
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise NotHttp("version")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():  # no folding, no space before the colon (RFC 9112 section 5)
            raise NotHttp("header line")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):  # also two different ones, which are joined by a comma
        raise NotHttp("content-length")
    tokens = headers.get("connection", "").lower()
    keep = "close" not in tokens and (version == "HTTP/1.1" or "keep-alive" in tokens)
    path, _, query = target.partition("?")
    return Head(method, path, query, headers, int(length), keep)


_date: tuple[int, str] = (0, "")


def _http_date() -> str:
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


def _reason(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Unknown"


def wire(answer: Answer, keep_alive: bool, more: int = 0) -> bytes:
    """The bytes of an answer; `more`: how many bytes to promise beyond those sent."""
    kind = f"Content-Type: {answer.content_type}\r\n" if answer.body else ""
    return (
        f"HTTP/1.1 {answer.status} {_reason(answer.status)}\r\nServer: nginx\r\nDate: {_http_date()}\r\n{kind}"
        f"Content-Length: {len(answer.body) + more}\r\nConnection: {'keep-alive' if keep_alive else 'close'}\r\n"
        f"{answer.headers}\r\n"
    ).encode("latin-1") + answer.body


def _json_answer(code: int, value: object, headers: str = "") -> Answer:
    return Answer(code, json.dumps(value).encode(), headers=headers)


def _refusal(code: int, message: str) -> Answer:
    return _json_answer(code, {"errors": [{"message": message, "field": None, "help": None}]})


def _nginx(code: int, final: bool = False) -> Answer:
    """An answer of the proxy in front, which knows no JSON (413: TWAI, mail-send pages)."""
    title = f"{code} {'Request Entity Too Large' if code == 413 else _reason(code)}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    page += "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    return Answer(code, page.encode(), "text/html", final=final)


def _planned_answer(fault: Fault) -> Answer:
    """What SendGrid says with that status."""
    match fault.status:
        case code if code < 300:
            return Answer(code)
        case 401:
            return _refusal(401, "The provided authorization grant is invalid, expired, or revoked")
        case 403:
            return _refusal(403, "access forbidden")  # live: sendgrid-ruby #424
        case 413:
            return _nginx(413, final=True)
        case 429:  # SGDOCS, "Rate limits"
            lines = "X-RateLimit-Limit: 150\r\nX-RateLimit-Remaining: 0\r\n"
            if fault.reset_in is not None:
                lines += f"X-RateLimit-Reset: {math.ceil(time.time() + fault.reset_in)}\r\n"
            return _json_answer(429, {"errors": [{"field": None, "message": "too many requests"}]}, lines)
        case 502 | 503 | 504 as code:
            return _nginx(code)
        case code:
            return _refusal(code, _reason(code))


_GRACE_SECONDS = 30.0
"""How long the rest of a refused request is read."""


class _Bytes:
    """Awaited by a conversation that needs more bytes."""

    def __await__(self) -> Generator[None, None, None]:
        yield


_BYTES = _Bytes()
_Steps = Coroutine["asyncio.Future[Any] | None", None, None]


class _Connection(asyncio.BufferedProtocol):
    """One client: reads requests one after the other, answers each before the next.

    The conversation is a coroutine that is not a task: bytes that arrive push it on at once (`_step`), which saves a
    future, a task switch and an epoll for each request. It waits for bytes by yielding None, for time by a future.
    """

    _transport: asyncio.Transport

    def __init__(self, server: "SendGridServer") -> None:
        self._server = server
        self._number = 0
        self._came = 0.0  # when the last bytes did, by the loop's clock
        self._received = bytearray(65_536)
        self._view = memoryview(self._received)
        self._buffer = bytearray()
        self._ended = False
        self._wants_bytes = False
        self._talk: _Steps | None = None

    # What the loop tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to converse."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._gone = asyncio.get_running_loop().create_future()
        self._server._open.add(self)
        self._talk = self._converse()
        self._step()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """More bytes of requests."""
        self._came = self._server._round()
        self._buffer += self._view[:nbytes]
        if self._wants_bytes:
            self._step()

    def eof_received(self) -> bool:
        """The client sends no more, but may still listen: True keeps our side open."""
        self._end()
        return self._transport.get_extra_info("ssl_object") is None  # over TLS asyncio cannot do half a connection

    def connection_lost(self, error: Exception | None) -> None:
        """Over."""
        self._end()
        self._server._open.discard(self)

    def _end(self) -> None:
        self._ended = True
        if not self._gone.done():
            self._gone.set_result(None)
        if self._wants_bytes:
            self._step()

    def _step(self, waited_for: "asyncio.Future[Any] | None" = None) -> None:
        """Let the conversation run to its next wait."""
        if self._talk is None:
            return
        self._wants_bytes = False
        try:
            wait = self._talk.send(None)
        except StopIteration:
            self._talk = None
            return
        if wait is None:
            self._wants_bytes = True
        else:
            wait.add_done_callback(self._step)

    def hang_up(self) -> None:
        """End at once, whatever is being waited for."""
        talk, self._talk = self._talk, None
        self._transport.abort()
        if talk is not None:
            talk.close()

    # Reading

    async def _more(self) -> bool:
        """Wait for more bytes; False if none will come."""
        if self._ended:
            return False
        have = len(self._buffer)
        await _BYTES
        return len(self._buffer) > have

    async def _pass(self, seconds: float | None) -> None:
        """Wait so long, or until the client is gone."""
        if self._ended or seconds == 0:
            return
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def end(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        timer = None if seconds is None else loop.call_later(seconds, end)
        self._gone.add_done_callback(end)
        await over
        self._gone.remove_done_callback(end)  # a kept connection would collect one for each request
        if timer is not None:
            timer.cancel()

    async def _head(self) -> Head | None:
        """The next head; None if the client ended between requests. Raises NotHttp."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MOST_HEAD_BYTES:
                raise NotHttp("too long a head")
            if not await self._more():
                return None
        if end > _MOST_HEAD_BYTES:
            raise NotHttp("too long a head")
        head = read_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        return head

    async def _body(self, length: int) -> bytes:
        while len(self._buffer) < length:
            if not await self._more():
                raise Gone
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    # Answering

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def _reset(self) -> None:
        """RST: close with unsent data thrown away (socket(7), SO_LINGER with time 0)."""
        plain = self._transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def _refuse(self, answer: Answer) -> None:
        """Answer and end, but read on for a while: closed with bytes unread, TCP would take the answer back by RST.

        RFC 9112 section 9.6; nginx calls it lingering_close.
        """
        self._send(wire(answer, keep_alive=False))
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        limit = asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._transport.abort)
        self._buffer.clear()
        while await self._more():
            self._buffer.clear()
        limit.cancel()

    async def _converse(self) -> None:
        try:
            while await self._exchange():
                pass
        except Gone:
            pass
        except NotHttp:
            await self._refuse(_nginx(400))
        except Exception as error:
            self._server.crashes.append(error)
            self._send(wire(_nginx(500), keep_alive=False))
        finally:
            self._transport.close()

    async def _exchange(self) -> bool:
        """One request and its answer. True: there may be another on this connection."""
        head = await self._head()
        if head is None:
            return False
        server = self._server
        if "transfer-encoding" in head.headers:  # RFC 9112 section 6.3 lets a server ask for a length
            await self._refuse(_nginx(411))
            return False
        if head.path.startswith("/_"):
            answer = await server._control(head, await self._body(head.length))
            self._send(wire(answer, head.keep_alive))
            return head.keep_alive
        if not self._number:
            self._number = server._count_connection()
        if head.length > MOST_BYTES:
            await self._refuse(_nginx(413))
            return False
        return await self._provider(head)

    async def _provider(self, head: Head) -> bool:
        server = self._server
        sends = head.path == "/v3/mail/send" and head.method == "POST"
        fault = None
        if sends:
            server.requests += 1
            number = server.requests
            fault = server.faults.draw()
            if fault is not None and fault.unread:
                server.faults.spent[fault.label] += 1
                self._reset()
                return False
        body = await self._body(head.length)
        # From here to the ledger nothing waits: a request that arrived whole is dealt with even if its sender is dead.
        if sends:
            answer, fault = server._mail_send(head, body, number, self._number, fault)
        else:
            answer, fault = server._elsewhere(head, body)
        if server.latency:
            await self._pass(max(0.0, self._came + server.latency - asyncio.get_running_loop().time()))
        if fault is not None:
            return await self._fail(fault, answer, head)
        keep = head.keep_alive and not answer.final
        self._send(wire(answer, keep))
        return keep

    async def _fail(self, fault: Fault, answer: Answer, head: Head) -> bool:
        """Go wrong as planned; `answer` is what would have been said."""
        match fault.how:
            case "reset":
                self._reset()
                return False
            case "hang":
                await self._pass(fault.seconds)
                return False
            case "half":
                self._send(wire(answer, head.keep_alive, more=100))
                return False
            case "slow":
                for byte in wire(answer, head.keep_alive):
                    self._send(bytes((byte,)))
                    await self._pass(fault.seconds)
                    if self._ended:
                        return False
            case "late":
                await self._pass(fault.seconds)
                self._send(wire(answer, head.keep_alive))
            case "close":
                self._send(wire(answer, keep_alive=fault.silent and head.keep_alive))
                return False
            case _:
                self._send(wire(answer, head.keep_alive and not answer.final))
        return head.keep_alive and not answer.final


# --- The server ------------------------------------------------------------------------------------------------------


class SendGridServer(EventSide, Judge):
    """SendGrid on 127.0.0.1 while the `with` block lasts. `url` is what a client takes for https://api.sendgrid.com.

    What it reports of accepted mail, if it is to: EventSide. To add a neighbour (suppressions) override `route`,
    `fault_elsewhere`, `drops` or `on_accepted`; all run on the server's own thread.
    """

    def __init__(
        self,
        latency: float = 0.0,
        *,
        port: int = 0,
        keys: Sequence[str] = (KEY,),
        powerless_keys: Sequence[str] = (READ_ONLY_KEY,),
        ledger: Path | None = None,
        tls: tuple[Path, Path] | None = None,
        bodies: bool = True,
        events_to: str | Sequence[str] = (),
        events_key: Path | None = None,
        chaos: Chaos = CALM,
    ) -> None:
        """`latency`: seconds between a request's arrival and its answer, our own work included. `port`: 0 takes a free one.

        `ledger`: file that each accepted request is appended to, as a line, before it is answered; an existing one is
        continued. `tls`: certificate and key. `bodies`: False drops texts from ledger and file, for long benchmarks.
        `events_to`, `events_key`, `chaos`: see EventSide.
        """
        super().__init__(events_to, events_key, chaos)
        self.latency = latency
        self._began: float | None = None
        self.faults = Faults()
        self.requests = 0
        """POSTs to mail/send whose head arrived."""
        self.connections = 0
        """Connections that brought at least one request for SendGrid."""
        self.answers: Counter[int] = Counter()
        """Status codes decided on for mail/send, sent or not."""
        self.refused: deque[list[Complaint]] = deque(maxlen=1000)
        """What was wrong with the last requests that were answered 400."""
        self.crashes: list[Exception] = []
        self._port, self._tls, self._bodies = port, tls, bodies
        self._keys = frozenset(f"Bearer {key}" for key in keys)
        self._powerless_keys = frozenset(f"Bearer {key}" for key in powerless_keys)
        self._path = ledger
        self._file: BinaryIO | None = None
        self._mails: list[AcceptedMail] = []
        self._changed = threading.Condition()
        self._open: set[_Connection] = set()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sendgrid-server", daemon=True)

    # Life

    def __enter__(self) -> Self:
        """Listen. Raises OSError if the port is taken."""
        if self._path is not None:
            self._open_ledger(self._path)
        self._start_reporting(self._mails)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exc: object) -> None:
        """Close every connection. Raises what the server itself did wrong, lest a broken judge look like a mild one."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._stop_reporting()
        if self._file is not None:
            self._file.close()
        if self.crashes and not any(exc):
            raise self.crashes[0]

    @property
    def url(self) -> str:
        """Origin, without a slash at its end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()

    def _round(self) -> float:
        """When the loop's present round began: all the bytes it hands out were there by then."""
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
            loop.call_soon(self._end_round)
        return self._began

    def _end_round(self) -> None:
        self._began = None

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        context = None
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
        self._loop.set_exception_handler(_quiet_handshakes)
        listening = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, ssl=context, backlog=1024
        )
        self._port = listening.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        listening.close()
        for connection in list(self._open):
            connection.hang_up()

    # What a test asks

    @property
    def accepted(self) -> list[AcceptedMail]:
        """Every accepted mail, in order of acceptance."""
        with self._changed:
            return list(self._mails)

    def wait_for(self, n: int, timeout: float = 10.0) -> list[AcceptedMail]:
        """Block until `n` mails are accepted and return all. Raises TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._mails) >= n, timeout):
                raise TimeoutError(f"{len(self._mails)} mails were accepted in {timeout} s, {n} were awaited.")
            return list(self._mails)

    def plan(self, *faults: Fault | None) -> None:
        """What the coming mail/send requests meet, one each; None lets one through."""
        self.faults.queue(faults)

    def plan_for(self, address: str, fault: Fault, times: int | None = 1) -> None:
        """What requests with that recipient meet, `times` times, or always if None."""
        self.faults.rule(_holds(address), fault, times)

    def plan_when(self, matches: Callable[[Json], bool], fault: Fault, times: int | None = 1) -> None:
        """What requests whose JSON `matches` meet, `times` times, or always if None."""
        self.faults.rule(matches, fault, times)

    def plan_chaos(self, probability: float, faults: Sequence[Fault], seed: int) -> None:
        """Each request meets one of `faults` with `probability`, dealt by `seed`, until `reset`."""
        self.faults.chaos(probability, faults, seed)

    def reset(self) -> None:
        """Forget mails, counts, faults and the ledger file's lines. Connections stay."""
        self.faults.clear()
        self._forget_events()
        with self._changed:
            self._mails.clear()
            self.requests = self.connections = 0
            self.answers.clear()
            self.refused.clear()
            if self._file is not None:
                self._file.truncate(0)

    # What SendGrid does

    def on_accepted(self, mails: Sequence[AcceptedMail]) -> None:
        """Called with the mails of a request once they are in the ledger, before the answer."""

    def drops(self, mail: Json) -> dict[str, str]:
        """Which recipients of an accepted request get nothing, in lower case, and why."""
        return {}

    def fault_elsewhere(self, head: Head) -> Fault | None:
        """What goes wrong with a request that is not POST /v3/mail/send."""
        return None

    def _elsewhere(self, head: Head, body: bytes) -> tuple[Answer, Fault | None]:
        """What to answer, and the fault to go wrong by. One that does not accept leaves no trace of the request."""
        fault = self.fault_elsewhere(head)
        if fault is None:
            return self.route(head, body), None
        self.faults.spent[fault.label] += 1
        answer = self.route(head, body) if fault.accepts else _planned_answer(fault)
        if fault.how == "junk":
            answer = Answer(200, b"\xff\xfe<junk>\x00" * 16)
        return (_planned_answer(fault) if fault.how == "answer" else answer), fault

    def route(self, head: Head, body: bytes) -> Answer:
        """Answer anything but POST /v3/mail/send."""
        return self._stopped_at_door(head) or (
            _refusal(405, "method not allowed") if head.path == "/v3/mail/send" else _refusal(404, "not found")
        )

    def _count_connection(self) -> int:
        self.connections += 1
        return self.connections

    def _stopped_at_door(self, head: Head) -> Answer | None:
        """Refuse by the key alone."""
        grant = head.headers.get("authorization", "")
        if grant in self._keys:
            return None
        return _planned_answer(status(403 if grant in self._powerless_keys else 401))

    def _mail_send(
        self, head: Head, body: bytes, request: int, connection: int, fault: Fault | None
    ) -> tuple[Answer, Fault | None]:
        """What to answer, and the fault to go wrong by: the planned one, one by the body's rules, or none."""
        answer = self._stopped_at_door(head)
        if answer is None and head.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            answer = _refusal(415, "Content-Type should be application/json.")
        mail: object = None
        wrong: list[Complaint] = []
        if answer is None or fault is not None:
            mail, wrong = parse(body)
            if fault is None:
                fault = self.faults.for_body(mail)
        if fault is not None:
            self.faults.spent[fault.label] += 1
            if not fault.accepts:
                return self._answered(_planned_answer(fault)), fault
        if answer is None:
            answer = self._checked(mail, wrong, body, request, connection)
        if fault is None or answer.status != 202:
            return self._answered(answer), None
        match fault.how:
            case "answer" | "half" if fault.status != 202:
                answer = _planned_answer(fault)
            case "junk":
                answer = Answer(202, b"\xff\xfe<junk>\x00" * 16, "application/json")
        return self._answered(answer), fault

    def _answered(self, answer: Answer) -> Answer:
        self.answers[answer.status] += 1
        return answer

    def _checked(self, mail: object, wrong: list[Complaint], body: bytes, request: int, connection: int) -> Answer:
        """The honest answer: 400, 200 in the sandbox, or 202 with the mails in the ledger."""
        wrong = wrong or complaints(mail, time.time())
        if wrong:
            self.refused.append(wrong)
            return _json_answer(400, {"errors": wrong})
        assert isinstance(mail, dict)
        if ((mail.get("mail_settings") or {}).get("sandbox_mode") or {}).get("enable") is True:
            return Answer(200)  # TWDOCS, sandbox mode: checked, not sent
        message_id = base64.urlsafe_b64encode(os.urandom(16))[:22].decode()
        self._accept(mail, body, message_id, request, connection)
        return Answer(202, headers=f"X-Message-Id: {message_id}\r\n")

    def _accept(self, mail: Json, body: bytes, message_id: str, request: int, connection: int) -> None:
        """Write the ledger, file first: what a reader of `accepted` sees is already durable."""
        if not self._bodies:
            mail = {**mail, "content": []}
        record: Json = {
            "message_id": message_id,
            "request": request,
            "connection": connection,
            "received_at": time.time(),
            "received_monotonic": time.monotonic(),
        }
        if dropped := self.drops(mail):
            record["dropped"] = dropped
        if self._file is not None:
            # The body as it came, unless it has line breaks of its own: writing it anew would cost more than all else.
            as_came = self._bodies and b"\n" not in body and b"\r" not in body
            line = body if as_came else json.dumps(mail).encode()
            self._file.write(json.dumps(record).encode()[:-1] + b', "body": ' + line + b"}\n")
            self._file.flush()  # to the kernel: survives the death of this process, which is what tests bring about
        record["body"] = mail
        mails = _mails(record)
        with self._changed:
            self._mails.extend(mails)
            self._changed.notify_all()
        self._report(mails)
        self.on_accepted(mails)

    def _open_ledger(self, path: Path) -> None:
        if path.exists():
            whole = path.read_bytes()
            os.truncate(path, whole.rfind(b"\n") + 1)
            self._mails = read_ledger(path)
        self._file = path.open("ab")

    # What other processes ask

    async def _control(self, head: Head, body: bytes) -> Answer:
        """`GET /_ledger[?view=full|slim|counts]`, `GET /_wait?n=&timeout=`, `POST /_faults`, `/_events`, `/_reset`."""
        asked = {name: values[0] for name, values in parse_qs(head.query).items()}
        match head.method, head.path:
            case "GET", "/_ledger":
                return _json_answer(200, self._seen(asked.get("view", "full")))
            case "GET", "/_wait":
                n, timeout = int(asked["n"]), float(asked["timeout"])
                try:
                    await asyncio.to_thread(self.wait_for, n, timeout)
                except TimeoutError as error:
                    return _refusal(504, str(error))
                return _json_answer(200, {})
            case "POST", "/_faults":
                return self._plan_from(body)
            case "POST", "/_events":
                try:
                    return _json_answer(200, await asyncio.to_thread(self._control_events, json.loads(body)))
                except (TimeoutError, ValueError, TypeError, KeyError) as error:
                    return _refusal(504 if isinstance(error, TimeoutError) else 400, f"{type(error).__name__}: {error}")
            case "POST", "/_reset":
                self.reset()
                return _json_answer(200, {})
        return _refusal(404, "not found")

    def _seen(self, view: str) -> Json:
        seen: Json = {
            "mails": len(self._mails),
            "by_delivery": self.by_delivery(),
            "requests": self.requests,
            "connections": self.connections,
            "answers": self.answers,
            "faults": self.faults.spent,
        }
        if view != "counts":
            mails = (mail if view == "full" else mail._replace(text="", html="") for mail in self.accepted)
            seen["accepted"] = [mail._asdict() for mail in mails]
        return seen

    def _plan_from(self, body: bytes) -> Answer:
        """`{"queue": [fault or null, …], "for": [{address, fault, times}], "chaos": {probability, faults, seed}}`."""
        try:
            plan = json.loads(body)
            queue = [fault and Fault(**fault) for fault in plan.get("queue", ())]
            rules = [(rule["address"], Fault(**rule["fault"]), rule.get("times", 1)) for rule in plan.get("for", ())]
            chaos = plan.get("chaos")
            dealt = [Fault(**fault) for fault in chaos["faults"]] if chaos else []
            for address, fault, times in rules:
                self.plan_for(address, fault, times)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _refusal(400, f"{type(error).__name__}: {error}")
        self.plan(*queue)
        if chaos:
            self.plan_chaos(chaos["probability"], dealt, chaos["seed"])
        return _json_answer(200, {})


def _quiet_handshakes(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A client that breaks off a TLS handshake is part of the tests, not news."""
    if not isinstance(context.get("exception"), (ssl.SSLError, ConnectionError)):
        loop.default_exception_handler(context)


# --- From another process --------------------------------------------------------------------------------------------


class RemoteSendGrid(RemoteEventSide, Judge):
    """A SendGridServer in another process, by its control API. The words are those of the server."""

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        """`ca_file`: whom to trust if `url` is https."""
        self.url = url
        self._context = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def _ask(self, path: str, body: Json | None = None, timeout: float = 30.0) -> Json:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data)
        with urllib.request.urlopen(request, timeout=timeout, context=self._context) as answer:
            found: Json = json.load(answer)
        return found

    @property
    def accepted(self) -> list[AcceptedMail]:
        """Every accepted mail, in order of acceptance."""
        return [AcceptedMail(**mail) for mail in self._ask("/_ledger")["accepted"]]

    @property
    def requests(self) -> int:
        """POSTs to mail/send whose head arrived."""
        return int(self.counts()["requests"])

    @property
    def connections(self) -> int:
        """Connections that brought at least one request for SendGrid."""
        return int(self.counts()["connections"])

    def counts(self) -> Json:
        """mails, by_delivery, requests, connections, answers (by status, as text), faults (spent, by label)."""
        return self._ask("/_ledger?view=counts")

    def by_delivery(self) -> Counter[str]:
        """How often each delivery was accepted."""
        return Counter(self.counts()["by_delivery"])

    def wait_for(self, n: int, timeout: float = 10.0) -> list[AcceptedMail]:
        """Block until `n` mails are accepted and return all. Raises TimeoutError after `timeout` seconds."""
        try:
            self._ask(f"/_wait?n={n}&timeout={timeout}", timeout=timeout + 30)
        except urllib.error.HTTPError as error:
            with error:
                raise TimeoutError(json.load(error)["errors"][0]["message"]) from None
        return self.accepted

    def plan(self, *faults: Fault | None) -> None:
        """What the coming mail/send requests meet, one each; None lets one through."""
        self._ask("/_faults", {"queue": [fault and asdict(fault) for fault in faults]})

    def plan_for(self, address: str, fault: Fault, times: int | None = 1) -> None:
        """What requests with that recipient meet, `times` times, or always if None."""
        self._ask("/_faults", {"for": [{"address": address, "fault": asdict(fault), "times": times}]})

    def plan_chaos(self, probability: float, faults: Sequence[Fault], seed: int) -> None:
        """Each request meets one of `faults` with `probability`, dealt by `seed`, until `reset`."""
        dealt = [asdict(fault) for fault in faults]
        self._ask("/_faults", {"chaos": {"probability": probability, "faults": dealt, "seed": seed}})

    def reset(self) -> None:
        """Forget mails, counts, faults and the ledger file's lines."""
        self._ask("/_reset", {})


@contextmanager
def another_process(*arguments: str, ca_file: Path | None = None) -> Iterator[RemoteSendGrid]:
    """Run this module as a program with `arguments`, and kill it in the end."""
    command = [sys.executable, "-m", "tests.servers.sendgrid", *arguments]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if urlsplit(url).scheme not in ("http", "https"):
                raise RuntimeError(f"The SendGrid server did not start: {' '.join(command)}")
            yield RemoteSendGrid(url, ca_file)
        finally:
            process.kill()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers.sendgrid",
        description="SendGrid's v3 Mail Send API with a ledger. Prints its URL and serves until killed.",
        epilog="Example:  python -m tests.servers.sendgrid --port 8025 --latency-ms 50",
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--ledger", type=Path, help="append each accepted request to this file before answering")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="time between a request's arrival and its answer")
    parser.add_argument("--tls", type=Path, nargs=2, metavar=("CERT", "KEY"), help="PEM files; serve https")
    parser.add_argument("--key", action="append", help=f"a key that may send (default {KEY}); can be repeated")
    parser.add_argument("--no-bodies", action="store_true", help="do not keep texts, for long benchmarks")
    parser.add_argument("--events-to", action="append", metavar="URL", help="report accepted mail there; can be repeated")
    parser.add_argument("--events-key", type=Path, metavar="FILE", help="PEM key that signs reports; made if missing")
    parser.add_argument("--chaos", type=json.loads, default={}, help="JSON: how badly reports come (sendgrid_events.Chaos)")
    given = parser.parse_args(arguments)
    server = SendGridServer(
        given.latency_ms / 1000,
        port=given.port,
        keys=given.key or (KEY,),
        ledger=given.ledger,
        tls=tuple(given.tls) if given.tls else None,
        bodies=not given.no_bodies,
        events_to=given.events_to or (),
        events_key=given.events_key,
        chaos=Chaos.read(given.chaos),
    )
    with server:
        print(server.url, flush=True)
        gc.disable()  # a request leaves no cycles, but a ledger of a million mails takes seconds to walk
        with suppress(KeyboardInterrupt):
            server._thread.join()


if __name__ == "__main__":
    main()
