"""The practice's look: what cannot be read or carried is refused, and says why."""

import struct
import zlib
from pathlib import Path

import pytest

from nurture.letters.contrast import ratio
from nurture.letters.practice import COLOR, Practice, PracticeRefused, check_color, known_facts, read_logo
from nurture.runtime import build
from nurture.settings import SettingRefused
from tests.conftest import settings_for


def png(width: int, height: int) -> bytes:
    """A real picture: one color."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + b"\x1f\x5f\x5b" * width for _ in range(height)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


_JPEG = (  # the beginning of a JPEG of 480 by 120: start, APP0, a table, and its frame header
    b"\xff\xd8" + b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0" + b"\xff\xdb\x00\x43\0" + bytes(64)
    + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 120, 480) + b"\x03" + bytes(9)
)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "subtype", "shown"),
    [
        (png(100, 40), "png", (100, 40)),
        (png(480, 100), "png", (240, 50)),
        (png(100, 560), "png", (10, 56)),
        (_JPEG, "jpeg", (224, 56)),
    ],
    ids=["small", "wide", "high", "jpeg"],
)  # fmt: skip
def test_a_logo_is_shown_at_most_240_by_56_and_keeps_its_shape(
    tmp_path: Path, content: bytes, subtype: str, shown: tuple[int, int]
) -> None:
    path = tmp_path / "logo"
    path.write_bytes(content)
    logo = read_logo(path)
    assert (logo.content, logo.subtype, (logo.width, logo.height)) == (content, subtype, shown)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no PNG or JPEG"),
        (b"<svg/>", "no PNG or JPEG"),
        (b"\x89PNG\r\n\x1a\nshort", "no PNG or JPEG"),
        (b"\xff\xd8\xff", "no PNG or JPEG"),
        (png(0, 40), "no PNG or JPEG"),
        (b"\xff\xd8" + b"\xff\xe0\x00\x00" * 40, "no PNG or JPEG"),
        (bytes(40 * 1024 + 1), "40 kB large; it goes out with every letter"),
    ],
    ids=["nothing", "svg", "cut off", "begun", "no width", "endless", "large"],
)
def test_what_is_no_small_picture_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "logo"
    path.write_bytes(content)
    with pytest.raises(PracticeRefused, match=why):
        read_logo(path)
    with pytest.raises(PracticeRefused, match="cannot be read"):
        read_logo(tmp_path / "none")


@pytest.mark.parametrize("path", ["/", "/dev/zero"])
def test_what_is_no_file_is_no_logo(path: str) -> None:
    with pytest.raises(PracticeRefused, match="is not a file"):
        read_logo(Path(path))


def test_a_color_that_cannot_be_read_stops_the_start_and_says_why(tmp_path: Path) -> None:
    check_color(COLOR)
    for color, why in (("#88bbaa", r"is too light .*contrast 1\.\d, at least 4\.5"), ("teal", "is not a color such as")):
        with pytest.raises(SettingRefused, match=f"NURTURE_COLOR is '{color}', which {why}"):
            build(settings_for(tmp_path, color=color), migrate=True)
    with pytest.raises(SettingRefused, match=r"NURTURE_LOGO is .*cannot be read"):
        build(settings_for(tmp_path, logo=tmp_path / "none.png"), migrate=True)


@pytest.mark.parametrize("color", ["#1f5f5b", "#000000", "#7a1f1f", "#333399", "#6b4e00"])
def test_in_the_dark_a_color_is_readable_too(color: str) -> None:
    look = Practice(known_facts(), color).values()["look"]
    for ground in ("#161b1a", "#1e2524", "#28312f"):  # page, paper and aside of templates/mail/layout.html
        assert ratio(look["dark_color"], ground) >= 6
    assert ratio("#10201e", look["dark_color"]) >= 4.5, "the words on a button"


def test_the_lines_of_the_footer_say_what_is_known_and_nothing_else() -> None:
    everything = known_facts(name="Dana Weber", credential="LCSW", license="L-1234", state="Oregon", reply_days="1")
    line = Practice(everything).values()["line"]
    assert line["from_whom"] == " from Dana Weber, LCSW, license L-1234, Oregon"
    assert line["replies"] == " I read replies within 1 working day."
    assert Practice(known_facts(reply_days="3")).values()["line"]["replies"].endswith("3 working days.")
    assert Practice(known_facts()).values()["line"] == {"from_whom": "", "replies": ""}
