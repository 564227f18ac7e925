"""How the desk says things: times on somebody's clock, where a person stands, what became of a mail."""

import re
from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from flask import g

from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.subscriber_status import SubscriberStatus
from nurture.domain.user import Permission, allows
from nurture.services.subscribers.listing import NamedLetter, Summary
from nurture.store.subscribers.bulk_actions import BulkAction, BulkActionRecord
from nurture.web.pages import rt

STANDINGS = {
    SubscriberStatus.WAITING: "Not confirmed yet",
    SubscriberStatus.READING: "Getting letters",
    SubscriberStatus.PAUSED: "Paused",
    SubscriberStatus.FINISHED: "Had every letter",
    SubscriberStatus.ENDED: "Ended early",
    SubscriberStatus.LEFT: "Left",
    SubscriberStatus.BOUNCED: "Address does not work",
    SubscriberStatus.COMPLAINED: "Reported as spam",
    SubscriberStatus.ERASED: "Erased",
}

STATES = {
    State.SCHEDULED: "will go out",
    State.CLAIMED: "is going out now",
    State.SENDING: "is going out now",
    State.ACCEPTED: "sent",
    State.DELIVERED: "delivered",
    State.BOUNCED: "came back: not delivered",
    State.DROPPED: "not delivered: the mail service held it back",
    State.COMPLAINED: "delivered, and reported as spam",
    State.UNKNOWN: "may have been sent; we are finding out",
    State.HELD: "may have been sent; it needs a look",
    State.FAILED: "could not be sent; it needs a look",
    State.CANCELLED: "not sent",
}

KINDS = {
    DeliveryKind.CONFIRMATION: "The mail that asks to confirm",
    DeliveryKind.ALREADY_SUBSCRIBED: "A mail about a form that was filled in with their address",
    DeliveryKind.CONSULTATION_QUESTION: "A mail that asks if they asked for a call",
}

WHYS = {
    "consultation": "they asked for a call",
    "booked": "a call is booked",
    "desk": "you stopped them",
    "unsubscribed": "they left",
    "bounced": "the address does not work",
    "complained": "they reported a letter as spam",
    "paused": "paused",
    "edit": "the letters changed",
}
"""Why letters ended, were paused or cancelled."""

ACTS = {
    "given": "Asked for the letters",
    "confirmed": "Confirmed the address",
    "withdrawn": "Left",
    "restored": "Came back",
}


def practice_zone() -> ZoneInfo:
    """The zone whose clock the therapist reads."""
    return ZoneInfo(rt().settings.time_zone)


def day(at: datetime, zone: ZoneInfo | None = None) -> str:
    """A day, such as `3 March 2026`, on the practice's clock unless another is named."""
    local = at.astimezone(zone or practice_zone())
    return f"{local.day} {local:%B %Y}"


def moment(at: datetime, zone: ZoneInfo | None = None) -> str:
    """A moment, such as `Tuesday 3 March, 10:00`, with the year unless it is this one."""
    zone = zone or practice_zone()
    local, now = at.astimezone(zone), rt().clock.now().astimezone(zone)
    year = "" if local.year == now.year else f" {local.year}"
    return f"{local:%A} {local.day} {local:%B}{year}, {local:%H:%M}"


def sent_at(at: datetime, zone: ZoneInfo) -> str:
    """When something left, such as `sent at 9:02 AM`, with the day unless it is today; on the clock of `zone`."""
    local, today = at.astimezone(zone), rt().clock.now().astimezone(zone).date()
    clock = f"{local.hour % 12 or 12}:{local:%M} {'AM' if local.hour < 12 else 'PM'}"
    return f"sent at {clock}" if local.date() == today else f"sent on {local.day} {local:%B %Y} at {clock}"


def whom(by: str | None, names: Mapping[str, str]) -> str:
    """Who did something (`services.accounts.accounts.names`)."""
    if by is not None and by in names:
        return names[by]
    if not by or by.startswith("user ") or re.fullmatch("[0-9a-f]{32}", by):
        return "somebody who has no access any more"
    return "whoever runs the service"


def called(letter: NamedLetter) -> str:
    """What a letter is called: `the welcome`, or `letter 3`."""
    if letter.number is None:
        return "a letter taken out since"
    return f"letter {letter.number}" if letter.number else "the welcome"


def person(summary: Summary) -> str:
    """What to call somebody on a page."""
    return summary.name or summary.email


def origin(source: str) -> str:
    """By which page or list somebody came, in words."""
    if source == "/":
        return "the sign-up page"
    return source.removeprefix("import: ") if source.startswith("import: ") else source


def whereabouts(summary: Summary) -> str:
    """Where somebody is in the letters, as one phrase."""
    where, zone = summary.where, ZoneInfo(summary.time_zone)
    after = f"after {called(where.last)}" if where and where.last else "before the first letter"
    match summary.standing:
        case SubscriberStatus.WAITING:
            return "has not pressed the button in the first mail"
        case SubscriberStatus.LEFT:
            return f"on {day(summary.left)}, {after}" if summary.left else after
        case SubscriberStatus.BOUNCED | SubscriberStatus.COMPLAINED:
            return f"no more letters, {after}"
        case SubscriberStatus.PAUSED:
            return after
        case SubscriberStatus.FINISHED:
            return f"the last on {day(where.ended)}" if where and where.ended else "the last one too"
        case SubscriberStatus.ENDED:
            return f"{after}: {WHYS.get(where.why, where.why)}" if where and where.why else "in no sequence"
        case SubscriberStatus.ERASED:
            return ""
    if where is None or where.next is None or where.due is None:
        return f"between letters, {after}"
    letter = called(where.next)
    if where.state is not State.SCHEDULED:
        return f"{letter} {STATES[where.state]}" if where.state else f"waiting for {letter}"
    if where.due <= rt().clock.now():
        return f"waiting for {letter}, goes out within minutes"
    return f"waiting for {letter}, goes out {moment(where.due, zone)} on their clock"


_DONE_TO_MANY = {
    BulkAction.PAUSE: "The letters of {} are paused.", BulkAction.RESUME: "{} go on where they were.",
    BulkAction.STOP: "The letters of {} are stopped.", BulkAction.TAG: "{} have the tag “{}” now.",
    BulkAction.UNTAG: "{} no longer have the tag “{}”.",
}  # fmt: skip


def done_to_many(done: BulkActionRecord) -> str:
    """What was done to several people at once, as a sentence."""
    return _DONE_TO_MANY[done.act].format(people(done.people), done.tag)


def rights() -> dict[str, bool]:
    """What whoever is at the desk may do, for pages that show a form only to whom it serves."""
    return {"may_change": allows(g.me.role, Permission.CHANGE), "may_own": allows(g.me.role, Permission.OWN)}


def people(count: int) -> str:
    """`1 person`, `214 people`."""
    return "1 person" if count == 1 else f"{count:,} people"
