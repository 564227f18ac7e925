"""What public pages, and the foot of a letter, say about the subject: pages.yaml of the pack. The templates name no subject."""

from functools import cache

from pydantic import BaseModel, ConfigDict, ValidationError

from nurture import resources
from nurture.errors import NurtureError
from nurture.letters.bounded_yaml import YamlRefused, read_yaml


class PackRefused(NurtureError):
    """The texts of a pack cannot be used; the message names the first that is wrong."""

    exit_code = 2


class _Texts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PackConsent(_Texts):
    """What people agree to until the desk writes its own words."""

    version: str
    """Changes with the words: a record of consent names it."""
    who: str
    """Who writes, while the practice has no name."""
    text: str
    """With `{who}` where the practice is named."""


class FootTexts(_Texts):
    """Below every letter, after "This letter is general information."."""

    disclaimer: str
    caution: str


class LetterText(_Texts):
    """A letter, as the first page announces it."""

    title: str
    text: str


class HomeTexts(_Texts):
    """The first page."""

    title: str
    description: str
    """For search engines."""
    lead: str
    what: str
    when: str
    order: str
    letters: list[LetterText]
    plainly: list[str]
    """Paragraphs."""
    writer: str
    """After "The letters are"."""
    limits: list[str]
    """What letters cannot be; paragraphs."""


class RhythmTexts(_Texts):
    """How often letters come."""

    each: str
    """After "By e-mail they come"."""
    all: str
    """After "Then"."""


class PackTexts(_Texts):
    """The texts of a pack, plain and not escaped."""

    topic: str
    """After "letters about"."""
    disclaimer: str
    caution: str
    """What nobody should do because of a page."""
    letter: FootTexts
    consent: PackConsent
    home: HomeTexts
    rhythm: RhythmTexts
    consultation: list[str]
    """What a call is about; items of a list."""
    sources: dict[str, str]
    """Headings of the page of sources, by the key of a letter."""
    sheets: dict[str, str]
    """Words of the links to whole pages of the pack, by their names."""


def read_pack_texts(text: str) -> PackTexts:
    """The texts that pages.yaml holds. Raises PackRefused."""
    try:
        return PackTexts.model_validate(read_yaml(text))
    except YamlRefused as refused:
        raise PackRefused(f"pages.yaml{f', line {refused.line}' if refused.line else ''}: {refused}") from None
    except ValidationError as refused:
        first = refused.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise PackRefused(f"pages.yaml{f', {place}' if place else ''}: {first['msg']}.") from None


@cache
def pack_texts() -> PackTexts:
    """The texts of the pack. Raises PackRefused."""
    return read_pack_texts(resources.pack().texts.read_text("utf-8"))
