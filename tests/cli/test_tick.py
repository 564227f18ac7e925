"""An installation whose only scheduler is cron: each `nurture tick` is a new process, and together they do everything."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from nurture import runtime
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.services.operations import jobs
from nurture.store.core.schema import heartbeats, subscribers
from tests.conftest import settings_for
from tests.people import sign_up
from tests.processes import environment, nurture
from tests.servers.sendgrid import KEY, SendGridServer


def tick(env: dict[str, str]) -> dict[str, Any]:
    """What cron does every minute."""
    ended = nurture("tick", "--json", env=env)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def later(rt: Runtime, **by: float) -> None:
    """Let time pass for the jobs: each began so much earlier."""
    with rt.database.begin() as db:
        for name, at in db.execute(select(heartbeats.c.name, heartbeats.c.at).where(heartbeats.c.name.like("job.%"))).all():
            db.execute(update(heartbeats).where(heartbeats.c.name == name).values(at=at - timedelta(**by)))


def people(rt: Runtime) -> int:
    with rt.database.read() as db:
        return int(db.scalar(select(func.count()).select_from(subscribers)) or 0)


def test_cron_alone_deletes_sign_ups_nobody_confirmed(database_url: str, tmp_path: Path) -> None:
    fast = {"clock_speed": 1_000_000}  # seven days are 0.6 s
    rt = runtime.build(settings_for(tmp_path, database_url, **fast))
    sign_up(rt)
    env = environment(tmp_path, database_url=database_url, secret_key=rt.env_settings.secret_key.get_secret_value(), **fast)  # type: ignore[union-attr]
    rt.clock.sleep(1)
    assert "retention" in tick(env)["jobs"]
    assert people(rt) == 0
    sign_up(rt)
    rt.clock.sleep(1)
    assert "retention" not in tick(env)["jobs"]
    assert people(rt) == 1, "an hour between two runs"
    later(rt, minutes=59)
    assert "retention" not in tick(env)["jobs"]
    later(rt, minutes=1)
    tick(env)
    assert people(rt) == 0
    rt.close()


def test_cron_alone_publishes_what_was_handed_over(tmp_path: Path) -> None:
    env = environment(tmp_path / "instance")
    assert nurture("init", env=env).returncode == 0
    out = tmp_path / "letters"
    nurture("letters", "export", "ketamine-and-talk-therapy", str(out), env=env)
    letter = out / "01-history.md"
    letter.write_text(letter.read_text("utf-8").replace("# Letter 1", "# The first letter", 1) + "\nOne more line.\n", "utf-8")
    handed = nurture("letters", "import", "--background", str(out), env=env)
    assert handed.returncode == 0, handed.stderr
    assert "publish" in tick(env)["jobs"]
    (newest, *_) = json.loads(nurture("letters", "publications", "--json", env=env).stdout)
    assert (newest["sequence"], newest["state"]) == ("ketamine-and-talk-therapy", "published")


def test_cron_alone_keeps_the_lists_of_the_provider(tmp_path: Path) -> None:
    with SendGridServer() as server:
        settings = {
            "mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": server.url, "from_email": "dana@oak.example",
            "postal_address": "PO Box 12",
        }  # fmt: skip
        env = environment(tmp_path, **settings)
        assert nurture("init", env=env).returncode == 0
        assert {"suppressions_push", "suppressions_pull"} <= set(tick(env)["jobs"])


def test_every_job_of_the_scheduler_is_done_by_cron_and_a_tick_every_time(tmp_path: Path) -> None:
    env = environment(tmp_path)
    assert nurture("init", env=env).returncode == 0
    everything = [job.name for job in jobs.JOBS]
    assert tick(env)["jobs"] == everything
    assert "tick" in tick(env)["jobs"]
    text = nurture("tick", env=env)
    assert "claimed" in text.stdout


def test_a_job_that_fails_keeps_no_other_from_running_and_cron_hears_of_it(tmp_path: Path) -> None:
    env = environment(tmp_path)
    assert nurture("init", env=env).returncode == 0
    with closing(sqlite3.connect(tmp_path / "nurture.db")) as db:
        db.execute("DROP TABLE images")
    ended = nurture("tick", "--json", env=env)
    found = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert found["failed"] == ["retention"]
    assert {"tick", "publish", "suppressions_pull"} <= set(found["jobs"])
    (line,) = (json.loads(line) for line in ended.stderr.splitlines() if '"job_failed"' in line)
    assert line["kind"] == "retention"


@pytest.mark.parametrize("job", jobs.JOBS, ids=lambda job: job.name)
def test_every_job_has_an_interval_and_a_name_that_fits_its_column(job: jobs.Job, tmp_path: Path) -> None:
    assert job.interval(settings_for(tmp_path)) > 0
    assert len(f"job.{job.name}") <= 40


def test_several_publications_handed_over_are_all_done_by_one_tick(tmp_path: Path) -> None:
    rt = runtime.build(settings_for(tmp_path), migrate=True)
    publishing.load_shipped(rt)
    out = tmp_path / "letters"
    publishing.export_folder(rt, "ketamine-and-talk-therapy", out)
    letter = out / "01-history.md"
    for line in ("One.", "Two."):
        letter.write_text(letter.read_text("utf-8") + f"\n{line}\n", "utf-8")
        publishing.ask(rt, out, "Dana")
    env = environment(tmp_path, secret_key=rt.env_settings.secret_key.get_secret_value())  # type: ignore[union-attr]
    tick(env)
    states = [each.state.value for each in publishing.under_way(rt)[:2]]
    rt.close()
    assert states == ["published", "published"]
