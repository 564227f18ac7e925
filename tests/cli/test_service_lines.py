"""Whatever processes in service write is one JSON line per event, and holds nothing that a client sent."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

import pytest
from sqlalchemy import create_engine, text

from nurture import log
from tests.processes import NURTURE, ROOT, Process, answers, environment, free_port, is_up, nurture, running

ADDRESS, NAME, TOKEN = "wilhelmine.q@example.org", "Quackenbush", "tokenthatnobodymayread"
PLANTED = (ADDRESS, NAME, TOKEN, "wilhelmine")

REQUESTS = {
    "a long request line": f"GET /{ADDRESS}/{TOKEN * 400} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": f"GET / HTTP/1.1\r\nHost: x\r\nFrom {ADDRESS}\r\n\r\n",
    "a space in a header's name": f"GET / HTTP/1.1\r\nHost: x\r\nX {ADDRESS}: 1\r\n\r\n",
    "a control character in a value": f"GET / HTTP/1.1\r\nHost: x\r\nX: {ADDRESS}\0\r\n\r\n",
    "an address as the method": f"{ADDRESS} / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an address as the version": f"GET / {ADDRESS}\r\nHost: x\r\n\r\n",
    "no request line at all": f"{ADDRESS}\r\n\r\n",
    "a request target that cannot be read": f"GET http://[{ADDRESS} HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": f"POST /{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: {ADDRESS}\r\n\r\n",
    "a wrong chunk": f"POST /subscribe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{ADDRESS}\r\n",
    "an unknown transfer coding": f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {ADDRESS}\r\n\r\n",
    "too large a header": f"GET / HTTP/1.1\r\nHost: x\r\nX: {ADDRESS * 2000}\r\n\r\n",
    "another protocol": "\x16\x03\x01\x02\x00" + ADDRESS,
    "a query": f"GET /confirm/{TOKEN}?email={ADDRESS}&name={NAME} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a user and password": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {ADDRESS}\r\nConnection: close\r\n\r\n",
    "a NUL in a path": f"GET /{ADDRESS}%00{TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}  # fmt: skip


def send(port: int, request: str) -> None:
    """Raw bytes; whatever comes back is read to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.encode("latin-1"))
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


