"""Letters in and out of the database, as the files they are."""

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from nurture.domain.timeline import first_opening
from nurture.letters.compiler import compile_letter
from nurture.letters.source import SEQUENCE_FILE, Letter, read_folder, read_letter
from nurture.runtime import Runtime, shipped
from nurture.store import sequences
from nurture.store.sequences import StoredEdition, StoredSequence, StoredStep
from nurture.words import EditionId, NurtureError, SequenceId, new_id


class ImportRefused(NurtureError):
    """An import would take something from readers; nothing was changed."""


@dataclass(frozen=True)
class Loaded:
    """What loading a folder did."""

    sequence: str
    letters: int
    published: int
    """Letters whose words changed, and that got a new edition."""


def load_folder(rt: Runtime, folder: Path, replace: bool = True) -> Loaded | None:
    """Load a sequence from its folder; None if it is there already and may not be replaced.

    Every letter is compiled before anything is written. A letter that did not change keeps its edition. Raises
    LetterRefused, NeverOpens, or ImportRefused when a letter would disappear under readers in the middle of the sequence.
    """
    described, letters = read_folder(folder)
    first_opening(rt.clock.now(), described.rules, ZoneInfo("UTC"))  # rules that never open are refused here, not later
    compiled = {letter.key: compile_letter(letter) for letter in letters}
    with rt.database.begin() as db:
        now = rt.clock.now()
        old = sequences.load(db, described.key)
        if old is not None and not replace:
            return None
        known = {step.key: step for step in old.steps} if old else {}
        gone = sorted(set(known) - set(compiled))
        if old is not None and gone and (readers := sequences.running(db, old.id)):
            raise ImportRefused(
                f"The letter {gone[0]!r} is missing in {folder}, and {readers} readers are in the middle of this sequence. "
                "Keep the file; a letter can be left out once nobody is under way."
            )
        current = sequences.read_editions(db, [step.edition for step in known.values()])
        sequence = old.id if old else SequenceId(new_id())
        steps, fresh = [], []
        for position, letter in enumerate(letters):
            edition, before = compiled[letter.key], known.get(letter.key)
            if before is None or current[before.edition].sha256 != edition.sha256:
                stored = StoredEdition(
                    EditionId(new_id()), letter.key, edition.subject, edition.html, edition.text, edition.sha256
                )
                fresh.append(stored)
            else:
                stored = current[before.edition]
            steps.append(
                StoredStep(letter.key, position, letter.file_name, letter.text, letter.wait, stored.id, letter.if_late)
            )
        sequences.put(db, StoredSequence(sequence, described.key, described.title, described.text, tuple(steps)))
        for stored in fresh:
            sequences.publish(db, sequence, stored, now)
    return Loaded(described.key, len(letters), len(fresh))


def load_shipped(rt: Runtime) -> list[Loaded]:
    """Load the sequences that come with the service, where they are not there yet; edits are never overwritten."""
    folders = sorted(path.parent for path in shipped("letters").glob(f"*/{SEQUENCE_FILE}"))
    return [loaded for folder in folders if (loaded := load_folder(rt, folder, replace=False))]


def export_folder(rt: Runtime, key: str, folder: Path) -> int:
    """Write a sequence as the files it was made of, byte for byte, into `folder`; returns how many letters."""
    with rt.database.read() as db:
        stored = sequences.load(db, key)
        known = sequences.all_keys(db)
    if stored is None:
        raise ImportRefused(f"There is no sequence {key!r}. Known are: {', '.join(known) or 'none'}.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SEQUENCE_FILE).write_bytes(stored.rules.encode())
    for step in stored.steps:
        (folder / step.file_name).write_bytes(step.source.encode())
    return len(stored.steps)


def stored_letters(rt: Runtime) -> dict[str, list[Letter]]:
    """The letters of every sequence in the database, by its key, in order. Raises LetterRefused."""
    with rt.database.read() as db:
        stored = [sequences.load(db, key) for key in sequences.all_keys(db)]
    return {one.key: [read_letter(step.file_name, step.source) for step in one.steps] for one in stored if one is not None}
