"""One's own account: protect it, its password, recovery codes, other sessions."""

from flask import Blueprint, Response, g, request, url_for

from nurture.domain.user import Need
from nurture.services import accounts, second_factor
from nurture.services.accounts import AccountRefused, Protection
from nurture.services.addresses import InputRefused, parse_address
from nurture.services.passwords import FEWEST, PasswordRefused
from nurture.web.desk.guard import needs_login, see
from nurture.web.pages import page, rt, takes_test_names

pages = Blueprint("account", __name__, url_prefix="/desk/account")

_LOOK = needs_login(need=Need.LOOK)


@pages.get("/")
@_LOOK
def show() -> Response:
    """Who one is here."""
    return _show()


def _show(status: int = 200, **errors: str) -> Response:
    return page(
        "desk/account.html", status, me=g.me, left=accounts.codes_left(rt(), g.me.id), errors=errors, fewest=FEWEST, changed=""
    )


@pages.get("/protect")
@_LOOK
def protect() -> Response:
    """A name, an address, a password and the app, on one page."""
    secret, sealed = accounts.begin_protection(rt(), g.me.id)
    return _protect_form(secret, sealed, g.me.name, g.me.email, {})


def _protect_form(secret: str, sealed: str, name: str, email: str, errors: dict[str, str]) -> Response:
    uri = second_factor.app_uri(secret, rt().settings.from_name, email or "desk")
    typed = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    return page(
        "desk/protect.html", 422 if errors else 200, secret=sealed, typed=typed, picture=second_factor.picture(uri),
        name=name, email=email, errors=errors, fewest=FEWEST,
    )  # fmt: skip


@pages.post("/protect")
@_LOOK
def protect_now() -> Response:
    """Keep all of it, and show the recovery codes this once."""
    form = request.form
    name, email, sealed = " ".join(form.get("name", "").split()), form.get("email", ""), form.get("secret", "")
    secret = accounts.offered_secret(rt(), g.me.id, sealed)
    if secret is None:
        return see(url_for("account.protect"))  # the hidden field was lost: begin with a new one
    try:
        address = parse_address(email, takes_test_names())
        chosen = Protection(name, address, form.get("password", ""), secret, form.get("code", ""))
        codes = accounts.protect(rt(), g.me.id, g.here.session.id, chosen)
    except InputRefused as refused:
        return _protect_form(secret, sealed, name, email, {"email": str(refused)})
    except PasswordRefused as refused:
        return _protect_form(secret, sealed, name, email, {"password": str(refused)})
    except AccountRefused as refused:
        return _protect_form(secret, sealed, name, email, {refused.field: str(refused)})
    return page("desk/codes.html", codes=codes, onward=url_for("dashboard.home"))


@pages.post("/password")
@_LOOK
def change_password() -> Response:
    """Change the password; other sessions end."""
    try:
        accounts.change_password(
            rt(), g.me.id, g.here.session.id, request.form.get("old", "")[:1000], request.form.get("new", "")
        )
    except AccountRefused as refused:
        return _show(422, **{refused.field or "old": str(refused)})
    except PasswordRefused as refused:
        return _show(422, new=str(refused))
    return page(
        "desk/account.html", me=g.me, left=accounts.codes_left(rt(), g.me.id), errors={}, fewest=FEWEST,
        changed="Your password is changed. Everywhere else you are logged out.",
    )  # fmt: skip


@pages.post("/codes")
@needs_login(need=Need.LOOK, recent=True)
def renew_codes() -> Response:
    """New recovery codes."""
    return page("desk/codes.html", codes=accounts.renew_codes(rt(), g.me.id), onward=url_for("account.show"))


@pages.post("/sessions")
@_LOOK
def end_other_sessions() -> Response:
    """Log out everywhere else."""
    accounts.end_other_sessions(rt(), g.me.id, g.here.session.id)
    return see(url_for("account.show"))
