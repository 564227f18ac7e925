"""What a picture takes in memory: at most 150 MB above rest for the worst one that is accepted, however many come at once."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nurture.letters.imaging import MOST_READ

MOST = 150 * 1024 * 1024

MEASURE = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from PIL import Image, ImageCms
from nurture.letters.imaging import PictureRefused, develop

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
rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(4) as people:
    said = list(people.map(taken, [content] * int(sys.argv[2])))
print(said[0], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rest) * 1024, sep="\\t")
"""


def measured(file: Path, times: int = 1) -> tuple[str, int]:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(file), str(times)], capture_output=True, text=True, check=True)
    said, most = done.stdout.strip().split("\t")
    return said, int(most)


def written(folder: Path, mode: str, size: tuple[int, int], kind: str, **how: object) -> Path:
    file = folder / f"picture.{kind}"
    Image.new(mode, size, 0 if mode == "P" else None).save(file, kind, **how)
    assert file.stat().st_size <= MOST_READ
    return file


Kind = tuple[str, tuple[int, int], str, dict[str, Any]]

ACCEPTED: dict[str, Kind] = {
    "a PNG with transparency": ("RGBA", (6000, 4000), "png", {}),
    "a PNG in colours": ("RGB", (4000, 6000), "png", {}),
    "a PNG with a palette": ("P", (6000, 4000), "png", {"transparency": 0}),
    "a PNG in grey of 16 bits": ("I;16", (6000, 4000), "png", {}),
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
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_no_picture_that_is_taken_needs_more_than_150_megabytes(tmp_path: Path, name: str) -> None:
    mode, size, kind, how = ACCEPTED[name]
    said, most = measured(written(tmp_path, mode, size, kind, **how))
    assert said == "taken"
    assert most <= MOST, f"{most / 1024 / 1024:.0f} MB"


@pytest.mark.parametrize("name", REFUSED)
def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path, name: str) -> None:
    mode, size, kind, how = REFUSED[name]
    said, most = measured(written(tmp_path, mode, size, kind, **how))
    assert said.startswith("refused: ")
    assert most < 10 * 1024 * 1024


def test_four_at_once_take_what_one_takes(tmp_path: Path) -> None:
    said, most = measured(written(tmp_path, "RGBA", (6000, 4000), "png"), times=4)
    assert said == "taken"
    assert most <= MOST, f"{most / 1024 / 1024:.0f} MB"
