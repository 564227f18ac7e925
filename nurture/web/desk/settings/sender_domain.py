"""Whether mail services can tell that letters come from the practice: what was seen, and what to do."""

from typing import Any

from flask import Blueprint, Response, url_for

from nurture.domain.email_auth.findings import Level, Topic
from nurture.domain.user import Permission
from nurture.services.settings import sender_domain
from nurture.services.settings.sender_domain import Checked
from nurture.web.desk.access_control import needs_login, see
from nurture.web.pages import page, rt

pages = Blueprint("domain", __name__, url_prefix="/desk/settings/domain")

TOPICS = {
    Topic.DOMAIN: "Your domain",
    Topic.SIGNATURE: "A signature on every letter",
    Topic.SERVERS: "Who may send for you",
    Topic.POLICY: "Letters that only pretend to be yours",
    Topic.REPLIES: "Answers",
}
LEVELS = {Level.GOOD: "Good", Level.TO_DO: "To do", Level.UNSURE: "Cannot tell"}


def shown() -> dict[str, Any]:
    """What sender_domain_part.html shows, on this page and wherever else it is included. Asks nothing anew."""
    return {
        "checked": sender_domain.last(rt(), rt().sender.email),
        "sender": rt().sender.email if rt().settings.from_email else "",
        "topics": TOPICS,
        "levels": LEVELS,
    }


def check_again() -> Checked:
    """Ask anew."""
    return sender_domain.check(rt(), rt().sender.email, rt().sender.reply_to)


@pages.get("")
@needs_login(need=Permission.OWN)
def show() -> Response:
    """What the last check saw."""
    return page("desk/settings/sender_domain.html", **shown())


@pages.post("")
@needs_login(need=Permission.OWN)
def check() -> Response:
    """Check anew."""
    check_again()
    return see(url_for("domain.show"))
