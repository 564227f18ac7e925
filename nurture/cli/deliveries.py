"""`nurture deliveries …` and `nurture sending …`: mail that needs a person, and the stop switch."""

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click

from nurture import runtime
from nurture import settings as configuration
from nurture.characters import storable
from nurture.cli.text import Group
from nurture.delivery.send_transaction import NOT_LIVE
from nurture.domain.delivery import State
from nurture.ids import DeliveryId
from nurture.runtime import Runtime
from nurture.services.operations import deliveries as service
from nurture.services.operations import send_blocks
from nurture.services.settings import launch

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextmanager
def _runtime() -> Iterator[Runtime]:
    rt = runtime.build(configuration.load())
    try:
        yield rt
    finally:
        rt.close()


def who() -> str:
    """Who types: what a record of an act says."""
    try:
        return storable(f"{getpass.getuser()} (command line)")
    except (KeyError, OSError):  # a container's user without a name
        return "command line"


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "–"


@click.group(cls=Group, epilog="Example:  nurture deliveries held")
def deliveries() -> None:
    """List and settle mail that failed or is in doubt."""


def _list(state: State, as_json: bool, none: str) -> None:
    with _runtime() as rt:
        rows, count = service.list_doubts(rt, state), service.count_doubts(rt, state)
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "id": row.id,
                        "kind": row.kind,
                        "step": row.step,
                        "attempt": row.attempt,
                        "why": row.why,
                        "since": row.since.isoformat() if row.since else None,
                    }
                    for row in rows
                ]
            )
        )
        return
    for row in rows:
        what = row.step or row.kind.value
        click.echo(f"{row.id}  {what:<28} since {_at(row.since)}  attempt {row.attempt}: {row.why or 'no reason noted'}")
    if count > len(rows):
        click.echo(f"These are the first {len(rows)}.")
    click.echo(f"{count} in all." if rows else none)


@deliveries.command(epilog="Example:  nurture deliveries unknown --json")
@_json
def unknown(as_json: bool) -> None:
    """List mail that may have left or not; the provider's report can still settle it by itself."""
    _list(State.UNKNOWN, as_json, "Nothing is in doubt.")


@deliveries.command(epilog="Example:  nurture deliveries held")
@_json
def held(as_json: bool) -> None:
    """List mail that only a person can settle; see `nurture deliveries resolve`."""
    _list(State.HELD, as_json, "Nothing is held.")


@deliveries.command(epilog="Example:  nurture deliveries failed --json")
@_json
def failed(as_json: bool) -> None:
    """List mail that was refused for good, and why; see `nurture deliveries resolve`."""
    _list(State.FAILED, as_json, "Nothing has failed.")


@deliveries.command(epilog="Example:  nurture deliveries resolve 0123456789abcdef0123456789abcdef --again")
@click.argument("delivery", nargs=-1)
@click.option("--sent", is_flag=True, help="It reached the reader: the sequence goes on.")
@click.option("--again", is_flag=True, help="It did not: send it (again).")
@click.option(
    "--all-with", "reason", metavar="REASON", help="With --again: all failed mail whose reason holds these words, in any case."
)
def resolve(delivery: tuple[str, ...], sent: bool, again: bool, reason: str | None) -> None:
    """Settle each DELIVERY (its id) that is unknown, held or failed, or all that failed for one REASON."""
    if sent == again:
        raise click.UsageError("Say --sent or --again.")
    if reason is not None:
        _retry_failed(delivery, again, reason)
        return
    if not delivery:
        raise click.UsageError("Name at least one DELIVERY, or say --again --all-with REASON.")
    with _runtime() as rt:
        for each in delivery:
            service.resolve(rt, DeliveryId(_id(each)), sent, who())
    click.echo(f"{len(delivery)} counted as sent." if sent else f"{len(delivery)} will be sent again.")


