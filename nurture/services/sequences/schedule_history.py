"""Earlier plans of a sequence, kept with every change of it. Going back to one is an edit like any other: see schedule.save."""

from dataclasses import dataclass, replace
from datetime import datetime

from nurture.ids import StepKey
from nurture.letters.source import read_sequence
from nurture.runtime import Runtime
from nurture.services.sequences.schedule import Card, EditableSchedule, ScheduleRefused, find, load
from nurture.store.sequences import schedules


@dataclass(frozen=True)
class PastSchedule:
    """A plan as it was until somebody changed it. Real time."""

    version: int
    until: datetime
    by: str
    """Who changed it: an account's id, or who typed a command."""


def past_schedules(rt: Runtime, key: str, limit: int = 10) -> list[PastSchedule]:
    """The last plans of a sequence before the present one, newest first. Raises ScheduleRefused."""
    with rt.database.read() as db:
        return [PastSchedule(*row) for row in schedules.archived(db, find(db, key).id, limit)]


def past_schedule(rt: Runtime, key: str, version: int) -> EditableSchedule:
    """The schedule as it is, but with the order, waits and hours it had at `version`.

    Letters that came since keep their place after the letter they now follow, and what somebody works on is untouched. Raises
    ScheduleRefused.
    """
    with rt.database.read() as db:
        was = schedules.at_version(db, find(db, key).id, version)
    if was is None:
        raise ScheduleRefused("This earlier plan is not kept. Open the page again, and choose one that is listed there.")
    now = load(rt, key)
    cards = {card.slot.key: card for card in now.cards}
    found = list[Card]()
    for step, wait, _, removed in was.timing:
        card = cards.get(StepKey(step))
        if card is not None:
            found.append(replace(card, slot=replace(card.slot, wait=wait, removed=removed)))
    before: StepKey | None = None
    for card in now.cards:
        keys = [each.slot.key for each in found]
        if card.slot.key not in keys:
            found.insert(keys.index(before) + 1 if before in keys else 0, card)
        before = card.slot.key
    return replace(now, cards=tuple(found), rules=read_sequence(was.rules).rules)
