"""`nurture config`: what is in force, and where it comes from."""

import json
from dataclasses import asdict, dataclass

import click

from nurture import log, runtime
from nurture import settings as configuration
from nurture.cli.text import Command
from nurture.config import LOGO_FACT
from nurture.services.settings import desk_settings
from nurture.settings import DEFINITIONS, SettingRefused, Settings, SettingSource, of_the_desk, variable
from nurture.store.core.database import DatabaseRefused


@dataclass(frozen=True)
class _Shown:
    """One setting as it is printed. `source`: default, environment, desk, or the file and line that set it."""

    name: str
    value: str
    source: str
    secret: bool


@click.command(cls=Command, epilog="Example:  nurture config --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(as_json: bool) -> None:
    """Print every setting that is in force, and where its value comes from.

    That is the default, the environment, a line of .env, or the desk. A secret is shown as “set” or “not set” only. Without
    a database the desk's values are unknown, which is said.
    """
    sources, given = configuration.read_sources(), configuration.load()
    log.quiet()
    in_force, desk, unknown = _at_the_desk(given)
    shown = [_shown(name, in_force, sources.get(name), name in desk) for name in DEFINITIONS]
    file = configuration.ENV_FILE.resolve()
    if as_json:
        told = {
            "settings": [asdict(each) for each in shown],
            "env_file": str(file) if file.exists() else None,
            "instance_dir": str(given.instance_dir.resolve()),
            "desk": unknown or "known",
        }
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    widest = max(len(each.name) for each in shown)
    for each in shown:
        click.echo(f"{each.name:<{widest}}  {each.value}  ({each.source})")
    click.echo(f"\nInstance folder: {given.instance_dir.resolve()}")
    click.echo(f"File: {file}" if file.exists() else f"File: none ({file} is not there)")
    if unknown:
        click.echo(f"What the desk says is unknown: {unknown}")


def _at_the_desk(given: Settings) -> tuple[Settings, frozenset[str], str]:
    """The settings in force, those of them that the desk says, and why these are unknown, if they are."""
    try:
        rt = runtime.build(given)
    except (SettingRefused, DatabaseRefused) as refused:
        return given, frozenset(), str(refused)
    try:
        names = desk_settings.said_at_the_desk(rt)
    finally:
        rt.close()
    return rt.settings, names & (of_the_desk(given) | {LOGO_FACT}), ""


def _shown(name: str, settings: Settings, source: SettingSource | None, is_desk: bool) -> _Shown:
    value = getattr(settings, name)
    is_set = value is not None and value != ""
    if name == "instance_dir":
        text = str(settings.instance_dir.resolve())
    elif name == LOGO_FACT and is_desk:
        text = "as the desk says"
    elif DEFINITIONS[name].is_secret:
        text = "set" if is_set else "not set"
    elif isinstance(value, float) and value.is_integer():
        text = str(int(value))
    else:
        text = str(value) if is_set else "not set"
    place = f"{source.file}:{source.line}" if source and source.file else "environment" if source else "default"
    return _Shown(variable(name), text, "desk" if is_desk else place, DEFINITIONS[name].is_secret)
