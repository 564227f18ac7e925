"""Letters in and out of the database, as the files they are. Nothing is published that would break for a living reader."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as replaced
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.render import about_reader, public_links
from nurture.domain.edit import Choice
from nurture.domain.picture import LetterImages
from nurture.domain.problem import Problem, ProblemKind
from nurture.domain.sequence import PublicationState
from nurture.domain.timeline import first_opening
from nurture.encryption import DecryptionFailed
from nurture.errors import NurtureError
from nurture.ids import EditionId, SequenceId, StepKey, SubscriberId, new_id
from nurture.letters import dialect
from nurture.letters.compiler import NO_PICTURES, Edition, compile_letter
from nurture.letters.dialect import MissingValue
from nurture.letters.filling import Unfillable, fill
from nurture.letters.source import (
    SEQUENCE_FILE,
    Letter,
    LetterRefused,
    SequenceFile,
    folder_files,
    read_files,
    read_stored,
    step_of,
)
from nurture.resources import pack
from nurture.runtime import Runtime
from nurture.services.letters import images, releasing
from nurture.services.letters.releasing import Loaded
from nurture.services.sequences import schedule
from nurture.settings import IN_LETTERS, variable
from nurture.store.core.database import process_name
from nurture.store.letters import publications
from nurture.store.letters.publications import Publication
from nurture.store.sequences import schedules, sequences
from nurture.store.sequences.sequences import StoredEdition, StoredSequence, StoredStep
from nurture.store.subscribers import subscribers
from nurture.store.subscribers.subscribers import Mailable

_log = log.get(__name__)

_AT_ONCE = 500
"""Readers between two notes of progress."""

OnProgress = Callable[[int, int], object]
"""Is told how many readers, of how many, are through."""


class ImportRefused(NurtureError):
    """An import would take something from readers; nothing was changed."""


class PublishingRefused(NurtureError):
    """Letters would break for somebody; nothing was published. The message names each trouble."""

    def __init__(self, *troubles: Problem) -> None:
        """`troubles`: a sentence each."""
        super().__init__("\n".join(each.said for each in troubles))
        self.troubles = troubles


@dataclass(frozen=True)
class _Draft:
    """Letters that compile, and are not published yet."""

    described: SequenceFile
    letters: list[Letter]
    compiled: dict[StepKey, Edition]


def load_folder(
    rt: Runtime,
    folder: Path,
    replace: bool = True,
    by: str = "",
    on_progress: OnProgress = lambda done, total: None,
    remove: bool = False,
) -> Loaded | None:
    """Load a sequence from its folder; None if it is there already and may not be replaced.

    Every letter is compiled, and filled for every living reader, before anything is published. A letter that did not change
    keeps its edition. Another wait, order or window moves readers, as an edit for everyone does (domain.edit). Raises
    LetterRefused, NeverOpens, PublishingRefused, or ImportRefused when a letter would disappear under readers in the middle of
    the sequence and `remove` does not say that it shall.
    """
    files = folder_files(folder)
    beside = images.beside(folder, files.values())
    draft = _draft(rt, files, str(folder), images.only(beside))
    with rt.database.begin() as db:
        old = sequences.load(db, draft.described.key)
        if old is not None and not replace:
            return None
        _check_nobody_loses(db, old, draft, remove)
        real_now = rt.clock.real_now()
        images.keep(db, beside, by or process_name(), real_now)
        publication = publications.ask(db, draft.described.key, files, by or process_name(), real_now)
        taken = publications.take(db, process_name(), real_now, real_now + rt.timeouts.lease, publication)
    return _carry_out(rt, taken, on_progress, remove) if taken else None


def ask(rt: Runtime, folder: Path, by: str = "") -> int:
    """Leave a folder to be published by the scheduler; returns the publication's id. Raises what `load_folder` does at once."""
    files = folder_files(folder)
    beside = images.beside(folder, files.values())
    draft = _draft(rt, files, str(folder), images.only(beside))
    with rt.database.begin() as db:
        _check_nobody_loses(db, sequences.load(db, draft.described.key), draft)
        images.keep(db, beside, by or process_name(), rt.clock.real_now())
        return publications.ask(db, draft.described.key, files, by or process_name(), rt.clock.real_now())