def _retry_failed(delivery: tuple[str, ...], again: bool, reason: str) -> None:
    if delivery or not again or not reason.strip():
        raise click.UsageError("--all-with needs --again and a REASON, and no DELIVERY beside it.")
    with _runtime() as rt:
        found = [row for row in service.list_doubts(rt, State.FAILED) if reason.lower() in (row.why or "").lower()]
        if found and sys.stdin.isatty():
            click.confirm(f"Send failed mail with this reason again ({found[0].why})?", abort=True)
        count = service.retry_failed(rt, reason, who())
    if not count:
        raise click.ClickException("No mail has failed with such a reason: see `nurture deliveries failed`.")
    click.echo(f"{count} will be sent again.")


def _id(text: str) -> str:
    if len(text) != 32 or not set(text) <= set("0123456789abcdef"):
        raise click.UsageError(f"{text!r} is not the id of a delivery: 32 hex digits, as the lists print it.")
    return text


@deliveries.command(epilog="Example:  nurture deliveries history 0123456789abcdef0123456789abcdef")
@click.argument("delivery")
@_json
def history(delivery: str, as_json: bool) -> None:
    """Print everything that happened to one DELIVERY: when, what, by whom and why."""
    with _runtime() as rt:
        lines = service.history(rt, DeliveryId(_id(delivery)))
    if not lines:
        raise click.UsageError(f"There is no delivery {delivery}.")
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "at": line.at.isoformat(),
                        "state": line.state,
                        "by": line.by,
                        "why": line.why,
                        "attempt": line.attempt,
                        "request": line.request,
                    }
                    for line in lines
                ]
            )
        )
        return
    for line in lines:
        click.echo(f"{_at(line.at)}  {line.state:<10} by {line.by}{f': {line.why}' if line.why else ''}")


@click.group(cls=Group, epilog="Example:  nurture sending status")
def sending() -> None:
    """Stop and start all sending, and print what stops it."""


@sending.command(epilog='Example:  nurture sending stop --why "a wrong letter"')
@click.option("--why", default="stopped by hand", show_default=True, help="Shown to whoever looks why nothing goes out.")
def stop(why: str) -> None:
    """Stop all sending at once; sign-ups and pages go on, and what is due waits."""
    with _runtime() as rt:
        send_blocks.stop_sending(rt, why, who())
    click.echo("Nothing is sent any more. Start again with `nurture sending start`.")


@sending.command(epilog="Example:  nurture sending start")
def start() -> None:
    """Open whatever stops the sending. What is unknown or held stays so until it is settled."""
    with _runtime() as rt:
        blocks = send_blocks.start_sending(rt)
        waiting = service.count_doubts(rt, State.UNKNOWN) + service.count_doubts(rt, State.HELD)
        failures = service.count_doubts(rt, State.FAILED)
    click.echo(
        "\n".join(f"Opened: {block.why} ({block.by}, {_at(block.since)})." for block in blocks) or "Nothing was stopped."
    )
    if waiting:
        click.echo(f"{waiting} mails are unknown or held: `nurture deliveries unknown`, `nurture deliveries held`.")
    if failures:
        click.echo(f"Failed mails: {failures}. `nurture deliveries failed` lists them.")


@sending.command(epilog="Example:  nurture sending status --json")
@_json
def status(as_json: bool) -> None:
    """Say whether anything stops the sending, and what."""
    with _runtime() as rt:
        blocks = send_blocks.what_stops(rt)
        real_now, waits = rt.clock.real_now(), not launch.is_open(rt)
    found: list[dict[str, Any]] = [
        {
            "gate": block.kind,
            "why": block.why,
            "by": block.by,
            "since": block.since.isoformat(),
            "until": block.until.isoformat() if block.until else None,
            "stops": block.stops(real_now),
        }
        for block in blocks
    ]
    if waits:
        found.append({"gate": "first run", "why": NOT_LIVE, "by": "", "since": None, "until": None, "stops": True})
    if as_json:
        click.echo(json.dumps(found))
        return
    for block in blocks:
        until = f"until {_at(block.until)}" if block.until else "until `nurture sending start`"
        state = f"stopped {until}" if block.stops(real_now) else "on trial: the next mails show whether it works again"
        click.echo(f"{block.kind.value:<9} {state}: {block.why} (by {block.by}, since {_at(block.since)})")
    if waits:
        click.echo("first run mail to readers waits until the first run at the desk (/desk/start/) is done")
    if not found:
        click.echo("Nothing stops the sending.")
