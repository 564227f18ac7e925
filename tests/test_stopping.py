"""A process that is told to end does, whatever it was doing at that moment."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from nurture import runtime
from tests.conftest import settings_for
from tests.faults.harness import until
from tests.people import sign_up
from tests.processes import NURTURE, environment, running
from tests.servers.sendgrid import KEY, SendGridServer, refuse_429

PROGRAM = """
import os, signal, time
import threading
from nurture.signals import stop_when_told

stopping = threading.Event()
stop_when_told(stopping)
with stopping._cond:  # as in the middle of `stopping.wait(…)`
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.3)
assert stopping.wait(10)
"""


def test_a_signal_in_the_middle_of_waiting_for_it_ends_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], timeout=30, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "SIGTERM" in ended.stderr + ended.stdout


WITH_A_FULL_PIPE = """
import fcntl, os, threading
from nurture import log
from nurture.signals import stop_when_told

log.configure()
flags = fcntl.fcntl(2, fcntl.F_GETFL)
fcntl.fcntl(2, fcntl.F_SETFL, flags | os.O_NONBLOCK)
try:
    while True:
        os.write(2, b" " * 4096)
except BlockingIOError:
    fcntl.fcntl(2, fcntl.F_SETFL, flags)
stopping = threading.Event()
stop_when_told(stopping)
print("ready", flush=True)
stopping.wait()
"""


def test_the_line_that_says_so_is_written_before_the_interpreter_shuts_down() -> None:
    """Whoever reads standard error is slow: a thread still writing when the interpreter shuts down ends it with SIGABRT."""
    command = [sys.executable, "-c", WITH_A_FULL_PIPE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(3)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said[-1000:]
    assert b"SIGTERM" in said


def test_told_to_stop_it_ends_with_code_0_every_time() -> None:
    """500 times in `make faults`: a thread that still wrote its line when the interpreter shut down ended it with SIGABRT."""
    times = 500 if os.environ.get("FAULTS") == "full" else 10
    ended = subprocess.run([sys.executable, "-m", "tests.stopping", str(times)], timeout=600, capture_output=True, text=True)
    assert ended.stdout == f"{{0: {times}}}\n", ended.stderr[-3000:]


def test_a_worker_told_to_stop_while_the_provider_refuses_everything_ends(database_url: str, tmp_path: Path) -> None:
    with SendGridServer() as server:
        server.plan_chaos(1, [refuse_429(reset_in=0.1)], seed=1)
        given = {"mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": server.url, "from_email": "dana@example.org"}
        rt = runtime.build(settings_for(tmp_path, database_url, postal_address="PO Box 12", **given))
        for _ in range(30):
            sign_up(rt)
        rt.close()
        whole = given | {"database_url": database_url, "postal_address": "PO Box 12", "tick_seconds": 0.1, "batch_size": 2}
        env = environment(tmp_path, **whole)
        with running([*NURTURE, "worker"], env, tmp_path / "log") as worker:
            assert until(lambda: server.requests >= 3, 120), (tmp_path / "log").read_text()[-3000:]
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0, (tmp_path / "log").read_text()[-3000:]
