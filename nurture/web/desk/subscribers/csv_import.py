"""People from a file: choose it, say what its columns mean and where the consent came from, look, then add them; or have those
who left elsewhere never be written to.
"""

import re
from dataclasses import replace

from flask import Blueprint, Response, abort, make_response, request, url_for

from nurture.domain.list_status import ListStatus
from nurture.domain.user import Permission
from nurture.services.addresses import InputRefused
from nurture.services.subscribers import csv_import, csv_import_run, listing
from nurture.services.subscribers.csv_files import MOST_BYTES, SheetRefused
from nurture.services.subscribers.csv_import import SUPPRESSED, Becomes, ImportChoices, ImportPreview, ImportStopped, NoFile
from nurture.services.subscribers.detail import parse_tag
from nurture.services.subscribers.signup import NothingToSend
from nurture.web.desk.access_control import needs_login, see
from nurture.web.desk.subscribers.detail import by
from nurture.web.desk.upload import takes_a_file
from nurture.web.pages import message, page, rt

pages = Blueprint("importing", __name__, url_prefix="/desk/people/import")
takes_a_file(pages, "upload", MOST_BYTES)

_ID = re.compile("[0-9a-f]{32}")
_SHOWN = 8
_MOST = 160
_FIELDS = ("address", "name", "status", "mode", "reason", "where", "tag", "agreed")
_REASONS = {
    ListStatus.UNSUBSCRIBED: "they unsubscribed", ListStatus.BOUNCED: "mail to them came back",
    ListStatus.COMPLAINED: "they reported mail as spam",
}  # fmt: skip


@pages.errorhandler(413)
def too_large(_: Exception) -> Response:
    """A file beyond the limit is not read at all."""
    said = "It is larger than 5 MB. Please split it, or leave out columns that are not needed. Nothing was stored."
    return message(413, "This file is too large", said, "/desk/people/import/", "Choose another file")


def _see(key: str) -> Response:
    return see(url_for("importing.show", key=key))


@pages.get("/")
@needs_login(need=Permission.CHANGE)
def choose() -> Response:
    """The form for a file."""
    return page("desk/subscribers/csv_import.html", tab="people", errors={})


@pages.post("/")
@needs_login
def upload() -> Response:
    """Take a file."""
    given = request.files.get("file")
    try:
        if given is None or not given.filename:
            raise SheetRefused("Please choose a file first.")
        with given.stream as file:
            key = csv_import.keep(rt(), file.read(), by())
    except SheetRefused as refused:
        return page("desk/subscribers/csv_import.html", 422, tab="people", errors={"file": str(refused)})
    return _see(key)


@pages.get("/<key>")
@needs_login(need=Permission.CHANGE)
def show(key: str) -> Response:
    """What would happen, or what has."""
    draft = _draft(key)
    return _done(key, draft) if draft.done else _ask(key, draft, _typed(draft.choices), {})


def _draft(key: str, choices: ImportChoices | None = None) -> ImportPreview:
    try:
        return csv_import.preview(rt(), key if _ID.fullmatch(key) else abort(404), choices)
    except NoFile:
        abort(404)


def _typed(choices: ImportChoices) -> dict[str, str]:
    mode = "left" if choices.left else "confirmed" if choices.confirmed else "" if choices.undecided else "ask"
    return {
        "address": str(choices.address),
        "name": "" if choices.name is None else str(choices.name),
        "status": "" if choices.status is None else str(choices.status),
        "mode": mode,
        "where": choices.where,
        "reason": choices.left or ListStatus.UNSUBSCRIBED.value,
        "tag": choices.tag,
        "agreed": "",
    }


def _ask(key: str, draft: ImportPreview, typed: dict[str, str], errors: dict[str, str]) -> Response:
    sheet = draft.sheet
    if sheet is None:
        abort(404)
    first_wrong = [each for each in draft.judged[_SHOWN:] if each.becomes in (Becomes.WRONG, Becomes.UNKNOWN)][:_SHOWN]
    rows = [
        (each.line, each.typed, each.first_name, each.status.value if each.status else "", each.becomes.value, each.why)
        for each in (*draft.judged[:_SHOWN], *first_wrong)
    ]
    columns, counts = draft.columns, draft.counts
    samples = [(at, name, next((row[at] for row in sheet.rows if row[at]), "")) for at, name in enumerate(sheet.columns)]
    return page(
        "desk/subscribers/csv_import_check.html",
        422 if errors else 200,
        tab="people",
        key=key,
        typed=typed,
        errors=errors,
        columns=samples,
        rows=rows,
        total=len(draft.judged),
        counts=_counted(draft),
        adding=counts.get(Becomes.ADDED, 0),
        leaving=sum(counts.get(each, 0) for each in SUPPRESSED),
        stops=draft.stops,
        status_columns=[sheet.columns[at] for at, _ in columns.status],
        statuses=list(draft.statuses.items()),
        evidence_columns=[sheet.columns[at] for at, _ in columns.evidence],
        reasons=list(_REASONS.items()),
        ask=csv_import.statement(rt(), confirmed=False),
        confirmed=csv_import.statement(rt(), confirmed=True),
        tags=listing.choices(rt()).tags,
    )


