"""Starts `nurture` commands as processes of their own without waiting for the interpreter and its modules to load.

One process loads everything and forks for each command. The command then runs as it would anywhere else: own process id, own
session, own environment and output, and the interpreter ends as it always does. Only what happens while modules load is not
tested by it; for that, and for anything that an environment changes about the interpreter, start a fresh one.
"""

import contextlib
import gc
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_LONGEST_START = 120


class ForkedProcess:
    """Like subprocess.Popen of a command that is running; `returncode` is negative for a signal."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection, self.pid = connection, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                said = self._connection.recv(64)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("nurture", timeout or 0) from None
            assert said, "the fork server has ended"
            self.returncode = int(said)
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """One server, from the first command to the end of this process."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="nurture-fork-", dir="/tmp")  # a socket's path has room for 107 bytes
        self._path = str(Path(folder) / "socket")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NURTURE_")}
        # The server reads its standard input to the end, which comes when this process ends.
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", self._path], cwd=_ROOT, env=environment, stdin=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + _LONGEST_START
        while not Path(self._path).exists():
            assert self._server.poll() is None, "the fork server has ended"
            assert time.monotonic() < until, "the fork server did not start"
            time.sleep(0.01)

    def start(
        self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, stdin: int, stdout: int, stderr: int
    ) -> ForkedProcess:
        """Start `nurture ARGUMENTS` with these file descriptors."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(self._path)
        wanted = json.dumps({"arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}).encode()
        socket.send_fds(connection, [len(wanted).to_bytes(8, "big")], [stdin, stdout, stderr])
        connection.sendall(wanted)
        connection.settimeout(_LONGEST_START)
        return ForkedProcess(connection, int(connection.recv(64)))


_servers: dict[int, ForkServer] = {}


def fork_server() -> ForkServer:
    """The server of this process."""
    if os.getpid() not in _servers:
        _servers[os.getpid()] = ForkServer()
    return _servers[os.getpid()]


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, files, _, _ = socket.recv_fds(connection, 8, 3)
    length, found = int.from_bytes(head, "big"), b""
    while len(found) < length:
        found += connection.recv(length - len(found))
    wanted: dict[str, Any] = json.loads(found)
    return wanted, files


def _become(wanted: dict[str, Any], files: Sequence[int]) -> None:
    """Turn this fresh child into the process that was asked for."""
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    for target, source in enumerate(files):
        os.dup2(source, target)
        os.close(source)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    sys.argv[1:] = wanted["arguments"]


def _serve(path: str) -> bool:
    """Fork for each connection. Returns True in a child, which then is the process asked for; False when it is over."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path + ".new")
    listener.listen(64)
    Path(path + ".new").rename(path)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as waiting:
        for each in (listener, woken, 0):
            waiting.register(each, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in waiting.select()}
            if woken in ready:
                os.read(woken, 4096)
            while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                connection = running.pop(ended[0])
                with connection, contextlib.suppress(OSError):  # whoever started it may be gone
                    connection.sendall(str(os.waitstatus_to_exitcode(ended[1])).encode())
            if 0 in ready and not os.read(0, 1):
                shutil.rmtree(Path(path).parent)
                return False
            if listener.fileno() in ready:
                connection, _ = listener.accept()
                wanted, files = _receive(connection)
                child = os.fork()
                if not child:
                    for mine in (listener, connection, *running.values()):
                        mine.close()
                    os.close(woken)
                    os.close(waker)
                    _become(wanted, files)
                    return True
                for file in files:
                    os.close(file)
                running[child] = connection
                connection.sendall(str(child).encode())


def _load() -> None:
    from importlib import import_module

    from nurture.cli.main import COMMANDS

    for module in sorted({module for module, _ in COMMANDS.values()} | {"server", "demonstration", "buffering_worker"}):
        import_module(f"nurture.cli.{module}")
    for name in (
        "nurture.dispatch", "nurture.scheduler", "nurture.services.operations.jobs", "nurture.services.letters.publishing",
        "nurture.mailers.outbox", "nurture.mailers.smtp", "nurture.mailers.sendgrid.mailer", "nurture.mailers.sendgrid.lists",
        "email_validator", "zxcvbn", "psycopg", "alembic.command",
    ):  # fmt: skip
        import_module(name)
    gc.collect()
    gc.freeze()  # or each child walks through all of it when it ends


if __name__ == "__main__":
    _load()
    if _serve(sys.argv[1]):
        sys.argv[0] = "-c"
        from nurture.cli.main import main

        main()
