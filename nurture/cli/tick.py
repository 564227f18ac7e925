"""`nurture tick`."""

import json
import sys
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from nurture import log, runtime, settings
from nurture.cli.text import Command
from nurture.runtime import Runtime
from nurture.services.operations import health
from nurture.services.settings import launch
from nurture.settings import Settings
from nurture.store.core.database import DatabaseRefused


@click.command(cls=Command, epilog="Example:  nurture tick --status --json")
@click.option("--status", is_flag=True, help="Only say how the ledger stands; send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def tick(ctx: click.Context, status: bool, as_json: bool) -> None:
    """Do everything that is due once, for cron; or print how the ledger stands.

    Sends due mail, and runs each other job (mail in doubt, publications, retention, suppression lists) when its interval is
    over. Ends with code 1 if one of them failed. With --status the code is 1 while sending is stopped or overdue, or the
    database does not answer.
    """
    given = settings.load()
    if status:
        result = _status(given)
        well = not result["problems"]
    else:
        rt = runtime.build(given)
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
    from nurture import dispatch  # here: --status does not wait for all that sends mail
    from nurture.delivery.reconcile import ReconcileReport
    from nurture.delivery.safety_checks import record_clean_stop
    from nurture.delivery.tick import TickReport
    from nurture.services.operations import jobs

    here = dispatch.create_dispatcher(rt)
    try:
        report = jobs.run_due(rt, here.submit, here.finish)
    finally:
        here.close()
    record_clean_stop(rt)
    claims, settled = report.results.get("tick"), report.results.get("reconcile")
    ticked = claims if isinstance(claims, TickReport) else TickReport(0, 0)
    reconciled = settled if isinstance(settled, ReconcileReport) else ReconcileReport()
    found = {
        "claimed": ticked.claimed,
        "batches": ticked.batches,
        "released": reconciled.released,
        "unknown": reconciled.unknown,
        "resent": reconciled.resent,
        "held": reconciled.held,
        "planned": report.results.get("plan", 0),
        "jobs": list(report.results),
        "failed": list(report.failed),
    }
    return found, not report.failed


def _status(given: Settings) -> dict[str, Any]:
    """How the ledger stands, and why mail does not go out."""
    try:
        rt = runtime.build(given)
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
    summary = health.ledger_summary(rt)
    rows = summary.rows
    found: dict[str, Any] = {state: rows.states.get(state, 0) for state in health.STATES}
    found |= {"due_now": rows.due, "oldest_due_seconds": round(rows.oldest_due_seconds)}
    found |= {"last_tick": summary.last_tick.isoformat() if summary.last_tick else None}
    problems += [problem.detail for problem in health.sending_problems(rt, summary)]
    found |= {"duplicates_confirmed": summary.duplicates_confirmed, "stopped_by": _stops(rt, summary)}
    return found | {"problems": problems}


def _stops(rt: Runtime, summary: health.LedgerSummary) -> list[str]:
    return [each.kind.value for each in summary.blocks] + ([] if launch.is_open(rt) else ["first run"])
