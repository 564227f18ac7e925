"""What becomes of a picture that somebody chose: small enough for a letter, and nothing in it but the picture.

A telephone writes into a photograph where and when it was taken, and with what. None of that may reach readers, so whatever is
not plainly a picture and nothing else is decoded and written anew.
"""

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from nurture.domain.picture import MOST_BYTES
from nurture.words import NurtureError

MOST_READ = 15_000_000
"""Bytes of a file that is taken at all."""
_MOST_PIXELS = 50_000_000
"""What the best telephones take; a small file may claim to be far larger."""
_QUALITIES = (85, 75, 65, 55)
_SMALLER = 0.75
_MAGIC = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
_PNG_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM", b"sBIT", b"pHYs"}
_PNG_OPAQUE = {0, 2, 3}
_JPEG_SEGMENTS = {0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD}
_JFIF = b"JFIF\0"

Image.MAX_IMAGE_PIXELS = None  # ours is checked before anything is decoded; the library's would only warn


class PictureRefused(NurtureError):
    """A file that letters cannot carry; the message says why, as the end of a sentence that begins with its name."""


@dataclass(frozen=True)
class Room:
    """What a picture may take: pixels, twice as many as are shown, for sharp screens; and bytes."""

    width: int
    height: int
    bytes: int


IN_A_LETTER = Room(1200, 1600, MOST_BYTES)
AS_A_LOGO = Room(480, 112, 40 * 1024)


@dataclass(frozen=True)
class Developed:
    """A picture as it travels."""

    content: bytes
    subtype: str
    width: int
    height: int


def develop(content: bytes, room: Room = IN_A_LETTER) -> Developed:
    """A PNG or JPEG file as a picture for letters; one that is fit already stays byte for byte. Raises PictureRefused.

    Turned as it was held, no larger than `room`, on white paper wherever it was transparent.
    """
    subtype = next((name for magic, name in _MAGIC.items() if content.startswith(magic)), None)
    if not content:
        raise PictureRefused("is empty")
    if len(content) > MOST_READ:
        raise PictureRefused(f"is {len(content) // 1_000_000} MB large; at most {MOST_READ // 1_000_000} MB can be read")
    if subtype is None:
        raise PictureRefused("is no PNG or JPEG picture")
    try:
        with Image.open(BytesIO(content), formats=[subtype]) as opened:
            width, height = opened.size
            if width * height > _MOST_PIXELS:
                raise PictureRefused(
                    f"has {width * height // 1_000_000} million pixels; at most {_MOST_PIXELS // 1_000_000} million can be read"
                )
            if subtype == "jpeg":
                opened.draft("RGB", (2 * room.width, 2 * room.height))  # decodes no more than is needed
            opened.load()
            is_fit = len(content) <= room.bytes and width <= room.width and height <= room.height
            if is_fit and opened.mode in ("1", "L", "P", "RGB") and _is_plain(content, subtype):
                return Developed(content, subtype, width, height)
            return _written(_on_paper(opened, room), subtype, room.bytes)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError):
        raise PictureRefused("is broken: it begins like a picture and cannot be read to its end") from None


def _on_paper(opened: Image.Image, room: Room) -> Image.Image:
    """Upright, in the colours of the web, without anything transparent, and no larger than it must be."""
    profile = opened.info.get("icc_profile")
    shown = ImageOps.exif_transpose(opened)
    if profile and shown.mode in ("RGB", "CMYK", "L"):
        with suppress(ImageCms.PyCMSError):  # a profile nobody can read: the colours as they are
            shown = ImageCms.profileToProfile(  # type: ignore[assignment]
                shown, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
    if shown.mode.startswith("I"):  # grey in 16 bits
        shown = shown.point(lambda value: value / 256).convert("L")
    if shown.has_transparency_data:
        over = shown.convert("RGBA")
        shown = Image.new("RGB", over.size, "white")
        shown.paste(over, mask=over.getchannel("A"))
    shown = shown.convert("L" if shown.mode in ("1", "L") else "RGB")
    shown.thumbnail((room.width, room.height), Image.Resampling.LANCZOS)
    shown.info.clear()
    return shown


def _written(shown: Image.Image, subtype: str, most: int) -> Developed:
    """As a file that is small enough. A drawing stays one with sharp lines if it can; a photograph gets coarser first."""
    if subtype == "png":
        kept = _file(shown, "png", optimize=True)
        if len(kept.content) <= most:
            return kept
    while True:
        for quality in _QUALITIES:
            kept = _file(shown, "jpeg", quality=quality, optimize=True)
            if len(kept.content) <= most:
                return kept
        shown = shown.resize((max(1, int(shown.width * _SMALLER)), max(1, int(shown.height * _SMALLER))))


def _file(shown: Image.Image, subtype: str, **how: int) -> Developed:
    written = BytesIO()
    shown.save(written, subtype, **how)
    return Developed(written.getvalue(), subtype, *shown.size)


def _is_plain(content: bytes, subtype: str) -> bool:
    """Whether a file holds a picture and nothing else: no place, no date, no camera, no second picture behind the first."""
    return _is_plain_png(content) if subtype == "png" else _is_plain_jpeg(content)


def _is_plain_png(content: bytes) -> bool:
    """Chunk by chunk (W3C PNG, section 5.3)."""
    at, kind = 8, b""
    while at + 12 <= len(content) and kind != b"IEND":
        length, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if kind not in _PNG_CHUNKS or (kind == b"IHDR" and content[at + 17] not in _PNG_OPAQUE):
            return False
        at += 12 + length
    return kind == b"IEND" and at == len(content)


def _is_plain_jpeg(content: bytes) -> bool:
    """Segment by segment (ITU-T T.81, section B.1.1)."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if marker == 0xE0:
            if length != 16 or content[at + 4 : at + 9] != _JFIF:  # longer: a small picture within, perhaps of something else
                return False
        elif marker not in _JPEG_SEGMENTS:
            return False
        at += 2 + length
        if marker == 0xDA:  # then the picture itself, in which FF is followed by 00 or a restart marker
            while (at := content.find(b"\xff", at)) >= 0 and content[at + 1 : at + 2] in _WITHIN:
                at += 2
            if at < 0 or content[at + 1 : at + 2] == b"\xd9":
                return at == len(content) - 2
    return False


_WITHIN = {b"\0", *(bytes([marker]) for marker in range(0xD0, 0xD8))}
