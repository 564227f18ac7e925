"""What an edit of a running sequence does to each reader: `plan_edit`, and `impact` of it for a person to read.

The rules. The past never re-runs: what was sent stays sent. Nobody gets a letter twice. Nobody silently skips one: a letter
that was still to come stays so, wherever it is moved to; only its removal takes it away, and that is counted. A shortened
wait moves people forward, a longer one back. An inserted step reaches those who stand before its place.

An edited sequence lists every step of the old one. One taken out stays in its place, marked `removed`, so that whoever got it
last goes on after it. A reader's place is before the first step that was still to come for them, or right after their last
one if that is earlier.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from nurture.domain.sequence import Step, next_step
from nurture.domain.timeline import NeverOpens, Rules, first_opening, next_due
from nurture.errors import NurtureError
from nurture.ids import EnrollmentId, StepKey


class EditRefused(NurtureError):
    """An edited sequence that does not say what becomes of each step."""


class Choice(StrEnum):
    """Whom an edit reaches."""

    NEW_ONLY = "new-only"
    """Readers who begin after it; the others go on as before."""
    EVERYONE = "everyone"
    """Also those in the middle, for what they have not been sent."""
    HOLD = "hold"
    """As EVERYONE, but a next letter that would change waits until a person lets it go."""


@dataclass(frozen=True)
class Version:
    """A sequence as it is before an edit, or after it: steps in order, removed ones too, and when letters may go out."""

    steps: tuple[Step, ...]
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Planned:
    """A letter a reader has coming: the step, and when it is due (UTC)."""

    step: StepKey
    due: datetime


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader in the middle of a sequence; who has completed or left it is not touched by an edit."""

    enrollment: EnrollmentId
    zone: ZoneInfo
    anchor: datetime
    """From when (UTC) the wait for the next letter counts."""
    sent: frozenset[StepKey] = frozenset()
    last: StepKey | None = None
    """The step sent last."""
    planned: Planned | None = None
    """The next letter. None: nothing is to come, or the letter before it is under way."""
    movable: bool = True
    """Whether `planned` may still change: it is scheduled, neither claimed nor on its way."""
    at: StepKey | None = None
    """Where they go on, if an earlier edit made that another step than the one after `last`, or after what is under way."""


@dataclass(frozen=True, slots=True)
class Move:
    """What an edit does to one reader."""

    enrollment: EnrollmentId
    before: Planned | None
    after: Planned | None
    days: int = 0
    """By how many days of their calendar the next letter is later (negative: earlier), if it stays the same letter."""
    at_once: bool = False
    """Whether the next letter would go out now only because of the edit."""
    skipped: tuple[StepKey, ...] = ()
    """Letters that were to come and now never will."""
    added: tuple[StepKey, ...] = ()
    """Letters that are to come now and were not before."""
    held: bool = False
    """Whether the next letter waits, at `after`, until a person lets it go."""
    resume_at_step: StepKey | None = None
    """Where they go on from now on, if that is not simply after what they got last: see Reader."""


def still_to_come(steps: Sequence[Step], reader: Reader) -> tuple[StepKey, ...]:
    """Keys of the letters a reader gets yet, in order: from the planned one on, else after the last one sent.

    A planned letter that can no longer be changed is under way, and not among them. Raises EditRefused.
    """
    keys = [step.key for step in steps]
    start = 0
    if reader.planned is not None:
        start = _place(keys, reader.planned.step)
    elif reader.last is not None:
        start = _place(keys, reader.last) + 1
    if reader.at in keys:
        start = min(start, keys.index(reader.at))
    gone = _given(reader)
    return tuple(step.key for step in steps[start:] if not step.removed and step.key not in gone)


def to_come_after(old: Version, new: Version, reader: Reader) -> tuple[StepKey, ...]:
    """Keys of the letters a reader who stood in `old` gets from `new`, in order.

    For one whose letter is under way: those that follow it. Plan the first of them once that letter is out. Raises EditRefused.
    """
    keys = [step.key for step in new.steps]
    _check(old, keys)
    last = _last(reader)
    after_last = _place(keys, last) + 1 if last is not None else 0
    start = min([after_last, *(_place(keys, key) for key in still_to_come(old.steps, reader))])
    gone = _given(reader)
    return tuple(step.key for step in new.steps[start:] if not step.removed and step.key not in gone)


