"""Fixtures: real databases, a clock that is a value, and the runtime over them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings as hypothesis_settings

from nurture import runtime
from nurture.app import create_app
from nurture.ids import new_id
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.settings import Settings, load
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
    "test_dispatch.py",
    "services/sequences/test_many_edits.py",
    "services/sequences/test_enrollments.py",
)


_ON_SQLITE = ("web", "services", "cli", "journeys", "house", "letters", "mailers")
"""Where the same statements run on both kinds of database, which the tests of store and delivery prove."""


def pytest_addoption(parser: pytest.Parser) -> None:
    help_ = "run every test that uses a database on SQLite and on PostgreSQL, as `make test-all` does"
    parser.addoption("--both-databases", action="store_true", help=help_)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On which kinds of database a test runs that asks for one and does not say so itself.

    On both in the folders of store and delivery, where it is marked `both_databases`, and with --both-databases.
    """
    marks = list(metafunc.definition.iter_markers())
    names = [name for mark in marks if mark.name == "parametrize" for name in mark.args[:1]]
    if "database_url" not in metafunc.fixturenames or any("database_url" in name for name in names):
        return
    folder = metafunc.definition.path.relative_to(Path(__file__).parent).parts[0]
    is_on_both = metafunc.config.getoption("--both-databases") or any(mark.name == "both_databases" for mark in marks)
    kinds = ["sqlite"] if folder in _ON_SQLITE and not is_on_both else ["sqlite", "postgresql"]
    metafunc.parametrize("database_url", kinds, indirect=True)


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


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database with the shipped letters, of the kind that `pytest_generate_tests` says."""
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


_apps: list[Flask] = []
"""The one application of this process, whose templates are compiled once."""


@pytest.fixture
def client(rt: Runtime) -> FlaskClient:
    """A browser without script."""
    if not _apps:
        _apps.append(create_app(rt))
    (app,) = _apps
    app.extensions["nurture"] = rt
    return app.test_client()
