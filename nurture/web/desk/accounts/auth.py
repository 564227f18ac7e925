"""Into the desk and out of it."""

from flask import Blueprint, Response, abort, g, request, url_for

from nurture.domain.passkey import PasskeyUse
from nurture.domain.user import Permission
from nurture.ids import UserId, new_id
from nurture.services.accounts import login, passkeys
from nurture.services.accounts.login import LogInRefused, SecondFactor, Visitor
from nurture.services.accounts.login_attempts import TooManyAttempts
from nurture.services.accounts.passkeys import LASTS, TooManyAsked
from nurture.services.addresses import InputRefused, parse_address
from nurture.tokens import Purpose, TokenRefused
from nurture.web.clients import client_network
from nurture.web.desk.access_control import (
    as_json,
    client,
    cookie,
    login_form,
    needs_login,
    safe_next,
    see,
    with_cookie,
    with_device,
    with_session,
)
from nurture.web.front_door import OpenTo, open_to
from nurture.web.pages import dead_link, message, page, rt, takes_test_names

pages = Blueprint("entry", __name__, url_prefix="/desk")


@pages.get("/login")
@open_to(OpenTo.EVERYBODY)
def ask_password() -> Response:
    """The form for address and password."""
    return login_form(onward=request.args.get("next", ""))


@pages.post("/login")
@open_to(OpenTo.EVERYBODY)
def check_password() -> Response:
    """The first proof, or a passkey, which is both."""
    if request.form.get("passkey"):
        return _log_in_by_passkey()
    email, onward = request.form.get("email", ""), request.form.get("next", "")
    try:
        address = parse_address(email, takes_test_names())
        entered = login.log_in(rt(), address, request.form.get("password", "")[:1000], client())
    except (InputRefused, LogInRefused, TooManyAttempts) as refused:
        return login_form(422, onward, str(refused), email)
    return _inside(entered, onward)


def _inside(entered: login.NewSession, onward: str) -> Response:
    to = url_for("entry.ask_code", next=safe_next(onward)) if entered.mfa_pending else safe_next(onward)
    return with_session(see(to), entered.token)


@pages.get("/login/code")
@open_to(OpenTo.EVERYBODY)
def ask_code() -> Response:
    """The form for the second proof."""
    return _code_form(200, safe_next(request.args.get("next", "")))


def _code_form(status: int, onward: str, **errors: str) -> Response:
    here = _present()
    if here is None:
        return login_form(401, error=errors.get("code", ""))
    offered = here.account.has_passkeys and passkeys.site(rt()) is not None
    return page(
        "desk/accounts/second_factor.html", status, onward=onward, errors=errors, passkeys=offered, has_app=here.account.has_app
    )


def _present() -> Visitor | None:
    return login.visitor(rt(), request.cookies.get(cookie(), ""))


@pages.post("/login/code")
@open_to(OpenTo.EVERYBODY)
def check_code() -> Response:
    """The second proof."""
    onward, sent = safe_next(request.form.get("next", "")), _sent()
    given = SecondFactor(request.form.get("code", "")[:100], sent)
    try:
        entered = login.second_proof(rt(), request.cookies.get(cookie(), ""), given, client())
    except (LogInRefused, TooManyAttempts) as refused:
        return _code_form(422, onward, **{"passkey" if sent else "code": str(refused)})
    return with_device(with_session(see(onward), entered.token), entered.device)


@pages.post("/login/passkey")
@open_to(OpenTo.EVERYBODY)
def passkey_options() -> Response:
    """What a browser is to sign with a passkey: alone, as the second proof, or to show again who somebody is."""
    at = passkeys.site(rt())
    if at is None:
        abort(404)
    here, use = _present(), request.form.get("use", "")
    who: UserId | None = None
    network: str | None = None
    if use == PasskeyUse.LOG_IN:
        holder, network = _browser() or new_id(), client_network()
    elif here is not None and use == (PasskeyUse.SECOND_PROOF if here.session.mfa_pending else PasskeyUse.AGAIN):
        holder, who = here.session.id, here.account.id
    else:
        return as_json({"said": "Too much time went by. Please log in again."}, 401)
    try:
        response = as_json(passkeys.ask(rt(), at, holder, PasskeyUse(use), who, network))
    except TooManyAsked as refused:
        return as_json({"said": str(refused)}, 429)
    return response if who else _with_browser(response, holder)


