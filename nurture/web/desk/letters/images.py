"""A picture for a letter: chosen, said in words, put in. A script puts it where the cursor is, a form at the letter's end."""

from flask import Blueprint, Response, g, request, url_for

from nurture.domain.picture import LONGEST_TEXT
from nurture.domain.user import Permission
from nurture.ids import StepKey
from nurture.letters.authoring import Parts
from nurture.letters.image_processing import MOST_READ
from nurture.letters.image_rules import DECORATIVE
from nurture.services.letters import drafts, images
from nurture.services.letters.drafts import Conflict, DraftRefused
from nurture.services.letters.images import NotAdded
from nurture.web.desk.access_control import needs_login, see
from nurture.web.desk.upload import takes_a_file
from nurture.web.pages import message, page, rt

pages = Blueprint("letter_pictures", __name__, url_prefix="/desk/letters")

takes_a_file(pages, "put_in", MOST_READ)


def _is_live() -> bool:
    return "HX-Request" in request.headers


@pages.errorhandler(413)
def too_large(_: Exception) -> Response:
    """A file beyond the limit is not read at all."""
    said = f"It is larger than {MOST_READ // 1_000_000} MB. Please choose a smaller one. Nothing was stored."
    if _is_live():
        return page("desk/letters/image_refused.html", 413, refused=said)
    return message(413, "This picture is too large", said, "/desk/letters/", "To the letters")


@pages.get("/<sequence>/<step>/picture")
@needs_login(need=Permission.CHANGE)
def choose(sequence: str, step: str) -> Response:
    """The form for a picture, for browsers without script."""
    return _form(sequence, step)


def _form(sequence: str, step: str, refused: NotAdded | None = None) -> Response:
    now = drafts.open_letter(rt(), sequence, StepKey(step))
    return page(
        "desk/letters/image.html",
        422 if refused else 200,
        tab="letters",
        now=now,
        alt=request.form.get("alt", ""),
        decorative="decorative" in request.form,
        most_characters=LONGEST_TEXT,
        most_bytes=MOST_READ,
        errors={refused.field: str(refused)} if refused else {},
    )


@pages.post("/<sequence>/<step>/picture")
@needs_login
def put_in(sequence: str, step: str) -> Response:
    """Take in a picture. A script gets the line that shows it; a form puts that line at the end of the draft."""
    now = drafts.open_letter(rt(), sequence, StepKey(step))
    alt = DECORATIVE if "decorative" in request.form else request.form.get("alt", "")
    given = request.files.get("file")
    try:
        if given is None or not given.filename:
            raise NotAdded("file", "Please choose a picture first.")
        words = images.checked_words(alt)
        line = images.as_markdown(images.add(rt(), given.read(), words, g.me.id), words)
    except NotAdded as refused:
        return page("desk/letters/image_refused.html", 422, refused=refused) if _is_live() else _form(sequence, step, refused)
    if _is_live():
        return page("desk/letters/image_added.html", line=line)
    parts = now.parts
    try:
        drafts.save(
            rt(),
            sequence,
            StepKey(step),
            Parts(parts.subject, parts.preheader, f"{parts.body.rstrip()}\n\n{line}\n"),
            now.version,
            g.me.id,
        )
    except (Conflict, DraftRefused):
        return message(
            409,
            "The picture is here, and not in the letter yet",
            f"Somebody else saved the letter at this moment. Please put this line into it yourself: {line}",
            url_for("letters.edit", sequence=sequence, step=step),
            "To the letter",
        )
    return see(url_for("letters.edit", sequence=sequence, step=step))