def work(rt: Runtime) -> bool:
    """Try and publish the next sequence that waits. Returns whether there was one; what is wrong with it is written down."""
    with rt.database.read() as db:
        if not publications.waiting(db):
            return False
    with rt.database.begin() as db:
        real_now = rt.clock.real_now()
        taken = publications.take(db, process_name(), real_now, real_now + rt.timeouts.lease)
    if taken is None:
        return False
    with suppress(NurtureError):  # it is written down where it was asked for
        _carry_out(rt, taken, lambda done, total: None)
    return True


def under_way(rt: Runtime, limit: int = 10) -> list[Publication]:
    """The last publications, newest first, with how far they have come."""
    with rt.database.read() as db:
        return publications.latest(db, limit)


def _draft(rt: Runtime, files: Mapping[str, str], where: str, beside: LetterImages = NO_PICTURES) -> _Draft:
    described, letters = read_files(files, where)
    first_opening(rt.clock.now(), described.rules, ZoneInfo("UTC"))  # rules that never open are refused here, not later
    known = {**images.known(rt, *(letter.body for letter in letters)), **beside}
    return _Draft(described, letters, {letter.key: compile_letter(letter, known=known) for letter in letters})


def _check_nobody_loses(db: Connection, old: StoredSequence | None, draft: _Draft, remove: bool = False) -> None:
    gone = sorted({step.key for step in old.steps} - set(draft.compiled)) if old else []
    if old is not None and gone and not remove and (readers := sequences.running(db, old.id)):
        raise ImportRefused(
            f"The letter {gone[0]!r} is missing, and {readers} readers are in the middle of this sequence. "
            "Keep its file, or say `--remove`: whoever was still to get it goes on without it."
        )


def _carry_out(rt: Runtime, taken: Publication, on_progress: OnProgress, remove: bool = False) -> Loaded:
    try:
        return _try_and_publish(rt, taken, _draft_of(rt, taken), on_progress, remove)
    except NurtureError as refused:
        said = _troubles(taken, refused)
        with rt.database.begin() as db:
            publications.finish(db, taken.id, process_name(), PublicationState.REFUSED, said, rt.clock.real_now())
        _log.warning("letters_refused", sequence=taken.sequence, count=len(said))
        raise


def _draft_of(rt: Runtime, taken: Publication) -> _Draft:
    """What a publication would publish; of a partial one, only the letters that change."""
    if not taken.partial:
        return _draft(rt, taken.files, taken.sequence)
    with rt.database.read() as db:
        old = sequences.load(db, taken.sequence)
    if old is None:
        raise ImportRefused(f"The sequence {taken.sequence!r} is not there any more.")
    return _draft(rt, {SEQUENCE_FILE: old.rules, **taken.files}, taken.sequence)


def _try_and_publish(rt: Runtime, taken: Publication, draft: _Draft, on_progress: OnProgress, remove: bool) -> Loaded:
    troubles = _missing_facts(rt, draft) + _try_on_readers(rt, taken, draft, on_progress)
    if troubles:
        raise PublishingRefused(*troubles)
    with rt.database.begin() as db:
        schedules.lock_exclusive(db)
        if taken.partial:
            loaded = releasing.release(rt, db, draft.described.key, draft.letters, draft.compiled, taken.by)
        else:
            _check_nobody_loses(db, sequences.load(db, draft.described.key), draft, remove)
            loaded = _publish(rt, db, draft, taken.by)
        publications.finish(db, taken.id, process_name(), PublicationState.PUBLISHED, [], rt.clock.real_now())
    _log.info("letters_published", sequence=loaded.sequence, count=loaded.published)
    return loaded


