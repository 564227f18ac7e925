"""Into the desk by a one-time link, and out of it."""

import hmac
from functools import wraps
from typing import Any, Protocol

from flask import Blueprint, Response, abort, g, redirect, request, url_for

from nurture.services import access
from nurture.tokens import Purpose, TokenRefused
from nurture.web.pages import dead_link, is_cross_site, message, page, rt

pages = Blueprint("account", __name__, url_prefix="/desk")

_HOW_TO_LOG_IN = (
    "Open the log-in link that the service printed when it was started. Each link works once, for ten minutes; "
    "starting the service again makes a new one."
)


class _View(Protocol):
    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Response: ...


def _cookie() -> str:
    """`__Host-` binds the cookie to this very host (RFC 6265bis section 4.1.3.2); it needs https."""
    return "__Host-desk" if rt().settings.base_url.startswith("https://") else "desk"


def needs_login(view: _View) -> _View:
    """Only for somebody with a living session; a POST must carry the session's own token and come from our pages."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Response:
        session = access.session_of(rt(), request.cookies.get(_cookie(), ""))
        if session is None:
            return message(401, "Please log in", _HOW_TO_LOG_IN)
        g.session, g.csrf = session, rt().tokens.mint(Purpose.CSRF, session)
        given = request.form.get("csrf", "")
        if request.method == "POST" and (is_cross_site() or not hmac.compare_digest(given.encode(), g.csrf.encode())):
            abort(403)
        return view(*args, **kwargs)

    return guarded


@pages.get("/login/<token>")
def login(token: str) -> Response:
    """One button: opening the link does not use it up."""
    try:
        rt().tokens.read(Purpose.DESK_LOGIN, token, rt().clock.wall())
    except TokenRefused:
        return dead_link()
    return page("desk/login.html", token=token)


@pages.post("/login/<token>")
def log_in(token: str) -> Response:
    """Use the link up and open a session."""
    if is_cross_site():
        abort(403)
    try:
        session = access.log_in(rt(), token)
    except TokenRefused:
        return dead_link()
    response: Response = redirect(url_for("dashboard.home"), 303)  # type: ignore[assignment]
    secure = rt().settings.base_url.startswith("https://")
    response.set_cookie(_cookie(), session, httponly=True, secure=secure, samesite="Strict", path="/")
    return response


@pages.post("/logout")
@needs_login
def log_out() -> Response:
    """End the session."""
    access.log_out(rt(), g.session)
    response: Response = redirect(url_for("public.home"), 303)  # type: ignore[assignment]
    response.delete_cookie(_cookie(), path="/")
    return response
