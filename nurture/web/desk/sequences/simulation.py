"""The plan tried for one person: which letters they would get, and when and why then. Sends nothing."""

from datetime import UTC, date, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from flask import Blueprint, Response, request

from nurture.domain.simulation import Pause
from nurture.domain.timeline import instant
from nurture.errors import NurtureError
from nurture.services.sequences.simulation import Simulation, simulate_stored
from nurture.web.desk.access_control import needs_login
from nurture.web.pages import page, rt

pages = Blueprint("simulator", __name__, url_prefix="/desk/simulator")


class _Unclear(NurtureError):
    """Something in the form cannot be read."""


@cache
def _zones() -> tuple[str, ...]:
    """Time zones by the names of their places, without the old and technical ones."""
    skipped = ("Etc/", "posix/", "right/", "SystemV/", "US/", "Brazil/", "Canada/", "Chile/", "Mexico/")
    return (*sorted(name for name in available_timezones() if "/" in name and not name.startswith(skipped)), "UTC")


@pages.get("")
@needs_login
def show() -> Response:
    """The form, and what comes of it."""
    given = request.args
    zone = given.get("zone", "").strip() or rt().settings.time_zone
    now = rt().clock.now()
    form = {"zone": zone, "pauses": list(zip(given.getlist("from"), given.getlist("to"), strict=False))[:6]}
    found, wrong, status = None, "", 200
    try:
        if zone not in available_timezones():
            raise _Unclear(f"{zone!r} is no time zone. Choose one of the list, such as Europe/Berlin.")
        local = now.astimezone(ZoneInfo(zone))
        form |= {"day": given.get("day") or f"{local:%Y-%m-%d}", "time": given.get("time") or f"{local:%H:%M}"}
        found = _simulated(given.get("sequence") or None, ZoneInfo(zone), str(form["day"]), str(form["time"]), form["pauses"])  # type: ignore[arg-type]
    except NurtureError as refused:
        wrong, status = str(refused), 422
        form = {"day": given.get("day", ""), "time": given.get("time", "")} | form
    return page(
        "desk/sequences/simulation.html",
        status,
        tab="sequence",
        form=form,
        letters=_letters(found),
        wrong=wrong,
        zones=_zones(),
        sequence=found.sequence if found else "",
        whole=_days(found),
    )


def _letters(found: Simulation | None) -> list[dict[str, object]]:
    return (
        [
            {
                "key": each.step,
                "subject": found.subjects[each.step],
                "clock": f"{each.local:%H:%M}",
                "when": f"{each.local:%A} {each.local.day} {each.local:%B %Y}",
                "reasons": each.reasons,
                "iso": each.local.isoformat(timespec="minutes"),
            }
            for each in found.letters
        ]
        if found
        else []
    )


def _simulated(sequence: str | None, zone: ZoneInfo, day: str, clock: str, pauses: list[tuple[str, str]]) -> Simulation:
    try:
        at = datetime.fromisoformat(f"{day}T{clock}")
    except ValueError:
        raise _Unclear(f"{day!r}, {clock!r} is no day and time. Choose them again.") from None
    signed_up = at.replace(tzinfo=zone).astimezone(UTC)
    if signed_up.astimezone(zone).replace(tzinfo=None) != at:
        raise _Unclear(f"There is no {clock} on that day in {zone.key}: the clocks jump over it. Choose another hour.")
    taken = [Pause(instant(_day(begins), 0, zone), instant(_day(ends), 0, zone)) for begins, ends in pauses if begins or ends]
    return simulate_stored(rt(), sequence, signed_up, zone, taken)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _Unclear("A pause needs the day it begins and the day it is over. Fill in both, or leave both empty.") from None


def _days(found: Simulation | None) -> int:
    """How many days of their calendar there are from the first letter to the last."""
    if found is None or not found.letters:
        return 0
    return (found.letters[-1].local.date() - found.letters[0].local.date()).days
