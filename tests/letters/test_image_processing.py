"""What becomes of a file: small enough, upright, opaque, and nothing in it but the picture."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageCms

from nurture.domain.picture import MOST_BYTES
from nurture.letters import image_processing
from nurture.letters.image_processing import AS_A_LOGO, IN_A_LETTER, MOST_READ, PictureRefused, develop
from tests.letters.test_practice import png
from tests.pictures import drawing, photograph, transparent


def opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


def saved(shown: Image.Image, kind: str, **how: object) -> bytes:
    written = BytesIO()
    shown.save(written, kind, **how)
    return written.getvalue()


def test_a_photograph_of_a_telephone_becomes_small_and_upright_and_forgets_where_it_was_taken() -> None:
    taken = photograph()
    assert len(taken) > 1_000_000
    assert b"SecretPhone" in taken
    made = develop(taken)
    assert made.subtype == "jpeg"
    assert len(made.content) <= MOST_BYTES
    assert made.width <= IN_A_LETTER.width
    assert made.height <= IN_A_LETTER.height
    assert made.height > made.width, "it was held upright"
    shown = opened(made.content)
    assert shown.size == (made.width, made.height)
    assert not shown.getexif()
    for secret in (b"Secret", b"Exif", b"GPS", b"2026:03"):
        assert secret not in made.content
    dark = shown.convert("L").getpixel((made.width // 2, 5))
    light = shown.convert("L").getpixel((made.width // 2, made.height - 5))
    assert isinstance(dark, int)
    assert isinstance(light, int)
    assert dark < 20 < light, "turned the right way round"


def test_a_logo_gets_less_room_than_a_picture_in_a_letter() -> None:
    made = develop(photograph(), AS_A_LOGO)
    assert len(made.content) <= AS_A_LOGO.bytes
    assert made.width <= AS_A_LOGO.width
    assert made.height <= AS_A_LOGO.height


@pytest.mark.parametrize(
    "content",
    [
        drawing(), png(200, 48), saved(Image.effect_noise((300, 200), 50), "jpeg"),
        saved(Image.effect_noise((300, 200), 50).convert("RGB"), "jpeg", progressive=True),
        saved(Image.effect_noise((300, 200), 50).convert("P"), "png"), develop(photograph()).content,
    ],
    ids=["drawing", "bare", "grey jpeg", "progressive jpeg", "palette", "made before"],
)  # fmt: skip
def test_what_is_fit_already_stays_byte_for_byte(content: bytes) -> None:
    assert develop(content).content == content


def with_chunk(content: bytes, kind: bytes, data: bytes) -> bytes:
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content[:33] + chunk + content[33:]


ARTIST = Image.Exif()
ARTIST[0x013B] = "Secret"


@pytest.mark.parametrize(
    "content",
    [
        with_chunk(drawing(), b"tEXt", b"Author\0Secret"), saved(opened(drawing()), "png", exif=ARTIST),
        with_chunk(drawing(), b"prVt", b"Secret"), drawing() + b"Secret", photograph(300, 200, 1),
        saved(Image.new("RGB", (90, 60), "red"), "jpeg") + b"Secret\xff\xd9",
        saved(Image.new("RGB", (90, 60), "red"), "jpeg", comment=b"Secret"),
        saved(Image.new("RGB", (90, 60), "red"), "jpeg", xmp=b"Secret"),
    ],
    ids=["text", "exif", "private", "behind a png", "photograph", "behind a jpeg", "comment", "xmp"],
)  # fmt: skip
def test_whatever_is_in_a_file_besides_the_picture_does_not_travel(content: bytes) -> None:
    assert b"Secret" in content
    made = develop(content)
    assert b"Secret" not in made.content
    assert opened(made.content).size == opened(content).size
    assert develop(made.content) == made


def test_what_was_transparent_is_white_so_that_black_lines_are_seen_in_the_dark() -> None:
    made = develop(transparent())
    shown = opened(made.content)
    assert (made.subtype, shown.mode) == ("png", "RGB")
    assert shown.getpixel((290, 5)) == (255, 255, 255)
    assert shown.getpixel((150, 100)) == (0, 0, 0)


def test_a_drawing_stays_sharp_and_a_photograph_in_png_becomes_a_jpeg() -> None:
    assert develop(drawing(3000, 1500)).subtype == "png"
    made = develop(saved(Image.effect_noise((1000, 900), 80).convert("RGB"), "png"))
    assert made.subtype == "jpeg"
    assert len(made.content) <= MOST_BYTES


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel_comes_out_as_the_web_knows_it(mode: str) -> None:
    kind = "jpeg" if mode == "CMYK" else "png"
    grey = Image.new("I;16", (1300, 10), 0x8000) if mode == "I;16" else Image.new("L", (1300, 10), 128).convert(mode)
    made = develop(saved(grey, kind))
    shown = opened(made.content)
    assert shown.mode in ("L", "RGB", "1", "P")
    assert made.width == IN_A_LETTER.width
    middle = shown.convert("L").getpixel((600, 4))
    assert mode == "1" or middle in range(120, 136)


def test_colors_of_a_telephone_s_own_profile_become_those_of_the_web() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB", 5000))
    odd = saved(Image.new("RGB", (40, 30), "red"), "jpeg", icc_profile=profile.tobytes())
    assert opened(develop(odd).content).info.get("icc_profile") is None
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = develop(saved(Image.new("RGB", (40, 30), (200, 30, 30)), "png", icc_profile=srgb))
    red = opened(same.content).getpixel((5, 5))
    assert isinstance(red, tuple)
    assert all(abs(found - wanted) <= 2 for found, wanted in zip(red, (200, 30, 30), strict=True))


def claims(width: int, height: int) -> bytes:
    return png(1, 1).replace(struct.pack(">II", 1, 1), struct.pack(">II", width, height), 1)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"<svg/>", "is no PNG or JPEG picture"),
        (b"GIF89a" + bytes(100), "is no PNG or JPEG picture"),
        (b"%PDF-1.7", "is no PNG or JPEG picture"),
        (b"\x89PNG\r\n\x1a\nshort", "is broken"),
        (b"\xff\xd8\xff", "is broken"),
        (drawing()[:400], "is broken"),
        (photograph(900, 600)[:9000], "is broken"),
        (b"\xff\xd8\xff" + bytes(MOST_READ), "is 15 MB large"),
        (claims(30000, 30000), "is broken|million pixels"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_carried_says_why(content: bytes, why: str) -> None:
    with pytest.raises(PictureRefused, match=why):
        develop(content)


def test_a_small_file_that_is_vast_is_never_decoded() -> None:
    vast = saved(Image.new("1", (9000, 9000)), "png")
    assert len(vast) < 20_000
    with pytest.raises(PictureRefused, match="has 81 million pixels; of a PNG at most 24 million"):
        develop(vast)


@pytest.mark.filterwarnings("ignore:::PIL")  # of damaged tags, which are left out anyway
def test_damage_anywhere_is_refused_or_survived_and_never_anything_else() -> None:
    for whole in (drawing(60, 40), saved(Image.effect_noise((60, 40), 50), "jpeg"), photograph(60, 40)):
        for at in range(2, len(whole), max(1, len(whole) // 60)):
            for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
                try:
                    made = develop(damaged)
                except PictureRefused:
                    continue
                assert image_processing._is_plain(made.content, made.subtype)
