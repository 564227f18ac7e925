"""For the person who hosts it: health, and the local outbox."""

import re
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, jsonify, make_response, request
from sqlalchemy.exc import SQLAlchemyError

from nurture.mailers.outbox import Outbox, Stored
from nurture.services.operations import health
from nurture.settings import is_loopback
from nurture.web.front_door import FRAMED_CSP, MAIL_CSP, OpenTo, open_to
from nurture.web.pages import page, rt

pages = Blueprint("ops", __name__)

_PICTURE = re.compile(r"(?:[\w+/=]{60,80}\r?\n){4,}(?:[\w+/=]+\r?\n)?")
"""Many lines of base64: a page of them tells nobody anything."""
_OF_PROXIES = ("FORWARDED", "VIA", "X_REAL_IP", "X_FORWARDED_")
"""How the names of headers begin that a proxy adds, as WSGI writes them after `HTTP_`."""


@pages.get("/healthz")
@open_to(OpenTo.EVERYBODY, any_host=True)
def healthz() -> Response:
    """The process answers."""
    return jsonify(status="ok")


@pages.get("/readyz")
@open_to(OpenTo.EVERYBODY, any_host=True)
def readyz() -> tuple[Response, int]:
    """Whether pages can be served. Whether mail goes out is said beside it, and does not make pages unready."""
    checks = health.readiness(rt())
    ready = all(result == "ok" for result in checks.values())
    try:
        sending = health.sending_summary(rt())
    except SQLAlchemyError:
        sending = "unknown: the database does not answer"
    body = jsonify(status="ok" if ready else "not ready", ready=ready, checks=checks, sending=sending)
    return body, 200 if ready else 503


def _is_proxied() -> bool:
    """Whether a proxy passed this request on. nginx adds no header unless told to; it speaks HTTP/1.0, as no browser does."""
    environ = request.environ
    added = any(name.removeprefix("HTTP_").startswith(_OF_PROXIES) for name in environ if name.startswith("HTTP_"))
    return added or environ.get("SERVER_PROTOCOL") != "HTTP/1.1"


def _box() -> Outbox:
    """The outbox: only with the outbox mailer, for somebody at this very machine, where the service has no other address."""
    mailer = rt().mailer
    asked, own = (urlsplit(url).hostname for url in (f"//{request.host}", rt().settings.base_url))
    near = is_loopback(request.remote_addr) and is_loopback(asked) and is_loopback(own) and not _is_proxied()
    if not isinstance(mailer, Outbox) or not near:
        abort(404)
    return mailer


def _summary(mail: Stored) -> dict[str, object]:
    message = mail.message
    kind = str(message["Feedback-ID"] or "notice:").split(":")[0].replace("-", " ")
    return {
        "id": mail.id,
        "received": f"{message['Date'].datetime:%Y-%m-%d %H:%M} UTC",
        "to": str(message["To"]),
        "subject": str(message["Subject"]),
        "kind": kind,
    }


@pages.get("/outbox")
@open_to(OpenTo.THIS_MACHINE)
def outbox() -> Response:
    """All captured mail, newest first."""
    response = page("outbox/index.html", mails=[_summary(mail) for mail in _box().index()])
    response.headers["Content-Security-Policy"] = FRAMED_CSP
    return response


def _stored(delivery: str) -> Stored:
    return _box().get(delivery) or abort(404)


@pages.get("/outbox/<delivery>")
@open_to(OpenTo.THIS_MACHINE)
def outbox_mail(delivery: str) -> Response:
    """One captured mail: HTML, text, headers, source."""
    mail = _stored(delivery)
    shown = _summary(mail) | {
        "from": str(mail.message["From"]),
        "headers": [[name, str(value)] for name, value in mail.message.items()],
        "text": mail.part("plain"),
        "source": _PICTURE.sub("[a picture, left out here]\n", mail.source),
    }
    response = page("outbox/mail.html", mail=shown)
    response.headers["Content-Security-Policy"] = FRAMED_CSP
    return response


@pages.get("/outbox/<delivery>/html")
@open_to(OpenTo.THIS_MACHINE)
def outbox_html(delivery: str) -> Response:
    """The HTML part of a captured mail, for the sandboxed frame."""
    html = _stored(delivery).page().replace("<head>", '<head><base target="_blank">', 1)  # links open beside it
    response = make_response(html)
    response.headers["Content-Security-Policy"] = MAIL_CSP
    return response