def _troubles(taken: Publication, refused: NurtureError) -> list[Problem]:
    """What a refusal says, as it is kept."""
    if isinstance(refused, PublishingRefused):
        return list(refused.troubles)
    if isinstance(refused, LetterRefused):
        name = next((name for name in taken.files if refused.where.startswith(name)), "")
        step = step_of(name) if name else None
        return [Problem(str(refused), ProblemKind.LETTER, step, advice=refused.advice)]
    return [Problem(line) for line in str(refused).splitlines()]


def _at(letter: Letter, hole: MissingValue, what: ProblemKind, said: str) -> Problem:
    line = hole.line - letter.body_line + 1 if hole.part == "line" else None
    return Problem(said, what, letter.key, hole.part, line, hole.name)


def _missing_facts(rt: Runtime, draft: _Draft) -> list[Problem]:
    """What the letters say of the practice, and nobody has told us."""
    troubles = []
    for letter in draft.letters:
        for hole in dialect.missing_values(letter, {"practice": rt.template_globals["practice"]}):
            unset = variable(IN_LETTERS[hole.name])
            said = (
                f"{letter.file_name}, line {hole.line}: `practice.{hole.name}` is empty, so the letter would have a hole "
                f"there. Set {unset} (docs/reference.md, Environment), or write {{% if practice.{hole.name} %}} around it."
            )
            troubles.append(_at(letter, hole, ProblemKind.FACT, said))
    return troubles


def _try_on_readers(rt: Runtime, taken: Publication, draft: _Draft, on_progress: OnProgress) -> list[Problem]:
    """Fill every letter for every living reader, and count what is wrong."""
    with rt.database.read() as db:
        total = subscribers.count_mailable(db)
    found: Counter[Problem] = Counter()
    done, last = 0, None

    @cache  # readers differ in what they lack, and that in few ways
    def holes(lacking: frozenset[str]) -> list[Problem]:
        return _holes_of(rt, draft, lacking)

    while True:
        with rt.database.read() as db:
            readers = subscribers.mailable(db, last, _AT_ONCE)
        if not readers:
            break
        for reader in readers:
            found.update(_troubles_of(rt, reader, draft, holes))
        done, last = done + len(readers), SubscriberId(readers[-1].id)
        on_progress(done, max(total, done))
        with rt.database.begin() as db:
            lease = rt.clock.real_now() + rt.timeouts.lease
            if not publications.progress(db, taken.id, process_name(), done, max(total, done), lease):
                raise PublishingRefused(Problem("Another process has taken this over; see `nurture letters publications`."))
    return [
        replaced(trouble, said=f"{count} of {done} readers {trouble.said}", readers=count, tried=done)
        for trouble, count in found.most_common()
    ]


def _holes_of(rt: Runtime, draft: _Draft, lacking: frozenset[str]) -> list[Problem]:
    """What somebody would see of whom we know everything but `lacking`."""
    reader = {name: "" if name in lacking else "known" for name in dialect.NAMES["reader"]}
    known = {"practice": rt.template_globals["practice"], "reader": reader}
    return [
        _at(
            letter,
            hole,
            ProblemKind.HOLE,
            f"would see a hole where {letter.file_name}, line {hole.line}, names `reader.{hole.name}`. "
            f"Write {{% if reader.{hole.name} %}} around it.",
        )
        for letter in draft.letters
        for hole in dialect.missing_values(letter, known)
        if hole.group == "reader"
    ]