def lines(path: Path) -> list[dict[str, Any]]:
    """Everything a process wrote. Raises ValueError where a line is not JSON."""
    return [dict(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def nothing_planted(path: Path, *more: str) -> None:
    said = path.read_text("utf-8").lower()
    for secret in (*PLANTED, *more):
        assert secret.lower() not in said, f"a line holds {secret!r}"


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[tuple[int, Path, Process]]:
    """A service of two processes, and where it writes."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = environment(tmp_path, database_url=database_url, listen=f"127.0.0.1:{port}", base_url=url, tick_seconds=0.2)
    with running([*NURTURE, "serve", "--workers", "2"], env, tmp_path / "log", url + "/readyz") as process:
        yield port, tmp_path / "log", process


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_bad_requests_and_killed_processes_are_lines_without_a_value(
    served: tuple[int, Path, Process],
) -> None:
    port, out, process = served
    for request in REQUESTS.values():
        send(port, request)
    first = set(children(process.pid))
    for child in first:
        os.kill(child, signal.SIGKILL)
    while first & set(children(process.pid)) or not children(process.pid) or not is_up(f"http://127.0.0.1:{port}/healthz"):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 0
    found = lines(out)
    nothing_planted(out, "/desk/login/")
    assert found[0]["event"] == "serving"
    assert found[0]["pages"]["Desk"] == f"http://127.0.0.1:{port}/desk/"
    of_the_server = [line for line in found if line.get("logger") == "gunicorn.error"]
    assert any(line["frame"].startswith("gunicorn.workers.base:") for line in of_the_server), "bad requests are heard of"
    assert any("was sent" in line["reason"] for line in of_the_server), "so are killed processes"


def test_a_page_that_fails_names_our_code_and_not_the_token_in_its_path(
    served: tuple[int, Path, Process], database_url: str, tmp_path: Path
) -> None:
    port, out, process = served
    url = f"http://127.0.0.1:{port}"
    form = urlencode({"email": ADDRESS, "first_name": NAME, "time_zone": "UTC", "consent": "on"}).encode()
    urllib.request.urlopen(f"{url}/subscribe", form, timeout=30).close()
    while not (mails := list((tmp_path / "outbox").glob("*.eml"))):
        assert process.poll() is None
        time.sleep(0.05)
    message = message_from_bytes(mails[0].read_bytes(), policy=default)
    body = message.get_body(("plain",)) if isinstance(message, EmailMessage) else None
    assert body is not None
    (path,) = set(re.findall(r"/confirm/[\w-]+", body.get_content()))
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(database_url).path)) as db:
            db.execute("ALTER TABLE consents RENAME TO elsewhere")
    else:
        engine = create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE consents RENAME TO elsewhere"))
        engine.dispose()
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(url + path, b"", timeout=30)
    refused.value.close()
    assert refused.value.code in (500, 503)
    nothing_planted(out, path.rsplit("/", 1)[1])
    (line,) = [line for line in lines(out) if line["event"] in ("page_failed", "database_unreachable")]
    assert re.fullmatch(r"nurture\.store\.[\w.]+:\d+", line["frame"])
    assert line["endpoint"] == "subscriber.confirm_now"
    assert re.search(r":\d+$", line["process"])
    code = {"sqlite_error": "SQLITE_ERROR"} if database_url.startswith("sqlite") else {"sqlstate": "42P01"}
    assert {key: line.get(key) for key in code} == code


@pytest.mark.parametrize("command", ["worker", "tick"])
def test_what_sends_without_pages_writes_json_also_when_its_broker_is_away(
    command: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from tests.servers.postgres import Postgres

    server: Postgres = request.getfixturevalue("postgres")
    name = f"lines_{command}"
    server.create(name, template=request.getfixturevalue("postgres_template"))
    broker = f"redis://:{TOKEN}@127.0.0.1:{free_port()}/0"
    env = environment(tmp_path, database_url=server.url(name), broker_url=broker, tick_seconds=0.2)
    out = tmp_path / "out"
    if command == "tick":
        ended = nurture("tick", env=env)
        assert ended.returncode == 0, ended.stderr
        out.write_text(ended.stdout + ended.stderr)
        assert lines(out)[0]["claimed"] == 0
    else:
        with running([*NURTURE, "worker"], env, out):
            while not (out.exists() and "library_message" in out.read_text()):  # the broker's library says it cannot connect
                time.sleep(0.05)
        assert {"scheduler_started", "scheduler_stopped"} <= {line["event"] for line in lines(out)}
    nothing_planted(out)


PROGRAM = f"""
import asyncio, gc, logging, sys, threading, warnings
from nurture import log

def fail():
    raise LookupError({ADDRESS!r})

class Unraisable:
    def __del__(self):
        fail()

async def forgotten():
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)

with log.json_only():
    warnings.warn({ADDRESS!r}, UserWarning)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Unraisable()
    asyncio.run(forgotten())
    print({ADDRESS!r}, 1, {NAME!r})
    print({ADDRESS!r}, file=sys.stderr)
    logging.getLogger("some.library").warning("%d of them", {ADDRESS!r})
    logging.getLogger("some.library").error("to {ADDRESS}")
    fail()
"""


def test_warnings_prints_and_exceptions_that_nobody_caught_are_lines_without_a_value(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", PROGRAM], env=environment(tmp_path), cwd=ROOT, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    (tmp_path / "out").write_text(ended.stdout + ended.stderr)
    found = lines(tmp_path / "out")
    nothing_planted(tmp_path / "out")
    assert [(line["event"], line.get("logger"), line.get("error")) for line in found] == [
        ("library_message", "py.warnings", None),
        ("exception_uncaught", None, "LookupError"),
        ("exception_uncaught", None, "LookupError"),
        ("library_message", "asyncio", "LookupError"),
        ("library_message", "stdout", None),
        ("library_message", "stderr", None),
        ("library_message", "some.library", None),
        ("library_message", "some.library", None),
        ("exception_uncaught", None, "LookupError"),
    ]
    assert found[0]["reason"] == "UserWarning"
    assert all(line["frame"] and line["process"] for line in found if line["event"] == "exception_uncaught")


def test_a_server_started_by_gunicorn_itself_can_use_the_same_lines(tmp_path: Path) -> None:
    port = free_port()
    env = environment(tmp_path, tick_seconds=0.2)
    assert nurture("init", env=env).returncode == 0
    command = [
        sys.executable, "-m", "gunicorn", "--logger-class", "nurture.cli.server.ServerLogger", "--no-control-socket",
        "-k", "gthread", "-b", f"127.0.0.1:{port}", "wsgi:app",
    ]  # fmt: skip
    with running(command, env, tmp_path / "out", f"http://127.0.0.1:{port}/healthz"):
        answers(f"http://127.0.0.1:{port}/readyz")
        for request in REQUESTS.values():
            send(port, request)
    assert any(line.get("logger") == "gunicorn.error" for line in lines(tmp_path / "out"))
    nothing_planted(tmp_path / "out")


def test_a_line_is_written_by_one_call_and_an_encoding_cannot_stand_in_its_way(tmp_path: Path) -> None:
    program = "from nurture import log; log.configure(); log.get('x').warning('something', reason='ä \\udcfc “')"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(tmp_path) | {"PYTHONIOENCODING": "ascii"}, cwd=ROOT,
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert json.loads(ended.stderr)["reason"] == "ä \udcfc “"


@pytest.mark.parametrize("key", ["frame", "endpoint", "sqlstate", "sqlite_error", "process", "pages"])
def test_the_keys_that_name_code_pass(key: str) -> None:
    assert key in log.ALLOWED
