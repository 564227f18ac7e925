"""One's own account: protect it, its password, passkeys, recovery codes, where it is logged in."""

import re

from flask import Blueprint, Response, abort, g, request, url_for

from nurture.domain.passkey import Site
from nurture.domain.user import Permission
from nurture.services.accounts import account_passkeys, accounts, login, login_attempts, passkeys, second_factor, sessions
from nurture.services.accounts.accounts import AccountRefused, Protection
from nurture.services.accounts.login import LogInRefused
from nurture.services.accounts.login_attempts import TooManyAttempts
from nurture.services.accounts.passwords import FEWEST, PasswordRefused
from nurture.services.addresses import InputRefused, parse_address
from nurture.web.desk.access_control import as_json, client, needs_login, see, with_device
from nurture.web.desk.formatting import moment
from nurture.web.pages import page, rt, takes_test_names

pages = Blueprint("account", __name__, url_prefix="/desk/account")

_LOOK = needs_login(need=Permission.VIEW)


@pages.get("/")
@_LOOK
def show() -> Response:
    """Who one is here."""
    return _show()


def _show(status: int = 200, changed: str = "", **errors: str) -> Response:
    listed = [
        (each.name, each.is_here, each.session.device or "A browser", moment(each.session.began), moment(each.session.seen))
        for each in sessions.of_account(rt(), g.me.id, g.here.session.id)
    ]
    keys = [
        (each.id, each.name, moment(each.added), moment(each.used) if each.used else "", each.backed_up)
        for each in account_passkeys.of_account(rt(), g.me.id)
    ]
    return page(
        "desk/accounts/account.html",
        status,
        me=g.me,
        left=accounts.codes_left(rt(), g.me.id),
        errors=errors,
        fewest=FEWEST,
        changed=changed,
        sessions=listed,
        passkeys=keys,
        offered=passkeys.site(rt()) is not None,
        base_url=rt().settings.base_url,
        most_name=account_passkeys.MOST_NAME,
    )


def _asks_password() -> bool:
    """Whether what proves who they are can be changed only with the password as it is now."""
    return bool(g.me.has_app) and not login.proved_lately(g.here.session, rt().clock.real_now())


@pages.get("/protect")
@needs_login(need=Permission.VIEW, recent=True)
def protect() -> Response:
    """A name, an address, a password and the app, on one page."""
    secret, sealed = accounts.begin_protection(rt(), g.me.id)
    return _protect_form(secret, sealed, g.me.name, g.me.email, {})


def _protect_form(secret: str, sealed: str, name: str, email: str, errors: dict[str, str]) -> Response:
    uri = second_factor.app_uri(secret, rt().settings.from_name, email or "desk")
    typed = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    return page(
        "desk/accounts/protect.html",
        422 if errors else 200,
        secret=sealed,
        typed=typed,
        picture=second_factor.picture(uri),
        name=name,
        email=email,
        errors=errors,
        fewest=FEWEST,
        asks_password=_asks_password(),
        passkeys=not g.me.protected and passkeys.site(rt()) is not None,
    )


@pages.post("/protect")
@_LOOK
def protect_now() -> Response:
    """Keep all of it, and show the recovery codes this once. Whoever has them already shows first who they are: lately, or by
    typing the password into the same form, so that nothing else typed is lost.
    """
    form = request.form
    name, email, sealed = " ".join(form.get("name", "").split()), form.get("email", ""), form.get("secret", "")
    secret = accounts.offered_secret(rt(), g.me.id, sealed)
    if secret is None:
        return see(url_for("account.protect"))  # the hidden field was lost: begin with a new one
    if g.me.protected and not g.me.has_app and not login.proved_lately(g.here.session, rt().clock.real_now()):
        return see(url_for("entry.prove_who", next=url_for("account.protect")))  # there is no password to type here
    try:
        if form.get("passkey") and not g.me.protected:
            return _begin_with_passkey(name, email, form["passkey"])
        if _asks_password():
            if not form.get("old"):
                raise AccountRefused(accounts.PROVE_FIRST, "old")
            login.prove(rt(), g.here, form["old"][:1000], client())
        address = parse_address(email, takes_test_names())
        chosen = Protection(name, address, form.get("password", ""), secret, form.get("code", ""))
        codes = accounts.protect(rt(), g.me.id, g.here.session.id, chosen)
    except (LogInRefused, TooManyAttempts) as refused:
        return _protect_form(secret, sealed, name, email, {"old": str(refused)})
    except InputRefused as refused:
        return _protect_form(secret, sealed, name, email, {"email": str(refused)})
    except PasswordRefused as refused:
        return _protect_form(secret, sealed, name, email, {"password": str(refused)})
    except AccountRefused as refused:
        return _protect_form(secret, sealed, name, email, {refused.field: str(refused)})
    return _codes_page(codes)


