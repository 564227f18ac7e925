"""Where settings are read from: the environment, and `.env` in the working directory. The environment wins."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from nurture import env_file
from nurture.errors import NurtureError

PREFIX = "NURTURE_"
DOCUMENTED = "docs/reference.md"
ENV_FILE = Path(".env")
_NO_SETTINGS = frozenset({PREFIX + "CRASH_AT"})
"""Variables of ours that are no settings (nurture.failpoints)."""


@dataclass(frozen=True)
class SettingSource:
    """A value that was set outside the desk, and where."""

    value: str
    file: str = ""
    """Absolute path of the file that sets it; empty for the environment."""
    line: int = 0
    """Of that file, from 1."""


class SettingRefused(NurtureError):
    """A setting is missing or cannot be used; the message names the variable, its value unless secret, and the remedy."""

    exit_code = 2

    def __init__(self, message: str, *names: str, reason: str = "") -> None:
        """`names`: the settings that are refused; `reason`: of a single one, without its value, to follow “which …”."""
        super().__init__(message)
        self.names = frozenset(names)
        self.reason = reason


def read_sources(variables: Collection[str], file: Path | None = ENV_FILE) -> dict[str, SettingSource]:
    """Each of the `variables` that the environment or `file` sets; an empty value sets nothing. Raises SettingRefused."""
    found = _from_file(variables, file) if file is not None else {}
    found |= {name.upper(): SettingSource(value) for name, value in os.environ.items() if value.strip()}
    wrong = [name for name in variables if name in found and _has_surrogates(found[name].value)]
    if wrong:
        raise SettingRefused("\n".join(f"{name} holds a value that is not UTF-8. Set it in UTF-8." for name in wrong))
    return {name: source for name, source in found.items() if name in variables and source.value.strip()}


def unknown_variables(variables: Collection[str]) -> list[str]:
    """What to say of each NURTURE_ variable in the environment that is no setting: most likely it is misspelt.

    Not an error: Kubernetes puts NURTURE_PORT and others there by itself, where a service is called nurture.
    """
    others = [name for name in os.environ if name.startswith(PREFIX) and name not in _NO_SETTINGS and name not in variables]
    return [_unknown(name, variables) for name in sorted(others)]


def _unknown(name: str, variables: Collection[str]) -> str:
    near = get_close_matches(name, variables, 1, 0.75)
    return f"{name} is not a setting. {f'Did you mean {near[0]}?' if near else f'The names are in {DOCUMENTED}, Environment.'}"


def _from_file(variables: Collection[str], file: Path) -> dict[str, SettingSource]:
    path = file.resolve()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if file.is_symlink():
            problem = f"the link points to {path}, which is not there"
            raise SettingRefused(f"{file.absolute()} cannot be read ({problem}).") from None
        return {}
    except OSError as error:
        raise SettingRefused(f"{path} cannot be read ({(error.strerror or 'unknown error').lower()}).") from None
    entries, problems = env_file.parse(content, PREFIX, os.environ)
    problems += [
        env_file.EnvProblem(each.line, _unknown(each.name, variables))
        for each in entries
        if each.name not in variables and each.name not in _NO_SETTINGS
    ]
    if problems:
        lines = sorted(problems, key=lambda each: each.line)
        raise SettingRefused("\n".join(f"{path}:{each.line}: {each.message}" for each in lines))
    return {each.name: SettingSource(each.value, str(path), each.line) for each in entries}


def _has_surrogates(value: str) -> bool:
    """Whether the environment held bytes that are not UTF-8 (PEP 383)."""
    return any("\udc80" <= mark <= "\udcff" for mark in value)


def state_folder() -> Path | None:
    """Where the user this runs as keeps state between two runs, ours in a folder of its own (XDG Base Directory Specification);
    None: a user without a home.
    """
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".local" / "state") / "nurture"
    except RuntimeError:
        return None
