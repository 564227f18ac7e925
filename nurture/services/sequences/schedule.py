"""The schedule of a sequence, edited at the desk: what an edit would do, and doing it. See domain.edit for the rules."""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count, pairwise
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import log
from nurture.characters import normalize
from nurture.domain.edit import NOBODY, Choice, Impact, sentences
from nurture.domain.sequence import WaitRefused, parse_wait
from nurture.domain.timeline import Rules, first_opening
from nurture.errors import NurtureError
from nurture.ids import EnrollmentId, StepKey, SubscriberId, UserId
from nurture.letters.authoring import as_yaml
from nurture.letters.rewriting import with_rules, with_wait
from nurture.letters.source import LetterRefused, read_sequence, read_stored
from nurture.runtime import Runtime
from nurture.services.sequences import schedule_migration
from nurture.services.sequences.enrollments import BY_EDIT, ActRefused, resume
from nurture.services.subscribers.listing import decrypt
from nurture.store.letters import new_letters
from nurture.store.letters.new_letters import NewLetter
from nurture.store.sequences import schedule_migration as moves
from nurture.store.sequences import schedules, sequences
from nurture.store.sequences.schedule_migration import Held
from nurture.store.sequences.sequences import StoredSequence, StoredStep
from nurture.store.subscribers import listing, subscribers

_log = log.get(__name__)

MOST_LETTERS = 60
"""Letters of one sequence, those taken out too."""


class ScheduleRefused(NurtureError):
    """An edit that cannot be. The message says what is wrong with it; nothing was changed."""


class ScheduleConflict(ScheduleRefused):
    """Somebody else has changed the schedule since it was read; nothing was changed."""


@dataclass(frozen=True)
class Slot:
    """One letter's place in a schedule: its wait in the words of its file, and whether it is taken out."""

    key: StepKey
    wait: str
    removed: bool = False


@dataclass(frozen=True)
class Card:
    """One letter as the page shows it."""

    slot: Slot
    title: str
    published: bool = True
    """False: somebody still works on it; nobody gets it before it is published."""


@dataclass(frozen=True)
class EditableSchedule:
    """A sequence's letters in order, and when they may go out. `version`: what `save` wants to be told."""

    key: str
    title: str
    cards: tuple[Card, ...]
    rules: Rules
    version: int

    @property
    def edited(self) -> "Edited":
        """An edit that changes nothing."""
        return Edited(tuple(card.slot for card in self.cards), self.rules)


@dataclass(frozen=True)
class Edited:
    """A schedule as it is to be: every letter of the present one in its new place, and the rules."""

    slots: tuple[Slot, ...]
    rules: Rules


@dataclass(frozen=True)
class Preview:
    """What an edit would do, in a sentence each, for each choice."""

    sentences: Mapping[Choice, list[str]]
    changes: bool
    """False: the edit changes nothing at all."""
    touched: bool
    """Whether it would reach anybody in the middle of the sequence."""


@dataclass(frozen=True)
class Saved:
    """What saving an edit did."""

    choice: Choice
    version: int
    sentences: list[str]
    changed: bool
    held: int = 0
    """How many next letters wait for a person."""


def load(rt: Runtime, key: str | None = None) -> EditableSchedule:
    """The schedule of a sequence (by key; None: the one that a sign-up starts). Raises ScheduleRefused, LetterRefused."""
    with rt.database.read() as db:
        return _shown(*_load(db, key))


def preview(rt: Runtime, key: str, new: Edited) -> Preview:
    """What saving `new` would do, for each choice. Changes nothing. Raises ScheduleRefused, NeverOpens."""
    with rt.database.read() as db:
        old, unpublished = _load(db, key)
        _check(rt, old, unpublished, new)
        edited = _applied(old, new)
        version = schedule_migration.version_of(schedule_migration.schedule_of(edited))
        same = schedule_migration.is_same(schedule_migration.version_of(schedule_migration.schedule_of(old)), version)
        found = schedule_migration.preview(rt, db, old, version) if not same else None
    titles = _titles(old)
    nobody = [NOBODY]
    if found is None:
        return Preview(dict.fromkeys(Choice, nobody), _moves_drafts(unpublished, new), touched=False)
    said = {
        Choice.NEW_ONLY: nobody,
        Choice.EVERYONE: sentences(replace(found, held=0), titles),
        Choice.HOLD: sentences(found, titles),
    }
    return Preview(said, changes=True, touched=said[Choice.EVERYONE] != nobody)


