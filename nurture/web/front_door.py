"""What every request passes before any view, and what every answer gets after it.

In this order: the host it names, its path and query, the site that sent it, and its form, whose size is counted before its
text is looked at. Each route says by `open_to`, or `needs_login` at the desk, who may use it; without that no application
starts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Request, Response, abort, current_app, request
from werkzeug.datastructures import FileStorage, ImmutableMultiDict, MultiDict
from werkzeug.routing import RequestRedirect
from werkzeug.utils import cached_property

from nurture.domain.user import Permission
from nurture.settings import is_loopback
from nurture.web.pages import Refusal, rt

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FRAMED_CSP = _CSP + "; frame-src 'self'"
"""For pages that show a mail in a sandboxed frame."""
MAIL_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
"""For the mail itself: its styles are inline by nature; nothing in it runs or submits, it shows our own pictures and no others,
and links open beside it."""

FORM_BYTES = 64 * 1024
"""Most bytes of a form, without a file that it brings."""
MOST_CHARACTERS = 10_000
"""Most characters of one field; the text of a letter may fill its form."""
MOST_FIELDS = 40
"""Most fields of a query, and of a form outside the desk."""
_LONG_FIELDS = frozenset({"body"})
_MOST_IN_NAME, _MOST_IN_FILE_NAME = 100, 1_000
_MOST_IN_TARGET = 4_094
"""Most bytes of path and query: as many as the server takes in a request line."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""A form may hold tabs and line breaks: they come along when a line is copied, and views take them off."""
_ESCAPED = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_READS = ("GET", "HEAD", "OPTIONS")

View = TypeVar("View", bound=Callable[..., Any])


class OpenTo(Enum):
    """Who may use a route: everybody, whoever has the token in its path, a role at the desk, whoever signs the request, or
    somebody at this very machine.
    """

    EVERYBODY, TOKEN, DESK, SIGNED, THIS_MACHINE = range(5)


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may use a route, and what its requests may be. `need`: what a role must allow, None for looking by GET and changing
    by POST; `recent`: only minutes after a password; `any_site`: pages of other sites may post to it; `any_host`: it answers
    under any name; `most_fields`: of its form.
    """

    open_to: OpenTo
    need: Permission | None = None
    recent: bool = False
    any_site: bool = False
    any_host: bool = False
    most_fields: int = MOST_FIELDS


_POLICIES: dict[Callable[..., Any], Policy] = {}
_FILES: dict[str, int] = {}


def declare(view: View, policy: Policy) -> View:
    """Note the policy of a view."""
    _POLICIES[view] = policy
    return view


def open_to(who: OpenTo, *, any_site: bool = False, any_host: bool = False) -> Callable[[View], View]:
    """Say who may use a route outside the desk. Stands directly above the view."""
    return lambda view: declare(view, Policy(who, any_site=any_site, any_host=any_host))


def allow_file(endpoint: str, limit: int) -> None:
    """Let the form of one route bring a file of `limit` bytes."""
    _FILES[endpoint] = limit


def policy_of(app: Flask, endpoint: str | None) -> Policy | None:
    """The policy of a route; None where it has none, or where there is no such route."""
    return Policy(OpenTo.EVERYBODY) if endpoint == "static" else _POLICIES.get(app.view_functions.get(endpoint or "", _nothing))


def _nothing() -> None: ...


def _in_field(name: str) -> str:
    """Which field, where its name says something: it came with the request, and is shown to whoever sent it."""
    return f" in the field “{name.replace('_', ' ')}”" if re.fullmatch("[a-z][a-z_]{0,29}", name) else ""


def _holds_control(character: str, where: str) -> Refusal:
    return Refusal(
        400,
        "A character could not be read",
        f"There is an invisible control character (U+{ord(character):04X}){where}. It can come along when text is copied. "
        "Please go back, delete that line and type it again. Nothing was stored.",
    )


def _too_long(where: str, limit: int) -> Refusal:
    return Refusal(
        413,
        "That was too much text",
        f"There are more than {limit:,} characters{where}. Please go back and shorten it. Nothing was stored.",
    )


_TOO_MANY_FIELDS = "There are more fields in this form than it has. Please open the page again. Nothing was stored."
_UNKNOWN_HOST = (
    "This service is not at this address",
    "Please use the address that is in the letters. If you run this service: NURTURE_BASE_URL says its address, and a proxy "
    "before it must pass the Host header on.",
)


class CheckedRequest(Request):
    """A request whose query and form cannot be read before they are counted, and then without a control character in them."""

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The fields of the query."""
        if self.query_string.count(b"&") >= self._most_fields:
            raise Refusal(400, "This could not be read", _TOO_MANY_FIELDS)
        fields: MultiDict[str, str] = super().args
        _check(fields, _CONTROL)
        return fields

    def _load_form_data(self) -> None:
        if "form" in self.__dict__:
            return
        self.max_form_parts = self._most_fields
        if self.endpoint in _FILES:
            self.max_content_length = _FILES[self.endpoint] + FORM_BYTES
            self.max_form_memory_size = 4 * FORM_BYTES  # it is read in pieces of 64 kB; what is left of one counts too
        elif self.mimetype == "application/x-www-form-urlencoded":
            raw = self.get_data()
            if raw.count(b"&") >= self._most_fields:
                raise Refusal(413, "That was too much text", _TOO_MANY_FIELDS)
            self.__dict__.update(form=ImmutableMultiDict(read_fields(raw)), files=ImmutableMultiDict())
        if "form" not in self.__dict__:
            super()._load_form_data()
        _check(self.form, _CONTROL_IN_TEXT)
        for name, file in self.files.items(multi=True):
            _check_file(name, file)

    @property
    def _most_fields(self) -> int:
        policy = policy_of(current_app, self.endpoint)
        return policy.most_fields if policy else MOST_FIELDS


