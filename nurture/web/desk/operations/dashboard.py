"""The desk's first page: today in one look, what needs a person, and the switch that stops all sending."""

import re
from collections.abc import Mapping

from flask import Blueprint, Response, abort, g, request, url_for

from nurture.domain.delivery import State
from nurture.domain.limits import Trip
from nurture.ids import DeliveryId, StepKey
from nurture.services.operations import dashboard, deliveries, send_blocks
from nurture.services.operations.dashboard import AttentionItem, AttentionKind
from nurture.services.operations.deliveries import NotInDoubt
from nurture.services.operations.statistics import Range
from nurture.services.settings import onboarding
from nurture.services.settings.onboarding import Task
from nurture.services.subscribers import consultations, sign_up_queue
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.web.desk import formatting
from nurture.web.desk.access_control import needs_login, see
from nurture.web.desk.help import HELP
from nurture.web.pages import message, page, rt

pages = Blueprint("dashboard", __name__, url_prefix="/desk")


@pages.get("/", endpoint="home")
@needs_login
def show() -> Response:
    """Today in one look."""
    seen = dashboard.load(rt(), dashboard.requests_waiting(consultations.count_requests(rt())), formatting.practice_zone())
    needs = [_said(need, seen.titles) for need in seen.needs]
    return page(
        "desk/operations/dashboard.html",
        tab="home",
        seen=seen,
        needs=needs,
        restart=request.args.get("said") == "stopped",
        first_run=onboarding.progress(rt(), g.me.protected),
        tasks=len(Task),
        leaves=not rt().settings.mail_stays_here,
    )


def _said(need: AttentionItem, titles: Mapping[tuple[str, StepKey], str]) -> dict[str, str]:
    """A thing that needs a person: a sentence, and one thing to do."""
    many = need.count != 1
    mails = f"{need.count} mails" if many else "One mail"
    match need.kind:
        case AttentionKind.STOPPED:
            return {"said": "All sending is stopped. Nobody gets a letter until you start it again.", "act": "start"}
        case AttentionKind.REFUSED:
            if need.is_probing:
                said = f"Your mail service refused all mail: “{need.about}”. The next mail shows whether it takes mail again."
            else:
                said = f"Your mail service refuses all mail at the moment: “{need.about}”. It is tried again by itself."
            return _help(need, said)
        case AttentionKind.CLOCK:
            return _help(need, "The service's clock or records jumped, so nothing is sent, to be safe.")
        case AttentionKind.SILENT:
            return _help(need, "The part that sends letters is not running, so nothing goes out.")
        case AttentionKind.LATE:
            return _help(need, "Some letters are late. They go out by themselves; look again in a quarter of an hour.")
        case AttentionKind.HELD:
            said = f"{mails} may have been sent, and nobody can tell. You decide whether to send again."
            return {"said": said, "act": "Decide", "url": url_for("dashboard.mails", _anchor="held")}
        case AttentionKind.FAILED:
            url = url_for("dashboard.mails", _anchor="failed")
            return {"said": f"{mails} could not be sent.", "act": "Look at it", "url": url}
        case AttentionKind.BOUNCES:
            return _numbers("More than 2 in 100 mails of the last 30 days came back.", "mail-2")
        case AttentionKind.COMPLAINTS:
            return _numbers("More than 1 in 1,000 mails of the last 30 days were reported as spam.", "mail-1")
        case AttentionKind.REVIEW:
            title = titles.get((need.sequence, StepKey(need.about)), need.about)
            url = url_for("letters.edit", sequence=need.sequence, step=need.about)
            return {"said": f"The facts in “{title}” are due for another look.", "act": "Open the letter", "url": url}
        case AttentionKind.WAITING:
            who = f"{need.count:,} people wait" if many else "One person waits"
            said = f"{who} for you to let them go on, since the letters changed."
            return {"said": said, "act": "See who", "url": url_for("sequence.show", sequence=need.sequence, _anchor="held")}
        case AttentionKind.CONFIRMATIONS:
            said = (
                "Far more people than usual signed up"
                if need.about == Trip.RATE
                else "Hardly anybody who signed up lately has confirmed"
            )
            who = f"{need.count:,} sign-ups wait" if many else "One sign-up waits"
            said = f"{said}, so the mails that ask to confirm wait for you: {who}."
            return _help(need, said) | {"press": "Let them go on", "to": url_for("dashboard.confirmations")}
        case AttentionKind.NETWORKS:
            return _help(need, "Visitors cannot be told apart, so nothing limits how often one of them can sign up.")
        case AttentionKind.DOMAIN:
            said = "Mail services do not trust the address your letters come from as they could."
            return {"said": said, "act": "See why", "url": url_for("domain.show")}


def _numbers(said: str, part: str) -> dict[str, str]:
    return {"said": said, "act": "See numbers", "url": url_for("numbers.show", back=Range.MONTH.value, _anchor=part)}


def _help(need: AttentionItem, said: str) -> dict[str, str]:
    return {"said": said, "act": "What to do", "url": url_for("dashboard.trouble", which=need.kind.value)}


@pages.get("/help/<which>")
@needs_login
def trouble(which: str) -> Response:
    """What to do about what nobody at the desk can mend alone."""
    about = HELP.get(AttentionKind(which)) if which in set(AttentionKind) else None
    if about is None:
        abort(404)
    now = any(need.kind == which for need in dashboard.load(rt(), 0, formatting.practice_zone()).needs)
    return page("desk/operations/help.html", tab="home", help=about, now=now, which=which, **formatting.rights())


@pages.post("/sending")
@needs_login
def sending() -> Response:
    """The stop switch, and its undo."""
    if request.form.get("act") == "stop":
        send_blocks.stop_sending(rt(), "stopped at the desk", f"user {g.me.id}")
        return see(url_for("dashboard.home", said="stopped"))
    send_blocks.start_sending(rt(), only=BlockKind.STOP)  # not what has stopped it since, for a reason of its own
    return see(url_for("dashboard.home"))


@pages.post("/confirmations")
@needs_login
def confirmations() -> Response:
    """Let the mails that ask to confirm go on, with the sign-ups that wait or without them."""
    sign_up_queue.resume(rt(), drop=request.form.get("act") == "drop")
    return see(url_for("dashboard.home"))


@pages.get("/mails")
@needs_login
def mails() -> Response:
    """Mail that may have been sent, or could not be: a person decides."""
    held, failed = (deliveries.list_doubts(rt(), state, 200) for state in (State.HELD, State.FAILED))
    return page("desk/operations/deliveries.html", tab="home", held=held, failed=failed, words=formatting)


@pages.post("/mails/<delivery>")
@needs_login
def decide(delivery: str) -> Response:
    """It arrived, or it is sent again."""
    if not re.fullmatch("[0-9a-f]{32}", delivery):
        abort(404)
    try:
        deliveries.resolve(rt(), DeliveryId(delivery), request.form.get("act") == "arrived", f"user {g.me.id}")
    except NotInDoubt:
        return message(409, "Settled already", "This mail needs nothing any more.", url_for("dashboard.mails"), "To the others")
    return see(url_for("dashboard.mails"))
