"""People with access to the desk: owners add them, say what each may do, and see what happened."""

import re

from flask import Blueprint, Response, abort, request, url_for

from nurture.domain.user import Permission, Role
from nurture.ids import UserId
from nurture.services.accounts import accounts, login, security_events
from nurture.services.accounts.accounts import AccountRefused
from nurture.services.addresses import InputRefused, parse_address
from nurture.web.desk.access_control import needs_login, see
from nurture.web.pages import page, rt, takes_test_names

pages = Blueprint("access", __name__, url_prefix="/desk/access")

_OWN = needs_login(need=Permission.OWN)
_OWN_NOW = needs_login(need=Permission.OWN, recent=True)

ROLES = {
    Role.OWNER: "Everything, also settings, exports and accounts",
    Role.EDITOR: "Letters, people and requests",
    Role.VIEWER: "Looks at everything, changes nothing",
}
HAPPENED = {
    "account_added": "was given access", "account_protected": "set up how they log in", "account_removed": "lost access",
    "account_reset": "was reset", "api_key_made": "made a key for a program",
    "api_key_revoked": "A program's key was taken back", "link_made": "got a log-in link",
    "link_mailed": "was mailed a log-in link", "link_refused": "A link was tried that does not work",
    "link_withheld": "was mailed no more log-in links that day",
    "log_in_slowed": "Too many tries were slowed down", "logged_in": "logged in",
    "logged_in_by_link": "opened a log-in link", "logged_in_by_passkey": "logged in with a passkey", "logged_out": "logged out",
    "passkey_added": "added a passkey", "passkey_count_back": "A passkey was refused that may have been copied",
    "passkey_refused": "A passkey was refused", "passkey_removed": "removed a passkey",
    "other_sessions_ended": "logged out everywhere else", "password_change_refused": "typed a wrong password to change it",
    "password_changed": "changed the password", "session_ended": "logged out in another place",
    "password_refused": "A wrong password was typed", "password_right": "typed the right password",
    "proof_refused": "could not show again who they are", "proved": "showed again who they are",
    "recovery_code_used": "used a recovery code", "recovery_codes_made": "made new recovery codes",
    "mail_settings_changed": "changed what carries mail", "settings_changed": "changed the settings",
    "went_live": "let letters leave for readers",
    "role_changed": "may do something else now", "second_proof_refused": "gave a wrong second proof",
}  # fmt: skip
GROUPS = {
    "": ("Everything but refused tries", security_events.LOG_INS | security_events.CHANGES),
    "changes": ("Changes of accounts and settings", security_events.CHANGES),
    "log-ins": ("Log-ins", security_events.LOG_INS),
    "refused": ("Refused tries, and links mailed", security_events.REFUSED),
    "all": ("Everything", security_events.KINDS),
}
"""Choices of what happened, by the word in the address. Strangers cause refused tries at will, and these hide the rest."""
_AT_ONCE, _LATELY = 50, 7


@pages.get("/")
@_OWN
def show() -> Response:
    """All accounts, and what happened lately."""
    return _show({}, {})


def _show(form: dict[str, str], errors: dict[str, str]) -> Response:
    people = accounts.everyone(rt())
    form = {"name": "", "email": "", "role": ""} | form
    names = {person.id: person.called for person in people}
    return page(
        "desk/accounts/accounts.html",
        422 if errors else 200,
        people=people,
        roles=ROLES,
        form=form,
        errors=errors,
        refused=security_events.refused_lately(rt(), _LATELY),
        days=_LATELY,
        kinds=_kinds(),
        groups=GROUPS,
        **_happened(names),
    )


def _kinds() -> list[tuple[str, str]]:
    """Each single kind, to choose it."""
    return sorted(((kind, HAPPENED[kind]) for kind in security_events.KINDS), key=lambda each: each[1].lower())


def _happened(names: dict[UserId, str]) -> dict[str, object]:
    """What happened, of the chosen kinds, a page of it."""
    chosen, before = request.args.get("events", ""), request.args.get("before", "")
    kinds = GROUPS[chosen][1] if chosen in GROUPS else frozenset({chosen}) & security_events.KINDS
    found = security_events.happened(rt(), kinds, _AT_ONCE, int(before) if re.fullmatch("[0-9]{1,15}", before) else None)
    rows = [
        (
            f"{event.at:%Y-%m-%d %H:%M} UTC",
            names.get(event.user, "Somebody who has no access any more") if event.user else "",
            HAPPENED[event.kind] + (f", {event.times:,} times within the hour" if event.times > 1 else ""),
        )
        for event in found
    ]
    return {"happened": rows, "chosen": chosen, "older": found[-1].id if len(found) == _AT_ONCE else None}


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
    login.mail_link(rt(), address, login.INVITATION_WORKS)
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
                login.mail_link(rt(), parse_address(found.email, takes_test_names()), login.INVITATION_WORKS)
            case "reset":
                accounts.reset(rt(), UserId(who))
            case "remove":
                accounts.remove(rt(), UserId(who))
            case _:
                abort(400)
    except AccountRefused as refused:
        return _show({}, {"": str(refused)})
    return see(url_for("access.show"))
