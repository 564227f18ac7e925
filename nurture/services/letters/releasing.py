"""Single letters become editions; every other letter of the sequence, and everybody's schedule, stays as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from nurture.domain.edit import Choice
from nurture.errors import NurtureError
from nurture.ids import EditionId, StepKey, new_id
from nurture.letters.compiler import Edition
from nurture.letters.rewriting import with_wait
from nurture.letters.source import Letter
from nurture.runtime import Runtime
from nurture.services.sequences.schedule import carry_through, placed
from nurture.store.letters import drafts, new_letters
from nurture.store.sequences import sequences
from nurture.store.sequences.sequences import StoredEdition, StoredSequence, StoredStep


@dataclass(frozen=True)
class Loaded:
    """What publishing did."""

    sequence: str
    letters: int
    published: int
    """Letters whose words changed, and that got a new edition."""


def release(
    rt: Runtime, db: Connection, key: str, letters: Sequence[Letter], compiled: Mapping[StepKey, Edition], by: str
) -> Loaded:
    """Publish these letters, tried before; a new one joins the schedule in its place. Their drafts are done with.

    The caller holds the schedule alone (`schedules.lock_exclusive`). The wait of a letter is its schedule's, whatever its file
    said when it was asked for.
    """
    old = sequences.load(db, key)
    if old is None:
        raise NurtureError(f"The sequence {key!r} is not there any more. Nothing was published.")
    current = sequences.read_editions(db, [step.edition for step in old.listed])
    new, fresh = old, 0
    for letter in letters:
        edition = compiled[letter.key]
        before = next((step for step in new.listed if step.key == letter.key), None)
        text = with_wait(letter.file_name, letter.text, before.wait) if before else letter.text
        if before is not None and current[before.edition].sha256 == edition.sha256:
            which = before.edition
        else:
            which, fresh = EditionId(new_id()), fresh + 1
            stored = StoredEdition(which, letter.key, edition.subject, edition.html, edition.text, edition.sha256)
            sequences.publish(db, old.id, stored, text, by, rt.clock.now())
        new = _with(db, new, letter, text, which)
        draft = drafts.get(db, old.id, letter.key)
        if draft is not None and draft.text == letter.text:
            drafts.drop(db, old.id, letter.key, draft.version)
    carry_through(rt, db, old, new, Choice.EVERYONE, by)
    return Loaded(key, len(letters), fresh)


def _with(db: Connection, sequence: StoredSequence, letter: Letter, text: str, edition: EditionId) -> StoredSequence:
    """The sequence with this edition of a letter, in its place."""
    listed = tuple(
        replace(step, source=text, edition=edition, if_late=letter.if_late) if step.key == letter.key else step
        for step in sequence.listed
    )
    if all(step.key != letter.key for step in listed):
        step = StoredStep(letter.key, len(listed), letter.file_name, text, letter.wait, edition, letter.if_late)
        listed = placed(listed, step, new_letters.place_of(db, sequence.id, letter.key))
    return replace(sequence, listed=listed)
