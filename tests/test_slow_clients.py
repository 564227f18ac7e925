"""Clients that say nothing, or little, keep nobody else waiting. Real sockets, a real server with the fewest threads."""

import signal
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nurture.cli.buffering_worker import BODY_SECONDS, HEADER_SECONDS, SEND_SECONDS
from tests.processes import NURTURE, Process, environment, free_port, nurture, running

FORM = b"email=robin%40example.org&consent=on"
HEAD = b"POST /subscribe HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, Process]]:
    """A service with two threads."""
    port = free_port()
    env = environment(tmp_path, listen=f"127.0.0.1:{port}", base_url=f"http://127.0.0.1:{port}", tick_seconds=60)
    assert nurture("init", env=env).returncode == 0
    command = [*NURTURE, "serve", "--threads", "2", "--no-scheduler"]
    with running(command, env, tmp_path / "log", f"http://127.0.0.1:{port}/healthz") as process:
        yield port, process


def connect(port: int, begin: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=120)
    client.sendall(begin)
    return client


def read_all(client: socket.socket) -> bytes:
    found = b""
    try:
        while piece := client.recv(65_536):
            found += piece
    except ConnectionResetError:
        pass
    return found


SLOW = {
    "silent": b"",
    "half a request line": b"GET / HT",
    "half the headers": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
    "half a body": HEAD + b"Content-Length: 36\r\n\r\nemail=",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n24\r\nemail=",
    "half of a second request": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal",
}


def test_twelve_of_each_kind_of_slow_client_hold_no_thread(served: tuple[int, Process]) -> None:
    port, process = served
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(port, begin)) for begin in SLOW.values() for _ in range(12)]
        for path in ("/", "/healthz", "/consultation"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=HEADER_SECONDS * 60) as answer:
                assert answer.status == 200
        for client in clients:
            client.setblocking(False)
        open_still = [client for client in clients if is_open(client)]
        assert len(open_still) == len(clients), "pages went on while all of them were connected"
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def test_clients_that_read_no_answer_hold_a_thread_for_seconds_only(served: tuple[int, Process]) -> None:
    port, _ = served
    asked = b"GET /static/nurture.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500
    with ExitStack() as opened:
        for _ in range(2):  # as many as there are threads
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.sendall(asked)
        with pytest.raises(OSError, match="timed out"):
            while True:  # until what the kernel takes for them is full
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=SEND_SECONDS * 8) as answer:
            assert answer.status == 200


def is_open(client: socket.socket) -> bool:
    try:
        while client.recv(65_536):
            pass
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
    return False


def test_a_silent_client_is_closed_and_a_slow_one_is_answered(served: tuple[int, Process]) -> None:
    port, _ = served
    with connect(port) as silent, connect(port, HEAD) as slow:
        for piece in (b"Connection: close\r\nContent-Length: ", b"36\r\n", b"\r\n", *(bytes([each]) for each in FORM)):
            slow.sendall(piece)
        assert read_all(slow).startswith(b"HTTP/1.1 303")
        assert read_all(silent) == b""
    assert HEADER_SECONDS + BODY_SECONDS < 60


def test_large_bodies_chunks_and_several_requests_at_once_go_on_as_before(served: tuple[int, Process]) -> None:
    port, _ = served
    with connect(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3 + HEAD + b"Connection: close\r\n") as client:
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(FORM), FORM))
        answers = read_all(client)
        assert answers.count(b"HTTP/1.1 200") == 3
        assert answers.count(b"HTTP/1.1 303") == 1
    for size in (100_000, 3_000_000, 20_000_000):
        with connect(port, HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size) as client:
            try:
                client.sendall(b"x" * size)
            except (BrokenPipeError, ConnectionResetError):  # refused without being read
                continue
            assert read_all(client).startswith((b"HTTP/1.1 413", b"")), size
