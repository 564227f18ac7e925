"""The list of people: search by address, filters, page by page."""

import re
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

from flask import Blueprint, Response, request, url_for
from werkzeug.datastructures import MultiDict

from nurture.domain.subscriber_status import SubscriberStatus
from nurture.domain.user import Permission
from nurture.ids import SequenceId, StepKey, SubscriberId
from nurture.services.addresses import InputRefused, parse_address
from nurture.services.subscribers import bulk_actions, csv_export, listing
from nurture.services.subscribers.form_values import tidy_address
from nurture.services.subscribers.listing import FilterChoices
from nurture.store.core.columns import EPOCH, MICROSECOND
from nurture.store.subscribers.listing import Cursor, Filter, SequencePlace
from nurture.web.desk import formatting
from nurture.web.desk.access_control import needs_login, see
from nurture.web.pages import page, rt

pages = Blueprint("people", __name__, url_prefix="/desk/people")

FIELDS = ("standing", "letter", "source", "tag", "since", "until")
_LETTER = re.compile(r"(got|waits)\.([0-9a-f]{32})\.([a-z0-9-]{1,80})")
_MARK = re.compile(r"(\d{1,17})-([0-9a-f]{32})")
_FIRST_DAY = date(2000, 1, 1)


def filter_of(given: MultiDict[str, str], choices: FilterChoices) -> tuple[Filter, dict[str, str], dict[str, str]]:
    """The filter a form or an address names, what was typed into its fields, and what is wrong with them."""
    typed = {name: given.get(name, "").strip()[:200] for name in FIELDS}
    errors: dict[str, str] = {}
    standing = typed["standing"] if typed["standing"] in set(SubscriberStatus) else ""
    since, until = (_day(typed[name], name, errors) for name in ("since", "until"))
    if since and until and since > until:
        errors["until"] = "This day lies before the first one. Please swap them."
    zone = formatting.practice_zone()
    return (
        Filter(
            SubscriberStatus(standing) if standing else None,
            _place(typed["letter"], choices),
            typed["source"],
            typed["tag"],
            datetime.combine(since, time(), zone).astimezone(UTC) if since else None,
            datetime.combine(until + timedelta(days=1), time(), zone).astimezone(UTC) if until else None,
        ),
        typed,
        errors,
    )


def _day(typed: str, name: str, errors: dict[str, str]) -> date | None:
    if not typed:
        return None
    try:
        found = date.fromisoformat(typed)
    except ValueError:
        found = _FIRST_DAY - timedelta(days=1)
    if not _FIRST_DAY <= found < date(2200, 1, 1):
        errors[name] = "Please write the day like 2026-03-31."
        return None
    return found


def _place(typed: str, choices: FilterChoices) -> SequencePlace | None:
    found = _LETTER.fullmatch(typed)
    if found is None:
        return None
    sequence, key = SequenceId(found[2]), StepKey(found[3])
    if choices.catalogue.find(sequence, key) is None:
        return None
    if found[1] == "got":
        return SequencePlace(sequence, key, waits=False)
    return SequencePlace(sequence, choices.catalogue.before(sequence, key), waits=True)


def letters_of(choices: FilterChoices) -> list[tuple[str, str]]:
    """What the filter for letters offers: value and words."""
    found = []
    for sequence in choices.catalogue.sequences():
        letters = choices.catalogue.letters(sequence)
        found += [(f"waits.{sequence}.{each.key}", f"Waiting for {formatting.called(each)}") for each in letters]
        found += [(f"got.{sequence}.{each.key}", f"Got {formatting.called(each)} last") for each in letters]
    return found


def query_of(typed: dict[str, str], **more: str) -> str:
    """The filter as it stands in an address."""
    return urlencode({name: value for name, value in (typed | more).items() if value})


def _mark(typed: str) -> Cursor | None:
    found = _MARK.fullmatch(typed)
    return Cursor(EPOCH + int(found[1]) * MICROSECOND, SubscriberId(found[2])) if found else None


def _written(mark: Cursor) -> str:
    return f"{(mark.joined - EPOCH) // MICROSECOND}-{mark.who}"


@pages.get("/")
@needs_login
def show() -> Response:
    """One page of the list."""
    return show_list(request.args)


def show_list(
    given: MultiDict[str, str],
    status: int = 200,
    search: str = "",
    errors: dict[str, str] | None = None,
    said: str = "",
    ticked: frozenset[str] = frozenset(),
) -> Response:
    """The list as a filter has it. `search`: what was typed into the search; `said`: what it came to; `ticked`: rows."""
    choices = listing.choices(rt())
    which, typed, wrong = filter_of(given, choices)
    wrong |= errors or {}
    listed = listing.list_people(rt(), which, _mark(given.get("after", "")), _mark(given.get("before", "")))
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "email": each.email,
            "standing": each.standing,
            "tags": each.tags,
            "state": formatting.STANDINGS[each.standing],
            "where": formatting.whereabouts(each),
            "joined": formatting.day(each.joined),
        }
        for each in listed.people
    ]
    lately = [
        (key, formatting.done_to_many(told.done), formatting.moment(told.done.at)) for key, told in bulk_actions.latest(rt())
    ]
    return page(
        "desk/subscribers/listing.html",
        422 if wrong and status == 200 else status,
        tab="people",
        rows=rows,
        typed=typed,
        **formatting.rights(),
        lately=lately,
        errors=wrong,
        found=formatting.people(listed.found),
        count=listed.found,
        search=search,
        said=said,
        ticked=ticked,
        many={name: given.get(name, "") for name in ("for", "do", "tag_for_them", "after", "before")},
        filtered=any(typed.values()),
        query=query_of(typed),
        letters=letters_of(choices),
        sources=[(source, formatting.origin(source)) for source in choices.sources],
        tags=choices.tags,
        standings=[(each.value, label) for each, label in formatting.STANDINGS.items()],
        newer=query_of(typed, before=_written(listed.newer)) if listed.newer else "",
        older=query_of(typed, after=_written(listed.older)) if listed.older else "",
    )


@pages.get("/export.csv")
@needs_login(need=Permission.OWN, recent=True)
def export() -> Response:
    """Those the filter finds, as a file."""
    which, _, wrong = filter_of(request.args, listing.choices(rt()))
    if wrong:
        return show_list(request.args)
    response = Response(csv_export.pieces(rt(), which, formatting.practice_zone()), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="people.csv"'
    return response


@pages.post("/find")
@needs_login(need=Permission.VIEW)
def find() -> Response:
    """Somebody by their exact address. It comes as a form, so that it stands in no address bar, history or log."""
    typed = request.form.get("email", "")[:300]
    try:
        address = parse_address(tidy_address(typed), test_names=True)
    except InputRefused as refused:
        return show_list(MultiDict(), 422, typed, {"email": str(refused)})
    known = listing.find(rt(), address)
    if known.who is not None:
        return see(url_for("person.show", who=known.who))
    said = "Nobody on the list has this address."
    if known.suppressed:
        said += " It is kept locked as one that must not be written to, because " + _SUPPRESSED[known.suppressed.value] + "."
    return show_list(MultiDict(), 404, typed, said=said)


_SUPPRESSED = {
    "unsubscribed": "somebody with it left",
    "bounced": "mail to it came back",
    "complained": "somebody with it reported a letter as spam",
    "erased": "somebody with it was erased",
}
