"""A Redis server of our own: private folder, unix socket only, nothing on disk, gone when the tests end, however they end."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

_SECONDS = 30
"""For a start on a machine that is busy."""


class Redis:
    """One server, from `with Redis() as server` to the end of the block; it can be stopped and started in between."""

    def __init__(self) -> None:
        # Not $TMPDIR: a socket's path has room for 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="nurture-redis-", dir="/tmp"))
        self._socket = self._folder / "socket"
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(unix_socket_path=str(self._socket))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self.client.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """For NURTURE_BROKER_URL."""
        return f"redis+socket://{self._socket}"

    def start(self) -> None:
        """Start, empty; some ten milliseconds. Raises RuntimeError when there is no server, or with its own words."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("redis-server is needed; `make test` installs it, or says how.")
        options = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir", str(self._folder)]
        log = self._folder / "log"
        with log.open("ab") as output:
            # The server ends with the process that started it, killed or not.
            command = ["setpriv", "--pdeathsig=KILL", program, *options]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        until = time.monotonic() + _SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"Redis did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop at once; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_SECONDS)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Standing still: connections stay open, and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False
