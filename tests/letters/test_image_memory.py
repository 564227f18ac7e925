"""What a picture takes in memory: at most 150 MB above rest for the worst one that is accepted, however many come at once."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from nurture.letters.image_processing import MOST_READ

MOST = 150 * 1024 * 1024

MEASURE = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from PIL import Image, ImageCms
from nurture.letters.image_processing import PictureRefused, develop

small = BytesIO()
Image.effect_noise((2000, 1500), 50).convert("RGB").save(small, "jpeg", icc_profile=ImageCms.ImageCmsProfile(
    ImageCms.createProfile("sRGB")).tobytes())
develop(small.getvalue())  # what is loaded once is no part of a picture

def taken(content):
    try:
        develop(content)
        return "taken"
    except PictureRefused as refused:
        return f"refused: {refused}"

content = open(sys.argv[1], "rb").read()
def most():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")  # what getrusage() says begins with the size of the process that started this one
rest, begin = most(), time.process_time()
with ThreadPoolExecutor(4) as people:
    said = list(people.map(taken, [content] * int(sys.argv[2])))
took = time.process_time() - begin
print(said[0], (most() - rest) * 1024, took, sep="\\t")
"""


class Measured(NamedTuple):
    """What became of a picture in a process of its own."""

    said: str
    most: int
    """Bytes above rest."""
    seconds: float
    """Of the processor."""


def measured(file: Path, times: int = 1) -> Measured:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(file), str(times)], capture_output=True, text=True, check=True)
    said, most, seconds = done.stdout.strip().split("\t")
    return Measured(said, int(most), float(seconds))


def written(folder: Path, mode: str, size: tuple[int, int], kind: str, how: Mapping[str, Any]) -> Path:
    file = folder / f"picture.{kind}"
    if mode.startswith("blank"):
        file.write_bytes(blank_png(size, **how))
    else:
        frames = [Image.new(mode, size, 0 if mode == "P" else color) for color in (None, "red", "blue")[: how.get("frames", 1)]]
        more = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
        frames[0].save(file, kind, **more, **{name: value for name, value in how.items() if name != "frames"})
    assert file.stat().st_size <= MOST_READ
    return file


_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}
"""Of a pixel, by the color type of a PNG."""
_ADAM_7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: first column and row, then the steps (W3C PNG, section 8.2)."""


def blank_png(size: tuple[int, int], color: int, depth: int, interlaced: bool) -> bytes:
    """A PNG of nothing but zeros, as Pillow writes none: interlaced, or of 16 bits a color."""
    width, height = size

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packed, passes = zlib.compressobj(1), _ADAM_7 if interlaced else ((0, 0, 1, 1),)
    data = b""
    for left, top, right, down in passes:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        line = bytes(1 + (columns * _SAMPLES[color] * depth + 7) // 8)
        data += b"".join(packed.compress(line) for _ in range(rows))
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data + packed.flush()) + chunk(b"IEND", b"")


Kind = tuple[str, tuple[int, int], str, dict[str, Any]]

ACCEPTED: dict[str, Kind] = {
    "a PNG with transparency": ("RGBA", (6000, 4000), "png", {}),
    "a PNG in colors": ("RGB", (4000, 6000), "png", {}),
    "a PNG with a palette": ("P", (6000, 4000), "png", {"transparency": 0}),
    "a PNG in grey of 16 bits": ("I;16", (6000, 4000), "png", {}),
    "an interlaced PNG": ("blank", (6000, 4000), "png", {"color": 2, "depth": 8, "interlaced": True}),
    "an interlaced PNG with transparency": ("blank", (6000, 4000), "png", {"color": 6, "depth": 8, "interlaced": True}),
    "an interlaced PNG of 16 bits": ("blank", (6000, 4000), "png", {"color": 6, "depth": 16, "interlaced": True}),
    "a PNG of 16 bits a color": ("blank", (6000, 4000), "png", {"color": 2, "depth": 16, "interlaced": False}),
    "a PNG of 16 bits with transparency": ("blank", (6000, 4000), "png", {"color": 6, "depth": 16, "interlaced": False}),
    "a PNG in grey and transparency of 16 bits": ("blank", (6000, 4000), "png", {"color": 4, "depth": 16, "interlaced": True}),
    "an animated PNG": ("RGBA", (6000, 4000), "png", {"frames": 3}),
    "a long PNG": ("RGBA", (1500, 16_000), "png", {}),
    "a JPEG of a telephone": ("RGB", (8160, 6120), "jpeg", {"subsampling": 0}),
    "a square JPEG": ("RGB", (7070, 7070), "jpeg", {"subsampling": 0}),
    "a JPEG just under a half": ("RGB", (3199, 3199), "jpeg", {"subsampling": 0}),
    "a wide JPEG": ("RGB", (16_000, 3_100), "jpeg", {"subsampling": 0}),
    "a JPEG for print": ("CMYK", (7070, 7070), "jpeg", {"subsampling": 0}),
    "a progressive JPEG": ("RGB", (4032, 3024), "jpeg", {"progressive": True, "subsampling": 0}),
    "a progressive JPEG for print": ("CMYK", (4032, 3024), "jpeg", {"progressive": True}),
}
REFUSED: dict[str, Kind] = {
    "a large PNG": ("RGBA", (7000, 7000), "png", {}),
    "a PNG that is small as a file": ("1", (16_000, 16_000), "png", {}),
    "a PNG with a side too long": ("1", (40_000, 10), "png", {}),
    "a large progressive JPEG": ("RGB", (7000, 7000), "jpeg", {"progressive": True}),
    "a large JPEG": ("L", (9000, 9000), "jpeg", {}),
    "a large interlaced PNG": ("blank", (7000, 7000), "png", {"color": 6, "depth": 16, "interlaced": True}),
    "a WebP": ("RGB", (4000, 4000), "webp", {}),
    "an animated WebP": ("RGB", (2000, 2000), "webp", {"frames": 3}),
    "a GIF": ("P", (6000, 4000), "gif", {}),
    "an animated GIF": ("RGB", (4000, 4000), "gif", {"frames": 3}),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_no_picture_that_is_taken_needs_more_than_150_megabytes(tmp_path: Path, name: str) -> None:
    mode, size, kind, how = ACCEPTED[name]
    said, most, _ = measured(written(tmp_path, mode, size, kind, how))
    assert said == "taken"
    assert most <= MOST, f"{most / 1024 / 1024:.0f} MB"


@pytest.mark.parametrize("name", REFUSED)
def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path, name: str) -> None:
    mode, size, kind, how = REFUSED[name]
    said, most, _ = measured(written(tmp_path, mode, size, kind, how))
    assert said.startswith("refused: ")
    assert most < 10 * 1024 * 1024


def test_four_at_once_take_what_one_takes(tmp_path: Path) -> None:
    said, most, _ = measured(written(tmp_path, "RGBA", (6000, 4000), "png", {}), times=4)
    assert said == "taken"
    assert most <= MOST, f"{most / 1024 / 1024:.0f} MB"
