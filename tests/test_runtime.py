"""What every process of one installation must agree on."""

from datetime import timedelta
from pathlib import Path

import pytest

from nurture import runtime
from nurture.clock import FastClock, SystemClock
from nurture.settings import SettingRefused, load
from tests.conftest import settings_for


def test_processes_share_the_timeline_of_a_fast_clock(database_url: str, tmp_path: Path) -> None:
    first = runtime.build(settings_for(tmp_path, database_url, clock_speed=86_400))
    second = runtime.build(settings_for(tmp_path, database_url, clock_speed=86_400))
    assert isinstance(first.clock, FastClock)
    assert isinstance(second.clock, FastClock)
    assert first.clock.origin == second.clock.origin
    assert first.clock.now() > first.clock.real_now()
    assert first.clock.stretch(timedelta(seconds=1)) == timedelta(days=1)
    first.close()
    second.close()


def test_a_changed_speed_goes_on_from_where_the_timeline_is(database_url: str, tmp_path: Path) -> None:
    before = runtime.build(settings_for(tmp_path, database_url, clock_speed=1_000_000))
    reached = before.clock.now()
    before.close()
    after = runtime.build(settings_for(tmp_path, database_url, clock_speed=2))
    assert reached < after.clock.now() < reached + timedelta(days=365)
    after.close()


def test_the_real_clock_is_the_default(database_url: str, tmp_path: Path) -> None:
    rt = runtime.build(settings_for(tmp_path, database_url))
    assert type(rt.clock) is SystemClock
    assert abs(rt.clock.now() - rt.clock.real_now()) < timedelta(seconds=5)
    rt.close()


def test_a_key_ring_keeps_every_key_that_stored_values_need(database_url: str, tmp_path: Path) -> None:
    old, new = "o" * 32, "n" * 32
    from nurture.store.core.database import Database
    from nurture.store.core.schema import app_state

    database = Database(database_url)
    with database.begin() as db:
        db.execute(app_state.delete())
    database.close()
    for ring, fits in ((old, True), (f"{new},{old}", True), (f"{old},{new}", True), (new, False)):
        settings = settings_for(tmp_path, database_url, field_keys=ring)
        if fits:
            runtime.build(settings).close()
        else:
            with pytest.raises(SettingRefused, match="do not fit its database"):
                runtime.build(settings)
    with pytest.raises(SettingRefused, match="shorter than 32"):
        runtime.build(settings_for(tmp_path, database_url, field_keys="short"))


def test_the_generated_secret_is_made_once(tmp_path: Path) -> None:
    settings = load(_env_file=None, instance_dir=tmp_path / "fresh")
    assert runtime.secret(settings) == runtime.secret(settings)
    assert len(runtime.secret(settings)) == 64


def test_no_new_key_is_made_for_a_database_that_was_made_with_another(database_url: str, tmp_path: Path) -> None:
    deployed = load(_env_file=None, instance_dir=tmp_path / "deployed", database_url=database_url)
    with pytest.raises(SettingRefused, match="No new key was made"):
        runtime.build(deployed, migrate=True)
    assert not (tmp_path / "deployed" / "secret.key").exists()
    joining = deployed.model_copy(update={"secret_key": settings_for(tmp_path).secret_key})
    runtime.build(joining, migrate=True).close()
    assert not (tmp_path / "deployed" / "secret.key").exists()
