"""The desk's first page: who asked for a call, the letters in their order, how many readers."""

from flask import Blueprint, Response

from nurture.services import goals, overview
from nurture.web.desk.guard import needs_login
from nurture.web.pages import page, rt

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
