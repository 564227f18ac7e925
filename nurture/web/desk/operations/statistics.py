"""The numbers: drawn, with a table behind each drawing; nothing on the page points to one person."""

from datetime import date

from flask import Blueprint, Response, request

from nurture.domain import rounding
from nurture.domain.rounding import RoundedCount, rounded
from nurture.services.operations import statistics
from nurture.services.operations.statistics import Bucket, FunnelStep, Numbers, Range
from nurture.web.desk import formatting
from nurture.web.desk.access_control import needs_login
from nurture.web.desk.operations import charts
from nurture.web.desk.operations.charts import Bar, ReferenceLine
from nurture.web.pages import page, rt

pages = Blueprint("numbers", __name__, url_prefix="/desk")

_RANGES = {Range.MONTH: "30 days", Range.QUARTER: "90 days", Range.YEAR: "A year", Range.ALL: "All"}
_STAYED = ("the same day", "1 to 3 days", "4 to 7 days", "the second week", "the third week", "later")
_COMPLAINTS = (ReferenceLine(0.001, "0.1 %"), ReferenceLine(0.003, "0.3 %"))
"""Google: "keep your spam rate below 0.1 % and avoid ever reaching 0.3 %"; Yahoo: below 0.3 % (sender guidelines, 2024–26)."""
_BOUNCES = (ReferenceLine(0.02, "2 %"),)
_FEWEST_MAILS = 1000
"""Below this a single mail moves a rate too much to be compared with the limits of mail services."""


@pages.get("/numbers")
@needs_login
def show() -> Response:
    """Everything for one span of time."""
    asked = request.args.get("back", Range.QUARTER)
    back = Range(asked) if asked in set(Range) else Range.QUARTER
    found = statistics.load(rt(), back, formatting.practice_zone())
    return page(
        "desk/operations/statistics.html",
        tab="numbers",
        ranges=[(each.value, label) for each, label in _RANGES.items()],
        back=back.value,
        since=_day(found.since, True),
        came=_came(found, back),
        funnels=[_funnel(steps) for _, steps in found.funnels],
        stayed=_stayed(found),
        mail=_mail(found),
        sources=_sources(found),
    )


def _day(day: date, year: bool = False) -> str:
    return f"{day.day} {day:%B %Y}" if year else f"{day.day} {day:%b}"


def _label(bucket: Bucket, back: Range) -> str:
    if back in (Range.MONTH, Range.QUARTER):
        return _day(bucket.first)
    days = (bucket.last - bucket.first).days
    if days > 100:
        return f"{bucket.first:%Y}"
    return f"{bucket.first:%b}" if days < 32 and back is Range.YEAR else f"{bucket.first:%b %y}"


def _came(found: Numbers, back: Range) -> dict[str, object] | None:
    asked, confirmed = sum(each.asked for each in found.buckets), sum(each.confirmed for each in found.buckets)
    if rounding.parts([asked]) is None or not asked:
        return {"chart": "", "total": rounded(asked), "confirmed": rounded(confirmed), "table": []}
    places = [Bar(_label(each, back), (rounded(each.asked), rounded(each.confirmed))) for each in found.buckets]
    said = f"{rounded(asked)} people asked for the letters and {rounded(confirmed)} confirmed, drawn over time."
    table = [
        (f"{_day(each.first)} to {_day(each.last, True)}", *bar.values) for each, bar in zip(found.buckets, places, strict=True)
    ]
    chart = charts.bars("came", "Sign-ups and confirmations", said, places)
    return {"chart": chart, "total": rounded(asked), "confirmed": rounded(confirmed), "table": table}