def read_fields(raw: bytes) -> list[tuple[str, str]]:
    """The fields of a form (WHATWG URL, "application/x-www-form-urlencoded parsing"). The library's parser takes forty
    milliseconds for 64 kB of percent signs, or of bytes that are no UTF-8.
    """
    parts = (part.partition(b"=") for part in raw.split(b"&") if part)
    return [(_unescaped(name), _unescaped(value)) for name, _, value in parts]


def _unescaped(text: bytes) -> str:
    def unescape(found: re.Match[bytes]) -> bytes:
        return bytes.fromhex(found[0].replace(b"%", b"").decode())

    return _ESCAPED.sub(unescape, text.replace(b"+", b" ")).decode("utf-8", "replace")


def _check(fields: MultiDict[str, str], control: re.Pattern[str]) -> None:
    """Refuse what is too long, then what holds a control character."""
    for name, value in fields.items(multi=True):
        if len(name) > _MOST_IN_NAME:
            raise _too_long(" in the name of a field", _MOST_IN_NAME)
        if len(value) > MOST_CHARACTERS and name not in _LONG_FIELDS:
            raise _too_long(_in_field(name), MOST_CHARACTERS)
        if found := _CONTROL.search(name) or control.search(value):
            raise _holds_control(found[0], _in_field(name))


def _check_file(name: str, file: FileStorage) -> None:
    for text in (name, file.filename or ""):
        if len(text) > _MOST_IN_FILE_NAME:
            raise _too_long(" in the name of a file", _MOST_IN_FILE_NAME)
        if found := _CONTROL.search(text):
            raise _holds_control(found[0], " in the name of a file")


@lru_cache(maxsize=8)
def _own_hosts(base_url: str, listen: str) -> frozenset[str]:
    own = {urlsplit(base_url).hostname or "", listen.rpartition(":")[0].strip("[]")}
    return frozenset(own - {"", "0.0.0.0", "::"})  # noqa: S104 - which listen on every address, and are none


def is_own_host(host: str) -> bool:
    """Whether a Host header names this service: by BASE_URL, by the address it listens on, or as this machine."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    settings = rt().settings
    return name in _own_hosts(settings.base_url, settings.listen) or is_loopback(name)


def is_cross_site() -> bool:
    """Whether a browser says that another site caused this request (Fetch Metadata; Origin where that is missing)."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "cross-site"
    origin = request.headers.get("Origin")
    return origin not in (None, "null") and urlsplit(origin or "").netloc not in (
        request.host,
        urlsplit(rt().settings.base_url).netloc,
    )


def _is_embedded() -> bool:
    """Whether a page of another site loads this as a part of itself: only following a link is a visit."""
    return is_cross_site() and request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate"


def _enter() -> None:
    """Refuse what no view should see."""
    policy = policy_of(current_app, request.endpoint) or Policy(OpenTo.EVERYBODY)
    if not policy.any_host and not is_own_host(request.host):
        raise Refusal(400, *_UNKNOWN_HOST)
    if len(request.environ.get("PATH_INFO", "")) + len(request.query_string) > _MOST_IN_TARGET:
        raise _too_long(" in the address of the page", _MOST_IN_TARGET)
    if found := _CONTROL.search(request.path):
        raise _holds_control(found[0], " in the address of the page")
    if request.method not in _READS and not policy.any_site and is_cross_site():
        abort(403)
    if policy.open_to is OpenTo.DESK and _is_embedded():
        abort(403)
    if policy.open_to is OpenTo.SIGNED:
        return  # its view checks the signature over the bytes as they came
    _ = request.args
    if request.endpoint is not None and policy.open_to is not OpenTo.DESK:  # there it is known first who sends it
        _ = request.form


def _leave(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", _CSP)
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), browsing-topics=()"
    if rt().settings.base_url.startswith("https://"):
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    if request.endpoint == "static":
        headers["Cache-Control"] = "public, max-age=3600"
    else:
        headers.setdefault("Cache-Control", "no-store")
    if isinstance(request.routing_exception, RequestRedirect) and "Location" in headers:
        headers["Location"] = _within(headers["Location"])  # it named the host and scheme of the request
    return response


def _within(url: str) -> str:
    parts = urlsplit(url)
    return "/" + parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")


def undeclared(app: Flask) -> list[str]:
    """The routes that say nothing about who may use them."""
    return sorted({rule.endpoint for rule in app.url_map.iter_rules() if policy_of(app, rule.endpoint) is None})


def prepare(app: Flask) -> None:
    """Put the front door before an application. To be done before anything else is."""
    app.config["MAX_CONTENT_LENGTH"] = FORM_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = FORM_BYTES
    app.request_class = CheckedRequest
    app.before_request(_enter)
    app.after_request(_leave)
