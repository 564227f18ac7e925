"""Resident memory of one process while a crowd's letters go out in one tick.

python -m tests.benchmarks.memory fill URL COUNT DATABASE FOLDER
python -m tests.benchmarks.memory send URL COUNT DATABASE FOLDER

Two processes: memory that filling the tables took and gave back would hide growth in the sending one.
"""

import json
import resource
import sys
import threading
import time
from pathlib import Path

from tests.benchmarks.ours import analyze, build, crowd, sent_and_planned
from tests.people import run_tick

_LANES = 32
_EVERY_SECONDS = 0.25


def fill(url: str, count: int, database: str, folder: Path) -> dict[str, float]:
    """Write `count` readers whose first letter is due."""
    rt = build(url, database, _LANES, folder)
    crowd(rt, count)
    analyze(rt)
    rt.close()
    return {}


def send(url: str, count: int, database: str, folder: Path) -> dict[str, float]:
    """Seconds of one tick, and the most resident MB in its first quarter, in its last, and ever."""
    rt = build(url, database, _LANES, folder)
    sizes: list[float] = []
    stop = threading.Event()
    watch = threading.Thread(target=_watch, args=(sizes, stop), daemon=True)
    watch.start()
    begin = time.perf_counter()
    run_tick(rt)
    seconds = time.perf_counter() - begin
    stop.set()
    watch.join()
    if sent_and_planned(rt) != (count, count):
        raise RuntimeError(f"{sent_and_planned(rt)} sent and planned, not {count} each")
    rt.close()
    quarter = max(1, len(sizes) // 4)
    return {
        "seconds": seconds, "first_quarter_mb": max(sizes[:quarter]), "last_quarter_mb": max(sizes[-quarter:]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def _watch(sizes: list[float], stop: threading.Event) -> None:
    while True:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(pages * resource.getpagesize() / 2**20)
        if stop.wait(_EVERY_SECONDS):
            return


if __name__ == "__main__":
    act = {"fill": fill, "send": send}[sys.argv[1]]
    print(json.dumps(act(sys.argv[2], int(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))))
