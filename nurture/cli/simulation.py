"""`nurture simulate`: who would get which letter when."""

import json
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import click

from nurture import runtime
from nurture import settings as configuration
from nurture.cli.text import Command
from nurture.domain.simulation import Pause, Simulated
from nurture.domain.timeline import instant
from nurture.services.sequences.simulation import Simulation, simulate_stored


class _Zone(click.ParamType[ZoneInfo, str]):
    name = "zone"

    def convert(self, value: str | ZoneInfo, param: click.Parameter | None, ctx: click.Context | None) -> ZoneInfo:
        if isinstance(value, ZoneInfo):
            return value
        try:
            return ZoneInfo(value)
        except (ValueError, OSError, KeyError):  # KeyError: not found; OSError: a folder such as `Europe`
            self.fail(f"{value!r} is no time zone. Write one like Europe/Berlin, America/New_York or UTC.", param, ctx)


class _Moment(click.ParamType[datetime, str]):
    name = "day and time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.strptime(value.replace(" ", "T"), "%Y-%m-%dT%H:%M")  # noqa: DTZ007 - the zone is another option
        except ValueError:
            self.fail(f"{value!r} is no day and time. Write them like 2026-10-30T10:00.", param, ctx)


class _Pause(click.ParamType[tuple[date, date], str]):
    name = "day..day"

    def convert(
        self, value: str | tuple[date, date], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[date, date]:
        if isinstance(value, tuple):
            return value
        try:
            begins, ends = (date.fromisoformat(part) for part in value.split(".."))
        except ValueError:
            self.fail(f"{value!r} is no pause. Write its first day and the day it is over: 2026-11-02..2026-11-09.", param, ctx)
        if ends <= begins:
            self.fail(f"{value!r} is over before it has begun. Put the earlier day first.", param, ctx)
        return begins, ends


@click.command(
    cls=Command,
    epilog="Example:  nurture simulate --at 2026-10-30T10:00 --zone Europe/Berlin --pause 2026-11-02..2026-11-09 --why",
)
@click.argument("sequence", required=False)
@click.option("--at", type=_Moment(), metavar="MOMENT", help="When the reader confirms, on their own clock; now if not given.")
@click.option("--zone", type=_Zone(), default="UTC", show_default=True, help="The reader's time zone.")
@click.option(
    "--pause",
    "pauses",
    type=_Pause(),
    multiple=True,
    help="No letters from the first day until the second begins. Any number of times.",
)
@click.option("--why", is_flag=True, help="Say rule by rule why each letter goes out then.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate(
    sequence: str | None, at: datetime | None, zone: ZoneInfo, pauses: tuple[tuple[date, date], ...], why: bool, as_json: bool
) -> None:
    """Print when each letter of SEQUENCE would go out to a reader.

    SEQUENCE is a key; without it, the first. Sends nothing, writes nothing. The moments come from the same functions that
    decide when real letters go out.
    """
    rt = runtime.build(configuration.load())
    try:
        signed_up = _instant(at, zone) if at else rt.clock.now()
        taken = [Pause(instant(begins, 0, zone), instant(ends, 0, zone)) for begins, ends in pauses]
        found = simulate_stored(rt, sequence, signed_up, zone, taken)
    finally:
        rt.close()
    click.echo(json.dumps(_as_data(found, signed_up, zone), ensure_ascii=False) if as_json else _as_text(found, why))


def _instant(at: datetime, zone: ZoneInfo) -> datetime:
    """A moment on the reader's clock (UTC). One that it jumps over would be no moment of theirs at all."""
    moment = at.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) != at:
        raise click.BadParameter(
            f"{at:%Y-%m-%dT%H:%M} does not exist in {zone.key}: the clocks jump over it. Choose another hour.",
            param_hint="--at",
        )
    return moment


def _as_text(found: Simulation, why: bool) -> str:
    lines = [f"{found.title} ({found.sequence})"]
    for number, letter in enumerate(found.letters, start=1):
        lines.append(f"{number:>3}. {_when(letter)}  {found.subjects[letter.step]} ({letter.step})")
        lines += [f"       {reason}" for reason in letter.reasons if why]
    return "\n".join(lines)


def _when(letter: Simulated) -> str:
    return f"{letter.local:%a %Y-%m-%d %H:%M} UTC{letter.local.isoformat()[-6:]}"


def _as_data(found: Simulation, signed_up: datetime, zone: ZoneInfo) -> dict[str, object]:
    letters = [
        {
            "step": letter.step,
            "subject": found.subjects[letter.step],
            "due": letter.due.isoformat(),
            "local": letter.local.isoformat(),
            "weekday": f"{letter.local:%A}",
            "reasons": letter.reasons,
        }
        for letter in found.letters
    ]
    told = {"sequence": found.sequence, "title": found.title, "signed_up": signed_up.isoformat(), "zone": zone.key}
    return told | {"letters": letters}
