"""Sequences with their steps and editions, and readers' enrollments in them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Executable, Text, bindparam, delete, func, insert, or_, select, update

from nurture.domain.sequence import EnrollmentState, Step, read_step
from nurture.store import given
from nurture.store.columns import Instant
from nurture.store.schema import editions, enrollments, sequences, steps, subscribers
from nurture.words import EditionId, EnrollmentId, SequenceId, StepKey, SubscriberId, new_id

E = enrollments.c
RUNNING = (EnrollmentState.ACTIVE, EnrollmentState.PAUSED)


@dataclass(frozen=True)
class StoredStep:
    """One step as stored: its letter's file, and the edition that goes out now."""

    key: StepKey
    position: int
    file_name: str
    source: str
    wait: str
    edition: EditionId
    if_late: str = ""

    @property
    def step(self) -> Step:
        """The step as the timeline knows it."""
        return read_step(self.key, self.wait, self.if_late)


@dataclass(frozen=True)
class StoredSequence:
    """One sequence as stored; `rules` is the text of its sequence.yaml."""

    id: SequenceId
    key: str
    title: str
    rules: str
    steps: tuple[StoredStep, ...]


@dataclass(frozen=True)
class StoredEdition:
    """One immutable published version of a letter: subject, HTML and text templates."""

    id: EditionId
    step: StepKey
    subject: str
    html: str
    text: str
    sha256: str


@dataclass(frozen=True)
class Enrolled:
    """One reader's place in one sequence."""

    id: EnrollmentId
    subscriber: SubscriberId
    sequence: SequenceId
    state: EnrollmentState
    anchor: datetime
    last_step: StepKey | None
    time_zone: str


def all_keys(db: Connection) -> list[str]:
    """The keys of all sequences, in order."""
    return list(db.scalars(select(sequences.c.key).order_by(sequences.c.key)))


def load(db: Connection, key: str | None = None, sequence: SequenceId | None = None) -> StoredSequence | None:
    """A sequence with its steps in order, by key or by id."""
    which = sequences.c.key == key if sequence is None else sequences.c.id == sequence
    row = db.execute(select(sequences.c.id, sequences.c.key, sequences.c.title, sequences.c.rules).where(which)).first()
    if row is None:
        return None
    columns = (
        steps.c.key, steps.c.position, steps.c.file_name, steps.c.source, steps.c.wait, steps.c.edition_id,
        func.coalesce(steps.c.if_late, ""),
    )  # fmt: skip
    found = db.execute(select(*columns).where(steps.c.sequence_id == row[0]).order_by(steps.c.position)).all()
    return StoredSequence(row[0], row[1], row[2], row[3], tuple(StoredStep(*step) for step in found))


_TIMING = (
    select(sequences.c.rules, steps.c.key, steps.c.wait, func.coalesce(steps.c.if_late, ""))
    .outerjoin(steps, steps.c.sequence_id == sequences.c.id)
    .where(sequences.c.id == bindparam("sequence"))
    .order_by(steps.c.position)
)


def timing(db: Connection, sequence: SequenceId) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """What decides when letters of a sequence are due: the text of its rules, and key, wait and lateness of its steps."""
    rows = db.execute(_TIMING, {"sequence": sequence}).all()
    return rows[0][0], tuple((row[1], row[2], row[3]) for row in rows if row[1] is not None)


def put(db: Connection, sequence: StoredSequence) -> None:
    """Write a sequence and its steps as they now are, replacing what was there under the same id."""
    values = {"key": sequence.key, "title": sequence.title, "rules": sequence.rules}
    if not db.execute(update(sequences).where(sequences.c.id == sequence.id).values(values)).rowcount:
        db.execute(insert(sequences).values(id=sequence.id, **values))
    db.execute(delete(steps).where(steps.c.sequence_id == sequence.id))
    rows = [
        {
            "sequence_id": sequence.id, "key": step.key, "position": step.position, "file_name": step.file_name,
            "source": step.source, "wait": step.wait, "edition_id": step.edition, "if_late": step.if_late,
        }
        for step in sequence.steps
    ]  # fmt: skip
    db.execute(insert(steps), rows)


def publish(db: Connection, sequence: SequenceId, edition: StoredEdition, now: datetime) -> None:
    """Add an edition; it never changes afterwards."""
    db.execute(
        insert(editions).values(
            id=edition.id, sequence_id=sequence, step_key=edition.step, subject=edition.subject, html=edition.html,
            text=edition.text, sha256=edition.sha256, published_at=now,
        )
    )  # fmt: skip


