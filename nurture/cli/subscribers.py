"""`nurture subscribers …`: people from files."""

import json
from pathlib import Path

import click

from nurture import log, runtime
from nurture import settings as configuration
from nurture.cli.text import Group
from nurture.domain.list_status import ListStatus
from nurture.services.subscribers import csv_import, csv_import_run
from nurture.services.subscribers.csv_files import MOST_BYTES
from nurture.services.subscribers.csv_import import SUPPRESSED, Becomes, ImportChoices, ImportPreview, ImportStopped
from nurture.services.subscribers.detail import parse_tag

_REASONS = [ListStatus.UNSUBSCRIBED.value, ListStatus.BOUNCED.value, ListStatus.COMPLAINED.value]


@click.group(cls=Group, epilog="Example:  nurture subscribers import ./people.csv --where 'paper form, 12 March'")
def subscribers() -> None:
    """Import people from a file."""


@subscribers.command("import", epilog="Example:  nurture subscribers import ./unsubscribed.csv --left unsubscribed")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--left", type=click.Choice(_REASONS), help="A list of people who left: adds nobody; why, where no column says it."
)
@click.option("--where", default="", help="Where and when they agreed; kept as their consent. Needed unless --left.")
@click.option("--confirmed", is_flag=True, help="They have confirmed to you already; without, each is asked by mail.")
@click.option("--tag", default="", help="Give them all a tag.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(file: Path, left: str | None, where: str, confirmed: bool, tag: str, dry_run: bool, as_json: bool) -> None:
    """Add the people of a CSV FILE, and never write to those its columns call unsubscribed, bounced or complained.

    Exports of Mailchimp, Kit, listmonk, Ghost, Brevo and others are understood as they are. An unknown status stops the import
    before anything is done. With --where you state that each person asked for these letters.
    """
    rt = runtime.build(configuration.load())
    log.quiet()
    try:
        with file.open("rb") as given:
            content = given.read(MOST_BYTES + 1)  # one more is refused with a sentence
        key = csv_import.keep(rt, content, None)
        guessed = csv_import.preview(rt, key).choices
        tag = parse_tag(tag) if tag else ""
        choices = ImportChoices(
            guessed.address, guessed.name, confirmed, " ".join(where.split()), tag, None, left or guessed.left
        )
        draft = csv_import.preview(rt, key, choices)
        if draft.stops:
            raise ImportStopped(draft.stops)
        if guessed.undecided and not (left or where):
            raise click.UsageError(
                "This may be a list of people who left. Say --left, or --where they agreed to be written to."
            )
        if not (choices.left or dry_run or len(choices.where) >= csv_import.LEAST_SAID) and draft.counts.get(Becomes.ADDED):
            raise click.UsageError("Say --where and when they agreed, in a few words. It is kept as their consent.")
        counts = draft.counts if dry_run else csv_import_run.run(rt, key, choices)
    finally:
        rt.close()
    _tell(draft, counts, dry_run, as_json)


def _tell(draft: ImportPreview, counts: dict[Becomes, int], dry_run: bool, as_json: bool) -> None:
    found = {becomes.value: count for becomes, count in counts.items()}
    if as_json:
        statuses = {status.value: count for status, count in draft.statuses.items()}
        click.echo(json.dumps({"done": not dry_run, "rows": found, "statuses": statuses}, indent=2))
        return
    for becomes, count in found.items():
        click.echo(f"{count:>7,}  {becomes}")
    left = sum(counts.get(becomes, 0) for becomes in SUPPRESSED)
    click.echo(f"{'Would add' if dry_run else 'Added'} {counts.get(Becomes.ADDED, 0):,}; {left:,} are never written to.")
