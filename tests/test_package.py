"""The wheel and the sdist, built from the tracked files, and the service as it runs from an installed wheel.

The wheel goes into an empty environment in another folder. What it depends on is not fetched (`make test` needs no registry):
a .pth file lends it the packages of the tests' environment. A folder named in a .pth file is only searched, its own .pth files
are not read (Python manual, "site"), so the editable checkout of that environment stays out of reach.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest

from tests.processes import ROOT, Process, free_port, running

BUILD = """
import importlib, sys
backend = importlib.import_module(sys.argv[1])
print(backend.build_wheel(sys.argv[2]) if sys.argv[3] == "wheel" else backend.build_sdist(sys.argv[2]))
"""


def tracked(folder: Path) -> list[str]:
    """The files of the project, those not committed yet included, and what git ignores left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [name for name in listed.stdout.split("\0") if name and (folder / name).is_file()]


def build(source: Path, out: Path, kind: str) -> Path:
    """Build a wheel or sdist of `source` by the hooks of PEP 517, without a network."""
    backend = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["build-system"]["build-backend"]
    made = subprocess.run(
        [sys.executable, "-c", BUILD, backend, str(out), kind], cwd=source, check=True, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    return out / made.stdout.splitlines()[-1]


@dataclass(frozen=True)
class Built:
    """The project exported, and what was built of it."""

    files: list[str]
    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A wheel and an sdist of the tracked files, and a wheel of that sdist."""
    folder = tmp_path_factory.mktemp("build")
    source, files = folder / "source", tracked(ROOT)
    for name in files:
        if not name.startswith(("tests/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    sdist = build(source, folder, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    (folder / "again").mkdir()
    return Built(files, build(source, folder, "wheel"), sdist, build(unpacked, folder / "again", "wheel"))


def expected_in_wheel(files: list[str]) -> set[str]:
    return {re.sub(r"^templates/", "nurture/templates/", name) for name in files if name.startswith(("nurture/", "templates/"))}


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_file_of_the_package_and_the_templates_and_nothing_else(built: Built) -> None:
    assert members(built.wheel) == expected_in_wheel(built.files)
    assert {"nurture/templates/public/home.html", "nurture/web/static/nurture.css"} <= members(built.wheel)
    assert "nurture/store/migrations/script.py.mako" in members(built.wheel)


def test_a_wheel_of_the_sdist_is_the_same_wheel(built: Built) -> None:
    assert members(built.wheel_of_sdist) == members(built.wheel)
    with tarfile.open(built.sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name for name in built.files if name.startswith(("nurture/", "templates/"))}
    assert wanted | {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "requirements.lock", "wsgi.py"} <= held
    assert not any(name.startswith(("tests", "instance", ".venv")) for name in held)


def test_the_service_does_not_depend_on_what_only_builds_it(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        needed = re.findall(r"^Requires-Dist: ([\w.-]+)(?!.*extra ==)", archive.read(metadata).decode(), re.MULTILINE)
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    assert not {re.split(r"[<>=]", each)[0] for each in backend} & set(needed)


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, and an empty folder to work in."""

    bin: Path
    package: Path
    elsewhere: Path

    def environment(self, **settings: object) -> dict[str, str]:
        """What `env -i` leaves, and the settings given."""
        base = {"PATH": "/usr/bin:/bin", "HOME": str(self.elsewhere.parent), "LANG": "C.UTF-8"}
        return base | {f"NURTURE_{name.upper()}": str(value) for name, value in settings.items()}

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, elsewhere."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=self.elsewhere, env=self.environment() | variables,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, installed by pip into an empty environment."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True, capture_output=True, timeout=300)
    python = folder / "env" / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--disable-pip-version-check", str(built.wheel)],
        check=True, cwd=folder, env={"PATH": os.environ["PATH"], "HOME": str(folder)}, timeout=300,
    )  # fmt: skip
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return Installed(python.parent, site / "nurture", elsewhere)


def test_the_code_that_runs_is_the_wheels(installed: Installed) -> None:
    found = installed.run("python", "-c", "import nurture; print(nurture.__file__)")
    assert found.stdout.strip() == str(installed.package / "__init__.py"), found.stderr


def test_python_dash_m_nurture_is_the_same_program(installed: Installed) -> None:
    module, command = installed.run("python", "-m", "nurture", "--help"), installed.run("nurture", "--help")
    assert (module.returncode, module.stdout) == (0, command.stdout), module.stderr
    assert module.stdout.startswith("Usage: nurture [OPTIONS] COMMAND")


def noon() -> str:
    """A time zone in which it is about noon, so that no quiet hours hold a mail back."""
    ahead = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "UTC"