def read_editions(db: Connection, ids: Collection[EditionId]) -> dict[EditionId, StoredEdition]:
    """Editions by id."""
    e = editions.c
    rows = db.execute(select(e.id, e.step_key, e.subject, e.html, e.text, e.sha256).where(e.id.in_(ids)))
    return {row[0]: StoredEdition(*row) for row in rows.all()}


def running(db: Connection, sequence: SequenceId) -> int:
    """How many readers are in the middle of a sequence."""
    query = select(func.count()).select_from(enrollments).where(E.sequence_id == sequence, E.state.in_(RUNNING))
    return db.execute(query).scalar_one()


def enroll(db: Connection, who: SubscriberId, sequence: SequenceId, now: datetime) -> EnrollmentId:
    """Start a reader in a sequence, anchored at `now` (UTC)."""
    enrollment = EnrollmentId(new_id())
    db.execute(
        insert(enrollments).values(
            id=enrollment,
            subscriber_id=who,
            sequence_id=sequence,
            state=EnrollmentState.ACTIVE,
            anchor_at=now,
            started_at=now,
        )
    )
    return enrollment


_COLUMNS = (E.id, E.subscriber_id, E.sequence_id, E.state, E.anchor_at, E.last_step, subscribers.c.time_zone)


_ENROLLED = {
    dialect: select(*_COLUMNS).join(subscribers, subscribers.c.id == E.subscriber_id).where(given.among(dialect, E.id, "ids"))
    for dialect in ("sqlite", "postgresql")
}


def enrolled(db: Connection, ids: Iterable[EnrollmentId]) -> dict[EnrollmentId, Enrolled]:
    """Enrollments by id."""
    return {row[0]: Enrolled(*row) for row in db.execute(_ENROLLED[db.dialect.name], {"ids": given.ids(db, ids)})}


def enrollments_of(db: Connection, who: SubscriberId) -> list[Enrolled]:
    """All enrollments of a person, newest first."""
    query = select(*_COLUMNS).join(subscribers, subscribers.c.id == E.subscriber_id).where(E.subscriber_id == who)
    return [Enrolled(*row) for row in db.execute(query.order_by(E.started_at.desc(), E.id))]


@dataclass(frozen=True)
class Advance:
    """A reader's new place: the letter they were sent last, from when the next wait counts, whether it was the last one."""

    enrollment: EnrollmentId
    last_step: StepKey
    anchor: datetime
    done: bool


@cache
def _advance(dialect: str) -> Executable:
    places = given.table(dialect, "places", anchor=Instant, step=Text)
    return update(enrollments).where(E.id == places.c.id).values(anchor_at=places.c.anchor, last_step=places.c.step)


_COMPLETE = (
    update(enrollments)
    .where(E.id == bindparam("enrollment"), or_(*(E.state == state for state in RUNNING)))
    .values(state=EnrollmentState.COMPLETED, ended_at=bindparam("anchor"))
)


def advance(db: Connection, places: Iterable[Advance]) -> None:
    """Note which letters were sent. For those who left meanwhile too: should they come back, they go on after it."""
    places = list(places)
    if places:
        rows = {place.enrollment: (place.anchor, place.last_step) for place in places}
        db.execute(_advance(db.dialect.name), {"places": given.pack(db, rows)})
    done = [{"enrollment": p.enrollment, "anchor": p.anchor} for p in places if p.done]
    if done:
        db.execute(_COMPLETE, done)


def end(db: Connection, enrollment: EnrollmentId, why: str, now: datetime) -> None:
    """Take a reader out of a sequence before its end; `why` is unsubscribed, a goal, or a fault."""
    db.execute(
        update(enrollments)
        .where(E.id == enrollment, E.state.in_(RUNNING))
        .values(state=EnrollmentState.EXITED, why=why, ended_at=now)
    )


def resume(db: Connection, enrollment: EnrollmentId, why: str) -> bool:
    """Put a reader back where they left a sequence; only one who left because of `why`."""
    left = (E.id == enrollment, E.state == EnrollmentState.EXITED, E.why == why)
    back = {"state": EnrollmentState.ACTIVE, "why": None, "ended_at": None}
    return bool(db.execute(update(enrollments).where(*left).values(back)).rowcount)
