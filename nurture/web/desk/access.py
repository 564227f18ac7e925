"""People with access to the desk: owners add them, say what each may do, and see what happened."""

import re

from flask import Blueprint, Response, abort, request, url_for

from nurture.domain.user import Need, Role
from nurture.services import access, accounts
from nurture.services.accounts import AccountRefused
from nurture.services.addresses import InputRefused, parse_address
from nurture.web.desk.guard import needs_login, see
from nurture.web.pages import page, rt, takes_test_names
from nurture.words import UserId

pages = Blueprint("access", __name__, url_prefix="/desk/access")

_OWN = needs_login(need=Need.OWN)
_OWN_NOW = needs_login(need=Need.OWN, recent=True)

ROLES = {
    Role.OWNER: "Everything, also settings, exports and accounts",
    Role.EDITOR: "Letters, people and requests",
    Role.VIEWER: "Looks at everything, changes nothing",
}
HAPPENED = {
    "account_added": "was given access", "account_protected": "set a password and an app", "account_removed": "lost access",
    "account_reset": "was reset", "api_key_made": "made a key for a program",
    "api_key_revoked": "A program's key was taken back", "link_made": "got a log-in link",
    "link_mailed": "was mailed a log-in link", "link_refused": "A link was tried that does not work",
    "log_in_slowed": "Too many tries were slowed down", "logged_in": "logged in",
    "logged_in_by_link": "opened a log-in link", "logged_out": "logged out",
    "other_sessions_ended": "logged out everywhere else", "password_changed": "changed the password",
    "password_refused": "A wrong password was typed", "password_right": "typed the right password",
    "proof_refused": "typed a wrong password when asked again", "proved": "showed again who they are",
    "recovery_code_used": "used a recovery code", "recovery_codes_made": "made new recovery codes",
    "mail_settings_changed": "changed what carries mail", "settings_changed": "changed the settings",
    "went_live": "let letters leave for readers",
    "role_changed": "may do something else now", "second_proof_refused": "typed a wrong code",
}  # fmt: skip


@pages.get("/")
@_OWN
def show() -> Response:
    """All accounts, and what happened lately."""
    return _show({}, {})


def _show(form: dict[str, str], errors: dict[str, str]) -> Response:
    people = accounts.everyone(rt())
    form = {"name": "", "email": "", "role": ""} | form
    names = {person.id: person.called for person in people}
    happened = [
        (
            f"{at:%Y-%m-%d %H:%M} UTC",
            names.get(who, "Somebody who has no access any more") if who else "",
            HAPPENED.get(kind, kind),
        )
        for who, kind, at in accounts.happened(rt())
    ]
    return page(
        "desk/access.html",
        422 if errors else 200,
        people=people,
        roles=ROLES,
        happened=happened,
        form=form,
        errors=errors,
    )


@pages.post("/")
@_OWN_NOW
def add() -> Response:
    """Give somebody access; a link to begin with goes to them by mail."""
    form = {name: request.form.get(name, "").strip() for name in ("name", "email", "role")}
    try:
        address = parse_address(form["email"], takes_test_names())
        role = Role(form["role"])
        accounts.add(rt(), address, form["name"][: accounts.MOST_NAME], role)
    except InputRefused as refused:
        return _show(form, {"email": str(refused)})
    except AccountRefused as refused:
        return _show(form, {refused.field: str(refused)})
    except ValueError:
        return _show(form, {"role": "Please choose what they may do."})
    access.mail_link(rt(), address, access.INVITATION_WORKS)
    return see(url_for("access.show"))


@pages.post("/<who>")
@_OWN_NOW
def change(who: str) -> Response:
    """Change what somebody may do, send them a link, reset or remove them."""
    found = next((person for person in accounts.everyone(rt()) if person.id == who), None)
    act = request.form.get("act", "")
    if found is None or not re.fullmatch("[0-9a-f]{32}", who):
        abort(404)
    try:
        match act:
            case "owner" | "editor" | "viewer":
                accounts.set_role(rt(), UserId(who), Role(act))
            case "link" if found.email:
                access.mail_link(rt(), parse_address(found.email, takes_test_names()), access.INVITATION_WORKS)
            case "reset":
                accounts.reset(rt(), UserId(who))
            case "remove":
                accounts.remove(rt(), UserId(who))
            case _:
                abort(400)
    except AccountRefused as refused:
        return _show({}, {"": str(refused)})
    return see(url_for("access.show"))
