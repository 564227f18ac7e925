"""One person's page: consent, what they were sent and read, what comes next, notes, tags, their data."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, abort, g, make_response, request, url_for
from markupsafe import Markup

from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.list_status import ColumnRole
from nurture.domain.subscriber_status import SubscriberStatus
from nurture.domain.timeline import NeverOpens
from nurture.domain.user import Permission
from nurture.ids import DeliveryId, SubscriberId, UserId
from nurture.services.accounts import accounts
from nurture.services.addresses import InputRefused
from nurture.services.sequences import enrollments
from nurture.services.sequences.enrollments import ActRefused, EnrollmentAction, TooLate
from nurture.services.subscribers import detail, personal_data
from nurture.services.subscribers.detail import NoSuchSubscriber, SentLetter, SubscriberDetail
from nurture.store.subscribers.personal_data import Consent
from nurture.web.desk import formatting
from nurture.web.desk.access_control import needs_login, see
from nurture.web.front_door import FRAMED_CSP, MAIL_CSP
from nurture.web.pages import page, rt

pages = Blueprint("person", __name__, url_prefix="/desk/people/<who>")

_ID = re.compile("[0-9a-f]{32}")


def _known(who: str) -> SubscriberId:
    return SubscriberId(who) if _ID.fullmatch(who) else abort(404)


def back_to(subscriber_id: SubscriberId, part: str = "", **did: str) -> Response:
    """Back to the person's page, at one of its parts."""
    values: dict[str, Any] = {"who": subscriber_id, "_anchor": part or None, **did}
    return see(url_for("person.show", **values))


def by() -> UserId:
    """Whoever is at the desk."""
    me: UserId = g.me.id
    return me


@pages.get("/")
@needs_login
def show(who: str) -> Response:
    """Everything about one person."""
    return show_person(_known(who))


def show_person(
    subscriber_id: SubscriberId, status: int = 200, errors: dict[str, str] | None = None, typed: dict[str, str] | None = None
) -> Response:
    """The page, with what is wrong with a form of it and what was typed there."""
    try:
        found = detail.load(rt(), subscriber_id)
    except NoSuchSubscriber:
        abort(404)
    if found.summary.standing is SubscriberStatus.ERASED:
        return page(
            "desk/subscribers/erased.html", tab="people", erased=formatting.day(found.summary.left or found.summary.joined)
        )
    return page("desk/subscribers/detail.html", status, tab="people", errors=errors or {}, typed=typed or {}, **_shown(found))


def _shown(found: SubscriberDetail) -> dict[str, object]:
    summary = found.summary
    zone = ZoneInfo(summary.time_zone)
    names = accounts.names(rt()) if found.notes else {}
    return {
        **formatting.rights(),
        "id": summary.id,
        "name": summary.name,
        "email": summary.email,
        "called": formatting.person(summary),
        "standing": summary.standing,
        "state_words": formatting.STANDINGS[summary.standing],
        "where": formatting.whereabouts(summary),
        "facts": _facts(found, zone),
        "letters": [_mail(each, zone) for each in found.sent],
        "ahead": [(formatting.called(each), each.subject) for each in found.to_come[1:]],
        "next": found.to_come[0] if found.to_come else None,
        "joined": formatting.day(summary.joined),
        "receipt": [
            {
                "act": formatting.ACTS[each.act],
                "at": formatting.moment(each.at, zone),
                "from": _from(each.source),
                "wording": each.wording,
                "version": each.version,
                "answered": _answered(each),
                "evidence": _evidence(found.evidence.get(each.id, {})),
                "label": "Statement" if _stated(each) else "Words shown",
            }
            for each in found.consents
        ],
        "notes": [
            {"id": each.id, "text": each.text, "at": formatting.moment(each.at), "by": formatting.whom(each.by, names)}
            for each in found.notes
        ],
        "tags": summary.tags,
        "known_tags": [tag for tag in found.known_tags if tag not in summary.tags],
        "requests": [(key, state, formatting.moment(at), sure) for key, state, at, sure in found.requests],
        "running": summary.standing in (SubscriberStatus.READING, SubscriberStatus.PAUSED),
        "did": _did(found),
        "zone": summary.time_zone.replace("_", " "),
        "stopped": bool(summary.where and summary.where.why == "desk"),
    }