def _funnel(steps: tuple[FunnelStep, ...]) -> dict[str, object]:
    first = steps[0].sent
    if rounding.parts([first]) is None:
        return {"chart": "", "table": [], "first": rounded(first), "replies": False}
    places = [Bar(_name(step), (rounded(step.sent),)) for step in steps]
    notes = [str(rounded(step.sent)) for step in steps]
    said = f"{notes[0]} people got the first letter, and {notes[-1]} the last."
    replies = any(step.replied for step in steps)
    table = [
        (_name(step), rounded(step.sent), _delivered(step), rounded(step.left), rounded(step.asked), rounded(step.replied))
        for step in steps
    ]
    return {
        "chart": charts.rows(f"funnel-{steps[0].letter.key}", "Letter by letter", said, places, notes),
        "table": table,
        "first": rounded(first),
        "replies": replies,
        "asked": rounded(sum(step.asked for step in steps)),
        "share": rounding.share(sum(step.asked for step in steps), first),
        "left": rounded(sum(step.left for step in steps)),
    }


def _name(step: FunnelStep) -> str:
    name = formatting.called(step.letter)
    return name[0].upper() + name[1:]


def _delivered(step: FunnelStep) -> RoundedCount:
    return rounded(step.sent - min(step.undelivered, step.sent))


def _stayed(found: Numbers) -> dict[str, object]:
    left = sum(found.stays)
    counts = rounding.parts(found.stays)
    if counts is None or not left:
        return {"chart": "", "table": [], "left": rounded(left)}
    places = [Bar(label, (count,)) for label, count in zip(_STAYED, counts, strict=True)]
    said = "How long after confirming people left: " + "; ".join(f"{each.label} {each.values[0]}" for each in places) + "."
    chart = charts.rows("stayed", "How long people stay before they leave", said, places)
    return {"chart": chart, "table": [(each.label, each.values[0]) for each in places], "left": rounded(left)}


def _mail(found: Numbers) -> dict[str, object]:
    mail = found.mail
    return {
        "sent": f"{mail.sent:,}" if mail.sent else "0",
        "enough": mail.sent >= _FEWEST_MAILS,
        "fewest": f"{_FEWEST_MAILS:,}",
        "complaints": _measured("complaints", "Reported as spam", mail.complained, mail.sent, _COMPLAINTS),
        "bounces": _measured("bounces", "Mail that came back", mail.bounced, mail.sent, _BOUNCES),
    }


def _measured(key: str, title: str, count: int, sent: int, limits: tuple[ReferenceLine, ...]) -> dict[str, object]:
    value, said = rounding.rate(count, sent)
    described = f"{said} of all mail; {' and '.join(limit.name for limit in limits)} must not be reached."
    return {
        "words": said,
        "count": rounded(count),
        "chart": charts.gauge(key, title, described, value, limits),
        "verdict": _verdict(value, count, sent, limits[0].at, limits[-1].at),
    }


def _verdict(value: float, count: int, sent: int, wanted: float, limit: float) -> tuple[str, str]:
    """A class and a sentence. One to four of something are no trend, whatever share of the mail they are."""
    if rounded(count).few or not count or value < wanted:
        return "good", "Well within what mail services accept."
    if value < limit or sent < _FEWEST_MAILS:
        return "near", "Above what Gmail wants to see. Write only to people who asked, and look at what came back."
    return "over", "Above the limit. Mail services may put your letters into the spam folder; pause, and find out why."


def _sources(found: Numbers) -> dict[str, object]:
    most = list(found.sources[:6])
    rest = sum(count for _, count in found.sources[6:])
    named = [(formatting.origin(source), count) for source, count in most] + ([("all others", rest)] if rest else [])
    counts = rounding.parts(count for _, count in named)
    if counts is None or not named:
        return {"chart": "", "table": []}
    names = [name if len(name) < 44 else name[:42] + "…" for name, _ in named]
    places = [Bar(name, (count,)) for name, count in zip(names, counts, strict=True)]
    said = "By which pages and lists people came: " + "; ".join(f"{each.label} {each.values[0]}" for each in places) + "."
    chart = charts.rows("sources", "Where people came from", said, places)
    return {"chart": chart, "table": [(name, count) for (name, _), count in zip(named, counts, strict=True)]}
