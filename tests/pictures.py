"""Pictures as people choose them: drawings, and photographs that say where they were taken."""

from io import BytesIO

from PIL import Image, ImageDraw

from nurture.domain.picture import LetterImage
from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.letters import images

ALT = "Two nerve cells, and the narrow gap between them"


def drawing(width: int = 640, height: int = 360, color: str = "#1f5f5b") -> bytes:
    """A plain PNG: two circles and a line."""
    shown = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(shown)
    pen.ellipse((width * 0.1, height * 0.2, width * 0.4, height * 0.8), fill=color)
    pen.ellipse((width * 0.6, height * 0.2, width * 0.9, height * 0.8), fill=color)
    pen.line((width * 0.4, height * 0.5, width * 0.6, height * 0.5), fill="#22302e", width=4)
    return _file(shown, "png")


def photograph(width: int = 4032, height: int = 3024, held: int = 6) -> bytes:
    """A JPEG as a telephone takes it: large, held upright (6), with place, time and camera in it. Its left half is dark."""
    shown = Image.effect_noise((width, height), 60).convert("RGB")
    shown.paste("black", (0, 0, width // 2, height))
    says = Image.Exif()
    says[0x0112], says[0x010F], says[0x0132] = held, "SecretPhone", "2026:03:02 10:00:00"
    says.get_ifd(0x8825).update({1: "N", 2: (45.0, 31.0, 12.0), 3: "W", 4: (122.0, 40.0, 30.0)})
    return _file(shown, "jpeg", quality=90, exif=says, comment=b"SecretPlace")


def transparent() -> bytes:
    """A PNG of black lines on nothing."""
    shown = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    ImageDraw.Draw(shown).line((0, 0, 299, 199), fill=(0, 0, 0, 255), width=9)
    return _file(shown, "png")


def _file(shown: Image.Image, kind: str, **how: object) -> bytes:
    written = BytesIO()
    shown.save(written, kind, **how)
    return written.getvalue()


def a_picture(rt: Runtime, content: bytes | None = None, alt: str = ALT) -> LetterImage:
    """One that is here."""
    return images.add(rt, drawing() if content is None else content, alt, UserId(new_id()))
