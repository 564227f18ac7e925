"""`nurture tick --status`: the exit code a monitor reads, and why."""

import json
import os
import resource
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from nurture import runtime
from nurture.runtime import Runtime
from nurture.store.core.schema import deliveries
from tests.conftest import settings_for
from tests.people import sign_up
from tests.processes import NURTURE, environment, free_port, nurture, running


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[Runtime]:
    built = runtime.build(settings_for(tmp_path), migrate=True)
    yield built
    built.close()


def status(env: dict[str, str]) -> tuple[int, dict[str, Any]]:
    ended = nurture("tick", "--status", "--json", env=env)
    found: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, found


def test_healthy_sending_is_zero(rt: Runtime, env: dict[str, str]) -> None:
    sign_up(rt)
    assert nurture("tick", env=env).returncode == 0
    code, found = status(env)
    assert (code, found["problems"]) == (0, [])


def test_stopped_sending_is_one_and_says_why(rt: Runtime, env: dict[str, str]) -> None:
    nurture("tick", env=env)
    nurture("sending", "stop", "--why", "a wrong letter", env=env)
    code, found = status(env)
    assert code == 1
    assert "a wrong letter" in found["problems"][0]
    said = nurture("tick", "--status", env=env)
    assert said.returncode == 1
    assert "a wrong letter" in said.stdout
    nurture("sending", "start", env=env)
    assert status(env)[0] == 0


def test_overdue_mail_without_a_scheduler_is_one(rt: Runtime, env: dict[str, str]) -> None:
    sign_up(rt)
    assert status(env)[0] == 0, "due just now"
    late = datetime.now(UTC) - timedelta(minutes=40)
    with rt.database.begin() as db:
        db.execute(update(deliveries).values(due_at=late))
    code, found = status(env)
    assert code == 1
    assert "1 mail, the oldest due 40 minutes ago; no scheduler has ever looked" in found["problems"][0]


def test_mail_that_its_sender_left_behind_is_one(rt: Runtime, env: dict[str, str]) -> None:
    """Claimed by a process that was killed, and nobody has looked since: it is not due, and not sent."""
    sign_up(rt)
    past = datetime.now(UTC) - timedelta(minutes=30)
    with rt.database.begin() as db:
        db.execute(update(deliveries).values(state="claimed", lease_until=past, due_at=past))
    code, found = status(env)
    assert code == 1
    assert "overdue: 1 mail" in found["problems"][0]


def test_a_database_that_is_not_there_is_one(tmp_path: Path) -> None:
    code, found = status(environment(tmp_path, database_url="postgresql+psycopg://u:hidden@127.0.0.1:1/x"))
    assert code == 1
    assert "does not answer" in found["problems"][0]
    assert "hidden" not in found["problems"][0]


def ready(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def descendants(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [each for child in found for each in (int(child), *descendants(int(child)))]


def test_pages_on_a_full_disk_are_not_ready(rt: Runtime, tmp_path: Path) -> None:
    """The kernel refuses to make any file longer, as a full disk does."""
    port = free_port()
    env = environment(tmp_path, listen=f"127.0.0.1:{port}", base_url=f"http://127.0.0.1:{port}")
    base = f"http://127.0.0.1:{port}"
    with running([*NURTURE, "serve", "--no-scheduler"], env, tmp_path / "log", base + "/healthz") as process:
        processes = [process.pid, *descendants(process.pid)]
        before = [resource.prlimit(each, resource.RLIMIT_FSIZE) for each in processes]
        for each, (_, hard) in zip(processes, before, strict=True):
            resource.prlimit(each, resource.RLIMIT_FSIZE, (64, hard))
        code, found = ready(base + "/readyz")
        assert code == 503
        assert "disk full" in found["checks"]["writes"]
        for each, limits in zip(processes, before, strict=True):
            resource.prlimit(each, resource.RLIMIT_FSIZE, limits)
        code, found = ready(base + "/readyz")
        assert code == 200
        assert found["checks"]["writes"] == "ok"
        assert "nurture worker" in found["sending"]


def test_a_process_that_is_asked_to_end_records_a_clean_stop(rt: Runtime, tmp_path: Path) -> None:
    from nurture.store.state import database_record

    port = free_port()
    env = environment(tmp_path, listen=f"127.0.0.1:{port}", base_url=f"http://127.0.0.1:{port}", tick_seconds="0.1")
    for number, arguments in enumerate((["serve", "--workers", "2"], ["worker"], ["tick"])):
        sign_up(rt)
        began = datetime.now(UTC)
        if arguments == ["tick"]:
            assert nurture("tick", env=env).returncode == 0
        else:
            with running([*NURTURE, *arguments], env, tmp_path / f"log{number}") as process:
                wait_for_a_tick(rt, began)
            assert process.returncode == 0
        with rt.database.read() as db:
            record = database_record.read(db)
        assert record.last_tick is not None
        assert record.stopped is not None
        assert record.stopped >= record.last_tick > began, arguments


def wait_for_a_tick(rt: Runtime, began: datetime) -> None:
    from nurture.store.state import heartbeats

    until = os.times().elapsed + 60
    while os.times().elapsed < until:
        with rt.database.read() as db:
            last = heartbeats.last_beat(db, heartbeats.TICK)
        if last is not None and last > began:
            return
        rt.stopping.wait(0.05)
    raise AssertionError("no tick came")
