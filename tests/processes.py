"""Real processes of the service, as an operator starts them."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.error import HTTPError

from tests.fork_server import ForkedProcess, fork_server

ROOT = Path(__file__).resolve().parents[1]
NURTURE = [sys.executable, "-c", "from nurture.cli.main import main; main()"]
Process: TypeAlias = ForkedProcess | subprocess.Popen[bytes]
SECRET = "a secret that only tests know, and long enough"


def environment(folder: Path, **settings: object) -> dict[str, str]:
    """The environment of a service whose instance lives in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NURTURE_")}
    given = {"instance_dir": folder, "secret_key": SECRET, "confirmations_per_hour": 1_000_000} | settings
    return kept | {"PYTHONPATH": str(ROOT)} | {f"NURTURE_{name.upper()}": str(value) for name, value in given.items()}


def nurture(*arguments: str, env: dict[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, as a process of its own."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as empty:
        process = fork_server().start(arguments, env, cwd, empty.fileno(), out.fileno(), err.fileno())
        try:
            code = process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8"))
    return subprocess.CompletedProcess(["nurture", *arguments], code, *texts)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_up(url: str) -> bool:
    """Whether a URL answers."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except HTTPError as error:
        error.close()
        return False
    except OSError:  # URLError is one
        return False
    return True


def answers(url: str, within: float = 30) -> None:
    """Wait until a URL answers."""
    until = time.monotonic() + within
    while not is_up(url):
        if time.monotonic() > until:
            raise TimeoutError(f"{url} does not answer")
        time.sleep(0.05)


@contextmanager
def running(command: list[str], env: dict[str, str], log: Path, url: str | None = None) -> Iterator[Process]:
    """A process, its output in `log`, until the block ends; with `url`, from when that answers."""
    process: Process
    with log.open("ab") as output, Path(os.devnull).open("rb") as empty:
        if command[: len(NURTURE)] == NURTURE and "NURTURE_CRASH_AT" not in env:  # read while modules load
            arguments = command[len(NURTURE) :]
            process = fork_server().start(arguments, env, ROOT, empty.fileno(), output.fileno(), output.fileno())
        else:
            process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    try:
        if url:
            try:
                answers(url)
            except OSError as error:
                raise AssertionError(f"{command} did not start:\n{log.read_text()[-3000:]}") from error
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