def _last(reader: Reader) -> StepKey | None:
    """What a reader has got last, or is getting."""
    return reader.planned.step if reader.planned is not None and not reader.movable else reader.last


def _given(reader: Reader) -> frozenset[StepKey]:
    """What a reader has got, or is getting."""
    if reader.planned is None or reader.movable:
        return reader.sent
    return reader.sent | {reader.planned.step}


def _place(keys: Sequence[StepKey], key: StepKey) -> int:
    if key not in keys:
        raise EditRefused(f"The sequence does not list the step {key!r}. Keep it, or list it in its place as removed.")
    return keys.index(key)


def _check(old: Version, keys: Sequence[StepKey]) -> None:
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise EditRefused(f"The sequence lists the step {twice[0]!r} twice. Each step needs a key of its own.")
    for step in old.steps:
        _place(keys, step.key)


def plan_edit(
    old: Version, new: Version, readers: Iterable[Reader], now: datetime, choice: Choice = Choice.EVERYONE
) -> list[Move]:
    """What changes for each reader if `old` becomes `new` at `now` (UTC): one Move for each to whom anything does.

    A letter under way stays as it is. Raises EditRefused, and NeverOpens if the new rules leave no moment to send in.
    """
    edit = Edit(old, new, choice)
    return [move for reader in readers if (move := edit.move(reader, now)) is not None]


@dataclass(frozen=True)
class PlacementChange:
    """What an edit does to all who stand at the same place: what remains is the moment of each one's next letter."""

    coming: StepKey | None
    never: tuple[StepKey, ...]
    more: tuple[StepKey, ...]
    at: StepKey | None


class Edit:
    """One edit, for reader after reader. A place where many stand is looked at once: there are few places."""

    def __init__(self, old: Version, new: Version, choice: Choice = Choice.EVERYONE) -> None:
        """Raises EditRefused."""
        self.old, self.new, self.choice = old, new, choice
        _check(old, [step.key for step in new.steps])
        self._steps = {step.key: step for step in new.steps}
        self._steps_before = {step.key: step for step in old.steps}
        same_rules = old.rules == new.rules
        self._as_before = {step.key for step in old.steps if _same_timing(step, self._steps[step.key], same_rules)}
        self._courses: dict[tuple[object, ...], PlacementChange] = {}
        self._due, self._due_before = _dates(self._steps, new.rules), _dates(self._steps_before, old.rules)

    def move(self, reader: Reader, now: datetime) -> Move | None:
        """What changes for a reader at `now` (UTC); None: nothing. Raises EditRefused, NeverOpens."""
        if self.choice is Choice.NEW_ONLY:
            return None
        planned = reader.planned
        place = (reader.sent, reader.last, planned and planned.step, reader.movable, reader.at)
        course = self._courses.get(place)
        if course is None:
            course = self._courses[place] = self._course(reader)
        after = planned
        if reader.movable:
            after = None if course.coming is None else self._planned(reader, course.coming, now)
        changed = after != planned
        if not changed and not course.never and not course.more and course.at == reader.at:
            return None
        days, moved = 0, changed and after is not None
        if moved and after is not None and planned is not None and after.step == planned.step:
            days = (after.due.astimezone(reader.zone).date() - planned.due.astimezone(reader.zone).date()).days
        return Move(
            reader.enrollment,
            planned,
            after,
            days=days,
            at_once=moved and after is not None and after.due <= now,
            skipped=course.never,
            added=course.more,
            held=moved and self.choice is Choice.HOLD,
            resume_at_step=course.at,
        )

    def _course(self, reader: Reader) -> PlacementChange:
        before, coming = still_to_come(self.old.steps, reader), to_come_after(self.old, self.new, reader)
        plain = next_step(self.new.steps, _last(reader), _given(reader))
        at = coming[0] if coming and (plain is None or plain.key != coming[0]) else None
        return PlacementChange(coming[0] if coming else None, _missing(before, coming), _missing(coming, before), at)

    def _planned(self, reader: Reader, key: StepKey, now: datetime) -> Planned:
        """The next letter, and its moment: the old one if nothing about it changes, never one that is past."""
        planned = reader.planned
        if planned is not None and planned.step == key and key in self._as_before:
            return planned
        due = self._due(reader.anchor, key, reader.zone)
        put_off = self._put_off(reader)
        if put_off or due < now:  # also a step `at once`: what it answers is long ago
            due = first_opening(max(due + put_off, now), self.new.rules, reader.zone)
        return Planned(key, due)

    def _put_off(self, reader: Reader) -> timedelta:
        """By how much the planned letter was put off, by a pause say: that stays, whatever becomes of the wait."""
        if reader.planned is None:
            return _NO_TIME
        try:
            promised = self._due_before(reader.anchor, reader.planned.step, reader.zone)
        except NeverOpens:  # the rules were changed since it was planned
            return _NO_TIME
        return max(reader.planned.due - promised, _NO_TIME)


