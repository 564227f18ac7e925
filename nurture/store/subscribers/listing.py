"""The list of people, newest first, as the desk shows it: filtered, counted, and page by page from a place in it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    tuple_,
)

from nurture.domain.delivery import State
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.domain.subscriber_status import GONE, PLACES, SubscriberStatus
from nurture.encryption import Encrypted
from nurture.ids import EnrollmentId, SequenceId, StepKey, SubscriberId
from nurture.store.core import bulk_params
from nurture.store.core.columns import Id, Instant
from nurture.store.core.desk_schema import tags
from nurture.store.core.insert import insert_into
from nurture.store.core.schema import consents, deliveries, enrollments, steps, subscribers
from nurture.store.deliveries.transitions import is_in

S, E, D, C, T = subscribers.c, enrollments.c, deliveries.c, consents.c, tags.c

_RUNNING = (EnrollmentState.ACTIVE, EnrollmentState.PAUSED)


@dataclass(frozen=True)
class SequencePlace:
    """A step of a sequence in a filter: `waits` for those for whom it comes next, else those who got it last."""

    sequence: SequenceId
    step: StepKey | None
    """The step they got last; None: they have got none yet."""
    waits: bool


@dataclass(frozen=True)
class Filter:
    """Whom the list shows. Everything empty: everybody who has not been erased."""

    standing: SubscriberStatus | None = None
    place: SequencePlace | None = None
    source: str = ""
    tag: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """Joined from `since` on, and before `until` (UTC)."""


@dataclass(frozen=True)
class Cursor:
    """A place in the list: when somebody joined, and who."""

    joined: datetime
    who: SubscriberId


@dataclass(frozen=True)
class SubscriberRow:
    """One person of the list; personal values are still sealed."""

    id: SubscriberId
    email: Encrypted
    first_name: Encrypted | None
    time_zone: str
    state: SubscriberState
    joined: datetime
    confirmed: datetime | None
    left: datetime | None
    plain_sender: bool | None


@dataclass(frozen=True)
class EnrollmentRow:
    """Where a person is in their sequence, and the letter that waits for them, if one does."""

    enrollment: EnrollmentId
    sequence: SequenceId
    state: EnrollmentState
    why: str | None
    last_step: StepKey | None
    started: datetime
    ended: datetime | None
    next_step: StepKey | None = None
    due: datetime | None = None
    next_state: State | None = None


_COLUMNS = (
    S.id, S.email_encrypted, S.first_name_encrypted, S.time_zone, S.state, S.created_at, S.confirmed_at, S.left_at,
    S.plain_sender,
)  # fmt: skip


def _in(people: Select[Any]) -> ColumnElement[bool]:
    return S.id.in_(people)


_places = enrollments.alias("places")
"""Under a name of its own: a filter may stand in a statement about enrollments."""


def _has(*states: EnrollmentState) -> ColumnElement[bool]:
    """They are, or were, in a sequence at one of these states: one look-up a row, since a list of all such is slow to make."""
    return exists().where(_places.c.subscriber_id == S.id, _places.c.state.in_(states))


def _newest_is(state: EnrollmentState) -> ColumnElement[bool]:
    """Their course is at `state`: what comes first in PLACES hides what comes after it, as in `courses`."""
    order = list(PLACES)
    hiding = order[: order.index(state)]
    return and_(_has(state), not_(_has(*hiding))) if hiding else _has(state)


def _stands(standing: SubscriberStatus) -> list[ColumnElement[bool]]:
    gone = {word: state for state, word in GONE.items()}
    if standing in gone:
        return [S.state == gone[standing]]
    if standing is SubscriberStatus.WAITING:
        return [S.state == SubscriberState.PENDING]
    places = {word: state for state, word in PLACES.items()}
    if standing is SubscriberStatus.ENDED:  # or never in a sequence at all
        others = [state for state, word in PLACES.items() if word is not standing]
        return [S.state == SubscriberState.ACTIVE, not_(_has(*others))]
    there = and_(S.state == SubscriberState.ACTIVE, _newest_is(places[standing]))
    return [or_(there, S.state == SubscriberState.PAUSED) if standing is SubscriberStatus.PAUSED else there]


def conditions(which: Filter) -> list[ColumnElement[bool]]:
    """What a filter asks of a row of subscribers."""
    found = _stands(which.standing) if which.standing else [S.state != SubscriberState.ERASED]
    if which.place:
        p = _places.c
        at = p.last_step == which.place.step if which.place.step is not None else p.last_step.is_(None)
        where = [p.sequence_id == which.place.sequence, at]
        if which.place.waits:
            where.append(p.state.in_(_RUNNING))
        found.append(_in(select(p.subscriber_id).where(*where)))
        if which.place.waits and which.standing is None:
            found.append(S.state == SubscriberState.ACTIVE)
    if which.source:
        # one look-up a row: nearly everybody may have come by the same page, and a list of them all is slow to make
        found.append(exists().where(C.act == "given", C.source == which.source, C.subscriber_id == S.id))
    if which.tag:
        found.append(_in(select(T.subscriber_id).where(T.tag == which.tag)))
    if which.since:
        found.append(S.created_at >= which.since)
    if which.until:
        found.append(S.created_at < which.until)
    return found


def count(db: Connection, which: Filter) -> int:
    """How many people a filter finds."""
    return db.execute(select(func.count()).select_from(subscribers).where(*conditions(which))).scalar_one()


def page(
    db: Connection, which: Filter, limit: int, after: Cursor | None = None, before: Cursor | None = None
) -> list[SubscriberRow]:
    """The next people after a place in the list, or the last ones before it; always in the list's order, newest first."""
    query = select(*_COLUMNS).where(*conditions(which)).limit(limit)
    here = tuple_(S.created_at, S.id)
    if before is not None:
        there = tuple_(literal(before.joined, Instant), literal(before.who, Id))
        rows = db.execute(query.where(here > there).order_by(S.created_at, S.id)).all()
        return [SubscriberRow(*row) for row in reversed(rows)]
    if after is not None:
        query = query.where(here < tuple_(literal(after.joined, Instant), literal(after.who, Id)))
    return [SubscriberRow(*row) for row in db.execute(query.order_by(S.created_at.desc(), S.id.desc()))]


