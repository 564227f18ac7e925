"""A process of the service for the harness to kill: the real runtime and its jobs in a tight loop, its pages if asked.

It is forked from a parent in which the libraries are loaded and our own modules are not (see harness.NURSERY): a thousand can
be born and killed in minutes, and NURTURE_CRASH_AT is read as anywhere else, when nurture.failpoints is imported. Hence no
import of nurture at the top of this file.
"""

import ctypes
import os
import signal
import threading
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Life:
    """What a process is born with."""

    environment: dict[str, str]
    """Its NURTURE_ variables, and nothing of anybody else's."""
    log: Path
    lease_seconds: float
    evidence_seconds: float
    give_up_seconds: float
    port: int | None = None
    """Where it serves its pages, the webhook among them."""
    sends: bool = True
    """Whether it looks for due mail."""
    pause_seconds: float = 0.02
    """Between two looks at the clock."""

    @property
    def ready(self) -> Path:
        """There as soon as it is at work."""
        return self.log.with_suffix(".ready")

    @property
    def send_within_seconds(self) -> float:
        """As in the service, a small part of a lease."""
        return self.lease_seconds / 2


def _built() -> Any:
    """The runtime. A process that stands still within a transaction keeps SQLite from everybody else: then it is begun anew, as
    whatever supervises the service would do.
    """
    from nurture import runtime, settings
    from nurture.store.core.database import DatabaseRefused

    until = time.monotonic() + 300
    while True:
        try:
            return runtime.build(settings.load(_env_file=None))
        except DatabaseRefused as refused:
            if "database is locked" not in str(refused) or time.monotonic() > until:
                raise


def live(life: Life) -> None:
    """Run until SIGTERM, or until killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives the tests, not even when stopped
    log = os.open(life.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in [name for name in os.environ if name.startswith("NURTURE_")]:
        del os.environ[name]
    os.environ.update(life.environment)
    os.chdir(life.log.parent)

    from nurture import signals
    from nurture.delivery import sender
    from nurture.domain.delivery import FrequencyCaps

    sender.SEND_WITHIN_SECONDS = life.send_within_seconds

    rt = _built()
    rt.timeouts = replace(
        rt.timeouts,
        lease=timedelta(seconds=life.lease_seconds),
        evidence=timedelta(seconds=life.evidence_seconds),
        give_up=timedelta(seconds=life.give_up_seconds),
    )
    rt.frequency_caps = FrequencyCaps(
        timedelta(), 1000, 1000
    )  # five letters in a second: the timeline of these tests knows no days
    signals.stop_when_told(rt.stopping)
    life.ready.touch()
    if life.port is not None:
        _serve(rt, life.port)
    if life.sends:
        _work(rt, life.pause_seconds)
    else:
        rt.stopping.wait()
    rt.close()


def _work(rt: Any, pause_seconds: float) -> None:
    """What nurture.scheduler starts, without its minutes between two looks."""
    from nurture import log
    from nurture.delivery.reconcile import reconcile
    from nurture.delivery.sender import Sender
    from nurture.delivery.tick import tick

    sender = Sender(rt)
    while not rt.stopping.is_set():
        try:
            tick(rt, sender.submit)
            reconcile(rt)
        except Exception as error:  # tried again, as the scheduler does: a database that restarts is no reason to end
            log.get(__name__).error("job_failed", exc_info=error)
        rt.stopping.wait(pause_seconds)
    sender.close()


def _serve(rt: Any, port: int) -> None:
    from werkzeug.serving import make_server

    from nurture.app import create_app

    server = make_server("127.0.0.1", port, create_app(rt), threaded=True)
    threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()
