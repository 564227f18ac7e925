"""The letters as somebody edits them: drafts that nobody's work is lost in, what the gate says, and publishing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache

from sqlalchemy import Connection

from nurture import log
from nurture.domain.picture import LetterImages
from nurture.errors import NurtureError
from nurture.ids import EditionId, StepKey, UserId
from nurture.letters import authoring, gate, markup
from nurture.letters.authoring import Fix, Parts, Piece
from nurture.letters.compiler import MOST_CHARACTERS, PictureMisplaced, SourceMissing, compile_letter
from nurture.letters.filling import Values
from nurture.letters.gate import Finding
from nurture.letters.reading import Measure
from nurture.letters.source import Letter, LetterRefused, read_stored
from nurture.runtime import Runtime
from nurture.services.accounts.accounts import Account
from nurture.services.letters import images, previews
from nurture.store.letters import drafts, new_letters, publications
from nurture.store.letters.drafts import LatestEdition, LetterDraft
from nurture.store.letters.publications import Publication
from nurture.store.sequences import sequences
from nurture.store.sequences.sequences import StoredSequence
from nurture.store.subscribers import subscribers

_log = log.get(__name__)

FAILED = "Something in this letter cannot be checked"
"""How the remark begins that stands for a fault of ours; whoever runs the service finds it in the log."""


class NoSuchLetter(NurtureError):
    """There is no letter of that name (any more)."""


class DraftRefused(NurtureError):
    """A letter cannot be saved or published as it is; the message says what to do, and nothing was changed."""


class Conflict(NurtureError):
    """Somebody else saved the letter meanwhile; `theirs` is how it is now."""

    def __init__(self, theirs: "OpenLetter") -> None:
        """`theirs`: the letter as they left it."""
        super().__init__("Somebody else changed this letter while you worked on it.")
        self.theirs = theirs


@dataclass(frozen=True)
class OpenLetter:
    """A letter on the desk."""

    sequence: str
    letter: Letter
    version: int
    """How often it was saved since it was last published; 0: it is as readers get it."""
    published: str
    """The file of the edition that goes out now; empty: it was never published."""
    saved: datetime | None
    by: UserId | None
    released: LatestEdition | None = None
    """When that edition was published, and by whom."""

    @property
    def parts(self) -> Parts:
        """What is edited."""
        return authoring.parts_of(self.letter)

    @property
    def key(self) -> StepKey:
        """Of its step."""
        return self.letter.key

    @property
    def changed(self) -> bool:
        """Whether it says anything other than what readers get."""
        return self.letter.text != self.published


@dataclass(frozen=True)
class Remark:
    """A finding as it stands beside the text. `line`: of the text, from 1; None: of the letter as a whole."""

    finding: Finding
    line: int | None
    fix: Fix | None

    @property
    def stops(self) -> bool:
        """Whether the letter cannot go out like this."""
        return self.finding.stops


@dataclass(frozen=True)
class Review:
    """What there is to say about a letter as it is now."""

    remarks: list[Remark]
    measure: Measure
    refused: str = ""
    """Why it cannot be shown at all."""

    @property
    def stops(self) -> bool:
        """Whether it cannot be published."""
        return bool(self.refused) or any(remark.stops for remark in self.remarks)


def _load(db: Connection, key: str) -> StoredSequence:
    stored = sequences.load(db, key)
    if stored is None:
        raise NoSuchLetter("There is no such sequence.")
    return stored


def all_letters(rt: Runtime, key: str | None = None) -> tuple[str, list[OpenLetter]]:
    """Every letter of a sequence, drafts that were never published last. Empty without any sequence."""
    with rt.database.read() as db:
        key = key or sequences.sign_up_key(db)
        if key is None:
            return "", []
        stored = _load(db, key)
        begun = drafts.of_sequence(db, stored.id)
        released = drafts.released(db, [step.edition for step in stored.steps])
    found = []
    for step in stored.steps:
        draft = begun.pop(step.key, None)
        found.append(_opened(stored.key, step.file_name, step.source, draft, released[step.edition]))
    listed = {step.key for step in stored.listed}
    new = [_opened(stored.key, _file(draft.step), "", draft) for draft in begun.values() if draft.step not in listed]
    return stored.key, found + new


def _file(step: StepKey) -> str:
    """The file of a letter that has no place yet."""
    return f"99-{step}.md"


def _opened(
    sequence: str, file_name: str, published: str, draft: LetterDraft | None, released: LatestEdition | None = None
) -> OpenLetter:
    text = draft.text if draft else published
    return OpenLetter(
        sequence,
        read_stored(file_name, text),
        draft.version if draft else 0,
        published,
        draft.saved if draft else None,
        draft.by if draft else None,
        released,
    )


def open_letter(rt: Runtime, sequence: str, step: StepKey) -> OpenLetter:
    """A letter as it was last saved. Raises NoSuchLetter."""
    with rt.database.read() as db:
        return _open(db, _load(db, sequence), step)


def _open(db: Connection, stored: StoredSequence, step: StepKey) -> OpenLetter:
    draft = drafts.get(db, stored.id, step)
    known = next((each for each in stored.steps if each.key == step), None)
    if known is None and draft is None:
        raise NoSuchLetter("There is no letter of that name.")
    if known is None:
        return _opened(stored.key, _file(step), "", draft)
    return _opened(stored.key, known.file_name, known.source, draft, drafts.released(db, [known.edition])[known.edition])


def save(rt: Runtime, sequence: str, step: StepKey, parts: Parts, version: int, by: UserId) -> OpenLetter:
    """Save a letter that was at `version` when it was opened. Raises Conflict, DraftRefused, NoSuchLetter."""
    with rt.database.read() as db:
        now = _open(db, _load(db, sequence), step)
    try:
        text = authoring.composed(now.letter.file_name, now.letter.text, parts)
    except LetterRefused as refused:
        raise DraftRefused(refused.advice) from None
    if now.version == version and text == now.letter.text:
        return now
    return _keep(rt, sequence, step, text, version, by)


def _keep(rt: Runtime, sequence: str, step: StepKey, text: str, version: int, by: UserId) -> OpenLetter:
    with rt.database.begin() as db:
        stored = _load(db, sequence)
        kept = drafts.save(db, stored.id, LetterDraft(step, version + 1, text, rt.clock.real_now(), by))
        now = _open(db, stored, step)
    if not kept:
        raise Conflict(now)
    return now


def put_back(rt: Runtime, sequence: str, step: StepKey, edition: EditionId, version: int, by: UserId) -> OpenLetter:
    """Make a draft of an earlier edition; its wait stays as the schedule says. Raises Conflict, DraftRefused."""
    past = next((one for one in editions(rt, sequence, step) if one.id == edition and one.source), None)
    if past is None:
        raise DraftRefused("This edition is older than the desk and cannot be put back. Its text can be copied.")
    now = open_letter(rt, sequence, step)
    try:
        old = authoring.parts_of(read_stored(_file(step), past.source))
        text = authoring.composed(now.letter.file_name, now.letter.text, old)
    except LetterRefused as refused:
        raise DraftRefused(refused.advice) from None
    return _keep(rt, sequence, step, text, version, by)


def reviewed(rt: Runtime, sequence: str, step: StepKey, version: int, by: UserId) -> OpenLetter:
    """Note that the facts of a letter were looked at again today. Raises Conflict, DraftRefused."""
    now = open_letter(rt, sequence, step)
    try:
        text = authoring.reviewed(now.letter.file_name, now.letter.text, rt.clock.now().date())
    except LetterRefused as refused:
        raise DraftRefused(refused.advice) from None
    return _keep(rt, sequence, step, text, version, by)


def discard(rt: Runtime, sequence: str, step: StepKey, version: int) -> None:
    """Throw changes away: the letter is as readers get it; one that was never published is gone. Raises Conflict."""
    with rt.database.begin() as db:
        stored = _load(db, sequence)
        if not any(known.key == step for known in stored.listed):
            new_letters.discard(db, stored.id, step)
        elif not drafts.drop(db, stored.id, step, version) and drafts.get(db, stored.id, step):
            raise Conflict(_open(db, stored, step))


@dataclass(frozen=True)
class _Asked:
    """A letter, and what a remark about it may depend on."""

    known_by: str
    letter: Letter = field(compare=False)
    today: date = field(compare=False)
    values: Values = field(compare=False)
    known: LetterImages = field(compare=False)


def review(rt: Runtime, letter: Letter) -> Review:
    """What the gate says about a letter, by line. Whatever is stored can be looked at: at worst the look is that it failed."""
    today, values, known = rt.clock.now().date(), previews.values(rt), images.known(rt, letter.body)
    asked = _Asked(repr((letter.file_name, letter.text, today, values, known)), letter, today, values, known)
    try:
        return _looked(asked)
    except Exception as error:  # one bad letter must not take the page of all letters, or a save, with it
        _log.exception("letter_check_failed", step=letter.key, kind=type(error).__name__)
        return Review([], Measure(0, 0.0), f"{FAILED}. Take out what you wrote last, or ask whoever runs the service.")


@lru_cache(maxsize=128)
def _looked(asked: _Asked) -> Review:
    """Reading a letter takes a twentieth of a second; the page of all letters reads each, and most are as they were."""
    letter, facts, known, refused = asked.letter, asked.values["practice"], asked.known, ""
    try:
        compile_letter(letter, known=known)
    except (PictureMisplaced, SourceMissing) as error:
        refused = error.advice
    except LetterRefused as error:
        return Review([], _measured(letter, facts), error.advice)
    findings = gate.check(letter, today=asked.today, facts=facts, pictures=known)
    if any(finding.rule in ("T19", "T20") for finding in findings):
        refused = ""  # the gate says it too, and where
    findings += markup.check_letter(letter, asked.values, known)
    remarks = [
        Remark(finding, _line(letter, finding), authoring.fix_of(letter, finding))
        for finding in findings
        if finding.waived is None
    ]
    return Review(sorted(remarks, key=lambda one: (not one.stops, one.line or 0)), gate.measure(letter, facts), refused)


def _measured(letter: Letter, facts: Mapping[str, str]) -> Measure:
    """Nothing of a letter that is too long to be looked at."""
    return Measure(0, 0.0) if len(letter.text) > MOST_CHARACTERS else gate.measure(letter, facts)


def _line(letter: Letter, finding: Finding) -> int | None:
    if finding.line is None or finding.line < letter.body_line:
        return None
    return finding.line - letter.body_line + 1


def editions(rt: Runtime, sequence: str, step: StepKey) -> list[drafts.PastEdition]:
    """What was published of a letter, newest first."""
    with rt.database.read() as db:
        return drafts.editions_of(db, _load(db, sequence).id, step)


def compare(old: str, new: str) -> list[list[Piece]]:
    """Two files of a letter, as people read them: subject, preheader and text."""
    return authoring.compared(_readable(old), _readable(new))


def compare_parts(old: Parts, new: Parts) -> list[list[Piece]]:
    """The same of what two people have on their screens."""
    return authoring.compared(
        f"{old.subject}\n\n{old.preheader}\n\n{old.body}", f"{new.subject}\n\n{new.preheader}\n\n{new.body}"
    )


def living(rt: Runtime) -> int:
    """On how many readers a letter is tried before it is published."""
    with rt.database.read() as db:
        return subscribers.count_mailable(db)


def _readable(text: str) -> str:
    if not text:
        return ""
    letter = read_stored("01-letter.md", text)
    return f"{letter.subject}\n\n{letter.preheader}\n\n{letter.body}"


def publish(rt: Runtime, sequence: str, step: StepKey, version: int, by: Account) -> int:
    """Leave a draft to be tried on every living reader, and published; returns the publication's number.

    Raises DraftRefused while the gate stops it, and Conflict if it is not at `version` any more.
    """
    now = open_letter(rt, sequence, step)
    if now.version != version:
        raise Conflict(now)
    seen = review(rt, now.letter)
    if seen.stops:
        count = sum(remark.stops for remark in seen.remarks) + bool(seen.refused)
        raise DraftRefused(f"{count} {'thing' if count == 1 else 'things'} must be changed before this letter can go out.")
    with rt.database.begin() as db:
        return publications.ask(
            db, sequence, {now.letter.file_name: now.letter.text}, f"user {by.id}", rt.clock.real_now(), partial=True
        )


def publication(rt: Runtime, number: int) -> Publication | None:
    """How far a publication is."""
    with rt.database.read() as db:
        return publications.get(db, number)