def some(db: Connection, people: Collection[SubscriberId]) -> list[SubscriberRow]:
    """People by their ids, newest first."""
    chosen = bulk_params.in_ids(db.dialect.name, S.id, "people", bulk_params.encode_ids(db, people))
    return [
        SubscriberRow(*row) for row in db.execute(select(*_COLUMNS).where(chosen).order_by(S.created_at.desc(), S.id.desc()))
    ]


def by_address(db: Connection, email_index: bytes) -> SubscriberId | None:
    """Who has the address of that blind index, for reading."""
    found: SubscriberId | None = db.scalar(select(S.id).where(S.email_index == email_index))
    return found


def ids(db: Connection, which: Filter, limit: int) -> list[SubscriberId]:
    """The ids of the first `limit` people a filter finds."""
    query = select(S.id).where(*conditions(which)).order_by(S.created_at.desc(), S.id.desc()).limit(limit)
    return [SubscriberId(row) for row in db.scalars(query)]


_WAITING = (State.SCHEDULED, State.CLAIMED, State.SENDING, State.UNKNOWN, State.HELD, State.FAILED)


def courses(db: Connection, people: Collection[SubscriberId]) -> dict[SubscriberId, EnrollmentRow]:
    """The sequence of each of these people that says most of them (PLACES), with what waits for them in it."""
    dialect = db.dialect.name
    theirs = bulk_params.in_ids(dialect, E.subscriber_id, "people", bulk_params.encode_ids(db, people))
    columns = (E.subscriber_id, E.id, E.sequence_id, E.state, E.reason, E.last_step, E.started_at, E.ended_at)
    found: dict[SubscriberId, EnrollmentRow] = {}
    weight = {state: place for place, state in enumerate(PLACES)}
    rows = db.execute(select(*columns).where(theirs)).all()
    for row in sorted(rows, key=lambda row: (-weight[row.state], row.started_at, row.id)):
        found[row[0]] = EnrollmentRow(*row[1:])
    if not found:
        return found
    running = {course.enrollment: who for who, course in found.items() if course.state in _RUNNING}
    mine = bulk_params.in_ids(dialect, D.enrollment_id, "courses", bulk_params.encode_ids(db, running))
    waiting = select(D.enrollment_id, D.step_key, D.due_at, D.state).where(mine, D.enrollment_id.is_not(None), is_in(*_WAITING))
    for enrollment, step, due, state in db.execute(waiting).all():
        who = running[enrollment]
        course = found[who]
        if course.due is None or due < course.due:
            found[who] = replace(course, next_step=step, due=due, next_state=state)
    return found