def _begin_with_passkey(name: str, email: str, sent: str) -> Response:
    address, _ = parse_address(email, takes_test_names()), _site()
    device = client().described or "Passkey"
    return _codes_page(account_passkeys.protect(rt(), g.me.id, g.here.session.id, name, address, device, sent))


def _codes_page(codes: list[str]) -> Response:
    return _still_known(page("desk/accounts/recovery_codes.html", codes=codes, onward=url_for("dashboard.home")))


def _site() -> Site:
    """Where passkeys are bound to; 404 where there are none."""
    return passkeys.site(rt()) or abort(404)


@pages.get("/passkeys/new")
@needs_login(need=Permission.VIEW, recent=True)
def new_passkey() -> Response:
    """A name for it, and the button by which the device makes one."""
    _site()
    return _passkey_form(200)


def _passkey_form(status: int, **errors: str) -> Response:
    name = request.form.get("name", "") if errors else client().described
    return page("desk/accounts/passkey.html", status, name=name, errors=errors, most_name=account_passkeys.MOST_NAME)


@pages.post("/passkeys/options")
@needs_login(need=Permission.VIEW, recent=True)
def passkey_options() -> Response:
    """What a browser is to make a passkey from. `email`: of an account that has none yet, to be shown beside the passkey."""
    at = _site()
    try:
        email = "" if g.me.protected else parse_address(request.form.get("email", ""), takes_test_names()).send_to
    except InputRefused as refused:
        return as_json({"said": str(refused)}, 422)
    return as_json(account_passkeys.ask_new(rt(), at, g.me, g.here.session.id, email))


@pages.post("/passkeys/new")
@needs_login(need=Permission.VIEW, recent=True)
def add_passkey() -> Response:
    """Keep the passkey that the device has made."""
    _site()
    form = request.form
    try:
        account_passkeys.add(rt(), g.me.id, g.here.session.id, form.get("name", ""), form.get("passkey", ""))
    except AccountRefused as refused:
        return _passkey_form(422, **{refused.field or "passkey": str(refused)})
    return _show(changed="Your passkey is added. From now on you can log in with it.")


@pages.post("/passkeys/<passkey>")
@needs_login(need=Permission.VIEW, recent=True)
def change_passkey(passkey: str) -> Response:
    """Rename or remove a passkey."""
    _site()
    if not re.fullmatch("[0-9a-f]{32}", passkey):
        abort(404)
    try:
        match request.form.get("act"):
            case "rename":
                account_passkeys.rename(rt(), g.me.id, passkey, request.form.get("name", ""))
                return see(url_for("account.show"))
            case "remove":
                account_passkeys.remove(rt(), g.me.id, g.here.session.id, passkey)
            case _:
                abort(400)
    except AccountRefused as refused:
        return _show(422, passkey=str(refused))
    return _still_known(_show(changed="The passkey is removed. Everywhere else you are logged out."))


def _still_known(response: Response) -> Response:
    """Every device is unknown after a change of proofs, but for the one on which it was made."""
    return with_device(response, login_attempts.remember_device(rt(), g.me.id, client().device))


@pages.post("/password")
@_LOOK
def change_password() -> Response:
    """Change the password; other sessions end."""
    old, new = request.form.get("old", "")[:1000], request.form.get("new", "")
    try:
        accounts.change_password(rt(), g.me.id, g.here.session.id, old, new, client())
    except TooManyAttempts as refused:
        return _show(422, old=str(refused))
    except AccountRefused as refused:
        return _show(422, **{refused.field or "old": str(refused)})
    except PasswordRefused as refused:
        return _show(422, new=str(refused))
    return _still_known(_show(changed="Your password is changed. Everywhere else you are logged out."))


@pages.post("/codes")
@needs_login(need=Permission.VIEW, recent=True)
def renew_codes() -> Response:
    """New recovery codes."""
    return page("desk/accounts/recovery_codes.html", codes=accounts.renew_codes(rt(), g.me.id), onward=url_for("account.show"))


@pages.post("/sessions")
@_LOOK
def end_sessions() -> Response:
    """Log out in one other place, `end`, or everywhere else."""
    name = request.form.get("end", "")
    if name:
        sessions.end(rt(), g.me.id, name)  # one that has ended meanwhile is where it should be
    else:
        sessions.end_others(rt(), g.me.id, g.here.session.id)
    return see(url_for("account.show"))
