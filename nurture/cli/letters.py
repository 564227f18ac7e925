"""`nurture letters …`: letters in and out, as the files they are."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from nurture import log, resources, runtime
from nurture import settings as configuration
from nurture.cli.deliveries import who
from nurture.cli.text import Command, Group
from nurture.clock import SystemClock
from nurture.config import practice_of
from nurture.domain.picture import LetterImages
from nurture.letters import dialect, gate, markup
from nurture.letters.gate import Finding
from nurture.letters.reading import Measure
from nurture.letters.source import Letter, read_folder
from nurture.services.letters import images, publishing
from nurture.services.subscribers import signup
from nurture.settings import Settings
from nurture.store.letters.publications import Publication

_SEQUENCE = next((folder.name for folder in resources.pack().sequences()), "SEQUENCE")
"""What examples in the help name."""


@click.group(cls=Group, epilog=f"Example:  nurture letters export {_SEQUENCE} ./letters")
def letters() -> None:
    """Check, import and export letters as files, and choose the sequence that sign-ups begin."""


@letters.command("import", epilog="Example:  nurture letters import ./letters")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--background", is_flag=True, help="Let the service do it, and look with `letters publications`.")
@click.option("--remove", is_flag=True, help="Take out letters that have no file here, also while people are reading.")
def import_(folder: Path, background: bool, remove: bool) -> None:
    """Load a sequence from FOLDER (sequence.yaml, NN-name.md files, pictures/); a changed letter gets a new edition.

    First every letter is filled for every living reader. If it would break for one, nothing is published, and you are told for
    how many and why. Other waits, another order or other hours move whoever is in the middle: what was not sent yet follows
    the new files.
    """
    if background and remove:
        raise click.UsageError("--remove does not go with --background: be there when letters are taken out.")
    rt = runtime.build(configuration.load())
    log.quiet()
    try:
        if background:
            publishing.ask(rt, folder, who())
            click.echo("Handed over. `nurture letters publications` shows how far it is; `serve`, `worker` or `tick` must run.")
            return
        loaded = publishing.load_folder(rt, folder, by=who(), on_progress=_progress(), remove=remove)
    finally:
        rt.close()
    if loaded:
        click.echo(f"{loaded.sequence}: {loaded.letters} letters, {loaded.published} of them changed.")


def _progress() -> publishing.OnProgress:
    """Says on a terminal how many readers are through."""

    def tell(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rTried on {done:,} of {total:,} readers", nl=done >= total, err=True)

    return tell


@letters.command(epilog="Example:  nurture letters publications --json")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def publications(as_json: bool) -> None:
    """The last times letters were published, or refused, and how far one is that is under way."""
    rt = runtime.build(configuration.load())
    found = publishing.under_way(rt)
    rt.close()
    if as_json:
        keys = ("id", "sequence", "state", "asked", "by", "done", "total", "troubles", "finished")
        told = [{key: getattr(each, key) for key in keys} | {"troubles": _said(each)} for each in found]
        click.echo(json.dumps(told, default=_plain, indent=2))
        return
    for each in found:
        how_far = f"{each.done:,} of {each.total:,} readers tried" if each.total else "no reader to try it on"
        click.echo(f"{each.asked:%Y-%m-%d %H:%M}  {each.state.value:<9}  {each.sequence}, by {each.by}; {how_far}")
        for trouble in _said(each):
            click.echo(f"                  {trouble}")
    if not found:
        click.echo("Nothing has been published yet. `nurture init` loads the letters that come with the service.")


letters.add_command(
    Command("published", callback=publications.callback, params=publications.params, help=publications.help, hidden=True)
)


def _said(publication: Publication) -> list[str]:
    return [trouble.said for trouble in publication.troubles]


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@letters.command("sequences", epilog=f"Example:  nurture letters sequences --begin {_SEQUENCE}")
@click.option("--begin", metavar="SEQUENCE", help="Have sign-ups begin this sequence from now on.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_sequences(begin: str | None, as_json: bool) -> None:
    """Every sequence, and which of them sign-ups begin. Importing another one never changes that."""
    rt = runtime.build(configuration.load())
    log.quiet()
    try:
        if begin:
            signup.choose_sequence(rt, begin)
        found = signup.list_sequences(rt)
    finally:
        rt.close()
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], ensure_ascii=False, indent=2))
        return
    for each in found:
        click.echo(
            f"{'sign-ups begin' if each.begins else '':<14}  {each.key}  ({_count(each.letters, 'letter')}: {each.title})"
        )


@letters.command(epilog=f"Example:  nurture letters export {_SEQUENCE} ./letters")
@click.argument("sequence")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def export(sequence: str, folder: Path) -> None:
    """Write SEQUENCE into FOLDER, byte for byte as it was loaded, with its pictures in pictures/."""
    rt = runtime.build(configuration.load())
    count = publishing.export_folder(rt, sequence, folder)
    rt.close()
    click.echo(f"Wrote {count} letters to {folder}.")


@letters.command(epilog="Example:  nurture letters lint ./letters --on 2027-06-01")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), help="Judge review dates as on this day instead of today.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def lint(ctx: click.Context, folders: tuple[Path, ...], day: datetime | None, as_json: bool) -> None:
    """Check letters: what they claim, what they must say, how hard they are to read.

    Without a FOLDER those in the database, or if there is none yet, those that come with the service. An error ends it with
    code 1; a warning does not.
    """
    settings = configuration.load()
    today = day.date() if day else SystemClock().now().date()
    values = practice_of(settings).values() | {
        "reader": {"first_name": "Robin", "signed_up_on": "2 March 2026"},
        "links": dict.fromkeys(dialect.NAMES["links"], settings.base_url),
    }
    facts = values["practice"]
    judged = [
        _Judged(
            f"{place}/{letter.file_name}",
            gate.measure(letter, facts),
            gate.check(letter, today=today, facts=facts, pictures=known) + markup.check_letter(letter, values, known),
        )
        for place, letter, known in _letters(settings, folders)
    ]
    findings = [finding for each in judged for finding in each.findings]
    open_ones = [finding for finding in findings if not finding.waived]
    errors = sum(finding.stops for finding in open_ones)
    counts = {"errors": errors, "warnings": len(open_ones) - errors, "waived": len(findings) - len(open_ones)}
    if as_json:
        click.echo(json.dumps({"letters": [each.as_data() for each in judged]} | counts, ensure_ascii=False))
    else:
        for each in judged:
            click.echo("\n".join(each.as_lines()))
        told = (_count(len(judged), "letter"), _count(errors, "error"), _count(counts["warnings"], "warning"))
        click.echo(f"{told[0]}: {told[1]}, {told[2]}, {counts['waived']} waived.")
    ctx.exit(1 if errors else 0)


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _letters(settings: Settings, folders: tuple[Path, ...]) -> Iterator[tuple[str, Letter, LetterImages]]:
    """Each letter that is to be checked, where it is (its folder, or the key of its sequence in the database), and the pictures
    that are there.
    """
    if not folders and _has_database(settings):
        rt = runtime.build(settings)
        stored = publishing.stored_letters(rt)
        known = images.known(rt, *(letter.body for letters in stored.values() for letter in letters))
        rt.close()
        yield from ((key, letter, known) for key, letters in stored.items() for letter in letters)
        return
    for folder in folders or resources.pack().sequences():
        near = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        letters = read_folder(folder)[1]
        known = images.only(images.beside(folder, [letter.body for letter in letters]))
        yield from ((str(near), letter, known) for letter in letters)


def _has_database(settings: Settings) -> bool:
    """Whether there is one to ask; to open an embedded one that is not there would make it."""
    embedded = settings.database.removeprefix("sqlite:///")
    return embedded == settings.database or Path(embedded).exists()


@dataclass(frozen=True)
class _Judged:
    """A letter and what the gate says about it, for people and for programs."""

    place: str
    """Its file, as it is shown."""
    taken: Measure
    findings: list[Finding]

    def as_lines(self) -> Iterator[str]:
        yield f"{self.place}: grade {self.taken.grade}, {self.taken.words} words, {self.taken.minutes} min"
        for finding in self.findings:
            place = f"{self.place}:{finding.line}" if finding.line else self.place
            kind = f"waived by {finding.waived.by} ({finding.waived.because})" if finding.waived else finding.severity
            yield f"  {place}: {kind} {finding.rule}, {finding.part}: “{finding.words}”"
            yield f"      {finding.why}"
            yield f"      Instead: {finding.instead}"

    def as_data(self) -> dict[str, Any]:
        found = [
            {
                "rule": finding.rule,
                "severity": finding.severity,
                "part": finding.part,
                "line": finding.line,
                "words": finding.words,
                "sentence": finding.sentence,
                "why": finding.why,
                "instead": finding.instead,
                "waived": {"by": finding.waived.by, "because": finding.waived.because} if finding.waived else None,
            }
            for finding in self.findings
        ]
        taken = {"grade": self.taken.grade, "words": self.taken.words, "minutes": self.taken.minutes}
        return {"file": self.place} | taken | {"findings": found}