_ANSWERS = {
    "given": "Ticked the box beside these words",
    "confirmed": "Pressed the button in the mail that asked to confirm",
    "withdrawn": "Left by the link in a letter",
    "restored": "Took the leaving back",
}


_ANSWERS_OF_LISTS = {
    "given": "Were on a list that was added here. Whoever added it stated that they had asked",
    "confirmed": "Were on a list that was added here. Whoever added it stated that they had confirmed",
    "withdrawn": "Were on a list of people who left, which was added here",
}


def _of_list(consent: Consent) -> bool:
    return consent.source.startswith("import: ")


def _stated(consent: Consent) -> bool:
    """Whether its words are those of whoever added a list, and were never shown to the person."""
    return _of_list(consent) and consent.act != "withdrawn"


def _answered(consent: Consent) -> str:
    return _ANSWERS_OF_LISTS[consent.act] if _of_list(consent) else _ANSWERS[consent.act]


def _evidence(found: Mapping[str, str]) -> list[tuple[str, str]]:
    """What another program's list says of how they agreed, in words."""
    return [(_EVIDENCE[role], found[role]) for role in _EVIDENCE if role in found]


_EVIDENCE = {
    ColumnRole.ASKED.value: "Asked, says the list", ColumnRole.ASKED_FROM.value: "Asked from",
    ColumnRole.CONFIRMED.value: "Confirmed, says the list", ColumnRole.CONFIRMED_FROM.value: "Confirmed from",
    ColumnRole.ZONE.value: "Time zone, says the list",
}  # fmt: skip


def _from(source: str) -> str:
    if source.startswith("import: "):
        return f"a list that was added here: {formatting.origin(source)}"
    return {"/": "the sign-up page", "/confirm": "the page to confirm on"}.get(source, f"the page {source}")


def _facts(found: SubscriberDetail, zone: ZoneInfo) -> list[tuple[str, str]]:
    summary = found.summary
    facts = [
        ("Address", summary.email),
        (
            "Signed up",
            f"{formatting.day(summary.joined)}, by {formatting.origin(summary.source) or 'a page that was not noted'}",
        ),
        ("Confirmed", formatting.day(summary.confirmed) if summary.confirmed else "not yet"),
        ("Their clock", f"{rt().clock.now().astimezone(zone):%H:%M} now ({summary.time_zone.replace('_', ' ')})"),
    ]
    if summary.plain_sender:
        facts.append(("Sender they see", f"the plainer name, {rt().plain_sender.name}"))
    if found.suppressed:
        facts.append(("Must not be written to", f"{_SUPPRESSED[found.suppressed.value]}"))
    return facts


_SUPPRESSED = {
    "unsubscribed": "they left", "bounced": "mail to this address came back", "complained": "they reported a letter as spam",
    "erased": "they were erased",
}  # fmt: skip


def _mail(mail: SentLetter, zone: ZoneInfo) -> dict[str, object]:
    name = (
        formatting.called(mail.letter)
        if mail.letter
        else formatting.KINDS.get(mail.kind, "A letter that is no longer in the sequence")
    )
    subject = mail.letter.subject if mail.letter else ""
    if subject.lower().startswith(f"{name.lower()}:"):
        name, subject = subject.split(":", 1)[0], subject.split(":", 1)[1].strip()
    why = formatting.WHYS.get(mail.reason, "") if mail.state.value == "cancelled" else ""
    return {
        "id": mail.id,
        "name": name[0].upper() + name[1:],
        "subject": subject,
        "state": formatting.STATES[mail.state] + (f": {why}" if why else ""),
        "good": mail.readable,
        "at": formatting.moment(mail.accepted or mail.due, zone),
        "readable": mail.readable,
    }


