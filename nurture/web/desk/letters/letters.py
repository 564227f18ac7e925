"""The letters: the list of them, and the page on which one is written."""

import re
from typing import Any

from flask import Blueprint, Response, abort, g, make_response, request, url_for
from markupsafe import escape

from nurture.domain.picture import LONGEST_TEXT
from nurture.domain.problem import Problem, ProblemKind
from nurture.domain.user import Permission
from nurture.ids import EditionId, StepKey
from nurture.letters import registry
from nurture.letters.authoring import Parts
from nurture.letters.image_processing import MOST_READ
from nurture.letters.source import read_stored
from nurture.services.accounts import accounts
from nurture.services.addresses import InputRefused, parse_address
from nurture.services.letters import drafts, images, previews
from nurture.services.letters.drafts import Conflict, DraftRefused, NoSuchLetter, OpenLetter, Review
from nurture.services.letters.previews import NAMED, NAMELESS, CannotShow
from nurture.settings import DEFINITIONS, IN_LETTERS
from nurture.store.letters.publications import Publication
from nurture.web.desk import formatting
from nurture.web.desk.access_control import needs_login, see
from nurture.web.front_door import FRAMED_CSP, MAIL_CSP
from nurture.web.pages import message, page, rt

pages = Blueprint("letters", __name__, url_prefix="/desk/letters")

_VIEWS = {"letter": "Desktop", "phone": "Phone", "dark": "Dark", "bare": "Pictures off", "plain": "Plain text"}
_FIELDS = {
    "first name": "{% if reader.first_name %} {{ reader.first_name }}{% endif %}",
    "first name, or “there”": '{{ reader.first_name|default("there", true) }}',
    "day of sign-up": "{{ reader.signed_up_on }}",
    "your practice": "{{ practice.name }}",
    "what a call costs": "{% if practice.fee %}A first call costs {{ practice.fee }}.{% endif %}",
    "how long a call is": "{% if practice.call_length %}{{ practice.call_length }}{% endif %}",
}
"""Personal fields as the toolbar offers them, each safe for who lacks it."""


def _is_live() -> bool:
    """Whether a script of ours asks, for a part of the page."""
    return "HX-Request" in request.headers


@pages.app_errorhandler(NoSuchLetter)
def _gone(error: NoSuchLetter) -> Response:
    return message(404, "There is no such letter", "It may have been taken out.", "/desk/letters/", "To the letters")


@pages.get("/")
@needs_login
def overview() -> Response:
    """All letters in their order, and what each needs."""
    sequence, letters = drafts.all_letters(rt(), request.args.get("sequence") or None)
    cards = [(letter, drafts.review(rt(), letter.letter)) for letter in letters]
    return page(
        "desk/letters/index.html", tab="letters", sequence=sequence, cards=cards, names=accounts.names(rt()), words=formatting
    )


@pages.post("/test-email")
@needs_login
def send_all() -> Response:
    """The whole series to oneself, at once."""
    _, letters = drafts.all_letters(rt())
    try:
        to = previews.send_to_self(rt(), [each.letter for each in letters], g.me)
    except CannotShow as refused:
        return message(422, "It was not sent", str(refused), url_for("letters.overview"), "To the letters")
    return message(
        200, "On its way", f"All {len(letters)} letters are on their way to {to}.", "/desk/letters/", "To the letters"
    )


@pages.get("/<sequence>/<step>")
@needs_login
def edit(sequence: str, step: str) -> Response:
    """The page on which a letter is written."""
    return _editor(drafts.open_letter(rt(), sequence, StepKey(step)))


def _editor(now: OpenLetter, status: int = 200, parts: Parts | None = None, refused: str = "") -> Response:
    response = page(
        "desk/letters/edit.html",
        status,
        tab="letters",
        now=now,
        parts=parts or now.parts,
        refused=refused,
        fields=_FIELDS,
        works=list(registry.shipped().values()),
        who=_who(),
        view=_view(),
        views=_VIEWS,
        names=accounts.names(rt()),
        words=formatting,
        most_characters=LONGEST_TEXT,
        most_bytes=MOST_READ,
        **_seen(now),
    )
    response.headers["Content-Security-Policy"] = FRAMED_CSP
    return response


def _seen(now: OpenLetter) -> dict[str, Any]:
    """What the page says about a letter as it stands."""
    look: Review = drafts.review(rt(), now.letter)
    try:
        inbox = previews.inbox(rt(), now.letter, _who())
    except CannotShow:
        inbox = None
    return {"look": look, "inbox": inbox}


def _who() -> str:
    """With whose eyes the preview looks: a sample reader, or a subscriber's random id."""
    who = request.values.get("who", NAMED)
    return who if who in (NAMED, NAMELESS) or re.fullmatch("[0-9a-f]{32}", who) else NAMED


def _view() -> str:
    view = request.values.get("view", "")
    return view if view in _VIEWS else "letter"


def _version() -> int:
    given = request.form.get("version", "")
    return int(given) if given.isdecimal() and len(given) < 9 else abort(400)


