"""What every page shares: the runtime, rendering, error pages."""

from contextlib import suppress
from typing import Any

from flask import Flask, Response, current_app, g, make_response, render_template, request
from jinja2 import StrictUndefined
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from nurture import __version__, log
from nurture.letters.layout import crisis_lines
from nurture.letters.pack_texts import pack_texts
from nurture.mailers.outbox import Outbox
from nurture.runtime import Runtime, keep_up
from nurture.settings import is_loopback

_log = log.get(__name__)

DESK_SECTIONS = (
    ("home", "Home", "/desk/"),
    ("letters", "Letters", "/desk/letters/"),
    ("sequence", "The plan", "/desk/sequence/"),
    ("people", "People", "/desk/people/"),
    ("requests", "Requests", "/desk/requests"),
    ("numbers", "Numbers", "/desk/numbers"),
    ("settings", "Settings", "/desk/settings/"),
)
"""The desk's sections: key, name, address."""

_ERRORS = {
    400: ("This could not be read", "Something in the request was not as expected. Please go back and try again."),
    403: ("Not from this page", "For safety this only works from our own pages. Please open the page again and retry."),
    404: (
        "This page does not exist",
        "The link may be old, or cut off. If it came from a letter, try to copy all of it.",
    ),
    405: ("This does not work that way", "Please open the page and use its button."),
    413: ("That was too much text", "Please go back and shorten what you typed. Nothing was stored."),
    500: (
        "Something went wrong on our side",
        "Nothing you typed was lost to anyone. Please try again in a few minutes.",
    ),
    503: (
        "One moment, please",
        "We cannot reach our records right now, so nothing was changed. Please try again shortly.",
    ),
}


class Refusal(HTTPException):
    """A request that is refused as a whole, with the heading and the text of its page."""

    def __init__(self, code: int, heading: str, text: str) -> None:
        """`code`: the HTTP status."""
        super().__init__()
        self.code, self.words = code, (heading, text)


def rt() -> Runtime:
    """The runtime as it was when this request began; nothing of it changes until the request has been answered."""
    if "rt" not in g:
        process: Runtime = current_app.extensions["nurture"]
        g.rt = process.snapshot()
    found: Runtime = g.rt
    return found


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Render a page."""
    return make_response(render_template(template, **values), status)


def message(status: int, heading: str, text: str, action_url: str = "/", action_label: str = "To the first page") -> Response:
    """A page that says one thing."""
    return page("public/message.html", status, heading=heading, text=text, action_url=action_url, action_label=action_label)


def dead_link() -> Response:
    """The one answer to every token that does not work: unknown, expired, forged or used up."""
    return message(
        404,
        "This link does not work any more",
        "It may have been used already, or be older than it lasts. If you asked for the letters, you can simply ask again.",
    )


def takes_test_names() -> bool:
    """Whether addresses under .test are taken: only where no mail can leave the machine."""
    return isinstance(rt().mailer, Outbox) or is_loopback(rt().sender.host)


_ALONE = ("static", "ops.healthz", "ops.readyz")
"""What answers whatever the database does."""


_PUBLIC_MAX_AGE_SECONDS = 0.25
"""Visitors may get a page by settings that old: thousands who come at once need not all ask whether these have changed."""


def _keep_up() -> None:
    """Show what the desk has set a moment ago, also in another process."""
    if request.endpoint not in _ALONE:
        with suppress(SQLAlchemyError):  # a page that needs the database says so itself
            keep_up(rt(), _PUBLIC_MAX_AGE_SECONDS if request.blueprint == "public" else 0.0)


def _refused(error: HTTPException) -> Response:
    code = error.code or 500
    if error.response is not None:
        return make_response(error.response)
    words = error.words if isinstance(error, Refusal) else None
    heading, text = words or _ERRORS.get(code, _ERRORS[400 if code < 500 else 500])
    response = _error_page(code, heading, text)
    if code == 405 and getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(error.valid_methods)  # type: ignore[attr-defined]
    return response


def _no_database(error: Exception) -> Response:
    _log.error("database_unreachable", endpoint=request.endpoint, exc_info=error)
    response = _error_page(503, *_ERRORS[503])
    response.headers["Retry-After"] = "30"
    return response


def _broken(error: Exception) -> Response:
    _log.error("page_failed", endpoint=request.endpoint, exc_info=error)
    return _error_page(500, *_ERRORS[500])


def _error_page(status: int, heading: str, text: str) -> Response:
    """The page of an error. Where the page itself fails (a template is missing or broken), its words as plain text: a handler
    of errors that raises would close the connection without an answer.
    """
    try:
        return message(status, heading, text)
    except Exception as error:
        _log.error("page_failed", endpoint=request.endpoint, exc_info=error)
        return Response(f"{heading}. {text}\n", 500 if status < 500 else status, mimetype="text/plain")


def prepare(app: Flask) -> None:
    """Give an application the errors and values of every page. Raises PackRefused."""
    texts = pack_texts()
    app.jinja_env.undefined = StrictUndefined
    app.before_request(_keep_up)
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(OperationalError, _no_database)
    app.register_error_handler(PoolTimeout, _no_database)
    app.register_error_handler(Exception, _broken)

    @app.context_processor
    def everywhere() -> dict[str, Any]:
        return {
            "practice_name": rt().settings.from_name,
            "crisis_lines": crisis_lines(),
            "pack": texts,
            "version": __version__,
            "me": g.get("me"),
            "csrf": g.get("csrf", ""),
            "tab": "",
            "desk_sections": DESK_SECTIONS,
        }
