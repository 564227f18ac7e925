"""What the worst accepted pictures take, each in a process of its own.

python -m tests.benchmarks.pictures FOLDER
"""

import json
import sys
from pathlib import Path

from tests.letters.test_image_memory import ACCEPTED, measured, written


def main(folder: Path) -> dict[str, tuple[float, float]]:
    """Megabytes above rest, and seconds of the processor, by the picture."""
    found = {}
    for name, (mode, size, kind, how) in ACCEPTED.items():
        file = written(folder, mode, size, kind, how)
        one = measured(file)
        if one.said != "taken":
            raise RuntimeError(f"{name}: {one.said}")
        found[f"{name}, {size[0]:,} × {size[1]:,}"] = (one.most / 1024 / 1024, one.seconds)
        file.unlink()
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
