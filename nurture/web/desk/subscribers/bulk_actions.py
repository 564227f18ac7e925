"""One thing done to many people: how many first, then done, then undone if it was a mistake."""

import re

from flask import Blueprint, Response, abort, request, url_for

from nurture.ids import SubscriberId
from nurture.services.addresses import InputRefused
from nurture.services.subscribers import bulk_actions, listing
from nurture.services.subscribers.bulk_actions import BulkActionRefused
from nurture.services.subscribers.detail import parse_tag
from nurture.store.subscribers.bulk_actions import ABOUT_TAGS, BulkAction, Chosen
from nurture.web.desk import formatting
from nurture.web.desk.access_control import needs_login, see
from nurture.web.desk.subscribers.detail import by
from nurture.web.desk.subscribers.listing import filter_of, query_of, show_list
from nurture.web.pages import message, page, rt

pages = Blueprint("many", __name__, url_prefix="/desk/people/many")

_ID = re.compile("[0-9a-f]{32}")

_WILL = {
    BulkAction.PAUSE: "pauses the letters of", BulkAction.RESUME: "lets letters go on for",
    BulkAction.STOP: "stops the letters of", BulkAction.TAG: "gives the tag “{}” to",
    BulkAction.UNTAG: "takes the tag “{}” off",
}  # fmt: skip
_BUTTON = {
    BulkAction.PAUSE: "Pause them", BulkAction.RESUME: "Let them go on", BulkAction.STOP: "Stop them",
    BulkAction.TAG: "Give the tag", BulkAction.UNTAG: "Take the tag off",
}  # fmt: skip
_MEANS = {
    BulkAction.PAUSE: "Nothing goes out to them until you let them go on. What is left of each one's wait is kept.",
    BulkAction.RESUME: "Each waits what was left of the wait when it was paused; nobody gets two letters at once.",
    BulkAction.STOP: "They get no more letters of this series. They stay on the list.",
    BulkAction.TAG: "A tag must name nobody and no illness.", BulkAction.UNTAG: "Nothing else about them changes.",
}  # fmt: skip


def _asked() -> tuple[Chosen, BulkAction, str, list[str]]:
    """Whom, what, and the tag it is about, from the form; and the rows that were ticked. Raises InputRefused."""
    wanted = request.form.get("do", "")
    if wanted not in set(BulkAction):
        abort(400)
    act = BulkAction(wanted)
    ticked = [each for each in request.form.getlist("who") if _ID.fullmatch(each)][: listing.PAGE]
    tag = parse_tag(request.form.get("tag_for_them", "")[:300]) if act in ABOUT_TAGS else ""
    if request.form.get("for") == "all":
        which, _, wrong = filter_of(request.form, listing.choices(rt()))
        if wrong:
            abort(400)
        return which, act, tag, ticked
    return tuple(SubscriberId(each) for each in ticked), act, tag, ticked


@pages.post("/")
@needs_login
def look() -> Response:
    """How many it would change."""
    ticked = frozenset(request.form.getlist("who"))
    try:
        chosen, act, tag, rows = _asked()
    except InputRefused as refused:
        return show_list(request.form, 422, errors={"tag_for_them": str(refused)}, ticked=ticked)
    if chosen == ():
        return show_list(request.form, 422, errors={"do": "Please tick somebody in the list first, or choose all of them."})
    found = bulk_actions.preview(rt(), chosen, act, tag)
    carried = {name: value for name, value in request.form.items(multi=True) if name not in ("csrf", "who", "back")}
    return page(
        "desk/subscribers/bulk_action.html",
        tab="people",
        count=formatting.people(found.count),
        nobody=found.count == 0,
        refused=found.refused,
        will=_WILL[act].format(tag),
        means=_MEANS[act],
        button=_BUTTON[act],
        carried=carried,
        rows=rows,
        back=query_of({name: request.form.get(name, "") for name in _FILTER}),
    )


_FILTER = ("standing", "letter", "source", "tag", "since", "until")


@pages.post("/do")
@needs_login
def do() -> Response:
    """Do it."""
    try:
        chosen, act, tag, _ = _asked()
        key = bulk_actions.run(rt(), chosen, act, tag, by())
    except (InputRefused, BulkActionRefused) as refused:
        return _cannot(str(refused))
    return see(url_for("many.done", key=key))


def _cannot(said: str) -> Response:
    return message(409, "This was not done", said, "/desk/people/", "Back to the list")


@pages.get("/<key>")
@needs_login
def done(key: str) -> Response:
    """What was done, and the way back."""
    try:
        told = bulk_actions.load_result(rt(), key if _ID.fullmatch(key) else abort(404))
    except BulkActionRefused:
        abort(404)
    undone = told.done.undone is not None and not told.undoable
    begun = told.done.undone is not None and told.undoable
    return page(
        "desk/subscribers/bulk_action_done.html",
        tab="people",
        key=key,
        said=formatting.done_to_many(told.done),
        undoable=told.undoable,
        undone=undone,
        left=formatting.people(told.done.left) if begun else "",
    )


@pages.post("/<key>/undo")
@needs_login
def undo(key: str) -> Response:
    """Put exactly those back."""
    try:
        undone = bulk_actions.undo(rt(), key if _ID.fullmatch(key) else abort(404), by())
    except BulkActionRefused as refused:
        return _cannot(str(refused))
    return page(
        "desk/subscribers/bulk_action_undone.html", tab="people", count=formatting.people(undone.back), late=undone.late
    )