def _browser_cookie() -> str:
    return f"{cookie()}-passkey"


def _browser() -> str | None:
    """The id of a browser that was asked for a passkey at the log-in, from its cookie."""
    try:
        return rt().tokens.read(Purpose.DESK_PASSKEY, request.cookies.get(_browser_cookie(), ""), rt().clock.real_now())
    except TokenRefused:
        return None


def _with_browser(response: Response, browser: str) -> Response:
    token = rt().tokens.mint(Purpose.DESK_PASSKEY, browser, rt().clock.real_now() + LASTS)
    return with_cookie(response, _browser_cookie(), token, int(LASTS.total_seconds()))


def _sent() -> str:
    """What a browser sent for a passkey, if it did."""
    sent = request.form.get("passkey", "")
    if sent and passkeys.site(rt()) is None:
        abort(404)
    return sent


def _log_in_by_passkey() -> Response:
    onward, sent = request.form.get("next", ""), _sent()
    try:
        entered = login.log_in_by_passkey(rt(), _browser() or new_id(), sent, client())
    except (LogInRefused, TooManyAttempts) as refused:
        return login_form(422, onward, str(refused), field="passkey")
    return with_device(with_session(see(safe_next(onward)), entered.token), entered.device)


@pages.post("/login/mail")
@open_to(OpenTo.EVERYBODY)
def ask_link() -> Response:
    """A log-in link by mail; the answer is the same whether there is such an account."""
    try:
        login.ask_link(rt(), parse_address(request.form.get("email", ""), takes_test_names()), client_network())
    except InputRefused as refused:
        return login_form(422, "", str(refused), request.form.get("email", ""))
    return message(
        200,
        "Please look into your inbox",
        "If somebody with this address has access to the desk, a link is on its way. It "
        "works once, for ten minutes. At most three are on their way at a time, "
        "and ten in a day. You can close this page.",
        url_for("entry.ask_password"),
        "Back to the log-in",
    )


@pages.get("/login/<token>")
@open_to(OpenTo.TOKEN)
def open_link(token: str) -> Response:
    """One button: opening the link does not use it up."""
    try:
        rt().tokens.read(Purpose.DESK_LOGIN, token, rt().clock.real_now())
    except TokenRefused:
        return dead_link()
    return page("desk/accounts/login_link.html", token=token)


@pages.post("/login/<token>")
@open_to(OpenTo.TOKEN)
def use_link(token: str) -> Response:
    """Use the link up and open a session."""
    try:
        entered = login.log_in_by_link(rt(), token, client())
    except TokenRefused:
        return dead_link()
    return _inside(entered, "")


@pages.get("/prove")
@needs_login
def prove_who() -> Response:
    """Ask once more, before something that cannot be taken back."""
    return _prove_form(200, safe_next(request.args.get("next", "")))


def _prove_form(status: int, onward: str, **errors: str) -> Response:
    offered = g.me.has_passkeys and passkeys.site(rt()) is not None
    return page(
        "desk/accounts/reauthenticate.html", status, onward=onward, errors=errors, passkeys=offered, has_app=g.me.has_app
    )


@pages.post("/prove")
@needs_login(need=Permission.VIEW)
def prove_now() -> Response:
    """Check it, and go on."""
    onward, sent = safe_next(request.form.get("next", "")), _sent()
    try:
        if sent:
            login.prove_by_passkey(rt(), g.here, sent, client())
        else:
            login.prove(rt(), g.here, request.form.get("password", "")[:1000], client())
    except (LogInRefused, TooManyAttempts) as refused:
        return _prove_form(422, onward, **{"passkey" if sent else "password": str(refused)})
    return see(onward)


@pages.post("/logout")
@needs_login(need=Permission.VIEW)
def log_out() -> Response:
    """End the session."""
    login.log_out(rt(), g.here)
    return with_cookie(see(url_for("public.home")), cookie(), "", 0)
