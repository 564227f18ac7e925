"""What a sequence would do to a reader. Sends nothing, writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from nurture.domain.simulation import Pause, Simulated, simulate
from nurture.errors import NurtureError
from nurture.ids import StepKey
from nurture.letters.source import read_sequence, read_stored
from nurture.runtime import Runtime
from nurture.store.sequences import sequences


class NoSuchSequence(NurtureError):
    """The sequence that was asked for is not in the database."""


@dataclass(frozen=True)
class Simulation:
    """The letters somebody would get from one sequence, and the subjects they go by."""

    sequence: str
    title: str
    letters: list[Simulated]
    subjects: dict[StepKey, str]


def simulate_stored(
    rt: Runtime, key: str | None, signed_up: datetime, zone: ZoneInfo, pauses: Sequence[Pause] = ()
) -> Simulation:
    """Walk a reader through a sequence (by key; None: the one that a sign-up starts).

    `signed_up` (UTC): when they confirm. Raises NoSuchSequence, NeverOpens, PauseRefused.
    """
    with rt.database.read() as db:
        keys, key = sequences.all_keys(db), key or sequences.sign_up_key(db)
        stored = sequences.load(db, key) if key else None
    if not keys:
        raise NoSuchSequence("There is no sequence yet. Run `nurture init`, or import one with `nurture letters import`.")
    if stored is None:
        raise NoSuchSequence(f"There is no sequence {key!r}. Use one of these: {', '.join(keys)}.")
    letters = simulate(
        [step.step for step in stored.steps], read_sequence(stored.rules).rules, signed_up, zone, pauses, rt.frequency_caps
    )
    subjects = {step.key: read_stored(step.file_name, step.source).subject for step in stored.steps}
    return Simulation(stored.key, stored.title, letters, subjects)