@dataclass(frozen=True)
class LetterKeys:
    """The letters of all sequences, as the list and its filters name them."""

    of: Mapping[SequenceId, tuple[tuple[StepKey, str, bool], ...]] = field(default_factory=dict)
    """Key and file of each step, in order, and whether it was taken out."""


def letters(db: Connection) -> LetterKeys:
    """Every step of every sequence."""
    found: dict[SequenceId, list[tuple[StepKey, str, bool]]] = {}
    columns = (steps.c.sequence_id, steps.c.key, steps.c.source, steps.c.removed)
    for sequence, key, source, removed in db.execute(select(*columns).order_by(steps.c.sequence_id, steps.c.position)):
        found.setdefault(sequence, []).append((key, source, removed))
    return LetterKeys({sequence: tuple(each) for sequence, each in found.items()})


def sources(db: Connection) -> list[str]:
    """Every page and list people came by."""
    return _steps_of(db, C.source, C.act == "given")


def all_tags(db: Connection) -> list[str]:
    """Every tag in use."""
    return _steps_of(db, T.tag)


def _steps_of(db: Connection, column: ColumnElement[str], *where: ColumnElement[bool]) -> list[str]:
    """The first values of a column, each found by a step of its own down an index, however many rows carry it."""
    found: list[str] = []
    while len(found) < _MOST_CHOICES:
        further = (column > found[-1],) if found else ()
        value = db.scalar(select(func.min(column)).where(*where, *further))
        if value is None:
            break
        found.append(value)
    return found


_MOST_CHOICES = 200


def tags_of(db: Connection, people: Collection[SubscriberId]) -> dict[SubscriberId, list[str]]:
    """The tags of each of these people, in order."""
    found: dict[SubscriberId, list[str]] = {}
    theirs = bulk_params.in_ids(db.dialect.name, T.subscriber_id, "people", bulk_params.encode_ids(db, people))
    for who, tag in db.execute(select(T.subscriber_id, T.tag).where(theirs).order_by(T.tag)):
        found.setdefault(who, []).append(tag)
    return found


def add_tag(db: Connection, people: Collection[SubscriberId], tag: str) -> list[SubscriberId]:
    """Give people a tag; returns those who did not have it."""
    if not people:
        return []
    chosen = select(S.id, literal(tag)).where(
        bulk_params.in_ids(db.dialect.name, S.id, "people", bulk_params.encode_ids(db, people))
    )
    written = insert_into(tags, db.dialect.name).from_select(["subscriber_id", "tag"], chosen).on_conflict_do_nothing()
    return [SubscriberId(row) for row in db.scalars(written.returning(T.subscriber_id))]


def remove_tag(db: Connection, people: Collection[SubscriberId], tag: str) -> list[SubscriberId]:
    """Take a tag off people; returns those who had it."""
    theirs = bulk_params.in_ids(db.dialect.name, T.subscriber_id, "people", bulk_params.encode_ids(db, people))
    gone = delete(tags).where(T.tag == tag, theirs).returning(T.subscriber_id)
    return [SubscriberId(row) for row in db.scalars(gone)]


def put_tags(db: Connection, subscriber_id: SubscriberId, words: Collection[str]) -> None:
    """Write the tags of somebody who has none."""
    if words:
        db.execute(insert(tags), [{"subscriber_id": subscriber_id, "tag": word} for word in words])


def sources_of(db: Connection, people: Collection[SubscriberId]) -> dict[SubscriberId, str]:
    """By which page or list each of these people came: the latest they signed up on."""
    theirs = bulk_params.in_ids(db.dialect.name, C.subscriber_id, "people", bulk_params.encode_ids(db, people))
    rows = db.execute(select(C.subscriber_id, C.source).where(theirs, C.act == "given").order_by(C.at))
    return {SubscriberId(who): source for who, source in rows.all()}