@pages.post("/<sequence>/<step>")
@needs_login
def save(sequence: str, step: str) -> Response:
    """Save the draft; a script gets the remarks, a form the page."""
    form = request.form
    parts = Parts(form.get("subject", ""), form.get("preheader", ""), form.get("body", "").replace("\r\n", "\n"))
    try:
        now = drafts.save(rt(), sequence, StepKey(step), parts, _version(), g.me.id)
    except DraftRefused as refused:
        if _is_live():
            return page("desk/letters/refused.html", 422, refused=str(refused))
        return _editor(drafts.open_letter(rt(), sequence, StepKey(step)), 422, parts, str(refused))
    except Conflict as conflict:
        return _both(conflict, parts)
    if _is_live():
        return page("desk/letters/check.html", now=now, names=accounts.names(rt()), who=_who(), view=_view(), **_seen(now))
    return see(url_for("letters.edit", sequence=sequence, step=step))


def _both(conflict: Conflict, mine: Parts) -> Response:
    """What two people wrote, side by side."""
    theirs = conflict.theirs
    pieces = drafts.compare_parts(mine, theirs.parts)
    name = accounts.names(rt()).get(theirs.by or "", "Somebody")
    template = "desk/letters/conflict_part.html" if _is_live() else "desk/letters/conflict.html"
    return page(template, 409, tab="letters", theirs=theirs, mine=mine, pieces=pieces, name=name)


@pages.get("/<sequence>/<step>/preview")
@needs_login
def preview(sequence: str, step: str) -> Response:
    """The letter as it would arrive, for the sandboxed frame; `published`: as it goes out now, whatever its draft says."""
    now = drafts.open_letter(rt(), sequence, StepKey(step))
    letter = read_stored(now.letter.file_name, now.published) if request.args.get("published") else now.letter
    try:
        content = previews.shown(rt(), letter, _who())
    except CannotShow as refused:
        return _framed(f'<!doctype html><html lang="en"><title>Not yet</title><p>{escape(str(refused))}</p></html>')
    if _view() == "plain":
        text = f"<pre>{escape(content.text)}</pre>"
        return _framed(f'<!doctype html><html lang="en"><title>Plain text</title><style>{_PLAIN}</style>{text}</html>')
    html = _in_light(content.html, dark=_view() == "dark").replace("<head>", '<head><base target="_blank">', 1)
    return _framed(images.left_out(html) if _view() == "bare" else images.on_a_page(rt(), html))


_PLAIN = "body{margin:1.5rem;font:15px/1.5 ui-monospace,monospace;background:#fff;color:#222}pre{white-space:pre-wrap}"


def _framed(html: str) -> Response:
    response = make_response(html)
    response.headers["Content-Security-Policy"] = MAIL_CSP
    return response


def _in_light(html: str, dark: bool) -> str:
    """The mail as a reader sees it who has chosen that look, whatever the editor's own machine has chosen."""
    return html.replace("(prefers-color-scheme: dark)", "all" if dark else "not all")


@pages.post("/<sequence>/<step>/who")
@needs_login(need=Permission.VIEW)
def look_as(sequence: str, step: str) -> Response:
    """The preview with the eyes of the reader who has this address."""
    try:
        found = previews.find_reader(rt(), parse_address(request.form.get("email", "")))
    except InputRefused:
        found = None
    if found is None:
        return message(
            404,
            "Nobody has this address",
            "Please check it; only people on the list can be chosen.",
            url_for("letters.edit", sequence=sequence, step=step),
            "Back to the letter",
        )
    return see(url_for("letters.edit", sequence=sequence, step=step, who=found))


@pages.post("/<sequence>/<step>/test-email")
@needs_login
def send_to_self(sequence: str, step: str) -> Response:
    """The letter as it is now, into one's own inbox."""
    try:
        to = previews.send_to_self(rt(), [drafts.open_letter(rt(), sequence, StepKey(step)).letter], g.me, _who())
        said, status = f"On its way to {to}.", 200
    except CannotShow as refused:
        said, status = str(refused), 422
    if _is_live():
        return page("desk/letters/test_email_status.html", status, said=said)
    return message(status, "Your test mail", said, url_for("letters.edit", sequence=sequence, step=step), "Back to the letter")


def _sorry(heading: str, refused: Exception, sequence: str, step: str) -> Response:
    return message(409, heading, str(refused), url_for("letters.edit", sequence=sequence, step=step), "To the letter")


@pages.post("/<sequence>/<step>/reviewed")
@needs_login
def reviewed(sequence: str, step: str) -> Response:
    """Its facts were looked at again today."""
    try:
        drafts.reviewed(rt(), sequence, StepKey(step), _version(), g.me.id)
    except (DraftRefused, Conflict) as refused:
        return _sorry("Not noted", refused, sequence, step)
    return see(url_for("letters.edit", sequence=sequence, step=step))


@pages.post("/<sequence>/<step>/discard")
@needs_login
def discard(sequence: str, step: str) -> Response:
    """Throw the changes away."""
    try:
        drafts.discard(rt(), sequence, StepKey(step), _version())
    except Conflict as refused:
        return _sorry("Nothing was thrown away", refused, sequence, step)
    return see(url_for("letters.overview"))