_NO_TIME = timedelta(0)


def _dates(steps: Mapping[StepKey, Step], rules: Rules) -> Callable[[datetime, StepKey, ZoneInfo], datetime]:
    """`next_due` of these steps: many readers wait since the same opening of a window."""
    return lru_cache(1 << 14)(lambda anchor, step, zone: next_due(anchor, steps[step], rules, zone))


def _missing(some: Sequence[StepKey], others: Sequence[StepKey]) -> tuple[StepKey, ...]:
    return tuple(key for key in some if key not in others)


def _same_timing(one: Step, other: Step, same_rules: bool) -> bool:
    """Whether a letter is due when it was before."""
    return (one.at_once and other.at_once) or (one.at_once == other.at_once and one.wait == other.wait and same_rules)


@dataclass(frozen=True)
class Impact:
    """How many people an edit touches, and how. One person may be in several counts."""

    shifted: Mapping[tuple[StepKey, int], int]
    """By letter and days (negative: earlier; 0: another time of the same day): whose next letter stays the same letter."""
    at_once: Mapping[StepKey, int]
    """By letter: who would get it now; they are not in `shifted`."""
    skipped: Mapping[StepKey, int]
    """By letter: who was to get it, and never will."""
    additional: Mapping[StepKey, int]
    """By letter: who was not to get it, and now will."""
    instead: Mapping[tuple[StepKey, StepKey], int]
    """By letters (before, after): whose next letter is another one that was to come anyway, or an additional one."""
    held: int = 0
    """How many next letters wait for a person to let them go."""


def impact(moves: Iterable[Move]) -> Impact:
    """Count what `moves` do."""
    shifted, instead = Counter[tuple[StepKey, int]](), Counter[tuple[StepKey, StepKey]]()
    at_once, skipped, additional, held = Counter[StepKey](), Counter[StepKey](), Counter[StepKey](), 0
    for move in moves:
        skipped.update(move.skipped)
        additional.update(move.added)
        held += move.held
        if move.after is None or move.after == move.before:
            continue
        if move.at_once:
            at_once[move.after.step] += 1
        elif move.before is not None and move.before.step == move.after.step:
            shifted[move.after.step, move.days] += 1
        if move.before is not None and move.before.step != move.after.step:
            instead[move.before.step, move.after.step] += 1
    return Impact(shifted, at_once, skipped, additional, instead, held)


NOBODY = "Nobody who is reading now is affected."


def sentences(found: Impact, titles: Mapping[StepKey, str]) -> list[str]:
    """What an edit does, in plain words, a sentence each; letters by their titles."""

    def named(key: StepKey) -> str:
        return f"“{titles.get(key, key)}”"

    said = [f"{_people(n, 'gets', 'get')} {named(key)} {_shift(days)}." for (key, days), n in sorted(found.shifted.items())]
    said += [f"{_people(n, 'would get', 'would get')} {named(key)} now." for key, n in found.at_once.items()]
    said += [f"{_people(n, 'skips', 'skip')} {named(key)}." for key, n in found.skipped.items()]
    said += [f"{_people(n, 'gets', 'get')} {named(key)} as well." for key, n in found.additional.items()]
    said += [
        f"For {_people(n)}, {named(after)} comes next instead of {named(before)}."
        for (before, after), n in found.instead.items()
    ]
    if found.held:
        said.append(f"{_people(found.held, 'waits', 'wait')} for the next letter until you let it go.")
    return said or [NOBODY]


def _people(count: int, one: str = "", many: str = "") -> str:
    return f"{count:,} {'person' if count == 1 else 'people'} {one if count == 1 else many}".rstrip()


def _shift(days: int) -> str:
    if days == 0:
        return "at another time of the same day"
    return f"{abs(days)} day{'' if abs(days) == 1 else 's'} {'later' if days > 0 else 'earlier'}"