_DID = {
    "pause": ("Paused. Nothing goes out until you let them go on.", "resume", "Undo"),
    "resume": ("They go on where they were.", "pause", "Undo"),
    "stop": ("Stopped. They stay on the list, and get no more letters.", "put-back", "Undo"),
    "put-back": ("They go on where they stopped.", "stop", "Undo"),
    "send-now": ("The next letter goes out within minutes.", "send-later", "Undo"),
    "send-later": ("The letter goes out when it would have.", "", ""),
    "note": ("The note is kept.", "", ""),
    "note-gone": ("The note is deleted.", "", ""),
    "tag": ("The tags are changed.", "", ""),
}


_UNDO_NEEDS = ("before", "delivery", "since")
"""What an undo has to know of the act it takes back; it travels in the address of the page that offers it."""


def _did(found: SubscriberDetail) -> dict[str, object] | None:
    """What was just done, as far as it is still true, and what takes it back."""
    told = _DID.get(request.args.get("did", "")) if request.method == "GET" else None
    if told is None:
        return None
    said, undo, label = told
    needs = {name: request.args.get(name, "")[:40] for name in _UNDO_NEEDS}
    gone = next((each for each in found.sent if each.id == needs["delivery"] and each.state is not State.CANCELLED), None)
    if gone is not None:
        at, undo = gone.accepted, ""
        said = (
            f"The letter has left: {formatting.sent_at(at, ZoneInfo(found.summary.time_zone))}."
            if at
            else "The letter is leaving."
        )
    return {"said": said, "undo": undo if found.summary.where else "", "label": label, "needs": needs}


_DO = {
    EnrollmentAction.PAUSE: enrollments.pause, EnrollmentAction.RESUME: enrollments.resume,
    EnrollmentAction.STOP: enrollments.stop, EnrollmentAction.PUT_BACK: enrollments.put_back,
    EnrollmentAction.SEND_NOW: enrollments.send_next_now,
}  # fmt: skip


@pages.post("/letters")
@needs_login
def letters(who: str) -> Response:
    """Pause their letters, let them go on, stop them, send the next one now; or take that back."""
    someone, wanted = _known(who), request.form.get("act", "")
    if wanted not in set(EnrollmentAction):
        abort(400)
    try:
        place = detail.enrollment_of(rt(), someone)
        if wanted == EnrollmentAction.SEND_LATER:
            delivery = request.form.get("delivery", "")
            delivery = DeliveryId(delivery) if _ID.fullmatch(delivery) else abort(400)
            done = enrollments.send_later(rt(), place, delivery, _instant(request.form.get("before", "")), by())
        elif wanted in (EnrollmentAction.PAUSE, EnrollmentAction.STOP) and (since := request.form.get("since")):
            done = (enrollments.pause if wanted == EnrollmentAction.PAUSE else enrollments.stop)(
                rt(), place, by(), since=_instant(since)
            )
        else:
            done = _DO[EnrollmentAction(wanted)](rt(), place, by())
    except NoSuchSubscriber:
        abort(404)
    except TooLate as late:
        zone = ZoneInfo(detail.load(rt(), someone).summary.time_zone)
        return show_person(someone, 409, {"letters": f"Too late: {formatting.sent_at(late.left, zone)}. Nothing was changed."})
    except (ActRefused, NeverOpens) as refused:
        return show_person(someone, 409, {"letters": str(refused)})
    needs = {"before": done.before, "delivery": done.delivery, "since": done.at if done.undo else None}
    told = {name: value if isinstance(value, str) else value.isoformat() for name, value in needs.items() if value}
    return back_to(someone, did=done.act.value, **told)


def _instant(typed: str) -> datetime:
    try:
        found = datetime.fromisoformat(typed)
    except ValueError:
        abort(400)
    return found if found.tzinfo else abort(400)


@pages.post("/notes")
@needs_login
def add_note(who: str) -> Response:
    """Write a note."""
    someone, text = _known(who), request.form.get("text", "")
    try:
        detail.add_note(rt(), someone, text, by())
    except InputRefused as refused:
        return show_person(someone, 422, {"text": str(refused)}, {"text": text})
    except NoSuchSubscriber:
        abort(404)
    return back_to(someone, "notes", did="note")


