"""`nurture backup` and `nurture restore`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nurture import log, runtime
from nurture import settings as configuration
from nurture.cli.text import Command
from nurture.services.operations import archive as archives
from nurture.services.operations import backup as backups
from nurture.services.operations import restore as restores
from nurture.services.operations.archive import Archive
from nurture.services.operations.backup import BackupReport
from nurture.services.operations.restore import RestoreReport
from nurture.settings import PREFIX, Settings

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the passphrase from a file.",
)


@click.command(cls=Command, epilog="Example:  nurture backup --encrypt --keys nurture.backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--encrypt", is_flag=True, help="Encrypt the file with a passphrase.")
@click.option("--keys", is_flag=True, help="Put the secret key, and FIELD_KEYS, into it; only with --encrypt.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@_passphrase_file
@_json
def backup(file: Path, encrypt: bool, keys: bool, force: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Write the whole database to FILE, while the service works.

    People, letters, pictures, wordings and the ledger are in it. Not in it: the outbox folder, .env, and the keys unless
    --keys. Never copy a SQLite file that is in use with cp: the copy
    may be of two moments, and lack what is in the -wal file.
    """
    if keys and not encrypt:
        raise click.UsageError("--keys needs --encrypt: whoever finds keys and database together can read every address.")
    if file.exists() and not force:
        raise click.UsageError(f"{file} is there already. Choose another name, or replace it with --force.")
    if not file.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {file.absolute().parent}.")
    settings = configuration.load()
    passphrase = _passphrase(settings, passphrase_file, confirm=True) if encrypt else None
    rt = runtime.build(settings)
    log.quiet()
    try:
        report = backups.create_backup(rt, file, passphrase, keys, _progress("written"))
    except OSError as error:
        raise click.ClickException(f"{file} could not be written: {error.strerror}.") from None
    finally:
        rt.close()
    click.echo(json.dumps(_backup_data(report)) if as_json else _backup_text(report))


@click.command(cls=Command, epilog="Example:  nurture restore --rehearse nurture.backup")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rehearse", is_flag=True, help="Restore into a scratch database, say what would go out, and delete it.")
@click.option(
    "--journal",
    "journals",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A departures.journal of this or another machine; may be repeated.",
)
@_passphrase_file
@_json
def restore(file: Path, rehearse: bool, journals: tuple[Path, ...], passphrase_file: Path | None, as_json: bool) -> None:
    """Restore FILE, made by `nurture backup`, into the empty database of the settings.

    SQLite and PostgreSQL restore each other's. Sending is stopped until `nurture sending start`. Who has left or was erased
    since the backup was made is taken from the
    journal of departures in the instance folder, and from each --journal.
    """
    log.configure()
    log.quiet()
    settings = configuration.load()
    try:
        passphrase = _passphrase(settings, passphrase_file, confirm=False) if archives.is_encrypted(file) else None
        act = restores.rehearse if rehearse else restores.restore
        report = act(settings, Archive(file, passphrase), journals, _progress("loaded"))
    except OSError as error:
        raise click.ClickException(f"{error.filename or file} could not be read or written: {error.strerror}.") from None
    click.echo(json.dumps(_restore_data(report, rehearse)) if as_json else _restore_text(report, rehearse))


def _passphrase(settings: Settings, file: Path | None, confirm: bool) -> str:
    if file is not None:
        return file.read_text("utf-8").rstrip("\r\n")
    if settings.backup_passphrase is not None:
        return settings.backup_passphrase.get_secret_value()
    if not sys.stdin.isatty():
        raise click.UsageError(f"A passphrase is needed. Set {PREFIX}BACKUP_PASSPHRASE, or name a file with --passphrase-file.")
    said: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return said


