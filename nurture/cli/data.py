"""`nurture emails …`: letters in and out, as the files they are."""

from pathlib import Path

import click

from nurture import runtime
from nurture import settings as configuration
from nurture.services import publishing


@click.group(epilog="Example:  nurture emails export ketamine-and-talk-therapy ./letters")
def emails() -> None:
    """Letters as files: Markdown with front matter."""


@emails.command("import", epilog="Example:  nurture emails import ./letters")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def import_(folder: Path) -> None:
    """Load a sequence from FOLDER (sequence.yaml and NN-name.md files); a changed letter gets a new edition."""
    rt = runtime.build(configuration.load())
    loaded = publishing.load_folder(rt, folder)
    rt.close()
    if loaded:
        click.echo(f"{loaded.sequence}: {loaded.letters} letters, {loaded.published} of them changed.")


@emails.command(epilog="Example:  nurture emails export ketamine-and-talk-therapy ./letters")
@click.argument("sequence")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def export(sequence: str, folder: Path) -> None:
    """Write SEQUENCE into FOLDER, byte for byte as it was loaded."""
    rt = runtime.build(configuration.load())
    count = publishing.export_folder(rt, sequence, folder)
    rt.close()
    click.echo(f"Wrote {count} letters to {folder}.")
