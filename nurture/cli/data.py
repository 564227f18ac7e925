"""`nurture emails …`: letters in and out, as the files they are."""

import json
import sys
from datetime import datetime
from pathlib import Path

import click

from nurture import runtime
from nurture import settings as configuration
from nurture.cli.mail import who
from nurture.services import publishing


@click.group(epilog="Example:  nurture emails export ketamine-and-talk-therapy ./letters")
def emails() -> None:
    """Letters as files: Markdown with front matter."""


@emails.command("import", epilog="Example:  nurture emails import ./letters")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--background", is_flag=True, help="Let the service do it, and look with `emails published`.")
def import_(folder: Path, background: bool) -> None:
    """Load a sequence from FOLDER (sequence.yaml and NN-name.md files); a changed letter gets a new edition.

    First every letter is filled for every living reader. If it would break for one, nothing is published, and you are told for
    how many and why.
    """
    rt = runtime.build(configuration.load())
    try:
        if background:
            publishing.ask(rt, folder, who())
            click.echo("Handed over. `nurture emails published` shows how far it is; the service must be running.")
            return
        loaded = publishing.load_folder(rt, folder, by=who(), tell=_progress())
    finally:
        rt.close()
    if loaded:
        click.echo(f"{loaded.sequence}: {loaded.letters} letters, {loaded.published} of them changed.")


def _progress() -> publishing.Tell:
    """Says on a terminal how many readers are through."""

    def tell(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rTried on {done:,} of {total:,} readers", nl=done >= total, err=True)

    return tell


@emails.command(epilog="Example:  nurture emails published --json")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def published(as_json: bool) -> None:
    """The last times letters were published, or refused, and how far one is that is under way."""
    rt = runtime.build(configuration.load())
    found = publishing.under_way(rt)
    rt.close()
    if as_json:
        keys = ("id", "sequence", "state", "asked", "by", "done", "total", "troubles", "finished")
        click.echo(json.dumps([{key: getattr(each, key) for key in keys} for each in found], default=_plain, indent=2))
        return
    for each in found:
        how_far = f"{each.done:,} of {each.total:,} readers tried" if each.total else "no reader to try it on"
        click.echo(f"{each.asked:%Y-%m-%d %H:%M}  {each.state.value:<9}  {each.sequence}, by {each.by}; {how_far}")
        for trouble in each.troubles:
            click.echo(f"                  {trouble}")
    if not found:
        click.echo("Nothing has been published yet. `nurture init` loads the letters that come with the service.")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@emails.command(epilog="Example:  nurture emails export ketamine-and-talk-therapy ./letters")
@click.argument("sequence")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def export(sequence: str, folder: Path) -> None:
    """Write SEQUENCE into FOLDER, byte for byte as it was loaded."""
    rt = runtime.build(configuration.load())
    count = publishing.export_folder(rt, sequence, folder)
    rt.close()
    click.echo(f"Wrote {count} letters to {folder}.")