def save(rt: Runtime, key: str, new: Edited, choice: Choice, by: UserId, expected_version: int) -> Saved:
    """Save a schedule and move readers as `choice` says, in one transaction: no letter is planned by the old one meanwhile.

    Files say the same afterwards: the sequence's, and the front matter of each letter whose wait changed. Raises
    ScheduleConflict if it is not at `expected_version` any more; ScheduleRefused, NeverOpens, LetterRefused.
    """
    with rt.database.begin() as db:
        schedules.lock_exclusive(db)
        old, unpublished = _load(db, key)
        if old.version != expected_version:
            raise ScheduleConflict(
                "Somebody else has changed this schedule since you opened it. Nothing of yours was saved. Look at how it is "
                "now, and make your changes again."
            )
        _check(rt, old, unpublished, new)
        edited = _applied(old, new)
        found = carry_through(rt, db, old, edited, choice, by)
        _keep_drafts(rt, db, old, unpublished, new)
        stored = sequences.load(db, key)
    version = stored.version if stored else 0
    changed = version != old.version
    if changed:
        _log.info("schedule_changed", sequence=key, kind=choice.value, version=version, held=found.held)
    return Saved(choice, version, sentences(found, _titles(old)), changed or _moves_drafts(unpublished, new), found.held)


def carry_through(
    rt: Runtime, db: Connection, old: StoredSequence | None, new: StoredSequence, choice: Choice, by: str
) -> Impact:
    """`schedule_migration.put`, for every change of a sequence: the schedule as it was is kept, to go back to
    (services.sequences.schedule_history).
    """
    found = schedule_migration.apply(rt, db, old, new, choice, by)
    if old is not None:
        before, after = schedule_migration.schedule_of(old), schedule_migration.schedule_of(new)
        if not schedule_migration.is_same(schedule_migration.version_of(before), schedule_migration.version_of(after)):
            schedules.archive(db, old.id, before, by, rt.clock.real_now())
    return found


def insert_step(rt: Runtime, key: str, title: str, wait: str, after: StepKey | None, by: UserId) -> StepKey:
    """Begin a new letter after the step `after` (None: before all others), as a draft that nobody gets. Returns its key.

    It joins the timeline when it is published (`placed`). Raises ScheduleRefused.
    """
    title = " ".join(title.split())
    if not 1 <= len(title) <= _LONGEST_TITLE:
        raise ScheduleRefused(f"Give the letter a subject line of up to {_LONGEST_TITLE} characters.")
    if any(unicodedata.category(sign).startswith("C") for sign in title):
        raise ScheduleRefused("The subject line holds signs that cannot be shown. Type it anew.")
    _read_wait(wait, title)
    with rt.database.begin() as db:
        schedules.lock_exclusive(db)
        old, unpublished = _load(db, key)
        known = [step.key for step in old.listed] + [draft.step for draft in unpublished]
        if len(known) >= MOST_LETTERS:
            raise ScheduleRefused(f"A sequence has {MOST_LETTERS} letters at most.")
        if after is not None and after not in known:
            raise ScheduleRefused("The letter it should follow is not there any more. Choose another place.")
        step = _fresh_key(title, known)
        new_letters.begin(db, old.id, NewLetter(step, _text(title, wait), after or StepKey("")), by, rt.clock.real_now())
    _log.info("step_inserted", sequence=key, step=step)
    return step


def discard_step(rt: Runtime, key: str, step: StepKey) -> bool:
    """Throw away a letter that was never published. False if there is no such draft. Raises ScheduleRefused."""
    with rt.database.begin() as db:
        schedules.lock_exclusive(db)
        old, unpublished = _load(db, key)
        found = step in {draft.step for draft in unpublished}
        if found:
            new_letters.discard(db, old.id, step)
    return found


