"""The command line as a stranger finds it: another working directory, and an environment with nothing else in it."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nurture.cli.main import cli
from tests.processes import ROOT, nurture


def run(folder: Path, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """One command to its end in `folder`; `settings` are the only NURTURE_ variables."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    env |= {f"NURTURE_{name.upper()}": str(value) for name, value in settings.items()}
    return nurture(*arguments, env=env, cwd=folder)


def files(folder: Path) -> set[str]:
    """Everything below `folder`."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def call(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str, **settings: object) -> Result:
    """The same in this process, for what does not depend on being one of its own."""
    monkeypatch.chdir(folder)
    for name, value in settings.items():
        monkeypatch.setenv(f"NURTURE_{name.upper()}", str(value))
    return CliRunner().invoke(cli, arguments)
