"""The first run: a few steps that lead from an empty desk to letters that leave, and the list of what is still to be done."""

import re

from flask import Blueprint, Response, abort, g, request, url_for

from nurture.domain.user import Permission
from nurture.ids import EditionId
from nurture.services.letters.previews import address_of
from nurture.services.operations.dashboard import first_sequence
from nurture.services.settings import onboarding
from nurture.services.settings.onboarding import NotReady, OnboardingProgress, Task
from nurture.web.desk.access_control import needs_login, see
from nurture.web.desk.formatting import moment
from nurture.web.desk.settings import onboarding_nav
from nurture.web.front_door import FRAMED_CSP
from nurture.web.pages import message, page, rt

pages = Blueprint("start", __name__, url_prefix="/desk/start")

TASKS = {
    Task.PROTECT: ("The desk is protected", "Give the desk a password and a second proof", "/desk/account/protect"),
    Task.PRACTICE: ("Readers can know who you are", "Say who you are: name, credential, state",
                    "/desk/settings/practice?step=who"),
    Task.SENDER: ("Letters have a sender and a postal address", "Say what inboxes show, and your postal address",
                  "/desk/settings/sender?step=sender"),
    Task.MAIL: ("A mail service carries your letters", "Choose how mail leaves", "/desk/settings/mail?step=mail"),
    Task.LINKS: ("Links in letters work for readers",
                 "Links in letters lead to this machine only. Ask whoever hosts this service for a public address", ""),
    Task.TEST_EMAIL: ("A mail to yourself has arrived", "Send yourself a mail to try the way", "/desk/settings/mail?step=mail"),
    Task.DOMAIN: ("Mail services can tell that letters come from you", "Let mail services know that letters come from you",
                  "/desk/settings/domain"),
    Task.READ: ("You have read every letter", "Read every letter once", "/desk/start/letters?step=read"),
    Task.SERIES: ("The whole series has come to your own inbox", "Send yourself the series", "/desk/start/series?step=series"),
}  # fmt: skip
"""How each thing to do is said once it is done, before that, and where it is done."""


def _standing() -> OnboardingProgress:
    return onboarding.load_progress(rt(), g.me.protected)


@pages.get("/")
@needs_login
def show() -> Response:
    """What is done, what is not, and the button that lets it begin."""
    now = _standing()
    tasks = [(task in now.done, *TASKS[task]) for task in Task]
    return page(
        "desk/settings/onboarding.html",
        tab="home",
        now=now,
        tasks=tasks,
        said=request.args.get("said", ""),
        onward=next((TASKS[task][2] for task in now.missing if TASKS[task][2]), ""),
    )


@pages.post("/")
@needs_login(need=Permission.OWN, recent=True)
def begin() -> Response:
    """From now on letters leave."""
    try:
        onboarding.go_live(rt(), g.me)
    except NotReady as refused:
        return message(409, "Not yet", str(refused), url_for("start.show"), "To the list")
    return see(url_for("start.show", said="live"))


@pages.get("/letters")
@needs_login
def letters() -> Response:
    """Every letter as readers see it, to be read once."""
    now = _standing()
    wanted = request.args.get("letter", "")
    shown = next((each for each in now.chapters if each.step == wanted), None)
    shown = shown or next((each for each in now.chapters if not each.read), now.chapters[0] if now.chapters else None)
    response = page(
        "desk/settings/onboarding_letters.html",
        tab="home",
        now=now,
        shown=shown,
        step=onboarding_nav.at("read"),
        moment=moment,
        sequence=first_sequence(rt()),
    )
    response.headers["Content-Security-Policy"] = FRAMED_CSP
    return response


@pages.post("/letters")
@needs_login(need=Permission.CHANGE)
def mark_read() -> Response:
    """It is read; on to the next."""
    edition = request.form.get("edition", "")
    if not re.fullmatch("[0-9a-f]{32}", edition):
        abort(400)
    onboarding.mark_read(rt(), EditionId(edition), g.me.id, request.form.get("act") != "unread")
    left = [each for each in _standing().chapters if not each.read]
    return see(url_for("start.letters", step="read") if left else onboarding_nav.STEPS[5].address)


@pages.get("/series")
@needs_login
def series() -> Response:
    """The whole series to oneself, and how far it has come."""
    now = _standing()
    part = "onboarding_test_email_part" if "HX-Request" in request.headers else "onboarding_test_email"
    under_way = any(each.sent and not each.sent.done for each in now.chapters)
    return page(
        f"desk/settings/{part}.html",
        tab="home",
        now=now,
        to=address_of(rt(), g.me),
        under_way=under_way,
        step=onboarding_nav.at("series"),
        moment=moment,
        is_outbox=rt().settings.mail_stays_here,
    )


@pages.post("/series")
@needs_login(need=Permission.CHANGE)
def send_series() -> Response:
    """Send it."""
    onboarding.send_series(rt(), g.me)
    return see(url_for("start.series", step="series"))
