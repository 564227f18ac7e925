"""Sequences with their steps and editions, and readers' enrollments in them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from sqlalchemy import (
    Connection,
    Executable,
    Text,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    update,
)

from nurture.domain.sequence import EnrollmentState, Step, read_step
from nurture.domain.subscriber import Suppression
from nurture.ids import EditionId, EnrollmentId, SequenceId, StepKey, SubscriberId, new_id
from nurture.store.core import bulk_params
from nurture.store.core.columns import Instant
from nurture.store.core.schema import editions, enrollments, sequences, steps, subscribers
from nurture.store.letters import images
from nurture.store.state import app_state

E = enrollments.c
RUNNING = (EnrollmentState.ACTIVE, EnrollmentState.PAUSED)


@dataclass(frozen=True)
class StoredStep:
    """One step as stored: its letter's file, and the edition that goes out now. `removed`: it was taken out."""

    key: StepKey
    position: int
    file_name: str
    source: str
    wait: str
    edition: EditionId
    if_late: str = ""
    removed: bool = False

    @property
    def step(self) -> Step:
        """The step as the timeline knows it."""
        return replace(read_step(self.key, self.wait, self.if_late), removed=self.removed)


@dataclass(frozen=True)
class StoredSequence:
    """One sequence as stored; `rules` is the text of its sequence.yaml, `version` counts the changes of its schedule."""

    id: SequenceId
    key: str
    title: str
    rules: str
    listed: tuple[StoredStep, ...]
    """Every step in order, those taken out too."""
    version: int = 0

    @property
    def steps(self) -> tuple[StoredStep, ...]:
        """The steps that readers who begin now get, in order."""
        return tuple(step for step in self.listed if not step.removed)


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
    why: str | None = None
    """Why they are paused, or have left."""
    paused: datetime | None = None
    """Since when what is left of their wait is frozen."""


def all_keys(db: Connection) -> list[str]:
    """The keys of all sequences, in alphabetical order: for lists only, since no sequence is "the first" by its name."""
    return list(db.scalars(select(sequences.c.key).order_by(sequences.c.key)))


_SIGN_UP = "sign_up_sequence"


def sign_up_key(db: Connection) -> str | None:
    """The key of the sequence that sign-ups begin; None without any sequence.

    Before anything has been stored (`settle_sign_up`) it is the first by its key, as in versions that stored nothing.
    """
    keys, chosen = all_keys(db), app_state.get(db, _SIGN_UP)
    return chosen if chosen in keys else next(iter(keys), None)


def settle_sign_up(db: Connection, otherwise: str) -> None:
    """Store the sequence that sign-ups begin now, or `otherwise` where there is none yet: another one that is added later does
    not change it.
    """
    app_state.get_or_set(db, _SIGN_UP, sign_up_key(db) or otherwise)


def choose_sign_up(db: Connection, key: str) -> None:
    """Have sign-ups begin another sequence from now on. Who has signed up already goes on as they are."""
    app_state.set_value(db, _SIGN_UP, key)


@dataclass(frozen=True)
class Titled:
    """A sequence as a list of them names it."""

    id: SequenceId
    key: str
    title: str
    letters: int
    """How many letters readers who begin now get."""


def titles(db: Connection) -> list[Titled]:
    """All sequences, in the order of their keys."""
    s = sequences.c
    letters = select(func.count()).where(steps.c.sequence_id == s.id, steps.c.removed.is_(False)).scalar_subquery()
    return [Titled(*row) for row in db.execute(select(s.id, s.key, s.title, letters).order_by(s.key))]


def load(db: Connection, key: str | None = None, sequence: SequenceId | None = None) -> StoredSequence | None:
    """A sequence with its steps in order, by key or by id."""
    which = sequences.c.key == key if sequence is None else sequences.c.id == sequence
    s = sequences.c
    row = db.execute(select(s.id, s.key, s.title, s.rules, s.version).where(which)).first()
    if row is None:
        return None
    columns = (
        steps.c.key, steps.c.position, steps.c.file_name, steps.c.source, steps.c.wait, steps.c.edition_id,
        func.coalesce(steps.c.if_late, ""), steps.c.removed,
    )  # fmt: skip
    found = db.execute(select(*columns).where(steps.c.sequence_id == row[0]).order_by(steps.c.position)).all()
    return StoredSequence(row[0], row[1], row[2], row[3], tuple(StoredStep(*step) for step in found), row[4])