def placed(listed: Sequence[StoredStep], new: StoredStep, after: StepKey | None) -> tuple[StoredStep, ...]:
    """The steps of a sequence with a letter that is published for the first time in its place, as its draft says it:
    after `after`; "" before all others; None, or a step that is gone, last. Hand the sequence to `carry_through`.
    """
    keys = [step.key for step in listed]
    place = 0 if after == "" else keys.index(after) + 1 if after in keys else len(keys)
    return numbered([*listed[:place], new, *listed[place:]])


@dataclass(frozen=True)
class HeldReader:
    """A reader whose next letter an edit holds back."""

    enrollment: EnrollmentId
    subscriber: SubscriberId
    name: str
    email: str
    since: datetime
    """Since when; by the timeline."""

    def __repr__(self) -> str:
        """Never a name or an address."""
        return f"Waiting({self.enrollment})"


def held_readers(rt: Runtime, key: str, limit: int = 100) -> list[HeldReader]:
    """Who waits since an edit until a person lets them go on."""
    with rt.database.read() as db:
        old, _ = _load(db, key)
        held = {each.subscriber: each for each in moves.held(db, old.id, BY_EDIT, None, limit)}
        rows = {row.id: row for row in listing.some(db, list(held))}
    return [_waiting(rt, each, rows[each.subscriber]) for each in held.values()]


def count_held(rt: Runtime, key: str) -> int:
    """How many wait since an edit until a person lets them go on."""
    with rt.database.read() as db:
        return moves.count_held(db, BY_EDIT).get(key, 0)


def release(rt: Runtime, key: str, by: UserId, only: EnrollmentId | None = None) -> int:
    """Let held readers go on, all or one. Returns how many. Raises NeverOpens, and ActRefused for one who has left."""
    if only is not None:
        return int(resume(rt, only, by).changed)
    with rt.database.read() as db:
        old, _ = _load(db, key)
    done, last = 0, None
    while True:
        with rt.database.read() as db:
            found = moves.held(db, old.id, BY_EDIT, last, 500)
        if not found:
            return done
        last = found[-1].enrollment
        for held in found:
            with suppress(ActRefused):  # has left meanwhile
                done += resume(rt, held.enrollment, by).changed


def find(db: Connection, key: str | None) -> StoredSequence:
    """A sequence by key; None: the one that a sign-up starts. Raises ScheduleRefused."""
    key = key or sequences.sign_up_key(db)
    found = sequences.load(db, key) if key else None
    if found is None:
        raise ScheduleRefused("There is no such sequence. Open the page again, and choose one that is there.")
    return found


def _load(db: Connection, key: str | None) -> tuple[StoredSequence, list[NewLetter]]:
    old = find(db, key)
    return old, new_letters.read(db, old.id)


def _shown(old: StoredSequence, unpublished: list[NewLetter]) -> EditableSchedule:
    titles = _titles(old)
    cards = [Card(Slot(step.key, step.wait, step.removed), titles[step.key]) for step in old.listed]
    for letter in new_letters.in_order(unpublished):
        draft = read_stored(f"{letter.step}.md", letter.text)
        keys = [card.slot.key for card in cards]
        place = 0 if letter.after == "" else keys.index(letter.after) + 1 if letter.after in keys else len(keys)
        cards.insert(place, Card(Slot(letter.step, draft.wait), draft.subject, published=False))
    return EditableSchedule(old.key, old.title, tuple(cards), read_sequence(old.rules).rules, old.version)


def _titles(old: StoredSequence) -> dict[StepKey, str]:
    return {step.key: read_stored(step.file_name, step.source).subject for step in old.listed}


def _check(rt: Runtime, old: StoredSequence, unpublished: list[NewLetter], new: Edited) -> None:
    keys, listed, known = [slot.key for slot in new.slots], [step.key for step in old.listed], _titles(old)
    begun = {letter.step for letter in unpublished}
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise ScheduleRefused(f"The letter “{known.get(twice[0], twice[0])}” is listed twice. Open the page again.")
    if set(listed) - set(keys) or set(keys) - set(listed) - begun:
        raise ScheduleConflict("The letters of this sequence have changed since you opened it. Open the page again.")
    for slot in new.slots:
        _read_wait(slot.wait, known.get(slot.key, slot.key))
    if all(slot.removed for slot in new.slots if slot.key in listed):
        raise ScheduleRefused("A sequence needs at least one letter. Put one back, or leave one in.")
    first_opening(rt.clock.now(), new.rules, ZoneInfo("UTC"))


