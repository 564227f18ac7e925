"""Requests for a call: a small inbox, how far each has come, and a reply that names no topic."""

import re
from urllib.parse import quote

from flask import Blueprint, Response, abort, request, url_for

from nurture.domain.consultation import WAITING, RequestOrigin, RequestState
from nurture.ids import ConsultationId
from nurture.services.subscribers import consultations
from nurture.services.subscribers.consultations import ReceivedRequest, RequestChanged
from nurture.web.desk import formatting
from nurture.web.desk.access_control import needs_login, see
from nurture.web.pages import message, page, rt

pages = Blueprint("requests", __name__, url_prefix="/desk")

_ID = re.compile("[0-9a-f]{32}")
STATES = {
    RequestState.NEW: "New", RequestState.CONTACTED: "Contacted", RequestState.BOOKED: "Booked", RequestState.CLOSED: "Closed",
}  # fmt: skip
_SHOWN = {
    "waiting": ("Waiting for you", WAITING), "booked": ("Booked", (RequestState.BOOKED,)),
    "closed": ("Closed", (RequestState.CLOSED,)), "all": ("All", tuple(RequestState)),
}  # fmt: skip
_WAYS = {"phone": "by telephone", "video": "by video call", "email": "by e-mail"}


@pages.get("/requests")
@needs_login
def inbox() -> Response:
    """The requests that wait, or others."""
    show = request.args.get("show", "waiting")
    show = show if show in _SHOWN else "waiting"
    counts = consultations.count_requests(rt())
    groups = [(key, label, sum(counts.get(state, 0) for state in states)) for key, (label, states) in _SHOWN.items()]
    rows = [
        {
            "id": each.id,
            "name": each.details.name,
            "region": each.details.region,
            "way": _WAYS[each.details.contact_way],
            "times": each.details.times,
            "received": formatting.moment(each.received),
            "state": each.state,
            "words": STATES[each.state],
            "came": _came(each)[0],
        }
        for each in consultations.list_requests(rt(), states=_SHOWN[show][1])
    ]
    return page("desk/subscribers/consultations.html", tab="requests", rows=rows, groups=groups, show=show)


def _came(found: ReceivedRequest) -> tuple[str, str]:
    """How a request came, in a few words and in a sentence."""
    match found.origin:
        case RequestOrigin.LETTER if found.listed == found.who:
            return "by a letter’s link", "By the link in a letter to this address"
        case RequestOrigin.LETTER:
            return "by a letter’s link", "By the link in a letter, which went to another address than the one typed here"
        case RequestOrigin.MAIL:
            return "confirmed by mail", "By the open form. They have confirmed from their mailbox that it was them"
        case RequestOrigin.FORM if found.listed and found.is_asked:
            return _UNPROVEN, (
                "By the open form. Somebody on the list has this address. A mail asks them whether it was them, and they have "
                "not said so yet. Nothing has changed for them"
            )
        case RequestOrigin.FORM if found.listed:
            return _UNPROVEN, (
                "By the open form. Somebody on the list has this address, and nobody has confirmed that it was them. Nothing "
                "has changed for them"
            )
        case RequestOrigin.FORM:
            return "not on the list", "By the open form, by somebody whose address is not on the list"
        case None:
            return "", "Not noted: it came before this was kept"


_UNPROVEN = "not confirmed"


def _found(consultation: str) -> ReceivedRequest:
    found = consultations.read_request(rt(), ConsultationId(consultation)) if _ID.fullmatch(consultation) else None
    return found or abort(404)


@pages.get("/consultations/<consultation>")
@needs_login
def one(consultation: str) -> Response:
    """One request for a call."""
    found = _found(consultation)
    details, was = found.details, request.args.get("was", "")
    shown = {
        "id": found.id,
        "name": details.name,
        "email": details.email,
        "region": details.region,
        "contact_way": details.contact_way,
        "contact_detail": details.contact_detail,
        "voicemail_ok": details.voicemail_ok,
        "times": details.times,
        "received": formatting.moment(found.received),
        "state": found.state,
        "who": found.who,
        "words": STATES[found.state],
        "came": _came(found)[1],
        "listed": found.listed,
    }
    text = _reply(details.name)
    return page(
        "desk/subscribers/consultation.html",
        tab="requests",
        asked=shown,
        reply=text,
        mailto=_mailto(details.email, text),
        **formatting.rights(),
        others=[(state.value, label) for state, label in _MOVES.items() if state is not found.state],
        undo=was if was in set(RequestState) and was != found.state else "",
    )


_MOVES = {
    RequestState.NEW: "Back to new", RequestState.CONTACTED: "I have contacted them", RequestState.BOOKED: "A call is booked",
    RequestState.CLOSED: "Close it",
}  # fmt: skip


def _reply(name: str) -> str:
    """What can be said to anybody who asks for a call: true of all, with nothing they wrote and no topic in it."""
    facts = rt().practice.facts
    reply_days, call_length, fee = facts["reply_days"], facts["call_length"], facts["fee"]
    days = reply_days and f" I read my mail within {reply_days} working day{'' if reply_days == '1' else 's'}."
    call = " ".join(
        part
        for part in (
            call_length and f"The call takes about {call_length}.",
            fee and f"What it costs: {fee}.",
            "You need not prepare anything, and nothing is decided in the call.",
        )
        if part
    )
    return (
        f"Dear {name},\n\n"
        "Thank you for your message. I would be glad to talk with you.\n\n"
        "Of the times you named, which one suits you best? If none of them does any more, please name another.\n\n"
        f"{call}\n\n"
        f"E-mail is not fully private, so please keep anything personal for our conversation.{days}\n\n"
        "If something cannot wait, please do not wait for me: call your local emergency number. In the US you can call or text "
        "988 at any hour.\n\n"
        f"Kind regards,\n{facts['name'] or rt().settings.from_name}"
    ).rstrip() + "\n"


def _mailto(email: str, text: str) -> str:
    """A link that begins the reply in whatever program writes the therapist's mail (RFC 6068)."""
    body = quote("\r\n".join(text.split("\n")))
    return f"mailto:{quote(email, safe='@')}?subject={quote('Your message')}&body={body}"


@pages.post("/consultations/<consultation>/state")
@needs_login
def move(consultation: str) -> Response:
    """Note how far it has come."""
    found, wanted = _found(consultation), request.form.get("state", "")
    if wanted not in set(RequestState):
        abort(400)
    only_from = request.form.get("only_from", "")
    if only_from and only_from not in set(RequestState):
        abort(400)
    try:
        was = consultations.move_request(rt(), found.id, RequestState(wanted), RequestState(only_from) if only_from else None)
    except RequestChanged as refused:
        return message(409, "Too late", str(refused), url_for("requests.one", consultation=found.id), "To the request")
    return see(url_for("requests.one", consultation=found.id, was=was.value if was else None))
