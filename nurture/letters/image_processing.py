"""What becomes of a picture that somebody chose: small enough for a letter, and nothing in it but the picture.

A telephone writes into a photograph where and when it was taken, and with what. None of that may reach readers, so whatever is
not plainly a picture and nothing else is decoded and written anew.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from math import ceil

from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from nurture.domain.picture import MOST_BYTES
from nurture.errors import NurtureError

MOST_READ = 15_000_000
"""Bytes of a file that is taken at all."""
_MOST_SIDE = 16_000
_MOST_PIXELS = {"png": 24_000_000, "jpeg": 50_000_000}
"""A PNG is decoded whole, 4 bytes a pixel; of a JPEG no more than is needed, so that the best telephones' will do."""
_MOST_PIXELS_IN_PASSES = 13_000_000
"""Of a JPEG that comes in several passes (progressive): all its coefficients are kept meanwhile, up to 8 bytes a pixel."""
_MOST_TEXT = 4_000_000
"""Bytes of the texts within a PNG, unpacked; they are thrown away."""
_STRIP = 64
"""Rows, as written, that are brought on paper together."""
_QUALITIES = (85, 75, 65, 55)
_SMALLER = 0.75
_MAGIC = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
_PNG_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM", b"sBIT", b"pHYs"}
_PNG_OPAQUE = {0, 2, 3}
_JPEG_SEGMENTS = {0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD}
_JFIF = b"JFIF\0"

Image.MAX_IMAGE_PIXELS = None  # ours is checked before anything is decoded; the library's would only warn
PngImagePlugin.MAX_TEXT_MEMORY = _MOST_TEXT
_one_at_a_time = ThreadPoolExecutor(1, "pictures")
"""What a picture takes in memory is taken once in a process, however many people send one at the same moment. By one thread,
and not under a lock: malloc keeps memory for each thread that has used some (glibc manual, "The GNU Allocator")."""


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
        return _one_at_a_time.submit(_developed, content, subtype, room).result()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError):
        raise PictureRefused("is broken: it begins like a picture and cannot be read to its end") from None


def _developed(content: bytes, subtype: str, room: Room) -> Developed:
    with Image.open(BytesIO(content), formats=[subtype]) as opened:
        width, height = opened.size
        _check_size(width, height, subtype, in_passes=subtype == "jpeg" and _is_in_passes(content))
        if subtype == "jpeg":
            by = max(1.0, max(width, height) / max(room.width, room.height))
            opened.draft("RGB", (ceil(width / by), ceil(height / by)))  # decodes no more than is needed
        opened.load()
        is_fit = len(content) <= room.bytes and width <= room.width and height <= room.height
        if is_fit and opened.mode in ("1", "L", "P", "RGB") and _is_plain(content, subtype):
            return Developed(content, subtype, width, height)
        return _written(_on_paper(opened, room), subtype, room.bytes)


def _check_size(width: int, height: int, subtype: str, in_passes: bool) -> None:
    """Raise PictureRefused for what would take more memory than a picture may."""
    if max(width, height) > _MOST_SIDE:
        raise PictureRefused(f"is {width:,} by {height:,} pixels large; no side may be longer than {_MOST_SIDE:,}")
    most = _MOST_PIXELS_IN_PASSES if in_passes else _MOST_PIXELS[subtype]
    if width * height > most:
        kind = "PNG" if subtype == "png" else "progressive JPEG" if in_passes else "JPEG"
        raise PictureRefused(
            f"has {width * height / 1_000_000:.0f} million pixels; of a {kind} at most {most // 1_000_000} million can be read"
        )


def _is_in_passes(content: bytes) -> bool:
    """Whether a JPEG is decoded from several scans: its first does not hold all (ITU-T T.81, sections B.2.2 and B.2.3)."""
    at, components = 2, 0
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 9 < len(content):
            components = content[at + 9]
            if marker not in (0xC0, 0xC1):
                return True
        if marker == 0xDA:
            return at + 4 >= len(content) or content[at + 4] != components
        at += 2 + length
    return True


def _on_paper(opened: Image.Image, room: Room) -> Image.Image:
    """Upright, in the colors of the web, without anything transparent, and no larger than it must be."""
    shown = _reduced(opened, 2 * max(room.width, room.height))
    profile = opened.info.get("icc_profile")
    if shown.mode == "CMYK" and not profile:
        shown = shown.convert("RGB")
    shown.thumbnail((max(room.width, room.height),) * 2, Image.Resampling.LANCZOS)
    shown.info = {name: value for name, value in opened.info.items() if name != "transparency"}  # how it was held is in there
    shown = ImageOps.exif_transpose(shown)
    if profile:
        with suppress(ImageCms.PyCMSError):  # a profile nobody can read: the colors as they are
            shown = ImageCms.profileToProfile(  # type: ignore[assignment]
                shown, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
    shown = shown.convert("L" if shown.mode == "L" else "RGB")
    shown.thumbnail((room.width, room.height), Image.Resampling.LANCZOS)
    shown.info.clear()
    return shown


def _reduced(opened: Image.Image, limit: int) -> Image.Image:
    """The picture in 8 bits on white paper, smaller by a whole factor where its longer side has more than `limit` pixels.

    In strips: at no time is there a second copy of all its pixels.
    """
    width, height = opened.size
    factor = max(1, -(-max(width, height) // limit))
    first = _strip_on_paper(opened.crop((0, 0, width, 1)))
    whole = Image.new(first.mode, (ceil(width / factor), ceil(height / factor)))
    for top in range(0, height, _STRIP * factor):
        strip = _strip_on_paper(opened.crop((0, top, width, min(height, top + _STRIP * factor))))
        whole.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return whole


def _strip_on_paper(strip: Image.Image) -> Image.Image:
    if strip.mode.startswith("I"):  # grey in 16 bits
        return strip.point(lambda value: value / 256).convert("L")
    if strip.has_transparency_data:
        over = strip.convert("RGBA")
        paper = Image.new("RGB", over.size, "white")
        paper.paste(over, mask=over.getchannel("A"))
        return paper
    return strip if strip.mode == "CMYK" else strip.convert("L" if strip.mode in ("1", "L") else "RGB")


def _written(shown: Image.Image, subtype: str, limit: int) -> Developed:
    """As a file that is small enough. A drawing stays one with sharp lines if it can; a photograph gets coarser first."""
    if subtype == "png":
        kept = _file(shown, "png", optimize=True)
        if len(kept.content) <= limit:
            return kept
    while True:
        for quality in _QUALITIES:
            kept = _file(shown, "jpeg", quality=quality, optimize=True)
            if len(kept.content) <= limit:
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
