"""`nurture …`: init, serve, worker, tick, simulate and more. Exit codes: 0 done, 1 failed, 2 wrong use or missing setting."""

import json
import sys
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from nurture import __version__, fleet, log, resources, runtime, scheduler, signals
from nurture import settings as configuration
from nurture.cli import backup, data, mail, people, simulation, users
from nurture.cli.text import Group, write_utf8
from nurture.delivery.reconcile import ReconcileReport
from nurture.delivery.safety_checks import record_clean_stop
from nurture.delivery.tick import TickReport
from nurture.resources import ResourcesMissing
from nurture.runtime import Runtime
from nurture.services import health, jobs, publishing, setup
from nurture.settings import SettingRefused, Settings
from nurture.store.database import DatabaseRefused
from nurture.words import NurtureError


class _Group(Group):
    """Turns refusals into one clear message and the right exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            resources.check()
            return super().invoke(ctx)
        except (SettingRefused, DatabaseRefused, ResourcesMissing) as refused:
            click.echo(f"nurture: {refused}", err=True)
            ctx.exit(2)
        except NurtureError as refused:
            click.echo(f"nurture: {refused}", err=True)
            ctx.exit(1)


@click.group(cls=_Group, epilog="Example:  nurture init && nurture serve")
@click.version_option(__version__, prog_name="nurture")
def cli() -> None:
    """Sends a series of letters to people who asked for them."""


def _settings() -> Settings:
    for name in configuration.unknown_variables():
        click.echo(f"nurture: {name} is not a setting; see docs/reference.md for the names.", err=True)
    return configuration.load()


@cli.command(epilog="Example:  nurture init")
def init() -> None:
    """Create or upgrade the database, and load the shipped letters where they are missing. Safe to repeat."""
    rt = runtime.build(_settings(), migrate=True)
    log.quiet()
    loaded = publishing.load_shipped(rt)
    for each in loaded:
        click.echo(f"Loaded {each.letters} letters of {each.sequence}.")
    click.echo(f"The database is ready: {rt.database.shown_url}")
    rt.close()


@cli.command(epilog="Example:  nurture serve --workers 2")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many web processes.")
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="Requests at once per process.")
@click.option("--no-scheduler", is_flag=True, help="Only serve pages; a `nurture worker` elsewhere sends the mail.")
def serve(workers: int, threads: int, no_scheduler: bool) -> None:
    """Serve the pages, and send due mail unless told otherwise."""
    from nurture.cli import server  # here: a command that prints a line does not wait for all pages to be loaded

    server.run(_settings(), workers, threads, ticking=not no_scheduler)


@cli.command(epilog="Example:  nurture worker")
def worker() -> None:
    """Send due mail without serving pages. Start as many as you like, on as many machines."""
    rt = runtime.build(_settings())
    with log.json_only():
        signals.stop_when_told(rt.stopping)
        here = fleet.join(rt)
        try:
            ticking = scheduler.start(rt, here.submit)
            try:
                here.work()
            finally:
                scheduler.stop(rt, ticking)
        finally:  # no thread of ours may be at work while the interpreter shuts down
            here.close()
        record_clean_stop(rt)
        rt.close()


@cli.command(epilog="Example:  nurture tick --status --json")
@click.option("--status", is_flag=True, help="Only say how the ledger stands; send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def tick(ctx: click.Context, status: bool, as_json: bool) -> None:
    """Do everything that is due once, for cron; or say how the ledger stands.

    Sends due mail, and runs each other job (mail in doubt, publications, retention, suppression lists) when its interval is
    over. Ends with code 1 if one of them failed. With --status the code is 1 while sending is stopped or overdue, or the
    database does not answer.
    """
    settings = _settings()
    if status:
        result = _standing(settings)
        well = not result["problems"]
    else:
        rt = runtime.build(settings)
        with log.json_only():
            result, well = _once(rt)
        rt.close()
        as_json = as_json or not sys.stdout.isatty()  # cron mails it, or a log collects it
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo("\n".join(f"{name.replace('_', ' '):>20}  {_text(value)}" for name, value in result.items()))
    ctx.exit(0 if well else 1)


def _text(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def _once(rt: Runtime) -> tuple[dict[str, Any], bool]:
    """Run what is due, and say what it came to; whether every job ended well."""
    here = fleet.join(rt)
    try:
        report = jobs.run_due(rt, here.submit)
        here.finish()
    finally:
        here.close()
    record_clean_stop(rt)
    claims, settled = report.results.get("tick"), report.results.get("reconcile")
    ticked = claims if isinstance(claims, TickReport) else TickReport(0, 0)
    reconciled = settled if isinstance(settled, ReconcileReport) else ReconcileReport()
    found = {
        "claimed": ticked.claimed, "batches": ticked.batches, "released": reconciled.released, "unknown": reconciled.unknown,
        "resent": reconciled.resent, "held": reconciled.held, "planned": report.results.get("plan", 0),
        "jobs": list(report.results), "failed": list(report.failed),
    }  # fmt: skip
    return found, not report.failed


def _standing(settings: Settings) -> dict[str, Any]:
    """How the ledger stands, and why mail does not go out."""
    try:
        rt = runtime.build(settings)
    except DatabaseRefused as refused:
        return {"problems": [str(refused)]}
    except SQLAlchemyError as error:
        return {"problems": [f"the database takes no write ({type(error).__name__}): is its disk full, or read-only?"]}
    try:
        problems = [f"{name}: {result}" for name, result in health.readiness(rt).items() if result != "ok"]
        return _rows(rt, problems)
    finally:
        rt.close()


def _rows(rt: Runtime, problems: list[str]) -> dict[str, Any]:
    standing = health.ledger_standing(rt)
    rows = standing.rows
    found: dict[str, Any] = {state: rows.states.get(state, 0) for state in health.STATES}
    found |= {"due_now": rows.due, "oldest_due_seconds": round(rows.oldest_due_seconds)}
    found |= {"last_tick": standing.last_tick.isoformat() if standing.last_tick else None}
    problems += [problem.detail for problem in health.sending_problems(rt, standing)]
    found |= {"duplicates_confirmed": standing.duplicates_confirmed, "stopped_by": _stops(rt, standing)}
    return found | {"problems": problems}


def _stops(rt: Runtime, standing: health.LedgerStanding) -> list[str]:
    return [each.gate.value for each in standing.shut] + ([] if setup.is_open(rt) else ["first run"])


@cli.command(epilog="Example:  nurture demo")
@click.option("--speed", type=click.FloatRange(1, 1_000_000), default=86400.0, show_default=True, help="Clock speed.")
def demo(speed: float) -> None:
    """The main job in under a minute: a visitor signs up, confirms, and a sped-up clock walks the whole sequence."""
    from nurture.cli import demonstration

    demonstration.run(speed)


cli.add_command(backup.backup)
cli.add_command(backup.restore)
cli.add_command(data.emails)
cli.add_command(people.subscribers)
cli.add_command(mail.deliveries)
cli.add_command(mail.sending)
cli.add_command(simulation.simulate)
cli.add_command(users.users)


def main() -> None:
    """Entry point of the `nurture` command."""
    write_utf8()
    cli(prog_name="nurture")