def _counted(draft: ImportPreview) -> list[tuple[str, int]]:
    return [(becomes.value, count) for becomes, count in draft.counts.items()]


@pages.post("/<key>")
@needs_login
def go(key: str) -> Response:
    """Look again with other choices, or add them."""
    draft = _draft(key)
    if draft.done or draft.sheet is None:
        return _see(key)
    typed = {name: " ".join(request.form.get(name, "").split()) for name in _FIELDS}
    choices, errors = _choices(typed, len(draft.sheet.columns))
    adding = request.form.get("go") == "add"
    if typed["mode"] not in ("ask", "confirmed", "left"):
        errors["mode"] = "Please say what this file is: a list of people who want letters, or a list of people who left."
    if adding and not errors and not choices.left and _draft(key, choices).counts.get(Becomes.ADDED):
        if len(choices.where) < csv_import.LEAST_SAID:
            errors["where"] = "Please say where and when they agreed, in a few words. It is kept as their consent."
        if not typed["agreed"]:
            errors["agreed"] = "Please tick the box if it is true. Without it nobody may be added."
    if errors:
        return _ask(key, _draft(key, replace(choices, where="", tag="")), typed, errors)
    if not adding:
        csv_import.choose(rt(), key, choices)
        return _see(key)
    try:
        csv_import_run.run(rt(), key, choices)
    except ImportStopped:
        return _ask(key, _draft(key, choices), typed, {"status": "Nothing was done: a status is not known."})
    except NothingToSend:
        return message(409, "There are no letters yet", "Nobody was added, because there is no series of letters to begin.")
    return _see(key)


def _choices(typed: dict[str, str], columns: int) -> tuple[ImportChoices, dict[str, str]]:
    errors: dict[str, str] = {}
    address, name = (int(typed[each]) if typed[each].isdecimal() else None for each in ("address", "name"))
    if address is None or not 0 <= address < columns:
        errors["address"], address = "Please say which column holds the addresses.", 0
    if name is not None and (not 0 <= name < columns or name == address):
        errors["name"], name = "Please choose another column for first names, or none.", None
    tag = ""
    if typed["tag"]:
        try:
            tag = parse_tag(typed["tag"])
        except InputRefused as refused:
            errors["tag"] = str(refused)
    if len(typed["where"]) > _MOST:
        errors["where"] = f"Please use at most {_MOST} characters; this is {len(typed['where'])}."
    status = int(typed["status"]) if typed["status"].isdecimal() else None
    if status is not None and (not 0 <= status < columns or status in (address, name)):
        errors["status"], status = "Please choose another column for the status, or none.", None
    reason = typed["reason"] if typed["reason"] in set(_REASONS) else ListStatus.UNSUBSCRIBED.value
    left = reason if typed["mode"] == "left" else ""
    return ImportChoices(address, name, typed["mode"] == "confirmed", typed["where"][:_MOST], tag, status, left), errors


def _done(key: str, draft: ImportPreview) -> Response:
    added = draft.counts.get(Becomes.ADDED, 0)
    others = [(becomes.value, count) for becomes, count in draft.counts.items() if becomes is not Becomes.ADDED]
    leaving = sum(draft.counts.get(each, 0) for each in SUPPRESSED)
    return page(
        "desk/subscribers/csv_import_done.html",
        tab="people",
        key=key,
        added=added,
        others=others,
        under_way=not draft.counts,
        confirmed=draft.choices.confirmed,
        leaving=leaving,
    )


@pages.get("/<key>/report.csv")
@needs_login(need=Permission.CHANGE)
def report(key: str) -> Response:
    """What happened to each row, as a file."""
    try:
        text = csv_import.report(rt(), key if _ID.fullmatch(key) else abort(404))
    except NoFile:
        abort(404)
    response = make_response(text)
    response.headers["Content-Type"] = "text/csv; charset=utf-8"
    response.headers["Content-Disposition"] = 'attachment; filename="what-happened.csv"'
    return response
