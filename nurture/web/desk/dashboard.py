"""The desk's first page: who asked for a call, the letters in their order, how many readers."""

import re

from flask import Blueprint, Response, abort

from nurture.services import goals, overview
from nurture.web.desk.guard import needs_login
from nurture.web.pages import page, rt
from nurture.words import ConsultationId

pages = Blueprint("dashboard", __name__, url_prefix="/desk")


@pages.get("/")
@needs_login
def home() -> Response:
    """What needs the therapist, and how things stand."""
    requests = [
        {"id": each.id, "received": f"{each.received:%Y-%m-%d %H:%M} UTC", "state": each.state}
        for each in goals.list_requests(rt())
    ]
    seen = overview.overview(rt())
    letters = [
        {"position": n, "subject": letter.subject, "wait": letter.wait, "slug": letter.key}
        for n, letter in enumerate(seen.letters)
    ]
    return page("desk/home.html", tab="home", requests=requests, letters=letters, counts=seen.counts)


@pages.get("/consultations/<consultation>")
@needs_login
def consultation(consultation: str) -> Response:
    """One request for a call."""
    found = goals.read_request(rt(), ConsultationId(consultation)) if re.fullmatch("[0-9a-f]{32}", consultation) else None
    if found is None:
        abort(404)
    details = found.details
    shown = {
        "name": details.name, "email": details.email, "region": details.region, "contact_way": details.contact_way,
        "contact_detail": details.contact_detail, "voicemail_ok": details.voicemail_ok, "times": details.times,
        "received": f"{found.received:%Y-%m-%d %H:%M} UTC",
    }  # fmt: skip
    return page("desk/consultation.html", request=shown)
