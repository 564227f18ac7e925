"""`nurture init` upgrades an installation of before, and not while a process of that version still uses it."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture import runtime
from nurture.runtime import Runtime
from nurture.store.state import database_record, heartbeats
from tests.cli.outside import call
from tests.cli.test_wrong_folder import PORT
from tests.conftest import SECRET, settings_for


def revision(rt: Runtime) -> str:
    with rt.database.read() as db:
        return str(db.scalar(text("SELECT version_num FROM alembic_version")))


def an_installation_of_before(folder: Path, database_url: str, ticked_ago: float | None, stopped: bool = False) -> Runtime:
    """At the schema before the names changed. `ticked_ago`: seconds since a process last looked for due mail."""
    rt = runtime.build(settings_for(folder / "instance", database_url), migrate=True)
    with rt.database.begin() as db:
        if ticked_ago is not None:
            heartbeats.beat(db, heartbeats.TICK, rt.clock.real_now() - timedelta(seconds=ticked_ago))
        if stopped:
            database_record.write_stop(db, rt.clock.real_now())
    rt.database.migrate("0019")
    return rt


@pytest.mark.both_databases
def test_an_upgrade_that_needs_a_stop_is_refused_while_a_process_runs(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rt = an_installation_of_before(tmp_path, database_url, ticked_ago=3)
    here = {"database_url": database_url, "secret_key": SECRET, **PORT}
    refused = call(monkeypatch, tmp_path, "init", **here)
    assert refused.exit_code == 2
    assert re.search(r"it last looked for due mail \d+ seconds ago", refused.stderr)
    assert "Stop every `nurture serve`, `nurture worker` and `nurture tick`" in refused.stderr
    assert "Nothing was changed." in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert revision(rt) == "0019"
    with rt.database.begin() as db:
        heartbeats.beat(db, heartbeats.TICK, rt.clock.real_now() - timedelta(seconds=61))
    assert call(monkeypatch, tmp_path, "init", **here).exit_code == 0
    assert revision(rt) > "0019"
    rt.close()


@pytest.mark.parametrize(("ticked_ago", "stopped"), [(3.0, True), (None, False), (3600.0, False)])
def test_an_upgrade_goes_on_where_nothing_runs(
    tmp_path: Path, ticked_ago: float | None, stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/instance/nurture.db"
    rt = an_installation_of_before(tmp_path, url, ticked_ago, stopped)
    done = call(monkeypatch, tmp_path, "init", secret_key=SECRET, **PORT)
    assert done.exit_code == 0, done.stderr
    assert revision(rt) > "0019"
    rt.close()


def test_an_upgrade_knows_whose_data_it_is_by_names_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/instance/nurture.db"
    an_installation_of_before(tmp_path, url, None).close()
    refused = call(monkeypatch, tmp_path, "init", **PORT)
    assert refused.exit_code == 2
    assert "encrypted with a key which is not here" in refused.stderr