@dataclass(frozen=True)
class Service:
    """A service that runs, and the folder its mail goes to."""

    url: str
    outbox: Path
    log: Path

    def get(self, path: str) -> str:
        """A page. Raises HTTPError."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **form: str) -> str:
        """Send a form. Raises HTTPError."""
        with urllib.request.urlopen(urllib.request.Request(self.url + path, urlencode(form).encode()), timeout=30) as answer:
            return str(answer.read().decode())

    def mail(self, subject: str, process: Process) -> EmailMessage:
        """Wait, as long as the service lives, for a mail with this subject."""
        while True:
            for path in self.outbox.glob("*.eml"):
                message = message_from_bytes(path.read_bytes(), policy=default)
                assert isinstance(message, EmailMessage)
                if message["Subject"] == subject:
                    return message
            assert process.poll() is None, self.log.read_text()
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def serving(installed: Installed, folder: Path, **variables: str) -> Iterator[tuple[Service, Process]]:
    """`nurture init` and `nurture serve`, in an empty environment and folder."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"instance_dir": folder, "listen": f"127.0.0.1:{port}", "base_url": url, "tick_seconds": 0.2}
    env = installed.environment(**settings) | variables
    made = installed.run("nurture", "init", **env)
    assert made.returncode == 0, made.stderr
    log = folder / "log"
    command = ["env", "-C", str(installed.elsewhere), str(installed.bin / "nurture"), "serve"]
    with running(command, env, log, url + "/healthz") as process:
        yield Service(url, folder / "outbox", log), process


def test_the_installed_service_sends_the_first_mails(installed: Installed, tmp_path: Path) -> None:
    with serving(installed, tmp_path) as (service, process):
        assert "/subscribe" in service.get("/")
        service.get("/healthz")
        service.get("/pages/sources")
        service.get("/static/nurture.css")
        service.post("/subscribe", email="robin@example.org", first_name="Robin", time_zone=noon(), consent="on")
        asked = service.mail("Please confirm your address", process)
        body = asked.get_body(("plain",))
        assert body is not None
        link = re.search(r"/confirm/[\w-]+", body.get_content())
        assert link
        assert "<form" in service.get(link[0])
        service.post(link[0])
        service.mail("Thanks for signing up: here is what to expect", process)
        service.get("/readyz")
    assert process.returncode == 0
    assert not [each.name for each in installed.elsewhere.iterdir()], "nothing is left where it was started"


@pytest.fixture
def damaged(installed: Installed, tmp_path: Path) -> Path:
    """A copy of the installed package, to take something from. Python finds it before the other by PYTHONPATH."""
    copy = tmp_path / "copy"
    shutil.copytree(installed.package, copy / "nurture", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("templates", ["serve"]),
        ("templates/desk/accounts", ["worker"]),
        ("templates/packs", ["letters", "lint"]),
        ("templates/packs/ketamine-and-talk-therapy/letters", ["init"]),
        ("web/static", ["tick"]),
        ("store/migrations/versions", ["init"]),
    ],
)
def test_a_missing_folder_is_one_clear_line_at_the_start(
    installed: Installed, damaged: Path, tmp_path: Path, folder: str, command: list[str]
) -> None:
    shutil.rmtree(damaged / "nurture" / folder)
    refused = installed.run("nurture", *command, PYTHONPATH=str(damaged), NURTURE_INSTANCE_DIR=str(tmp_path / "instance"))
    assert refused.returncode == 2, refused.stderr
    assert re.fullmatch(r"nurture: The installation is incomplete, these are missing: .*\n", refused.stderr)
    assert str(damaged / "nurture" / folder) in refused.stderr


def test_every_folder_of_templates_is_one_that_must_be_there() -> None:
    """What a pack must hold: test_resources.py."""
    resources = importlib.import_module("nurture.resources")
    folders = {path.relative_to(ROOT / "templates").as_posix() for path in (ROOT / "templates").rglob("*") if path.is_dir()}
    assert set(resources.TEMPLATE_FOLDERS) == {folder for folder in folders if not folder.startswith("packs/")}


def test_a_missing_template_is_an_answer_and_no_closed_connection(installed: Installed, damaged: Path, tmp_path: Path) -> None:
    for name in ("home.html", "message.html"):
        (damaged / "nurture" / "templates" / "public" / name).unlink()
    with serving(installed, tmp_path, PYTHONPATH=str(damaged)) as (service, _):
        for path, status in (("/", 500), ("/nowhere", 404)):
            with pytest.raises(HTTPError) as answered:
                service.get(path)
            assert answered.value.code in (status, 500)
            assert answered.value.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert answered.value.read()
            answered.value.close()
