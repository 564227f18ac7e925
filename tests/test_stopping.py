"""A process that is told to end does, whatever it was doing at that moment."""

import subprocess
import sys

PROGRAM = """
import os, signal, time
from types import SimpleNamespace
import threading
from nurture.runtime import stop_when_told

rt = SimpleNamespace(stopping=threading.Event())
stop_when_told(rt)
with rt.stopping._cond:  # as in the middle of `stopping.wait(…)`
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.3)
assert rt.stopping.wait(10)
"""


def test_a_signal_in_the_middle_of_waiting_for_it_ends_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], timeout=30, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "SIGTERM" in ended.stderr + ended.stdout