def put(db: Connection, sequence: StoredSequence) -> None:
    """Write a sequence and its steps as they now are, replacing what was there under the same id."""
    values = {"key": sequence.key, "title": sequence.title, "rules": sequence.rules, "version": sequence.version}
    if not db.execute(update(sequences).where(sequences.c.id == sequence.id).values(values)).rowcount:
        db.execute(insert(sequences).values(id=sequence.id, **values))
    db.execute(delete(steps).where(steps.c.sequence_id == sequence.id))
    rows = [
        {
            "sequence_id": sequence.id, "key": step.key, "position": step.position, "file_name": step.file_name,
            "source": step.source, "wait": step.wait, "edition_id": step.edition, "if_late": step.if_late,
            "removed": step.removed,
        }
        for step in sequence.listed
    ]  # fmt: skip
    db.execute(insert(steps), rows)


def publish(db: Connection, sequence: SequenceId, edition: StoredEdition, source: str, by: str, now: datetime) -> None:
    """Add an edition, made of the file `source`; it never changes afterwards. The caller holds the schedule alone."""
    e = editions.c
    before = select(func.count()).where(e.sequence_id == sequence, e.step_key == edition.step).scalar_subquery()
    db.execute(
        insert(editions).values(
            id=edition.id, sequence_id=sequence, step_key=edition.step, subject=edition.subject, html=edition.html,
            text=edition.text, sha256=edition.sha256, published_at=now, source=source, published_by=by[:120],
            number=before + 1,
        )
    )  # fmt: skip
    images.shown_by(db, edition.id, edition.html)


def read_editions(db: Connection, ids: Collection[EditionId]) -> dict[EditionId, StoredEdition]:
    """Editions by id."""
    e = editions.c
    rows = db.execute(select(e.id, e.step_key, e.subject, e.html, e.text, e.sha256).where(e.id.in_(ids)))
    return {row[0]: StoredEdition(*row) for row in rows.all()}


def running(db: Connection, sequence: SequenceId) -> int:
    """How many readers are in the middle of a sequence."""
    query = select(func.count()).select_from(enrollments).where(E.sequence_id == sequence, E.state.in_(RUNNING))
    return db.execute(query).scalar_one()


def enroll(db: Connection, subscriber_id: SubscriberId, sequence: SequenceId, now: datetime) -> EnrollmentId:
    """Start a reader in a sequence, anchored at `now` (UTC)."""
    enrollment = EnrollmentId(new_id())
    db.execute(
        insert(enrollments).values(
            id=enrollment,
            subscriber_id=subscriber_id,
            sequence_id=sequence,
            state=EnrollmentState.ACTIVE,
            anchor_at=now,
            started_at=now,
        )
    )
    return enrollment


_COLUMNS = (
    E.id, E.subscriber_id, E.sequence_id, E.state, E.anchor_at, E.last_step, subscribers.c.time_zone, E.reason, E.paused_at,
)  # fmt: skip


_ENROLLED = {
    dialect: select(*_COLUMNS)
    .join(subscribers, subscribers.c.id == E.subscriber_id)
    .where(bulk_params.in_ids(dialect, E.id, "ids"))
    for dialect in ("sqlite", "postgresql")
}


def enrolled(db: Connection, ids: Iterable[EnrollmentId]) -> dict[EnrollmentId, Enrolled]:
    """Enrollments by id."""
    return {row[0]: Enrolled(*row) for row in db.execute(_ENROLLED[db.dialect.name], {"ids": bulk_params.encode_ids(db, ids)})}


def enrollments_of(db: Connection, subscriber_id: SubscriberId) -> list[Enrolled]:
    """All enrollments of a person, newest first."""
    query = select(*_COLUMNS).join(subscribers, subscribers.c.id == E.subscriber_id).where(E.subscriber_id == subscriber_id)
    return [Enrolled(*row) for row in db.execute(query.order_by(E.started_at.desc(), E.id))]


