"""Pages a token opens: confirm, leave, and say that a request for a call was theirs.

A GET shows a button and changes nothing: scanners open links too.
"""

from flask import Blueprint, Response, make_response, request

from nurture.ids import ConsentId, SubscriberId
from nurture.services.subscribers import consultation_links, signup
from nurture.services.subscribers import unsubscribe as preferences
from nurture.services.subscribers.unsubscribe import Exit
from nurture.tokens import Purpose, TokenRefused
from nurture.web.front_door import OpenTo, open_to
from nurture.web.pages import dead_link, page, rt

pages = Blueprint("subscriber", __name__)


def _read(purpose: Purpose, token: str) -> SubscriberId | None:
    try:
        return SubscriberId(rt().tokens.read(purpose, token, rt().clock.real_now()))
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
    leaving = preferences.find_leaving(rt(), who)
    undo = rt().tokens.mint(Purpose.UNDO, leaving.id, leaving.until) if leaving else ""
    return page("public/unsubscribed.html", token=undo, in_flight=in_flight)


@pages.post("/unsubscribe/<token>/undo")
@open_to(OpenTo.TOKEN)
def undo(token: str) -> Response:
    """Back to where the reader left, within an hour of that."""
    try:
        leaving = ConsentId(rt().tokens.read(Purpose.UNDO, token, rt().clock.real_now()))
    except TokenRefused:
        return dead_link()
    if not preferences.undo_unsubscribe(rt(), leaving):
        return dead_link()
    return page("public/resubscribed.html")


@pages.get("/consultation/confirm/<token>")
@open_to(OpenTo.TOKEN)
def confirm_request(token: str) -> Response:
    """One button, by which a reader says that a request for a call was theirs."""
    try:
        question = consultation_links.question_of(rt(), token)
    except TokenRefused:
        return dead_link()
    return page("public/consultation_confirm.html", token=token, question=question)


@pages.post("/consultation/confirm/<token>")
@open_to(OpenTo.TOKEN)
def confirm_request_now(token: str) -> Response:
    """Note that it was theirs, and end their letters."""
    try:
        consultation_links.confirm(rt(), token)
    except TokenRefused:
        return dead_link()
    return page("public/consultation_confirmed.html")
