"""Letters for everybody: as pages of the site, with nobody's data in them."""

from dataclasses import dataclass

from nurture.delivery.render import public_links
from nurture.domain.picture import at_our_address
from nurture.letters import dialect
from nurture.letters.compiler import compile_page
from nurture.letters.gate import measure
from nurture.letters.source import CitedSource, Letter, read_stored
from nurture.runtime import Runtime
from nurture.services.letters import images
from nurture.store.sequences import sequences
from nurture.store.sequences.sequences import StoredSequence


@dataclass(frozen=True)
class LetterLink:
    """A letter of a sequence as others point to it."""

    slug: str
    subject: str


@dataclass(frozen=True)
class Page:
    """A letter as a page; `html` is finished and escaped."""

    subject: str
    html: str
    sources: tuple[CitedSource, ...]
    minutes: int
    before: LetterLink | None
    after: LetterLink | None


def contents(rt: Runtime, key: str) -> list[LetterLink] | None:
    """The letters of a sequence in order; None if there is no such sequence."""
    stored = _load(rt, key)
    return None if stored is None else [_place(rt, letter) for letter in _letters(stored)]


def page(rt: Runtime, key: str, slug: str) -> Page | None:
    """One letter as it is now, for a reader nobody knows; None if there is none of that name."""
    stored = _load(rt, key)
    letters = _letters(stored) if stored else []
    at = next((number for number, letter in enumerate(letters) if letter.key == slug), None)
    if at is None:
        return None
    letter = letters[at]
    return Page(
        _place(rt, letter).subject,
        at_our_address(dialect.render(compile_page(letter, images.known(rt, letter.body)), True, _values(rt))),
        letter.sources,
        measure(letter, rt.template_globals["practice"]).minutes,
        _place(rt, letters[at - 1]) if at else None,
        _place(rt, letters[at + 1]) if at + 1 < len(letters) else None,
    )


def _load(rt: Runtime, key: str) -> StoredSequence | None:
    with rt.database.read() as db:
        return sequences.load(db, key)


def _letters(stored: StoredSequence) -> list[Letter]:
    """The letters that can be shown."""
    found = [read_stored(step.file_name, step.source) for step in stored.steps]
    return [letter for letter in found if not letter.unreadable]


def _place(rt: Runtime, letter: Letter) -> LetterLink:
    return LetterLink(letter.key, " ".join(dialect.render(letter.subject, False, _values(rt)).split()))


def _values(rt: Runtime) -> dict[str, dict[str, str]]:
    """What a letter is filled with when nobody in particular reads it: no name, no token; links lead to public pages."""
    base = rt.settings.base_url
    links = public_links(base) | {"unsubscribe": base, "confirm": base, "desk": base}
    return {**rt.template_globals, "reader": {"first_name": "", "signed_up_on": ""}, "links": links}