@pages.post("/notes/<note>")
@needs_login
def delete_note(who: str, note: str) -> Response:
    """Delete a note."""
    someone = _known(who)
    if not _ID.fullmatch(note) or not detail.delete_note(rt(), someone, note):
        abort(404)
    return back_to(someone, "notes", did="note-gone")


@pages.post("/tags")
@needs_login
def change_tags(who: str) -> Response:
    """Give a tag, or take one off."""
    someone, typed = _known(who), request.form.get("tag", "")[:300]
    try:
        if gone := request.form.get("remove"):
            detail.remove_tag(rt(), someone, gone[: detail.MOST_TAG])
        else:
            detail.add_tag(rt(), someone, detail.parse_tag(typed))
    except InputRefused as refused:
        return show_person(someone, 422, {"tag": str(refused)}, {"tag": typed})
    except NoSuchSubscriber:
        abort(404)
    return back_to(someone, "tags", did="tag")


@pages.get("/mails/<delivery>")
@needs_login
def mail(who: str, delivery: str) -> Response:
    """A mail as they read it."""
    shown = _read(who, delivery)
    name = formatting.called(shown.letter) if shown.letter else formatting.KINDS.get(shown.kind, "a letter")
    response = page(
        "desk/subscribers/delivery.html",
        tab="people",
        who=who,
        delivery=delivery,
        subject=shown.subject,
        name=name,
        sent=formatting.moment(shown.sent),
        fixed=shown.kind is DeliveryKind.LETTER,
    )
    response.headers["Content-Security-Policy"] = FRAMED_CSP
    return response


@pages.get("/mails/<delivery>/html")
@needs_login
def mail_html(who: str, delivery: str) -> Response:
    """The mail itself, for the sandboxed frame."""
    response = make_response(Markup(_read(who, delivery).html))  # noqa: S704 - an edition, filled with escaped values
    response.headers["Content-Security-Policy"] = MAIL_CSP
    return response


def _read(who: str, delivery: str) -> detail.ShownMail:
    someone = _known(who)
    try:
        return detail.as_read(rt(), someone, DeliveryId(delivery) if _ID.fullmatch(delivery) else abort(404))
    except NoSuchSubscriber:
        abort(404)


@pages.get("/export.json")
@needs_login(need=Permission.OWN, recent=True)
def export(who: str) -> Response:
    """Everything stored about them, as a file."""
    someone = _known(who)
    try:
        found = personal_data.export(rt(), someone)
    except NoSuchSubscriber:
        abort(404)
    response = make_response(json.dumps(found, ensure_ascii=False, indent=2, default=_plain))
    response.headers["Content-Type"] = "application/json; charset=utf-8"
    response.headers["Content-Disposition"] = 'attachment; filename="everything-stored.json"'
    return response


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@pages.get("/erase")
@needs_login(need=Permission.OWN, recent=True)
def ask_erase(who: str) -> Response:
    """What erasing does, and the word to type."""
    return _ask_erase(_known(who))


def _ask_erase(subscriber_id: SubscriberId, error: str = "") -> Response:
    try:
        found = detail.load(rt(), subscriber_id)
    except NoSuchSubscriber:
        abort(404)
    if found.summary.standing is SubscriberStatus.ERASED:
        return back_to(subscriber_id)
    return page(
        "desk/subscribers/erase.html",
        422 if error else 200,
        tab="people",
        id=subscriber_id,
        called=formatting.person(found.summary),
        error_said=error,
        word=_WORD,
    )


_WORD = "ERASE"


@pages.post("/erase")
@needs_login(need=Permission.OWN, recent=True)
def erase(who: str) -> Response:
    """Erase somebody, once the word is typed."""
    someone = _known(who)
    if request.form.get("word", "").strip() != _WORD:
        return _ask_erase(someone, f"Please type {_WORD} in capital letters. Nothing was erased.")
    try:
        arriving = personal_data.erase(rt(), someone)
    except NoSuchSubscriber:
        abort(404)
    return page("desk/subscribers/erased.html", tab="people", erased="", arriving=arriving)
