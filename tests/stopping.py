"""A program that begins a process of the service many times, tells each to stop, and says how they ended.

`python -m tests.stopping 500` prints how often each exit code came. Each process is forked from one in which everything is
loaded, waits for its signal as `nurture worker` does, and ends as Python ends: with the locks of its threads as they are.
"""

import os
import signal
import sys
import threading
from collections import Counter

from nurture import log
from nurture.signals import stop_when_told


def wait_for_the_signal(ready: int) -> None:
    """What the process does."""
    stopping = threading.Event()
    stop_when_told(stopping)
    os.write(ready, b"1")
    stopping.wait()


def begin() -> tuple[int, int]:
    """Fork a process; returns (0, 0) in it, and its id and a pipe that tells when it is at work in this one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    wait_for_the_signal(writing)
    return 0, 0


def main(times: int) -> Counter[int]:
    """How the processes ended. Does not return in them."""
    ends = Counter[int]()
    for _ in range(times):
        child, ready = begin()
        if not child:
            return Counter()
        os.read(ready, 1)
        os.close(ready)
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGTERM)  # whoever is impatient presses twice
        ends[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])] += 1
    return ends


if __name__ == "__main__":
    log.configure()
    found = main(int(sys.argv[1]))
    if found:
        print(dict(found), flush=True)
