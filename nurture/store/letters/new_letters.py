"""Letters that are drafts and in no schedule yet, and where each will stand; and what drafts say of their waits."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, exists, insert, select, update

from nurture.ids import SequenceId, StepKey, UserId
from nurture.store.core.schema import drafts, steps

R = drafts.c


@dataclass(frozen=True)
class NewLetter:
    """A draft as a file, and the letter it will follow, which may be a draft as well: "" for none, None for the last place."""

    step: StepKey
    text: str
    after: StepKey | None = None


def read(db: Connection, sequence: SequenceId) -> list[NewLetter]:
    """Drafts of a sequence whose letters were never published."""
    published = exists().where(steps.c.sequence_id == R.sequence_id, steps.c.key == R.step_key)
    query = select(R.step_key, R.text, R.after_step).where(R.sequence_id == sequence, ~published)
    return [NewLetter(*row) for row in db.execute(query.order_by(R.step_key))]


def in_order(letters: Iterable[NewLetter]) -> list[NewLetter]:
    """The same, each behind the one it will follow."""
    waiting, found = list(letters), list[NewLetter]()
    while waiting:
        left = {letter.step for letter in waiting}
        ready = [letter for letter in waiting if letter.after not in left] or waiting[:1]
        found += ready
        waiting = [letter for letter in waiting if letter not in ready]
    return found


def place_of(db: Connection, sequence: SequenceId, step: StepKey) -> StepKey | None:
    """The published letter a new one will follow: "" for none, None for the last place."""
    follows = {letter.step: letter.after for letter in read(db, sequence)}
    after = follows.pop(step, None)
    while after in follows:
        after = follows.pop(after)
    return after


def begin(db: Connection, sequence: SequenceId, letter: NewLetter, by: UserId, real_now: datetime) -> None:
    """Write a new draft; what stood behind the letter it follows stands behind it."""
    db.execute(update(drafts).where(R.sequence_id == sequence, R.after_step == letter.after).values(after_step=letter.step))
    values = {"step_key": letter.step, "text": letter.text, "after_step": letter.after, "version": 1}
    db.execute(insert(drafts).values(sequence_id=sequence, saved_at=real_now, saved_by=by, **values))


def discard(db: Connection, sequence: SequenceId, step: StepKey) -> None:
    """Throw a draft away; what stood behind it moves up."""
    mine = (R.sequence_id == sequence, R.step_key == step)
    after = db.scalar(select(R.after_step).where(*mine))
    db.execute(delete(drafts).where(*mine))
    db.execute(update(drafts).where(R.sequence_id == sequence, R.after_step == step).values(after_step=after))


def drafts_of(db: Connection, sequence: SequenceId, of: Collection[StepKey]) -> list[tuple[StepKey, str]]:
    """The texts of drafts of these published letters."""
    published = exists().where(steps.c.sequence_id == R.sequence_id, steps.c.key == R.step_key)
    query = select(R.step_key, R.text).where(R.sequence_id == sequence, R.step_key.in_(of), published)
    return [(row[0], row[1]) for row in db.execute(query)]


def write(db: Connection, sequence: SequenceId, letter: NewLetter) -> None:
    """Change where a draft stands, and its text; who has the old text open is told when they save it."""
    mine = (R.sequence_id == sequence, R.step_key == letter.step)
    if letter.after is not None:
        db.execute(update(drafts).where(*mine).values(after_step=letter.after))
    changed = (*mine, R.text != letter.text)
    db.execute(update(drafts).where(*changed).values(text=letter.text, version=R.version + 1))
