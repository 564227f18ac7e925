"""A sequence's page as a form: what it shows, what somebody has changed in it, and the edit that is."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from werkzeug.datastructures import MultiDict

from nurture.domain.sequence import AT_ONCE, Wait, parse_wait
from nurture.ids import StepKey
from nurture.services.sequences.hours import HoursRefused, read_rules
from nurture.services.sequences.schedule import EditableSchedule, Edited, ScheduleRefused, Slot

_MOST = 365
"""Most days, or hours, of a wait."""
_MOST_HOLIDAYS = 60


@dataclass(frozen=True)
class CardForm:
    """One letter as the form shows it; numbers as they were typed."""

    key: StepKey
    title: str
    published: bool
    removed: bool
    once: bool
    days: str
    hours: str

    @property
    def waits(self) -> Wait | None:
        """Its wait; None: at once. What cannot be read counts as nothing, for drawing only."""
        return None if self.once else Wait(_number(self.days) or 0, _number(self.hours) or 0)


@dataclass(frozen=True)
class Form:
    """The whole page as somebody has it before them."""

    key: str
    title: str
    version: int
    cards: tuple[CardForm, ...]
    opens: str
    closes: str
    days: frozenset[int]
    quiet_from: str
    quiet_to: str
    holidays: tuple[str, ...]

    @property
    def living(self) -> list[CardForm]:
        """The letters that are not taken out, in order."""
        return [card for card in self.cards if not card.removed]

    @property
    def open_spans(self) -> list[tuple[int, int]]:
        """The minutes of a day in which letters may arrive; none while the hours cannot be read."""
        try:
            rules = read_rules(self.opens, self.closes, range(7), self.quiet_from, self.quiet_to, ())
        except HoursRefused:
            return []
        return rules.open_minutes(date.min)

    def placed(self) -> list[tuple[CardForm, float]]:
        """Letters that go out, and on which day after the sign-up at the earliest."""
        day, found = 0.0, []
        for card in self.living:
            wait = card.waits
            day += 0 if wait is None else wait.days + wait.hours / 24
            found.append((card, day))
        return found

    def moved(self, key: str, by: int) -> "Form":
        """With one letter earlier or later, past those that are taken out."""
        cards = list(self.cards)
        here = next((n for n, card in enumerate(cards) if card.key == key), None)
        if here is None:
            return self
        card, there = cards[here], here + by
        while 0 <= there < len(cards) and cards[there].removed:
            there += by
        if not 0 <= there < len(cards):
            return self
        cards.remove(card)
        cards.insert(there, card)
        return replace(self, cards=tuple(cards))

    def taken(self, key: str, out: bool) -> "Form":
        """With one letter taken out, or put back."""
        return replace(self, cards=tuple(replace(card, removed=out) if card.key == key else card for card in self.cards))

    def edited(self) -> Edited:
        """The edit that this is. Raises ScheduleRefused with all that is wrong, a sentence a line."""
        wrong, slots = list[str](), list[Slot]()
        for card in self.cards:
            days, hours = _number(card.days), _number(card.hours)
            if not card.once and (days is None or hours is None):
                wrong.append(f"The wait before “{card.title}” needs whole numbers from 0 to {_MOST}.")
            slots.append(Slot(card.key, AT_ONCE if card.once else str(Wait(days or 0, hours or 0)), card.removed))
        if len(self.holidays) > _MOST_HOLIDAYS:
            wrong.append(f"There are more than {_MOST_HOLIDAYS} holidays. Leave out those that are past.")
        try:
            rules = read_rules(self.opens, self.closes, self.days, self.quiet_from, self.quiet_to, self.holidays)
        except HoursRefused as refused:
            wrong += str(refused).splitlines()
        if wrong:
            raise ScheduleRefused("\n".join(wrong))
        return Edited(tuple(slots), rules)


def digest(edited: Edited, version: int) -> str:
    """Tells one edit from another: what is saved must be what was looked at."""
    slots = [(slot.key, slot.wait, slot.removed) for slot in edited.slots]
    window, quiet = edited.rules.window, edited.rules.quiet
    rules = (window.opens, window.closes, sorted(window.days), quiet.begins, quiet.ends, sorted(edited.rules.holidays))
    return hashlib.sha256(repr((slots, rules, version)).encode()).hexdigest()[:32]


def form_of(shown: EditableSchedule) -> Form:
    """The form, with nothing changed."""
    rules = shown.rules
    cards = []
    for card in shown.cards:
        wait = parse_wait(card.slot.wait)
        days, hours = (wait.days, wait.hours) if wait else (0, 0)
        removed = card.slot.removed
        cards.append(CardForm(card.slot.key, card.title, card.published, removed, wait is None, str(days), str(hours)))
    return Form(
        shown.key,
        shown.title,
        shown.version,
        tuple(cards),
        f"{rules.window.opens:%H:%M}",
        f"{rules.window.closes:%H:%M}",
        rules.window.days,
        f"{rules.quiet.begins:%H:%M}",
        f"{rules.quiet.ends:%H:%M}",
        tuple(day.isoformat() for day in sorted(rules.holidays)),
    )


def form_from(shown: EditableSchedule, given: "MultiDict[str, str]") -> Form:
    """The form as it was sent. Letters that came since are added in their place, those that went are left out: what somebody
    else did is never undone by what this person did not see.
    """
    now = form_of(shown)
    known = {card.key: card for card in now.cards}
    order = [StepKey(key) for key in dict.fromkeys(given.getlist("key")) if key in known]
    for number, card in enumerate(now.cards):
        if card.key not in order:
            before = now.cards[number - 1].key if number else None
            order.insert(order.index(before) + 1 if before in order else 0, card.key)
    cards = tuple(_card(known[key], given) if f"days-{key}" in given else known[key] for key in order)
    return Form(
        now.key,
        now.title,
        _number(given.get("version", "")) or 0,
        cards,
        given.get("opens", now.opens),
        given.get("closes", now.closes),
        frozenset(n for n in range(7) if str(n) in given.getlist("day")),
        given.get("quiet_from", now.quiet_from),
        given.get("quiet_to", now.quiet_to),
        tuple(day for text in given.getlist("holiday") if (day := text.strip())),
    )


def _card(known: CardForm, given: Mapping[str, str]) -> CardForm:
    key = known.key
    return replace(
        known,
        removed=known.published and given.get(f"removed-{key}") == "1",
        once=f"once-{key}" in given,
        days=given.get(f"days-{key}", "")[:8],
        hours=given.get(f"hours-{key}", "")[:8],
    )


def _number(text: str) -> int | None:
    text = text.strip() or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 and int(text) <= _MOST else None
