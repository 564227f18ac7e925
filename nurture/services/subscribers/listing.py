"""The list of people: who is on it, where each of them is, and whom a filter finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection

from nurture.domain.delivery import State
from nurture.domain.subscriber import Suppression
from nurture.domain.subscriber_status import SubscriberStatus, status_of
from nurture.encryption import DecryptionFailed, Encrypted, FieldRef
from nurture.ids import EnrollmentId, SequenceId, StepKey, SubscriberId
from nurture.letters.source import read_stored
from nurture.runtime import Runtime
from nurture.services.addresses import Address
from nurture.store.subscribers import listing as people
from nurture.store.subscribers import subscribers
from nurture.store.subscribers.listing import Cursor, EnrollmentRow, Filter, LetterKeys, SubscriberRow

PAGE = 50
UNREADABLE = "(cannot be read)"
"""Stands for a value that does not open: another key, or damaged bytes. One of them must not hide everybody else."""


@dataclass(frozen=True)
class NamedLetter:
    """A letter as people call it: its number in the sequence (0 is the welcome) and its subject line. No number: taken out."""

    key: StepKey
    number: int | None
    subject: str


@lru_cache(maxsize=512)
def _named(key: StepKey, number: int | None, source: str) -> NamedLetter:
    letter = read_stored(f"0-{key}.md", source)
    return NamedLetter(key, number, key if letter.unreadable else letter.subject)


class Catalogue:
    """The letters of every sequence by their names."""

    def __init__(self, stored: LetterKeys) -> None:
        """`stored`: as the database has them."""
        self._stored = stored

    def sequences(self) -> list[SequenceId]:
        """Every sequence that has letters."""
        return list(self._stored.of)

    def letters(self, sequence: SequenceId) -> list[NamedLetter]:
        """The letters of one sequence, in order, without those that were taken out."""
        there = [(key, source) for key, source, removed in self._stored.of.get(sequence, ()) if not removed]
        return [_named(key, number, source) for number, (key, source) in enumerate(there)]

    def find(self, sequence: SequenceId, key: StepKey | None) -> NamedLetter | None:
        """One letter, one that was taken out too; None if there is none of that name."""
        gone = [_named(step, None, source) for step, source, removed in self._stored.of.get(sequence, ()) if removed]
        return next((each for each in [*self.letters(sequence), *gone] if each.key == key), None)

    def before(self, sequence: SequenceId, key: StepKey) -> StepKey | None:
        """The letter before one; None for the first."""
        keys = [each.key for each in self.letters(sequence)]
        at = keys.index(key) if key in keys else 0
        return keys[at - 1] if at else None


@dataclass(frozen=True)
class Progress:
    """Where somebody is in the letters."""

    enrollment: EnrollmentId
    last: NamedLetter | None
    next: NamedLetter | None
    due: datetime | None
    """When the next one goes out (UTC), if a moment is set."""
    state: State | None
    """Of the next one's delivery."""
    why: str
    """Why the letters ended early."""
    ended: datetime | None


@dataclass(frozen=True)
class Summary:
    """One person, opened: one row of the list."""

    id: SubscriberId
    name: str
    email: str
    time_zone: str
    standing: SubscriberStatus
    joined: datetime
    confirmed: datetime | None
    left: datetime | None
    plain_sender: bool
    where: Progress | None
    tags: tuple[str, ...] = ()
    source: str = ""

    def __repr__(self) -> str:
        """Never name or address."""
        return f"Summary({self.id})"


@dataclass(frozen=True)
class SubscriberPage:
    """A page of the list. `newer`, `older`: the places its neighbours begin at, if there are any."""

    people: tuple[Summary, ...]
    found: int
    """How many the filter finds in all."""
    newer: Cursor | None
    older: Cursor | None


@dataclass(frozen=True)
class FilterChoices:
    """What the list can be filtered by."""

    catalogue: Catalogue
    sources: tuple[str, ...]
    tags: tuple[str, ...]


def decrypt(rt: Runtime, sealed: Encrypted | None, place: FieldRef) -> str:
    """A sealed value as text; empty for none, UNREADABLE if it does not open."""
    if sealed is None:
        return ""
    try:
        return rt.cipher.decrypt(sealed, place)
    except DecryptionFailed:
        return UNREADABLE


def list_people(rt: Runtime, which: Filter, after: Cursor | None = None, before: Cursor | None = None) -> SubscriberPage:
    """One page of those a filter finds, newest first."""
    with rt.database.read() as db:
        rows = people.page(db, which, PAGE + 1, after, before)
        found = people.count(db, which)
        more = len(rows) > PAGE
        kept = (rows[1:] if before else rows[:PAGE]) if more else rows
        shown = summaries(rt, db, kept)
    newer = kept[0] if kept and (after is not None or (before is not None and more)) else None
    older = kept[-1] if kept and (more or before is not None) else None
    return SubscriberPage(tuple(shown), found, _mark(newer) if newer else None, _mark(older) if older else None)


def _mark(row: SubscriberRow) -> Cursor:
    return Cursor(row.joined, row.id)


def choices(rt: Runtime) -> FilterChoices:
    """What there is to filter by."""
    with rt.database.read() as db:
        return FilterChoices(Catalogue(people.letters(db)), tuple(people.sources(db)), tuple(people.all_tags(db)))


def count(rt: Runtime, which: Filter) -> int:
    """How many people a filter finds."""
    with rt.database.read() as db:
        return people.count(db, which)


def summaries(rt: Runtime, db: Connection, rows: Sequence[SubscriberRow], sources: bool = False) -> list[Summary]:
    """Rows of the list, opened, with where everybody is; `sources`: also by which page they came."""
    chosen = [row.id for row in rows]
    if not chosen:
        return []
    courses, words = people.courses(db, chosen), people.tags_of(db, chosen)
    came = people.sources_of(db, chosen) if sources else {}
    catalogue = Catalogue(people.letters(db))
    return [
        _summary(rt, row, courses.get(row.id), catalogue, tuple(words.get(row.id, ())), came.get(row.id, "")) for row in rows
    ]


def _summary(
    rt: Runtime, row: SubscriberRow, course: EnrollmentRow | None, catalogue: Catalogue, words: tuple[str, ...], source: str
) -> Summary:
    return Summary(
        row.id,
        decrypt(rt, row.first_name, subscribers.first_name_field(row.id)),
        decrypt(rt, row.email, subscribers.email_field(row.id)),
        row.time_zone,
        status_of(row.state, course.state if course else None),
        row.joined,
        row.confirmed,
        row.left,
        bool(row.plain_sender),
        _whereabouts(course, catalogue) if course else None,
        words,
        source,
    )


def _whereabouts(course: EnrollmentRow, catalogue: Catalogue) -> Progress:
    find = catalogue.find
    return Progress(
        course.enrollment,
        find(course.sequence, course.last_step),
        find(course.sequence, course.next_step),
        course.due,
        course.next_state,
        course.why or "",
        course.ended,
    )


@dataclass(frozen=True)
class FoundSubscriber:
    """What is known of an address: the person who has it, or why it is left in peace."""

    who: SubscriberId | None
    suppressed: Suppression | None


def find(rt: Runtime, address: Address) -> FoundSubscriber:
    """Whoever has exactly this address."""
    email_index = rt.cipher.blind_index(address.canonical)
    with rt.database.read() as db:
        return FoundSubscriber(people.by_address(db, email_index), subscribers.suppression(db, email_index))