def ended_by_leaving(db: Connection, subscriber_id: SubscriberId) -> list[Enrolled]:
    """What a person's last unsubscribe ended, oldest first: not what an earlier one did, which they came back from."""
    query = select(*_COLUMNS).join(subscribers, subscribers.c.id == E.subscriber_id)
    ended = (E.state == EnrollmentState.EXITED, E.reason == Suppression.UNSUBSCRIBED.value, E.ended_at == subscribers.c.left_at)
    return [
        Enrolled(*row) for row in db.execute(query.where(E.subscriber_id == subscriber_id, *ended).order_by(E.started_at, E.id))
    ]


@dataclass(frozen=True)
class Advance:
    """A reader's new place: the letter they were sent last, from when the next wait counts, whether it was the last one."""

    enrollment: EnrollmentId
    last_step: StepKey
    anchor: datetime
    done: bool


@cache
def _advance(dialect: str) -> Executable:
    places = bulk_params.as_table(dialect, "places", anchor=Instant, step=Text)
    arrived = {"next_step": func.nullif(E.next_step, places.c.step)}  # from there on the plain order holds again
    return update(enrollments).where(E.id == places.c.id).values(anchor_at=places.c.anchor, last_step=places.c.step, **arrived)


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
        db.execute(_advance(db.dialect.name), {"places": bulk_params.encode(db, rows)})
    done = [{"enrollment": p.enrollment, "anchor": p.anchor} for p in places if p.done]
    if done:
        db.execute(_COMPLETE, done)


def end(db: Connection, enrollment: EnrollmentId, why: str, now: datetime) -> None:
    """Take a reader out of a sequence before its end; `why` is unsubscribed, a goal, the desk, or a fault."""
    db.execute(
        update(enrollments)
        .where(E.id == enrollment, E.state.in_(RUNNING))
        .values(state=EnrollmentState.EXITED, reason=why, ended_at=now)
    )


def resume(db: Connection, enrollment: EnrollmentId, why: str) -> EnrollmentState | None:
    """Put a reader back where they left a sequence, paused if they were; only one who left because of `why`. Returns their
    state if that was so.
    """
    left = (E.id == enrollment, E.state == EnrollmentState.EXITED, E.reason == why)
    paused = E.paused_at.is_not(None)
    back = {
        "state": case((paused, EnrollmentState.PAUSED), else_=EnrollmentState.ACTIVE),
        "reason": case((paused, PAUSED_BEFORE), else_=null()), "ended_at": None,
    }  # fmt: skip
    found: EnrollmentState | None = db.scalar(update(enrollments).where(*left).values(back).returning(E.state))
    return found


PAUSED_BEFORE = "desk"
"""Why somebody is paused who was so when they left, and has come back."""


def lock(db: Connection, enrollment: EnrollmentId) -> Enrolled | None:
    """One enrollment, locked until the transaction ends. Lock its person before."""
    query = select(*_COLUMNS).join(subscribers, subscribers.c.id == E.subscriber_id).where(E.id == enrollment)
    row = db.execute(query.with_for_update(of=enrollments)).first()
    return Enrolled(*row) if row else None


def runs(db: Connection, subscriber_id: SubscriberId, sequence: SequenceId) -> bool:
    """Whether a person is in the middle of a sequence, active or paused."""
    theirs = (E.subscriber_id == subscriber_id, E.sequence_id == sequence, E.state.in_(RUNNING))
    return bool(db.scalar(select(exists().where(*theirs))))


def pause(db: Connection, ids: Iterable[EnrollmentId], why: str, now: datetime) -> None:
    """Freeze the wait of active readers at `now` (UTC)."""
    mine = (
        bulk_params.in_ids(db.dialect.name, E.id, "paused", bulk_params.encode_ids(db, ids)),
        E.state == EnrollmentState.ACTIVE,
    )
    db.execute(update(enrollments).where(*mine).values(state=EnrollmentState.PAUSED, reason=why, paused_at=now))


def unpause(db: Connection, enrollment: EnrollmentId) -> None:
    """A paused reader is active again."""
    mine = (E.id == enrollment, E.state == EnrollmentState.PAUSED)
    db.execute(update(enrollments).where(*mine).values(state=EnrollmentState.ACTIVE, reason=None, paused_at=None))


def complete(db: Connection, ids: Iterable[EnrollmentId], now: datetime) -> None:
    """For these the sequence is over: nothing of it is left that they have not got."""
    done = [{"enrollment": enrollment, "anchor": now} for enrollment in ids]
    if done:
        db.execute(_COMPLETE, done)
