"""Keys for programs: made and shown once, listed, taken back. For owners who have just shown who they are."""

import re

from flask import Blueprint, Response, abort, g, request, url_for

from nurture.domain.user import Permission, Scope
from nurture.ids import KeyId
from nurture.services.accounts import accounts, api_keys
from nurture.services.accounts.api_keys import ApiKeyRefused, Made
from nurture.web.desk.access_control import needs_login, see
from nurture.web.pages import page, rt

pages = Blueprint("keys", __name__, url_prefix="/desk/settings/keys")

SCOPES = {Scope.READ: "Read only", Scope.ALL: "Read and change everything"}


@pages.get("")
@needs_login(need=Permission.OWN)
def show() -> Response:
    """All keys, without their secrets."""
    return _show({}, {})


def _show(form: dict[str, str], errors: dict[str, str], made: Made | None = None) -> Response:
    every = api_keys.everything(rt())
    names = {person.id: person.called for person in accounts.everyone(rt())}
    return page(
        "desk/accounts/api_keys.html",
        422 if errors else 200,
        living=[key for key in every if key.revoked is None],
        gone=[key for key in every if key.revoked is not None],
        names=names,
        scopes=SCOPES,
        form={"label": "", "scope": ""} | form,
        errors=errors,
        made=made,
    )


@pages.post("")
@needs_login(need=Permission.OWN, recent=True)
def make() -> Response:
    """Make a key, and show its secret this once."""
    form = {name: request.form.get(name, "").strip() for name in ("label", "scope")}
    try:
        made = api_keys.make(rt(), g.me.id, form["label"], Scope(form["scope"]))
    except ApiKeyRefused as refused:
        return _show(form, {refused.field: str(refused)})
    except ValueError:
        return _show(form, {"scope": "Please choose what the key may do."})
    return _show({}, {}, made)


@pages.post("/<key>")
@needs_login(need=Permission.OWN, recent=True)
def revoke(key: str) -> Response:
    """Take a key back."""
    if not re.fullmatch("[0-9a-f]{32}", key):
        abort(404)
    api_keys.revoke(rt(), g.me.id, KeyId(key))
    return see(url_for("keys.show"))
