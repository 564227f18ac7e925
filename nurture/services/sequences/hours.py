"""When letters may go out, from what a form says."""

import re
from collections.abc import Collection, Sequence
from datetime import date, time

from nurture.domain.timeline import Quiet, Rules, Window
from nurture.errors import NurtureError


class HoursRefused(NurtureError):
    """Hours, days or holidays that cannot be read. The message says what is wrong, a sentence a line."""


def read_rules(
    opens: str, closes: str, days: Collection[int], quiet_from: str, quiet_to: str, holidays: Sequence[str]
) -> Rules:
    """Rules from what a form says: times like `09:00`, weekdays (Monday = 0), dates like `2026-12-25`.

    Raises HoursRefused with all that is wrong, a sentence each, in lines.
    """
    wrong: list[str] = []
    times = {
        name: _read_time(value, name, wrong)
        for name, value in (
            ("the first hour for letters", opens),
            ("the last hour for letters", closes),
            ("the start of the quiet hours", quiet_from),
            ("the end of the quiet hours", quiet_to),
        )
    }
    if not days:
        wrong.append("Choose at least one day of the week on which letters may go out.")
    free = {found for text in holidays if text.strip() and (found := _read_date(text.strip(), wrong))}
    if wrong:
        raise HoursRefused("\n".join(wrong))
    first, last, begins, ends = times.values()
    return Rules(Window(first, last, frozenset(days)), Quiet(begins, ends), frozenset(free))


def _read_time(value: str, name: str, wrong: list[str]) -> time:
    if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value.strip()):
        return time.fromisoformat(value.strip())
    wrong.append(
        f"{value.strip() or 'Nothing'!r} is no time for {name}. Write it like 09:00.".replace("'Nothing'", "An empty field")
    )
    return time()


def _read_date(text: str, wrong: list[str]) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        wrong.append(f"{text!r} is no date. Write it like 2026-12-25.")
        return None
