"""Pictures of letters: taken in once, kept while a letter shows them, shown by this site as the mails do that carry them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, count
from pathlib import Path
from textwrap import shorten

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from nurture import log
from nurture.domain.picture import (
    LONGEST_TEXT,
    NAME,
    SCHEME,
    LetterImage,
    LetterImages,
    at_our_address,
    named_in,
    picture_id,
)
from nurture.errors import NurtureError
from nurture.ids import ImageId, UserId
from nurture.letters.image_processing import MOST_READ, Developed, PictureRefused, develop
from nurture.letters.image_rules import says_nothing
from nurture.letters.source import LetterRefused
from nurture.mailers.base import LOGO
from nurture.runtime import Runtime
from nurture.store.letters import images

_log = log.get(__name__)

FOLDER = "pictures"
"""Beside the letters of a folder: the files of their pictures."""
KEPT = timedelta(days=30)
"""So long a picture stays that no letter shows: one may be put back."""
_LONGEST_NAME = 40
_MARKS = re.compile(r"([\\\[\]`*_<>&!])")
_SHOWN = re.compile(r'src="cid:[^"]*"')
_JINJA = re.compile(r"[{}%#]{2}")


class NotAdded(NurtureError):
    """A picture was not taken in; `field` is what is wrong (file or alt), the message says what to do."""

    def __init__(self, field: str, advice: str) -> None:
        """`advice`: whole sentences."""
        super().__init__(advice)
        self.field = field


@dataclass(frozen=True)
class Fresh:
    """A picture on its way in."""

    picture: LetterImage
    content: bytes


def known(rt: Runtime, *texts: str) -> LetterImages:
    """The pictures that letters may show, of all those they name."""
    names = set[str]().union(*map(named_in, texts))
    if not names:
        return {}
    with rt.database.read() as db:
        return images.named(db, names)


def add(rt: Runtime, content: bytes, alt: str, by: UserId) -> LetterImage:
    """Take in what somebody chose, as letters can carry it; the same picture again is the one that is here.

    `alt`: the words that stand for it, or DECORATIVE. Raises NotAdded.
    """
    words = checked_words(alt)
    try:
        made = develop(content)
    except PictureRefused as refused:
        raise NotAdded(
            "file", f"This file {refused}. Please choose a photograph or drawing that ends in .jpg or .png."
        ) from None
    for _ in range(3):
        try:
            with rt.database.begin() as db:
                return _added(db, made, words, f"user {by}", rt.clock.real_now())
        except IntegrityError:  # somebody else took in the same, or one of this name, this moment
            continue
    raise NotAdded("file", "Somebody else is putting in pictures at this moment. Please try again.")


def checked_words(alt: str) -> str:
    """Words that stand for a picture, on one line. Raises NotAdded."""
    words = " ".join(alt.split())
    if not words:
        raise NotAdded("alt", "Please say what it shows, or that it is only decoration: some readers cannot see it.")
    if len(words) > LONGEST_TEXT:
        raise NotAdded(
            "alt", f"Please use at most {LONGEST_TEXT} characters; these are {len(words)}. More belongs into the letter."
        )
    if _JINJA.search(words):
        raise NotAdded("alt", "Please leave out the curly brackets: these words are the same for every reader.")
    if says_nothing(words):
        raise NotAdded("alt", f"“{words}” does not say what it shows. Please say what somebody would miss who cannot see it.")
    return words


def _added(db: Connection, made: Developed, alt: str, by: str, real_now: datetime) -> LetterImage:
    there = images.get(db, picture_id(made.content))
    if there is not None:
        images.touch(db, [there.name], real_now)
        return there
    ending = "jpg" if made.subtype == "jpeg" else "png"
    stem = shorten(re.sub(r"[^a-z0-9]+", " ", alt.lower()), _LONGEST_NAME, placeholder="").replace(" ", "-") or "picture"
    names = (f"{stem}.{ending}" if number == 1 else f"{stem}-{number}.{ending}" for number in count(1))
    name = next(name for name in names if not images.named(db, [name]))
    found = _as_picture(name, made)
    images.add(db, found, made.content, alt, by, real_now)
    _log.info("picture_added", count=1)
    return found


def _as_picture(name: str, made: Developed) -> LetterImage:
    return LetterImage(picture_id(made.content), name, made.subtype, made.width, made.height, len(made.content))


def as_markdown(picture: LetterImage, alt: str) -> str:
    """How a letter shows a picture, with these words (DECORATIVE: none) for it."""
    words = _MARKS.sub(r"\\\1", alt)
    return f"![{words}]({SCHEME}{picture.name})"


def beside(folder: Path, texts: Iterable[str]) -> dict[str, Fresh]:
    """The pictures that letters of a folder name and that lie beside them, ready to be taken in. Raises LetterRefused."""
    found = {}
    for name in sorted(set[str]().union(*map(named_in, texts))):
        path = folder / FOLDER / name
        if not NAME.fullmatch(name) or not path.is_file():
            continue
        try:
            if path.stat().st_size > MOST_READ:
                raise PictureRefused(f"is larger than {MOST_READ // 1_000_000} MB")
            made = develop(path.read_bytes())
        except PictureRefused as refused:
            raise LetterRefused(str(path), f"This picture {refused}. Save it anew as PNG or JPEG.") from None
        found[name] = Fresh(_as_picture(name, made), made.content)
    return found


def only(found: Mapping[str, Fresh]) -> LetterImages:
    """These as letters know them."""
    return {name: fresh.picture for name, fresh in found.items()}


def keep(db: Connection, found: Mapping[str, Fresh], by: str, real_now: datetime) -> None:
    """Take in pictures of a folder under the names they have there; those that are here already stay.

    Raises LetterRefused where a name means another picture, or a picture has another name.
    """
    there = images.named(db, list(found))
    for name, fresh in found.items():
        where, same = f"{FOLDER}/{name}", images.get(db, fresh.picture.id)
        if name in there and there[name].id != fresh.picture.id:
            raise LetterRefused(
                where,
                "Letters have shown another picture by this name, and go on showing it. Give the file a new name, such "
                f"as {Path(name).stem}-2{Path(name).suffix}, and write it into the letter.",
            )
        if same is not None and same.name != name:
            raise LetterRefused(
                where, f"This picture is here already as {same.name}. Write {SCHEME}{same.name} into the letter."
            )
        if same is None:
            images.add(db, fresh.picture, fresh.content, "", by, real_now)


def export(db: Connection, texts: Iterable[str], folder: Path) -> int:
    """Write every picture that letters show into `folder`, byte for byte as mails carry it; returns how many."""
    found = images.named(db, set(chain.from_iterable(map(named_in, texts))))
    content = images.contents(db, [picture.id for picture in found.values()])
    for name, picture in found.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content[picture.id][0])
    return len(found)


def content(rt: Runtime, picture: ImageId) -> tuple[bytes, str] | None:
    """A picture and its subtype; None if there is none of that id."""
    with rt.database.read() as db:
        return images.contents(db, [picture]).get(picture)


def on_a_page(rt: Runtime, html: str) -> str:
    """A finished mail that shows its pictures and the logo without a mail around it: from this site, and within itself."""
    logo = rt.practice.logo
    return at_our_address(html if logo is None else html.replace(f'src="cid:{LOGO}"', f'src="{logo.address}"'))


def left_out(html: str) -> str:
    """A finished mail as an app shows it that hides pictures: each one cannot be shown, and its words stand there."""
    return _SHOWN.sub('src="data:,"', html)


def forget_unused(db: Connection, real_now: datetime) -> int:
    """Delete pictures that no draft and no edition has shown for KEPT; returns how many."""
    texts = images.texts_under_way(db)
    images.touch(db, set(chain.from_iterable(map(named_in, texts))), real_now)
    return images.forget(db, real_now - KEPT)
