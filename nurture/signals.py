"""How a process is told to stop."""

import atexit
import os
import signal
import threading

from nurture import log

_log = log.get(__name__)


def stop_when_told(stopping: threading.Event) -> None:
    """Let SIGTERM and SIGINT set `stopping`. Called by the main thread before it starts any other.

    A thread waits for them. A handler would run in the middle of whatever the main thread does, and the locks that setting
    an event or writing a log line takes are perhaps held by exactly that: the process would never end.

    The thread writes its line before it sets the event, and is joined before the interpreter shuts down: a thread that
    is stopped by that while it holds the lock of standard error ends the process with a fatal error. A second signal stays
    pending.
    """
    awaited = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    ending = threading.Event()

    def wait() -> None:
        number = signal.sigwait(awaited)
        if not ending.is_set():
            _log.info("stopping", signal=signal.Signals(number).name)
            stopping.set()

    thread = threading.Thread(target=wait, name="signals", daemon=True)
    thread.start()

    def end() -> None:
        ending.set()
        if thread.is_alive():
            os.kill(os.getpid(), signal.SIGTERM)  # blocked in every thread: the waiting one takes it
        thread.join()

    atexit.register(end)