@pages.get("/<sequence>/<step>/editions")
@needs_login
def editions(sequence: str, step: str) -> Response:
    """What was published of a letter, and how any edition differs from the letter as it is now."""
    now = drafts.open_letter(rt(), sequence, StepKey(step))
    past = drafts.editions(rt(), sequence, StepKey(step))
    chosen = next((one for one in past if one.id == request.args.get("edition")), past[0] if past else None)
    pieces = drafts.compare(chosen.source, now.letter.text) if chosen and chosen.source else None
    return page(
        "desk/letters/editions.html",
        tab="letters",
        now=now,
        past=past,
        chosen=chosen,
        pieces=pieces,
        names=accounts.names(rt()),
        words=formatting,
    )


@pages.post("/<sequence>/<step>/editions")
@needs_login
def put_back(sequence: str, step: str) -> Response:
    """Make a draft of an earlier edition."""
    try:
        edition = EditionId(request.form.get("edition", ""))
        drafts.put_back(rt(), sequence, StepKey(step), edition, _version(), g.me.id)
    except (DraftRefused, Conflict) as refused:
        return _sorry("Not put back", refused, sequence, step)
    return see(url_for("letters.edit", sequence=sequence, step=step))


@pages.get("/<sequence>/<step>/publish")
@needs_login
def before_publishing(sequence: str, step: str) -> Response:
    """What would change for readers, and whether anything stops it."""
    now = drafts.open_letter(rt(), sequence, StepKey(step))
    return page(
        "desk/letters/publish.html",
        tab="letters",
        now=now,
        look=drafts.review(rt(), now.letter),
        refused="",
        pieces=drafts.compare(now.published, now.letter.text),
        readers=drafts.living(rt()),
    )


@pages.post("/<sequence>/<step>/publish")
@needs_login
def publish(sequence: str, step: str) -> Response:
    """Have it tried on every living reader, and published."""
    try:
        number = drafts.publish(rt(), sequence, StepKey(step), _version(), g.me)
    except Conflict as conflict:
        return message(
            409,
            "The letter has changed",
            f"{conflict} Nothing was published. Please look at it again.",
            url_for("letters.before_publishing", sequence=sequence, step=step),
            "Look again",
        )
    except DraftRefused as refused:
        now = drafts.open_letter(rt(), sequence, StepKey(step))
        return page(
            "desk/letters/publish.html",
            422,
            tab="letters",
            now=now,
            look=drafts.review(rt(), now.letter),
            refused=str(refused),
            pieces=drafts.compare(now.published, now.letter.text),
            readers=drafts.living(rt()),
        )
    return see(url_for("letters.published", sequence=sequence, step=step, number=number))


@pages.get("/<sequence>/<step>/published/<int:number>")
@needs_login
def published(sequence: str, step: str, number: int) -> Response:
    """How far a publication is, and what became of it."""
    found = drafts.publication(rt(), number)
    if found is None or found.sequence != sequence:
        abort(404)
    template = "desk/letters/progress.html" if _is_live() else "desk/letters/published.html"
    troubles = [_plainly(each, found) for each in found.troubles]
    return page(template, tab="letters", found=found, sequence=sequence, step=step, troubles=troubles)


_LACKED = {"first_name": "first name", "signed_up_on": "day of sign-up"}
_SETTINGS = "/desk/settings/practice"


def _plainly(trouble: Problem, found: Publication) -> dict[str, str]:
    """A trouble in a therapist's words, and one link to where it is mended."""
    mend = {}
    if trouble.step:
        mend = {"url": url_for("letters.edit", sequence=found.sequence, step=trouble.step), "act": "Open the letter"}
    count = formatting.people(trouble.readers)
    has = "has" if trouble.readers == 1 else "have"
    match trouble.what:
        case ProblemKind.FACT:
            called = DEFINITIONS[IN_LETTERS[trouble.name]].called
            said = f"{_place(trouble)} says {called}, which is not filled in yet: "
            return {"said": f"{said}readers would see a gap there.", "url": _SETTINGS, "act": "Fill it in"}
        case ProblemKind.HOLE:
            lacked = _LACKED.get(trouble.name, trouble.name)
            said = f"{count} on your list {has} no {lacked}, and would see a gap: {_place(trouble, first=False)} names it. "
            return {"said": f"{said}Choose the {lacked} anew from “Personal field”: it leaves no gap.", **mend}
        case ProblemKind.LETTER:
            said = trouble.advice or f"The letter cannot be put together for {count} on your list."
            return {"said": said, **mend}
        case ProblemKind.UNREADABLE:
            return {
                "said": f"What is kept of {count} on your list cannot be opened. Ask whoever runs the service to look at it."
            }
        case ProblemKind.OTHER:
            return {"said": trouble.said}


def _place(trouble: Problem, first: bool = True) -> str:
    places = {"subject": "the subject line", "preheader": "the line below the subject"}
    said = places.get(trouble.part, f"line {trouble.line} of the letter" if trouble.line else "the letter")
    return said[0].upper() + said[1:] if first else said