def _applied(old: StoredSequence, new: Edited) -> StoredSequence:
    """The sequence as it is to be; whatever does not change keeps its every byte."""
    known, steps = {step.key: step for step in old.listed}, list[StoredStep]()
    for slot in new.slots:
        step = known.get(slot.key)
        if step is not None:
            source = with_wait(step.file_name, step.source, slot.wait)
            wait = step.wait if source == step.source else read_stored(step.file_name, source).wait
            steps.append(replace(step, source=source, wait=wait, removed=slot.removed))
    return replace(old, rules=with_rules(old.rules, new.rules), listed=numbered(steps))


def numbered(steps: Sequence[StoredStep]) -> tuple[StoredStep, ...]:
    """Steps in their order: positions, and numbers of files that sort the same way; names that do already stay."""
    living = [step for step in steps if not step.removed]
    numbers = [int(found[0]) if (found := re.match("[0-9]+", step.file_name)) else -1 for step in living]
    names = {step.key: step.file_name for step in steps}
    if any(before >= after for before, after in pairwise(numbers)):
        first = min(numbers)
        names |= {step.key: f"{first + n:02}-{step.key}.md" for n, step in enumerate(living)}
    return tuple(replace(step, position=n, file_name=names[step.key]) for n, step in enumerate(steps))


def _drafts_in(unpublished: list[NewLetter], new: Edited) -> list[NewLetter]:
    """Letters that are not published yet as the edit has them."""
    begun, found, before = {letter.step: letter for letter in unpublished}, list[NewLetter](), StepKey("")
    for slot in new.slots:
        letter = begun.get(slot.key)
        if letter is not None:
            found.append(replace(letter, after=before, text=with_wait(f"{slot.key}.md", letter.text, slot.wait)))
        before = slot.key
    return found


def _moves_drafts(unpublished: list[NewLetter], new: Edited) -> bool:
    anchors = {letter.step: letter for letter in unpublished}
    return any(letter != anchors[letter.step] for letter in _drafts_in(unpublished, new))


def _keep_drafts(rt: Runtime, db: Connection, old: StoredSequence, unpublished: list[NewLetter], new: Edited) -> None:
    """Letters somebody works on move along, and say the wait they now have: publishing one later must not take it back."""
    for letter in _drafts_in(unpublished, new):
        new_letters.write(db, old.id, letter)
    waits = {step.key: step.wait for step in old.listed}
    changed = {slot.key: slot.wait for slot in new.slots if slot.wait != waits.get(slot.key, slot.wait)}
    for step, text in new_letters.drafts_of(db, old.id, list(changed)):
        with suppress(LetterRefused):  # half-written, and read as it is when it is published
            new_letters.write(db, old.id, NewLetter(step, with_wait(f"{step}.md", text, changed[step])))


_LONGEST_TITLE = 120


def _fresh_key(title: str, known: Collection[StepKey]) -> StepKey:
    plain = normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub("[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-") or "letter"
    return StepKey(next(key for n in count(1) if (key := slug if n == 1 else f"{slug}-{n}") not in known))


def _text(title: str, wait: str) -> str:
    greeting = "Hello{% if reader.first_name %} {{ reader.first_name }}{% endif %},"
    head = f'---\nsubject: {as_yaml(title)}\npreheader: ""\nwait: {wait}\n---\n'
    return f"{head}\n{greeting}\n\nThis letter is still to be written.\n"


def _waiting(rt: Runtime, held: Held, row: listing.SubscriberRow) -> HeldReader:
    name = decrypt(rt, row.first_name, subscribers.first_name_field(row.id))
    return HeldReader(held.enrollment, row.id, name, decrypt(rt, row.email, subscribers.email_field(row.id)), held.since)


def _read_wait(wait: str, title: str) -> None:
    try:
        parse_wait(wait)
    except WaitRefused as refused:
        raise ScheduleRefused(f"“{title}”: {refused}") from None
