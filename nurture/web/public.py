"""What anybody may open: the first page, sign-up, and the request for a consultation."""

import threading

from flask import Blueprint, Response, redirect, request, url_for

from nurture.mailers.outbox import Outbox
from nurture.services.addresses import InputRefused, parse_address, parse_time_zone
from nurture.services.settings import consent_texts, launch
from nurture.services.subscribers import consultation_links, consultations, sign_up_queue, signup
from nurture.services.subscribers.form_values import clean_first_name, tidy_address
from nurture.web import form_stamp
from nurture.web.clients import client_network
from nurture.web.front_door import OpenTo, open_to
from nurture.web.pages import page, rt, takes_test_names

pages = Blueprint("public", __name__)

_two_sign_ups_at_a_time = threading.BoundedSemaphore(2)
"""Of the threads of a process two write sign-ups: when thousands come at once, pages need not wait for all of the others."""

_WAYS = ("email", "phone", "video")


_TOO_MANY_REQUESTS = (
    "Too many requests for a call have come today with this address, from your network or in all, so this one was not taken. "
    "Earlier ones have arrived. Please try again tomorrow. If you are in danger now, use the help lines below."
)
_TOO_MANY = (
    "Many sign-ups came from your network just now, so this one was not taken. Please try again in an hour or tomorrow, or "
    "from another connection, such as your phone’s."
)


def _home(status: int = 200, form: dict[str, object] | None = None, errors: dict[str, str] | None = None) -> Response:
    empty = {"email": "", "first_name": "", "time_zone": "", "consent": False, "sender": ""}
    if not launch.is_open(rt()):
        return page("public/not_open.html", 503 if request.method == "POST" else 200)
    with rt().database.read() as db:
        wording = consent_texts.text_shown(rt(), db, str((form or {}).get("wording", "")))
    senders = [rt().sender.name, rt().plain_sender.name] if rt().sender.name else []
    return page(
        "public/home.html",
        status,
        form=form or empty,
        errors=errors or {},
        wording=wording,
        senders=senders,
        stamp=form_stamp.stamp(),
        confirmations_wait=sign_up_queue.are_on_hold(rt()),
    )


def _ticked(name: str) -> bool:
    """A box that is not ticked is not sent at all (HTML, "constructing entry lists"); a program may say no in words."""
    return request.form.get(name, "").strip().lower() not in ("", "0", "off", "no", "false")


@pages.get("/")
@open_to(OpenTo.EVERYBODY)
def home() -> Response:
    """The first page, with the sign-up form."""
    return _home()


@pages.post("/subscribe")
@open_to(OpenTo.EVERYBODY)
def subscribe() -> Response:
    """Take a sign-up. The answer is the same for known and unknown addresses."""
    if not launch.is_open(rt()):
        return _home()
    typed = {name: request.form.get(name, "") for name in ("email", "first_name", "time_zone", "sender", "wording")}
    consent = _ticked("consent")
    errors: dict[str, str] = {}
    address = None
    try:
        address = parse_address(tidy_address(typed["email"]), test_names=takes_test_names())
    except InputRefused as refused:
        errors["email"] = str(refused)
    if not consent:
        errors["consent"] = "Please tick the box if you want the letters. Without it we must not write to you."
    if errors or address is None:
        return _home(422, {**typed, "consent": consent}, errors)
    name, zone = clean_first_name(typed["first_name"]), parse_time_zone(typed["time_zone"], rt().settings.time_zone)
    asked = signup.SignUp(
        address, name, zone, "/", typed["sender"] == "plain", typed["wording"], form_stamp.suspicion(), client_network()
    )
    with _two_sign_ups_at_a_time:
        is_taken = signup.subscribe(rt(), asked)
    if not is_taken:
        answer = _home(429, {**typed, "consent": consent}, {"email": _TOO_MANY})
        answer.headers["Retry-After"] = "3600"
        return answer
    return redirect(url_for("public.check_your_inbox"), 303)  # type: ignore[return-value]


@pages.get("/check-your-inbox")
@open_to(OpenTo.EVERYBODY)
def check_your_inbox() -> Response:
    """What to do next; the same for everybody."""
    local = isinstance(rt().mailer, Outbox)
    return page(
        "public/check_your_inbox.html",
        outbox_url=url_for("ops.outbox") if local else "",
        confirmations_wait=sign_up_queue.are_on_hold(rt()),
    )


@pages.get("/consultation")
@open_to(OpenTo.EVERYBODY)
def consultation() -> Response:
    """The form to ask for a call. The link in a letter says who asks, masked: the letter may have been forwarded."""
    token = request.args.get("t", "")
    form = {
        "name": "",
        "email": "",
        "region": "",
        "contact_way": "email",
        "contact_detail": "",
        "voicemail_ok": False,
        "times": "",
        "token": token,
    }
    return page("public/consultation.html", form=form, errors={}, reader=consultation_links.reader_of(rt(), token))


@pages.post("/consultation")
@open_to(OpenTo.EVERYBODY)
def request_consultation() -> Response:
    """Take a request for a call. The answer is the same whether or not the address is on the list."""
    fields = ("name", "email", "region", "contact_way", "contact_detail", "times")
    typed: dict[str, str] = {name: " ".join(request.form.get(name, "").split()) for name in fields}
    voicemail = _ticked("voicemail_ok")
    token = request.form.get("t") or request.args.get("t", "")
    reader = consultation_links.reader_of(rt(), token)  # a damaged link must not keep anybody from asking for a call
    given = typed | ({"name": typed["name"] or reader.name, "email": typed["email"] or reader.email} if reader else {})
    errors: dict[str, str] = {}
    for name, most, ask in (
        ("name", 100, "Please tell us your name."),
        ("region", 80, "Please tell us your state or country: it decides where a call is allowed."),
        ("times", 300, "Please name a few days and hours that suit you."),
    ):
        if not given[name]:
            errors[name] = ask
        elif len(given[name]) > most:
            errors[name] = f"Please use at most {most} characters."
    try:
        address = parse_address(tidy_address(given["email"]), test_names=takes_test_names())
    except InputRefused as refused:
        errors["email"], address = str(refused), None
    if typed["contact_way"] not in _WAYS:
        errors["contact_way"] = "Please choose how we may reach you."
    if typed["contact_way"] == "phone" and not 5 <= len(typed["contact_detail"]) <= 40:
        errors["contact_detail"] = "Please give a telephone number of 5 to 40 characters."
    if errors or address is None:
        form = {**typed, "voicemail_ok": voicemail, "token": token}
        return page("public/consultation.html", 422, form=form, errors=errors, reader=reader)
    if reader is None and not consultations.may_ask_by_form(rt(), address, client_network()):
        form = {**typed, "voicemail_ok": voicemail, "token": token}
        answer = page("public/consultation.html", 429, form=form, errors={"email": _TOO_MANY_REQUESTS}, reader=None)
        answer.headers["Retry-After"] = "86400"
        return answer
    detail = typed["contact_detail"] if typed["contact_way"] == "phone" else ""
    asked = consultations.ConsultationRequest(
        given["name"], address.send_to, typed["region"], typed["contact_way"], detail, voicemail, typed["times"]
    )
    consultations.request_consultation(rt(), asked, address, reader.id if reader else None)
    return redirect(url_for("public.consultation_sent"), 303)  # type: ignore[return-value]


@pages.get("/consultation/sent")
@open_to(OpenTo.EVERYBODY)
def consultation_sent() -> Response:
    """Thanks, and what happens next."""
    return page("public/consultation_sent.html")
