"""Pictures where a letter puts them: which may stand there, and what is wrong with the others, in plain words."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from markdown_it.token import Token

from nurture.domain.picture import LONGEST_TEXT, MOST_IN_A_LETTER, SCHEME, LetterImages

DECORATIVE = "decorative"
"""Between the square brackets: the picture says nothing, and who cannot see it misses nothing."""

_SAYS_NOTHING = re.compile(r"(an? |the )?(image|picture|photo(graph)?|graphic|drawing|illustration|img)?[\W\d_]*", re.I)
_FILE = re.compile(r".*\.(png|jpe?g|gif|webp|heic)", re.I)


@dataclass(frozen=True)
class Placed:
    """A picture as a letter puts it in."""

    source: str
    """What stands in its round brackets, without any title."""
    alt: str
    """The words that stand for it."""
    title: str
    alone: bool
    """Whether it is a paragraph of its own."""
    place: int
    """The line of the parsed text, from 0."""

    @property
    def name(self) -> str:
        """What it is called; empty if it is from elsewhere."""
        return self.source.removeprefix(SCHEME) if self.source.startswith(SCHEME) else ""


def is_decorative(alt: str) -> bool:
    """Whether the words say that there is nothing to say."""
    return alt.strip().lower() == DECORATIVE


def says_nothing(alt: str) -> bool:
    """Whether words stand for any picture: "image 1", or the name of a file."""
    return bool(_FILE.fullmatch(alt) or _SAYS_NOTHING.fullmatch(alt))


def alone(tokens: list[Token], at: int) -> Token | None:
    """The picture that is all there is of the paragraph whose text is token `at`, at the top of a letter; None otherwise."""
    run = tokens[at]
    said = [child for child in run.children or () if child.type != "text" or child.content.strip()]
    opened = tokens[at - 1]
    if opened.type != "paragraph_open" or opened.level or len(said) != 1 or said[0].type != "image":
        return None
    return said[0]


def words_of(image: Token) -> str:
    """The words that stand for it, without their markup."""
    return " ".join("".join(_said(image)).split())


def _said(token: Token) -> Iterator[str]:
    for child in token.children or ():
        yield " " if child.type in ("softbreak", "hardbreak") else "" if child.children else child.content
        yield from _said(child)


def placed(tokens: list[Token]) -> Iterator[Placed]:
    """Every picture of a parsed text."""
    for at, token in enumerate(tokens):
        if token.type != "inline":
            continue
        single = alone(tokens, at)
        for image in _images(token):
            source, title = str(image.attrs.get("src", "")), str(image.attrs.get("title", ""))
            yield Placed(source, words_of(image), title, image is single, token.map[0] if token.map else 0)


def _images(token: Token) -> Iterator[Token]:
    for child in token.children or ():
        if child.type == "image":
            yield child
        yield from _images(child)


@dataclass(frozen=True)
class ImageProblem:
    """Why a picture cannot go out as it stands: the words it is about, the reason, and what to do."""

    words: str
    why: str
    instead: str
    place: int | None


def problems(found: Iterable[Placed], known: LetterImages) -> Iterator[ImageProblem]:
    """What is wrong with the pictures of a letter: of each the first thing, then what they weigh together."""
    shown = list(found)
    for picture in shown:
        wrong = _wrong(picture, known)
        if wrong:
            yield ImageProblem(picture.source[:80] or "a picture", *wrong, picture.place)
    weight = sum(known[name].size for name in {picture.name for picture in shown} if name in known)
    if weight > MOST_IN_A_LETTER:
        yield ImageProblem(
            f"{weight // 1000} kB of pictures",
            "Each mail carries them all, and a heavy one is slow to come and to open.",
            f"At most {MOST_IN_A_LETTER // 1000} kB together: take one out.",
            None,
        )


def _wrong(picture: Placed, known: LetterImages) -> tuple[str, str] | None:
    if not picture.source.startswith(SCHEME):
        return (
            "Showing it would ask another server for it, and so tell somebody that the letter was opened.",
            "Save the picture on your own machine, and put it in with the button “Picture”.",
        )
    if picture.name not in known:
        return (
            "There is no picture of this name here.",
            "Put it in with the button “Picture”. In a folder of letters it is a file in pictures/, named with small letters, "
            "digits and hyphens, and ending in .png or .jpg.",
        )
    if not picture.alone:
        return (
            "Among words, in a list or on a link a picture tears the lines of a small screen apart.",
            "Give it a line of its own, with an empty line before and after it.",
        )
    if not picture.alt:
        return (
            "Whoever cannot see it, or has pictures off, would not know what it shows.",
            f"Say it between the square brackets: ![A drawing of two nerve cells]({picture.source}). "
            f"If it says nothing: ![{DECORATIVE}]({picture.source}).",
        )
    if says_nothing(picture.alt):
        return ("These words do not say what it shows.", "Say what somebody would miss who cannot see it.")
    if len(picture.alt) > LONGEST_TEXT:
        return (
            f"The words that stand for it are {len(picture.alt)} characters long, and are read out without a pause.",
            f"At most {LONGEST_TEXT}; what takes longer to say belongs into the letter, for everybody.",
        )
    if picture.title:
        return (
            "The words in quotation marks behind it are shown nowhere.",
            "Say it between the square brackets, or leave it out.",
        )
    return None
