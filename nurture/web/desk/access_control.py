"""Who is at the desk: `needs_login` before every page of it."""

import hmac
import json
from collections.abc import Callable
from functools import wraps
from typing import Any, overload

from flask import Response, abort, g, redirect, request, url_for

from nurture.domain.client import Client, describe_device
from nurture.domain.user import Permission, allows
from nurture.services.accounts import login, login_attempts, passkeys
from nurture.services.accounts.accounts import Account
from nurture.services.accounts.login_attempts import DEVICES_KEPT
from nurture.tokens import Purpose
from nurture.web.clients import client_network
from nurture.web.front_door import OpenTo, Policy, declare
from nurture.web.pages import message, page, rt

_OPEN_TO_UNPROTECTED = {"account.protect", "account.protect_now", "account.passkey_options", "entry.log_out"}
"""What somebody may do who was let in and has no password yet."""
_FROM_SCRIPT = "X-CSRF-Token"
_MOST_FIELDS = 1_000
"""Of a form of the desk: the plan has six for each of its letters, and one for each day off."""


_View = Callable[..., Response]


def cookie() -> str:
    """`__Host-` binds the cookie to this very host (RFC 6265bis section 4.1.3.2); it needs https."""
    return "__Host-desk" if rt().settings.base_url.startswith("https://") else "desk"


def safe_next(given: str) -> str:
    """A page of the desk to go on to; anything else becomes the first one."""
    fine = given.startswith("/desk/") and "\\" not in given and "//" not in given and given.isprintable()
    return given if fine else url_for("dashboard.home")


def with_cookie(response: Response, name: str, value: str, max_age: int | None = None) -> Response:
    """The response, with a cookie that only the desk's own pages send; `max_age`: seconds, None until the browser is closed."""
    secure = rt().settings.base_url.startswith("https://")
    response.set_cookie(name, value, max_age, httponly=True, secure=secure, samesite="Strict", path="/")
    return response


def with_session(response: Response, token: str) -> Response:
    """The response, with the session's cookie."""
    return with_cookie(response, cookie(), token)


_DEVICE_KEPT = int(DEVICES_KEPT.total_seconds())


def _device_cookie() -> str:
    return f"{cookie()}-device"


def client() -> Client:
    """Who asks: for counting tries, and for the list of sessions."""
    device = login_attempts.device_of(rt(), request.cookies.get(_device_cookie(), ""))
    return Client(client_network() or "", device, describe_device(request.headers.get("User-Agent", "")))


def with_device(response: Response, token: str) -> Response:
    """The response, with the cookie by which this browser is known at the next log-in."""
    return with_cookie(response, _device_cookie(), token, _DEVICE_KEPT)


def as_json(content: str | dict[str, str], status: int = 200) -> Response:
    """An answer for a script: JSON, or what is to be written as such."""
    return Response(content if isinstance(content, str) else json.dumps(content), status, mimetype="application/json")


def see(path: str) -> Response:
    """On to another page."""
    onward: Response = redirect(path, 303)  # type: ignore[assignment]
    return onward


def _must_protect(account: Account) -> bool:
    """Whoever was invited proves themselves with more than a link; the first owner, on a machine of their own, may wait."""
    return bool(account.email) and not account.protected


def _is_forged(csrf: str) -> bool:
    given = request.headers.get(_FROM_SCRIPT, "") or request.form.get("csrf", "")
    return not hmac.compare_digest(given.encode(), csrf.encode())


def _refusal(here: login.Visitor, need: Permission | None, recent: bool) -> Response | None:
    """Why this person may not have this page now; None if they may."""
    changes = request.method not in ("GET", "HEAD")
    if changes and _is_forged(g.csrf):
        abort(403)
    if not allows(here.account.role, need if need is not None else Permission.CHANGE if changes else Permission.VIEW):
        return message(
            403,
            "Your account may not do this",
            "It may look, or edit letters, but not this. An owner of the desk can, or can change what your account may do.",
            url_for("dashboard.home"),
            "Back to the desk",
        )
    if _must_protect(here.account) and request.endpoint not in _OPEN_TO_UNPROTECTED:
        return see(url_for("account.protect"))
    may_wait = not here.account.protected and request.endpoint in _OPEN_TO_UNPROTECTED  # there is nothing to show again
    if recent and not may_wait and not login.proved_lately(here.session, rt().clock.real_now()):
        back = safe_next(request.form.get("back", "") if changes else request.full_path.rstrip("?"))
        return see(url_for("entry.prove_who", next=back) if here.account.protected else url_for("account.protect"))
    return None


@overload
def needs_login(view: _View) -> _View: ...


@overload
def needs_login(*, need: Permission | None = None, recent: bool = False) -> Callable[[_View], _View]: ...


def needs_login(
    view: _View | None = None, *, need: Permission | None = None, recent: bool = False
) -> _View | Callable[[_View], _View]:
    """Only for somebody with a living session; what changes anything must carry the session's own token.

    `need`: what the page asks of its opener, by default to look for a GET and to change for the rest. `recent`: they must have
    shown who they are in the last ten minutes; a form names the page to come back to as `back`.
    """

    def decorate(inner: _View) -> _View:
        @wraps(inner)
        def guarded(*args: Any, **kwargs: Any) -> Response:
            here = login.visitor(rt(), request.cookies.get(cookie(), ""))
            if here is None or here.session.mfa_pending:
                return login_form(401, request.full_path.rstrip("?") if request.method == "GET" else "")
            _ = request.form  # refused here if it holds what nothing should read
            g.here, g.me, g.csrf = here, here.account, rt().tokens.mint(Purpose.CSRF, here.session.id)
            return _refusal(here, need, recent) or inner(*args, **kwargs)

        return declare(guarded, Policy(OpenTo.DESK, need, recent, most_fields=_MOST_FIELDS))

    return decorate(view) if view is not None else decorate


def login_form(status: int = 200, onward: str = "", error: str = "", email: str = "", field: str = "password") -> Response:
    """The form for address and password, or a passkey; `field`: where the error belongs."""
    errors, offered = {field: error} if error else {}, passkeys.site(rt()) is not None
    return page("desk/accounts/login.html", status, onward=onward, errors=errors, email=email, passkeys=offered)
