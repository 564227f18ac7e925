"""A picture in a letter: what letters, editions and mails call it, and how much of it a letter may carry."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nurture.ids import ImageId

SCHEME = "picture:"
"""How a letter begins to name one: `![A drawing of a synapse](picture:synapse.png)`."""
MOST_BYTES = 200_000
"""Of one picture, as it travels."""
MOST_IN_A_LETTER = 500_000
"""Bytes of all pictures of a letter together; each mail carries them."""
LONGEST_TEXT = 250
"""Characters of the words that stand for a picture; more of them belong into the letter."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}\.(?:png|jpe?g)")
"""What a picture may be called."""

_NAMED = re.compile(rf"{SCHEME}([\w.-]+)")
_SHOWN = re.compile(r'src="cid:picture-([0-9a-f]{32})"')  # in a value of a reader the quotes would be escaped


@dataclass(frozen=True)
class LetterImage:
    """One picture without its content. `width` and `height` are its pixels, `size` its bytes."""

    id: ImageId
    name: str
    """What letters call it; it never means another picture."""
    subtype: str
    """png or jpeg."""
    width: int
    height: int
    size: int


LetterImages = Mapping[str, LetterImage]
"""Pictures a letter may show, by their names."""


def picture_id(content: bytes) -> ImageId:
    """The id of a picture, made of nothing but its content."""
    return ImageId(hashlib.sha256(content).hexdigest()[:32])


def content_id(picture: ImageId) -> str:
    """By which a mail shows a picture that it carries (RFC 2392)."""
    return f"picture-{picture}"


def named_in(markdown: str) -> set[str]:
    """Every name of a picture that a text may ask for."""
    return set(_NAMED.findall(markdown))


def shown_in(html: str) -> list[ImageId]:
    """The pictures a finished page shows, each once, in their order."""
    return [ImageId(found) for found in dict.fromkeys(_SHOWN.findall(html))]


def at_our_address(html: str) -> str:
    """A finished page that shows its pictures from this site instead of from a mail around it."""
    return _SHOWN.sub(r'src="/pictures/\1"', html)
