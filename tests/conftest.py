"""Fixtures: real databases, a clock that is a value, and the runtime over them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import settings as hypothesis_settings

from nurture import runtime
from nurture.app import create_app
from nurture.runtime import Runtime
from nurture.services import publishing
from nurture.settings import Settings, load
from nurture.words import new_id
from tests.clocks import ManualClock
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis

hypothesis_settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of the code
hypothesis_settings.load_profile("untimed")

SECRET = "a secret that only tests know, and long enough"


_LONG = (
    "faults",
    "journeys",
    "cli",
    "delivery",
    "test_fleet.py",
    "services/test_many_edits.py",
    "services/test_enrollments.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process is left alone with it at the end."""
    root = Path(__file__).parent
    ranks = {item.nodeid: item.path.relative_to(root).as_posix().startswith(_LONG) for item in items}
    items.sort(key=lambda item: not ranks[item.nodeid])


@pytest.fixture(autouse=True)
def _nobody_elses_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the environment, or the .env, of whoever runs it."""
    import os

    for name in [name for name in os.environ if name.startswith("NURTURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of our own."""
    with Postgres() as server:
        yield server


@pytest.fixture
def redis() -> Iterator[Redis]:
    """A Redis server of one test's own."""
    with Redis() as server:
        yield server


def settings_for(folder: Path, url: str | None = None, **given: object) -> Settings:
    """Settings of a test's installation, in which any number of readers may sign up in an hour unless a test says otherwise."""
    many: dict[str, object] = {"confirmations_per_hour": 1_000_000}
    return load(_env_file=None, instance_dir=folder, secret_key=SECRET, database_url=url, **many | given)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty installation on SQLite with the shipped letters, to copy."""
    folder = tmp_path_factory.mktemp("template")
    rt = runtime.build(settings_for(folder), migrate=True)
    publishing.load_shipped(rt)
    rt.close()
    return folder / "nurture.db"


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same on PostgreSQL."""
    postgres.create("template_nurture")
    rt = runtime.build(settings_for(tmp_path_factory.mktemp("pg"), postgres.url("template_nurture")), migrate=True)
    publishing.load_shipped(rt)
    rt.close()
    return "template_nurture"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database with the shipped letters: every test that asks for one runs on both kinds."""
    if request.param == "sqlite":
        copy = tmp_path / "nurture.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), copy)
        yield f"sqlite:///{copy}"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        name = f"test_{new_id()}"
        server.create(name, template=request.getfixturevalue("postgres_template"))
        yield server.url(name)
        server.drop(name)


@pytest.fixture
def clock() -> ManualClock:
    """Monday, ten in the morning in New York."""
    return ManualClock()


@pytest.fixture
def rt(database_url: str, tmp_path: Path, clock: ManualClock) -> Iterator[Runtime]:
    """A runtime with the outbox mailer."""
    built = runtime.build(settings_for(tmp_path, database_url, from_name="Dana from Oak Street"))
    built.clock = clock
    yield built
    built.close()


@pytest.fixture
def client(rt: Runtime) -> FlaskClient:
    """A browser without script."""
    return create_app(rt).test_client()