def _progress(done_word: str) -> Callable[[int, int], object]:
    """Says on a terminal how far it is."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done:,} of {total:,} rows {done_word}", nl=done >= total, err=True)

    return show


def _backup_data(report: BackupReport) -> dict[str, Any]:
    return {
        "file": str(report.path),
        "created": report.created.isoformat(),
        "revision": report.revision,
        "rows": report.rows,
        "bytes": report.size,
        "encrypted": report.is_encrypted,
        "keys": report.has_keys,
    }


def _backup_text(report: BackupReport) -> str:
    how = "encrypted" if report.is_encrypted else "not encrypted"
    lines = [
        f"Wrote {sum(report.rows.values()):,} rows of {report.created:%Y-%m-%d %H:%M:%S} UTC to {report.path} "
        f"({report.size:,} bytes, {how})."
    ]
    if report.has_keys:
        lines.append("The keys are in it: without the passphrase nobody can use it, not even you.")
    else:
        lines.append(f"The keys are not in it. Keep {runtime.SECRET_FILE}, or the keys in your environment, in another place.")
    lines.append("Copy it to another machine. Try it: nurture restore --rehearse FILE")
    return "\n".join(lines)


def _restore_data(report: RestoreReport, is_rehearsal: bool) -> dict[str, Any]:
    replay = report.replay
    data: dict[str, Any] = {
        "rehearsal": is_rehearsal,
        "created": report.manifest.created.isoformat(),
        "version": report.manifest.version,
        "revision": report.manifest.revision,
        "rows": report.manifest.rows,
        "due": report.outlook.due,
        "in_doubt": report.outlook.in_doubt,
        "scheduled": report.outlook.scheduled,
        "departures": {
            "known_until": replay.checked.isoformat() if replay.checked else None,
            "lost": report.is_journal_lost,
            "entries": replay.entries,
            "stopped": replay.stopped,
            "erased": replay.erased,
            "returned": replay.returned,
            "unreadable": replay.unreadable,
            "refused": replay.refused,
        },
        "keys_installed": [str(path) for path in report.installed],
    }
    if is_rehearsal:
        data |= {"would_go_out": report.claimed, "would_go_out_after_start": report.claimed_after_start}
    return data


def _restore_text(report: RestoreReport, is_rehearsal: bool) -> str:
    manifest, outlook = report.manifest, report.outlook
    did = "Rehearsed with" if is_rehearsal else "Restored"
    lines = [
        f"{did} {manifest.total:,} rows of {manifest.created:%Y-%m-%d %H:%M:%S} UTC (version {manifest.version}, schema "
        f"{manifest.revision}, from {manifest.database}). Every checksum was right."
    ]
    lines += _departures_text(report)
    lines += [f"Wrote {path}." for path in report.installed]
    if any(path.name == restores.FIELD_KEYS_FILE for path in report.installed):
        lines.append(f"Put the line of {restores.FIELD_KEYS_FILE} into the environment or .env before you start the service.")
    if is_rehearsal:
        lines += [
            f"Would go out again: {report.claimed} while sending is stopped, {report.claimed_after_start} after `nurture "
            "sending start`.",
            f"In doubt, for a person to decide: {outlook.in_doubt}. Due later, each at its time: {outlook.scheduled}.",
            "The scratch database is deleted; nothing else was changed.",
        ]
        return "\n".join(lines)
    lines += [
        f"Sending is stopped. {outlook.in_doubt} mails may have gone out since then, and are in doubt; {outlook.scheduled} are "
        "due later.",
        "Next: nurture deliveries unknown, nurture deliveries held; settle them with nurture deliveries resolve.",
        "With SendGrid, start the service and wait for suppressions_pulled in its log. Then: nurture sending start",
        "Everybody logs in to the desk anew. Passwords and API keys are those of the backup: revoke again what was revoked "
        "since.",
    ]
    return "\n".join(lines)


def _departures_text(report: RestoreReport) -> list[str]:
    replay, lines = report.replay, list(report.replay.refused)
    if replay.checked is None:
        lines.append(
            "The journal of departures is lost: nobody here can know who left or was erased since the backup was made. If "
            "there is one on another machine, begin again with --journal FILE; else look into the provider's lists."
        )
    elif report.is_journal_lost:
        lines.append(
            f"The journal of departures ends at {replay.checked:%Y-%m-%d %H:%M} UTC, before the backup was made: who left or "
            "was erased since is not known here."
        )
    else:
        lines.append(f"Who left is known up to {replay.checked:%Y-%m-%d %H:%M} UTC, by the journal of departures.")
    if replay.stopped:
        lines.append(f"Left since, and taken off the list again: {replay.stopped}, of whom {replay.erased} were erased.")
    if replay.returned:
        lines.append(f"Came back since, and stay off the list until they sign up again: {replay.returned}.")
    if replay.unreadable:
        lines.append(f"Lines of the journal that are damaged: {replay.unreadable}.")
    return lines
