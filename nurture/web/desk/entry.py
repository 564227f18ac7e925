"""Into the desk and out of it."""

from flask import Blueprint, Response, g, request, url_for

from nurture.domain.user import Need
from nurture.services import access
from nurture.services.access import LogInRefused
from nurture.services.addresses import InputRefused, parse_address
from nurture.services.tries import TooManyTries
from nurture.tokens import Purpose, TokenRefused
from nurture.web.clients import client_network
from nurture.web.desk.guard import client, cookie, login_form, needs_login, safe_next, see, with_device, with_session
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
    """The first proof."""
    email, onward = request.form.get("email", ""), request.form.get("next", "")
    try:
        address = parse_address(email, takes_test_names())
        entered = access.log_in(rt(), address, request.form.get("password", "")[:1000], client())
    except (InputRefused, LogInRefused, TooManyTries) as refused:
        return login_form(422, onward, str(refused), email)
    return _inside(entered, onward)


def _inside(entered: access.Entered, onward: str) -> Response:
    to = url_for("entry.ask_code", next=safe_next(onward)) if entered.half else safe_next(onward)
    return with_session(see(to), entered.token)


@pages.get("/login/code")
@open_to(OpenTo.EVERYBODY)
def ask_code() -> Response:
    """The form for the second proof."""
    here = access.present(rt(), request.cookies.get(cookie(), ""))
    if here is None:
        return login_form(401)
    return page("desk/code.html", onward=safe_next(request.args.get("next", "")), error="")


@pages.post("/login/code")
@open_to(OpenTo.EVERYBODY)
def check_code() -> Response:
    """The second proof."""
    onward = safe_next(request.form.get("next", ""))
    try:
        entered = access.second_proof(rt(), request.cookies.get(cookie(), ""), request.form.get("code", "")[:100], client())
    except (LogInRefused, TooManyTries) as refused:
        return page("desk/code.html", 422, onward=onward, error=str(refused))
    return with_device(with_session(see(onward), entered.token), entered.device)


@pages.post("/login/mail")
@open_to(OpenTo.EVERYBODY)
def ask_link() -> Response:
    """A log-in link by mail; the answer is the same whether there is such an account."""
    try:
        access.ask_link(rt(), parse_address(request.form.get("email", ""), takes_test_names()), client_network())
    except InputRefused as refused:
        return login_form(422, "", str(refused), request.form.get("email", ""))
    return message(
        200, "Please look into your inbox", "If somebody with this address has access to the desk, a link is on its way. It "
        "works once, for ten minutes. At most three are on their way at a time, "
        "and ten in a day. You can close this page.", url_for("entry.ask_password"), "Back to the log-in",
    )  # fmt: skip


@pages.get("/login/<token>")
@open_to(OpenTo.TOKEN)
def open_link(token: str) -> Response:
    """One button: opening the link does not use it up."""
    try:
        rt().tokens.read(Purpose.DESK_LOGIN, token, rt().clock.wall())
    except TokenRefused:
        return dead_link()
    return page("desk/link.html", token=token)


@pages.post("/login/<token>")
@open_to(OpenTo.TOKEN)
def use_link(token: str) -> Response:
    """Use the link up and open a session."""
    try:
        entered = access.log_in_by_link(rt(), token, client())
    except TokenRefused:
        return dead_link()
    return _inside(entered, "")


@pages.get("/prove")
@needs_login
def prove_who() -> Response:
    """Ask once more, before something that cannot be taken back."""
    return page("desk/prove.html", onward=safe_next(request.args.get("next", "")), error="")


@pages.post("/prove")
@needs_login(need=Need.LOOK)
def prove_now() -> Response:
    """Check it, and go on."""
    onward = safe_next(request.form.get("next", ""))
    try:
        access.prove(rt(), g.here, request.form.get("password", "")[:1000], client())
    except (LogInRefused, TooManyTries) as refused:
        return page("desk/prove.html", 422, onward=onward, error=str(refused))
    return see(onward)


@pages.post("/logout")
@needs_login(need=Need.LOOK)
def log_out() -> Response:
    """End the session."""
    access.log_out(rt(), g.here)
    response = see(url_for("public.home"))
    response.delete_cookie(cookie(), path="/")
    return response