def _troubles_of(
    rt: Runtime, reader: Mailable, draft: _Draft, holes: Callable[[frozenset[str]], list[Problem]]
) -> list[Problem]:
    confirmed = reader.confirmed or rt.clock.now()  # who has not confirmed yet would do so before the first letter
    try:
        about = about_reader(rt, reader.id, reader.first_name, confirmed, reader.time_zone)
    except DecryptionFailed:
        said = "cannot be written to: what is stored of them cannot be read. Is it the right NURTURE_SECRET_KEY?"
        return [Problem(said, ProblemKind.UNREADABLE)]
    links = public_links(rt.settings.base_url) | {"unsubscribe": rt.settings.base_url, "confirm": "", "desk": ""}
    values = {**rt.template_globals, "reader": about, "links": links}
    troubles = []
    for letter in draft.letters:
        try:
            fill(draft.compiled[letter.key], values)
        except Unfillable as broken:
            troubles.append(Problem(f"would not get {letter.file_name}: {broken}.", ProblemKind.LETTER, letter.key))
    return troubles + holes(frozenset(name for name, value in about.items() if not value))


def _publish(rt: Runtime, db: Connection, draft: _Draft, by: str) -> Loaded:
    now = rt.clock.now()
    described = draft.described
    sequences.settle_sign_up(db, described.key)
    old = sequences.load(db, described.key)
    known = {step.key: step for step in old.listed} if old else {}
    current = sequences.read_editions(db, [step.edition for step in known.values()])
    sequence = old.id if old else SequenceId(new_id())
    steps, fresh = [], []
    for position, letter in enumerate(draft.letters):
        edition, before = draft.compiled[letter.key], known.get(letter.key)
        if before is None or current[before.edition].sha256 != edition.sha256:
            stored = StoredEdition(EditionId(new_id()), letter.key, edition.subject, edition.html, edition.text, edition.sha256)
            fresh.append((stored, letter.text))
        else:
            stored = current[before.edition]
        steps.append(StoredStep(letter.key, position, letter.file_name, letter.text, letter.wait, stored.id, letter.if_late))
    listed = tuple(with_removed(old.listed if old else (), steps))
    new = StoredSequence(sequence, described.key, described.title, described.text, listed, old.version if old else 0)
    schedule.carry_through(rt, db, old, new, Choice.EVERYONE, by)
    for stored, source in fresh:
        sequences.publish(db, sequence, stored, source, by, now)
    return Loaded(described.key, len(draft.letters), len(fresh))


def with_removed(old: Sequence[StoredStep], steps: Sequence[StoredStep]) -> list[StoredStep]:
    """Steps as files list them, and those of `old` that they do not list, taken out: each stays behind the one it followed."""
    found, before = list(steps), None
    for step in old:
        if step.key not in {each.key for each in found}:
            place = next((n + 1 for n, each in enumerate(found) if each.key == before), 0)
            found.insert(place, replaced(step, removed=True))
        before = step.key
    return [replaced(step, position=n) for n, step in enumerate(found)]


def load_shipped(rt: Runtime) -> list[Loaded]:
    """Load the sequences of the pack, where they are not there yet; edits are never overwritten."""
    return [loaded for folder in pack().sequences() if (loaded := load_folder(rt, folder, replace=False))]


def export_folder(rt: Runtime, key: str, folder: Path) -> int:
    """Write a sequence as the files it was made of, byte for byte, into `folder`, and beside them the pictures they show;
    returns how many letters.
    """
    with rt.database.read() as db:
        stored = sequences.load(db, key)
        known = sequences.all_keys(db)
        if stored is None:
            raise ImportRefused(f"There is no sequence {key!r}. Known are: {', '.join(known) or 'none'}.")
        folder.mkdir(parents=True, exist_ok=True)
        images.export(db, [step.source for step in stored.steps], folder / images.FOLDER)
    (folder / SEQUENCE_FILE).write_bytes(stored.rules.encode())
    for step in stored.steps:
        (folder / step.file_name).write_bytes(step.source.encode())
    return len(stored.steps)


def stored_letters(rt: Runtime) -> dict[str, list[Letter]]:
    """The letters of every sequence in the database, by its key, in order. Raises LetterRefused."""
    with rt.database.read() as db:
        stored = [sequences.load(db, key) for key in sequences.all_keys(db)]
    return {one.key: [read_stored(step.file_name, step.source) for step in one.steps] for one in stored if one is not None}
