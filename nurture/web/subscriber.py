"""Pages a token opens: confirm, and leave. A GET shows a button and changes nothing: scanners open links too."""

from datetime import timedelta

from flask import Blueprint, Response, make_response, request

from nurture.services import preferences, signup
from nurture.services.preferences import Exit
from nurture.tokens import Purpose, TokenRefused
from nurture.web.front_door import OpenTo, open_to
from nurture.web.pages import dead_link, page, rt
from nurture.words import SubscriberId

pages = Blueprint("subscriber", __name__)

_UNDO_WITHIN = timedelta(hours=1)


def _read(purpose: Purpose, token: str) -> SubscriberId | None:
    try:
        return SubscriberId(rt().tokens.read(purpose, token, rt().clock.wall()))
    except TokenRefused:
        return None


@pages.get("/confirm/<token>")
@open_to(OpenTo.TOKEN)
def confirm(token: str) -> Response:
    """One button."""
    return page("public/confirm.html", token=token) if _read(Purpose.CONFIRM, token) else dead_link()


@pages.post("/confirm/<token>")
@open_to(OpenTo.TOKEN)
def confirm_now(token: str) -> Response:
    """Confirm, and start the sequence."""
    try:
        signup.confirm(rt(), token)
    except TokenRefused:
        return dead_link()
    return page("public/confirmed.html")


@pages.get("/unsubscribe/<token>")
@open_to(OpenTo.TOKEN)
def unsubscribe(token: str) -> Response:
    """One button."""
    return page("public/unsubscribe.html", token=token) if _read(Purpose.UNSUBSCRIBE, token) else dead_link()


@pages.post("/unsubscribe/<token>")
@open_to(OpenTo.TOKEN, any_site=True)
def unsubscribe_now(token: str) -> Response:
    """Leave at once. RFC 8058 section 3.2: no cookie, no context, no redirect, and twice is fine."""
    one_click = request.form.get("List-Unsubscribe") == "One-Click"
    who = _read(Purpose.UNSUBSCRIBE, token)
    in_flight = preferences.unsubscribe(rt(), who, Exit.ONE_CLICK if one_click else Exit.PAGE) if who else False
    if one_click:
        return make_response("", 200)
    if who is None:
        return dead_link()
    undo = rt().tokens.mint(Purpose.UNDO, who, rt().clock.wall() + _UNDO_WITHIN)
    return page("public/unsubscribed.html", token=undo, in_flight=in_flight)


@pages.post("/unsubscribe/<token>/undo")
@open_to(OpenTo.TOKEN)
def undo(token: str) -> Response:
    """Back to where the reader left; the button works for an hour, and only from the page that followed leaving."""
    who = _read(Purpose.UNDO, token)
    if who is None or not preferences.undo_unsubscribe(rt(), who):
        return dead_link()
    return page("public/resubscribed.html")
