"""The monitor that is called while sending is healthy: a real HTTP server on loopback counts the calls."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from nurture import runtime
from nurture.domain.delivery import Refused
from nurture.runtime import Runtime
from nurture.services.operations import health, send_blocks
from nurture.services.operations.ping import ping
from nurture.settings import SettingRefused
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.people import a_subscriber, run_tick
from tests.scripted import Answering
from tests.servers.postgres import Postgres


class Monitor:
    """What a monitor was told, and what it answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, str], int]] = []
        self.status = 200
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                monitor.calls.append((self.command, self.path, dict(self.headers), length))
                self.send_response(monitor.status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"OK")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ping/0f1e2d?rid=7"


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    running = Monitor()
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    thread.join()
    running.server.server_close()


@pytest.fixture
def watched(database_url: str, tmp_path: Path, clock: ManualClock, monitor: Monitor) -> Iterator[Runtime]:
    built = runtime.build(settings_for(tmp_path, database_url, ping_url=monitor.url))
    built.clock = clock
    yield built
    built.close()


def test_the_monitor_is_called_once_a_minute_while_sending_is_healthy(
    watched: Runtime, clock: ManualClock, monitor: Monitor
) -> None:
    assert not ping(watched), "no scheduler has looked for mail yet"
    for _ in range(3):
        run_tick(watched)
        assert ping(watched)
        assert not ping(watched), "another process of the fleet, in the same minute"
        clock.advance(seconds=60)
    assert len(monitor.calls) == 3
    method, path, headers, length = monitor.calls[0]
    assert (method, path, length) == ("GET", "/ping/0f1e2d?rid=7", 0)
    assert set(headers) == {"Host", "User-Agent", "Accept", "Connection"}


def test_stopped_overdue_and_silent_sending_calls_nobody(watched: Runtime, clock: ManualClock, monitor: Monitor) -> None:
    run_tick(watched)
    send_blocks.stop_sending(watched, "a wrong letter", "dana")
    assert not ping(watched)
    send_blocks.start_sending(watched)
    a_subscriber(watched)
    clock.advance(minutes=20)
    assert not ping(watched), "mail is overdue"
    run_tick(watched)
    clock.advance(minutes=2)
    assert not ping(watched), "nobody looks for mail"
    run_tick(watched)
    assert ping(watched)
    assert len(monitor.calls) == 1


def test_while_the_provider_refuses_everything_nobody_is_called_between_its_tries_either(
    watched: Runtime, clock: ManualClock, monitor: Monitor
) -> None:
    a_subscriber(watched)
    outbox, watched.mailer = (
        watched.mailer,
        Answering(lambda _: Refused("553 MAIL: not owned by user", timedelta(minutes=5), alarm=True)),
    )
    for _ in range(13):
        run_tick(watched)
        assert not ping(watched)
        assert health.sending_summary(watched) == "stopped: the mail service refuses all mail"
        clock.advance(minutes=5)
    watched.mailer = outbox
    for _ in range(13):
        run_tick(watched)
        clock.advance(minutes=5)
    run_tick(watched)
    assert ping(watched)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_none_is_said_and_followed_nowhere(watched: Runtime, monitor: Monitor, status: int) -> None:
    run_tick(watched)
    monitor.status = status
    with capture_logs() as logged:
        assert not ping(watched)
    assert len(monitor.calls) == 1
    assert logged == [{"event": "ping_failed", "status": status, "log_level": "warning"}]


def test_a_monitor_that_is_away_stops_nothing(tmp_path: Path, database_url: str, clock: ManualClock) -> None:
    rt = runtime.build(settings_for(tmp_path, database_url, ping_url="http://127.0.0.1:1/secret-path"))
    rt.clock = clock
    run_tick(rt)
    with capture_logs() as logged:
        assert not ping(rt)
    rt.close()
    assert logged == [{"event": "ping_failed", "error": "NotConnected", "log_level": "warning"}]


@pytest.mark.parametrize(
    "url",
    [
        "http://hc.example.org/x", "ftp://127.0.0.1/x", "https://user:pass@hc.example.org/x", "https:///x", "hc.example.org/x",
        "https://hc.example.org/a b", "https://hc.example.org/\u00fc", "https://hc.example.org/x\r\nX: y",
    ],
)  # fmt: skip
def test_other_addresses_are_refused_and_not_quoted(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingRefused, match="NURTURE_PING_URL") as refused:
        settings_for(tmp_path, ping_url=url)
    assert url not in str(refused.value)


def test_an_https_address_is_taken_and_never_printed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, ping_url="https://hc.example.org/ping/0f1e2d")
    assert "0f1e2d" not in repr(settings)


def test_a_service_whose_database_is_away_calls_nobody(watched: Runtime, monitor: Monitor, postgres: Postgres) -> None:
    run_tick(watched)
    watched.database.close()
    if watched.database.is_sqlite:
        file = Path(watched.database.url.database or "")
        file.rename(file.with_suffix(".away"))
        file.mkdir()
    else:
        postgres.drop(watched.database.url.database or "")
        postgres.create(watched.database.url.database or "")
    with pytest.raises(Exception, match=r"unable to open|does not exist"):
        ping(watched)
    assert monitor.calls == []
