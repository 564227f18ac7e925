"""Whose letters these are: the facts of the practice, its color and its logo, as letters and their layout ask for them."""

import struct
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from nurture.errors import NurtureError
from nurture.letters import contrast
from nurture.settings import IN_LETTERS

COLOR = "#1f5f5b"
_PAPER = "#f1eee4"
"""The darkest ground in a letter on which links and buttons of that color stand."""
_NIGHT = "#28312f"
"""The lightest ground of the dark letter (templates/mail/layout.html)."""
_LOGO_BYTES = 40 * 1024
_LOGO_SIDE = 4_000
"""Pixels of a side: a small file may unpack to a picture that no reader's telephone can hold."""
_LOGO_WIDTH, _LOGO_HEIGHT = 240, 56


class PracticeRefused(NurtureError):
    """A color or a logo that letters cannot carry; the message says why."""


@dataclass(frozen=True)
class Logo:
    """A small picture at the head of each letter, sent along with it; `width` and `height` are pixels as shown."""

    content: bytes
    subtype: str
    width: int
    height: int

    @property
    def address(self) -> str:
        """The picture itself as a data: address, for a preview (RFC 2397)."""
        return f"data:image/{self.subtype};base64,{b64encode(self.content).decode()}"


Facts: TypeAlias = Mapping[str, str]
"""What letters may say about the practice: every name of `settings.IN_LETTERS`. An empty one is not known, and a letter that
needs it is not published.
"""


def known_facts(**known: str) -> Facts:
    """These facts and no other. Raises KeyError for a name that letters do not know."""
    if unknown := known.keys() - IN_LETTERS.keys():
        raise KeyError(*unknown)
    return dict.fromkeys(IN_LETTERS, "") | known


@dataclass(frozen=True)
class Practice:
    """The facts, and how letters look."""

    facts: Facts
    color: str = COLOR
    logo: Logo | None = None

    def values(self) -> dict[str, dict[str, str]]:
        """The groups `practice`, `look` and `line` that an edition is filled with."""
        facts = {**self.facts}
        look = {
            "color": self.color,
            "dark_color": contrast.lightened(self.color, _NIGHT, 6),
            "logo": "yes" if self.logo else "",
            "logo_width": str(self.logo.width) if self.logo else "",
            "logo_height": str(self.logo.height) if self.logo else "",
        }
        return {"practice": facts, "look": look, "line": {"from_whom": _from_whom(facts), "replies": _replies(facts)}}


def _from_whom(facts: Mapping[str, str]) -> str:
    number = f"license {facts['license']}" if facts["license"] else ""
    known = [part for part in (facts["name"], facts["credential"], number, facts["state"]) if part]
    return f" from {', '.join(known)}" if known else ""


def _replies(facts: Mapping[str, str]) -> str:
    days = facts["reply_days"]
    return f" I read replies within {days} working day{'' if days == '1' else 's'}." if days else ""


def check_color(color: str) -> None:
    """Raise PracticeRefused unless links and buttons of that color can be read."""
    if not contrast.is_color(color):
        raise PracticeRefused("is not a color such as #1f5f5b")
    worst = contrast.ratio(color, _PAPER)
    if worst < contrast.ENOUGH:
        raise PracticeRefused(
            f"is too light to be read on the paper of a letter (contrast {worst:.1f}, at least {contrast.ENOUGH} is needed)"
        )


def read_logo(path: Path) -> Logo:
    """A PNG or JPEG file as a logo. Raises PracticeRefused."""
    try:
        if not path.is_file():  # a device or a pipe might never end
            raise PracticeRefused("is not a file" if path.exists() else "cannot be read (No such file or directory)")
        with path.open("rb") as file:
            content = file.read(_LOGO_BYTES + 1)
    except (OSError, ValueError) as error:
        raise PracticeRefused(f"cannot be read ({getattr(error, 'strerror', None) or 'not a path'})") from None
    return as_logo(content)


def as_logo(content: bytes) -> Logo:
    """The bytes of a PNG or JPEG picture as a logo, shown at most 240 by 56 pixels large. Raises PracticeRefused."""
    if len(content) > _LOGO_BYTES:
        raise PracticeRefused("is more than 40 kB large; it goes out with every letter")
    subtype, size = ("png", _png_size(content)) if content.startswith(b"\x89PNG\r\n\x1a\n") else ("jpeg", _jpeg_size(content))
    if size is None or not all(size):
        raise PracticeRefused("is no PNG or JPEG picture")
    if max(size) > _LOGO_SIDE:
        raise PracticeRefused(f"is {size[0]:,} by {size[1]:,} pixels large; no side may be longer than {_LOGO_SIDE:,}")
    scale = min(1.0, _LOGO_WIDTH / size[0], _LOGO_HEIGHT / size[1])
    return Logo(content, subtype, max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def _png_size(content: bytes) -> tuple[int, int] | None:
    """From the header that comes first (W3C PNG, section 11.2.1, "IHDR")."""
    if len(content) < 24 or content[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """From its frame header (ITU-T T.81, section B.2.2): the first marker C0–CF other than C4, C8 and CC."""
    at = 2
    if not content.startswith(b"\xff\xd8"):
        return None
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None
