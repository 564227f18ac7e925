"""What letters point to, and letters themselves: pages for everybody, to read and to print."""

import re
from itertools import chain

from flask import Blueprint, Response, abort, make_response
from markupsafe import Markup

from nurture import resources
from nurture.ids import ImageId
from nurture.letters import registry
from nurture.letters.pack_texts import pack_texts
from nurture.services.letters import images, public_pages
from nurture.web.front_door import OpenTo, open_to
from nurture.web.pages import page, rt

pages = Blueprint("reading", __name__)


@pages.get("/pages/sources")
@open_to(OpenTo.EVERYBODY)
def sources() -> Response:
    """Every source: what it found, its size, its limits."""
    works, headings = registry.shipped().values(), pack_texts().sources.items()
    groups = {heading: [work for work in works if work.topics[:1] == (topic,)] for topic, heading in headings}
    grouped = set(chain.from_iterable((work.id for work in found) for found in groups.values()))
    groups["Further reading"] = [work for work in works if work.id not in grouped]
    return page("public/sources.html", groups={heading: found for heading, found in groups.items() if found})


@pages.get("/pages/picture")
@open_to(OpenTo.EVERYBODY)
def picture() -> Response:
    """The subject on one page, drawn."""
    return _sheet("picture")


@pages.get("/pages/questions")
@open_to(OpenTo.EVERYBODY)
def questions() -> Response:
    """Questions to ask any provider."""
    return _sheet("questions")


@pages.get("/pages/list")
@open_to(OpenTo.EVERYBODY)
def doctor_list() -> Response:
    """A list to take along, to fill in on paper."""
    return _sheet("list")


def _sheet(name: str) -> Response:
    """A whole page of the pack; where the pack has none of that name, there is no such page."""
    template = resources.pack().page(name)
    return page(template) if template else abort(404)


@pages.get("/pictures/<picture>")
@open_to(OpenTo.EVERYBODY)
def picture_of_a_letter(picture: str) -> Response:
    """A picture that some letter shows, by an id that only its letters tell. It never changes, and nothing in it can run."""
    found = images.content(rt(), ImageId(picture)) if re.fullmatch("[0-9a-f]{32}", picture) else None
    if found is None:
        abort(404)
    response = make_response(found[0])
    response.headers["Content-Type"] = f"image/{found[1]}"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'; sandbox"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # mail is read in the web pages of others
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


@pages.get("/read/<sequence>")
@open_to(OpenTo.EVERYBODY)
def contents(sequence: str) -> Response:
    """The letters of a sequence."""
    places = public_pages.contents(rt(), sequence)
    return page("public/contents.html", sequence=sequence, places=places) if places else abort(404)


@pages.get("/read/<sequence>/<slug>")
@open_to(OpenTo.EVERYBODY)
def letter(sequence: str, slug: str) -> Response:
    """A letter as a page, with nobody's data in it."""
    found = public_pages.page(rt(), sequence, slug)
    if found is None:
        abort(404)
    shown = Markup(found.html)  # noqa: S704 - CommonMark without raw HTML, filled with escaped values
    return page("public/letter.html", sequence=sequence, letter=found, shown=shown)
