"""How things stand, for the desk."""

from dataclasses import dataclass

from nurture.letters.source import Letter, read_letter
from nurture.runtime import Runtime
from nurture.store import reports, sequences


@dataclass(frozen=True)
class Overview:
    """The letters in their order, and a few counts by name."""

    letters: list[Letter]
    counts: dict[str, int]


def overview(rt: Runtime) -> Overview:
    """Read both in one look."""
    with rt.database.read() as db:
        keys = sequences.all_keys(db)
        stored = sequences.load(db, keys[0]) if keys else None
        counts = reports.counts(db)
    letters = [read_letter(step.file_name, step.source) for step in stored.steps] if stored else []
    return Overview(letters, counts)
