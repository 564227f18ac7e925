"""T1–T3 of one batch: render → mark → post → settle.

Rows are marked `sending` in windows no larger than what is in flight, so that a crash leaves a handful in doubt and never
a whole batch; one commit settles a window and marks the next. No transaction is open while the provider is spoken to.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import Plans
from nurture.delivery.settle import hold_back, settle
from nurture.domain.delivery import Accepted, Kind, Outcome, Refused
from nurture.domain.subscriber import CONFIRM_WITHIN
from nurture.domain.timeline import ON_TIME, NeverOpens, next_anchor, reopened
from nurture.letters.compiler import Edition, compile_letter
from nurture.letters.filling import Unfillable, Values, fill
from nurture.letters.source import read_letter
from nurture.mailers.base import Mail, MailRefused, headers
from nurture.runtime import Runtime, shipped
from nurture.sealing import Unreadable
from nurture.store import ledger, sequences, subscribers
from nurture.store.database import process_name
from nurture.store.ledger import Claimed
from nurture.store.sequences import StoredEdition
from nurture.tokens import Purpose
from nurture.words import BatchId, DeliveryId, EditionId

_log = log.get(__name__)

SEND_WITHIN_SECONDS = 10.0
"""A request starts at most this long after its rows were marked; a process that slept in between lets go instead."""
REQUEST_SECONDS = 35.0


@dataclass
class BatchReport:
    """What became of one batch, in mails."""

    sent: int = 0
    failed: int = 0
    postponed: int = 0
    cancelled: int = 0
    released: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Ready:
    row: Claimed
    mail: Mail


def send_batch(rt: Runtime, batch: BatchId) -> BatchReport:
    """Send what is claimed under `batch`. Safe to call twice, anywhere: the rows and their fence decide."""
    report = BatchReport()
    with rt.database.read() as db:
        rows = ledger.read_batch(db, batch)
        editions = sequences.read_editions(db, {row.edition for row in rows if row.edition})
    rows = _postpone_late(rt, batch, rows, report)
    ready = _render(rt, batch, rows, editions, report)
    outcomes: dict[DeliveryId, tuple[int, Outcome]] = {}
    with ThreadPoolExecutor(rt.settings.send_concurrency, thread_name_prefix="send") as threads:
        for window in _windows(ready, rt.settings.send_concurrency):
            if _everyone(outcomes):
                break
            if rt.settings.max_sends_per_second is not None:
                _wait_for_slots(rt, batch, len(window), outcomes, rt.settings.max_sends_per_second)
            if rt.stopping.is_set():
                break
            began = rt.clock.boot_seconds()  # before the mark: a pause in its commit counts too
            with rt.database.begin() as db:
                settle(rt, db, batch, outcomes)
                marked = _mark(rt, db, batch, window)
            report.cancelled += len(window) - len(marked)
            outcomes = _post(rt, [each for each in window if each.row.id in marked], threads, began)
            _count(report, outcomes)
        with rt.database.begin() as db:
            settle(rt, db, batch, outcomes)
            report.released = _give_back(rt, db, batch, outcomes)
    _log.info(
        "batch_sent",
        batch=batch,
        deliveries=len(rows),
        sent=report.sent,
        outcome=report.outcomes,
        released=report.released,
    )
    return report


def _windows(ready: Sequence[_Ready], size: int) -> Iterator[Sequence[_Ready]]:
    for start in range(0, len(ready), size):
        yield ready[start : start + size]


def _everyone(outcomes: dict[DeliveryId, tuple[int, Outcome]]) -> tuple[int, Refused] | None:
    """The refusal, if one of the last window concerns every mail, with its attempt."""
    return next(((n, o) for n, o in outcomes.values() if isinstance(o, Refused) and o.everyone), None)


def _give_back(rt: Runtime, db: Connection, batch: BatchId, outcomes: dict[DeliveryId, tuple[int, Outcome]]) -> int:
    refusal = _everyone(outcomes)
    return hold_back(rt, db, batch, refusal[1], refusal[0]) if refusal else ledger.release(db, batch)


def _count(report: BatchReport, outcomes: dict[DeliveryId, tuple[int, Outcome]]) -> None:
    for _, outcome in outcomes.values():
        name = type(outcome).__name__.lower()
        report.outcomes[name] = report.outcomes.get(name, 0) + 1
        report.sent += isinstance(outcome, Accepted)


def _wait_for_slots(
    rt: Runtime, batch: BatchId, count: int, outcomes: dict[DeliveryId, tuple[int, Outcome]], per_second: float
) -> None:
    """Keep to NURTURE_MAX_SENDS_PER_SECOND over all processes: the database hands out slots.

    What is known of the window before is written down first: a wait must not prolong a doubt.
    """
    with rt.database.begin() as db:
        settle(rt, db, batch, outcomes)
        begin = ledger.reserve(db, count, per_second, rt.clock.wall())
    rt.stopping.wait(max(0.0, (begin - rt.clock.wall()).total_seconds()))


def _mark(rt: Runtime, db: Connection, batch: BatchId, window: Sequence[_Ready]) -> set[DeliveryId]:
    at = rt.clock.wall()
    lease = at + timedelta(seconds=rt.settings.lease_seconds)
    return ledger.mark(db, batch, [each.row.id for each in window], process_name(), at, lease)


def _post(
    rt: Runtime, window: Sequence[_Ready], threads: ThreadPoolExecutor, began: float
) -> dict[DeliveryId, tuple[int, Outcome]]:
    """Hand a marked and committed window to the mailer, one request a person, in parallel; `began`: boot seconds at T2."""

    def one(each: _Ready) -> Outcome:
        now = rt.clock.boot_seconds()
        if now - began > SEND_WITHIN_SECONDS:
            return Refused("too late after marking: this process was held up", wait=None, everyone=False)
        return rt.mailer.post([each.mail], now + REQUEST_SECONDS)

    answers = [one(window[0])] if len(window) == 1 else list(threads.map(one, window))
    return {each.row.id: (each.row.attempt, answer) for each, answer in zip(window, answers, strict=True)}


def _postpone_late(rt: Runtime, batch: BatchId, rows: list[Claimed], report: BatchReport) -> list[Claimed]:
    """Letters that missed their moment and whose window is shut now wait for the next opening."""
    now, grace = rt.clock.now(), rt.clock.stretch(ON_TIME)
    late = [row for row in rows if row.kind is Kind.LETTER and now - row.planned > grace and row.sequence and row.time_zone]
    if not late:
        return rows
    moved = set()
    with rt.database.begin() as db:
        plans = Plans(db)
        for row in late:
            _, rules = plans.of(row.sequence)  # type: ignore[arg-type]
            try:
                opening = reopened(row.planned, now, grace, rules, ZoneInfo(row.time_zone))  # type: ignore[arg-type]
            except NeverOpens as never:
                ledger.failed(db, batch, {row.id: str(never)})
                moved.add(row.id)
                continue
            if opening is not None:
                ledger.postponed(db, batch, row.id, opening)
                moved.add(row.id)
    report.postponed = len(moved)
    return [row for row in rows if row.id not in moved]


def _render(
    rt: Runtime, batch: BatchId, rows: list[Claimed], editions: dict[EditionId, StoredEdition], report: BatchReport
) -> list[_Ready]:
    """Fill every mail outside any transaction. One that cannot be filled fails alone."""
    ready, broken = [], {}
    for row in rows:
        try:
            ready.append(_Ready(row, _mail(rt, batch, row, editions)))
        except (Unfillable, Unreadable, MailRefused, LookupError) as error:
            broken[row.id] = str(error)
            _log.error("delivery_cannot_be_rendered", delivery=row.id, kind=row.kind.value, error=type(error).__name__)
    if broken:
        with rt.database.begin() as db:
            ledger.failed(db, batch, broken)
        report.failed = len(broken)
    return ready


@cache
def own_mail(kind: Kind) -> Edition:
    """The edition of a mail that is no letter: templates/mail/<kind>.md, compiled like one."""
    name = f"{kind.value.replace('_', '-')}.md"
    return compile_letter(read_letter(name, (shipped("mail") / name).read_text("utf-8")), kind)


def _mail(rt: Runtime, batch: BatchId, row: Claimed, editions: dict[EditionId, StoredEdition]) -> Mail:
    if row.kind is Kind.LETTER:
        if row.edition is None:
            raise LookupError("the letter of this step is gone")
        stored = editions[row.edition]
        edition = Edition(stored.subject, stored.html, stored.text)
    else:
        edition = own_mail(row.kind)
    unsubscribe = None
    if row.subscriber is not None:
        unsubscribe = f"{rt.settings.base_url}/unsubscribe/{rt.tokens.mint(Purpose.UNSUBSCRIBE, row.subscriber)}"
    content = fill(edition, values(rt, row, unsubscribe or ""))
    to = rt.settings.notices_to
    if row.subscriber is not None and row.email is not None:
        to = rt.sealer.open(row.email, subscribers.email_place(row.subscriber))
    return Mail(
        row.id, batch, row.kind, to, content.subject, content.html, content.text, rt.sender,
        headers(rt.sender, row.kind, row.id, unsubscribe), next_anchor(row.planned, rt.clock.now(), rt.clock.stretch(ON_TIME)),
    )  # fmt: skip


def values(rt: Runtime, row: Claimed, unsubscribe: str) -> Values:
    """Everything a letter may ask for, as `dialect.NAMES` lists it, for the reader of one row."""
    base = rt.settings.base_url
    links = {
        "unsubscribe": unsubscribe,
        "home": base,
        "consultation": f"{base}/consultation",
        "confirm": "",
        "desk": "",
    }
    first_name, signed_up_on = "", ""
    if row.subscriber is not None:
        links["consultation"] += "?t=" + rt.tokens.mint(Purpose.CONSULTATION, row.subscriber)
        if row.kind is Kind.CONFIRMATION:
            links["confirm"] = (
                f"{base}/confirm/{rt.tokens.mint(Purpose.CONFIRM, row.subscriber, rt.clock.wall() + CONFIRM_WITHIN)}"
            )
        elif row.first_name is not None:
            first_name = rt.sealer.open(row.first_name, subscribers.first_name_place(row.subscriber))
        if row.confirmed is not None:
            day = row.confirmed.astimezone(ZoneInfo(row.time_zone or "UTC"))
            signed_up_on = f"{day.day} {day:%B %Y}"
    if row.about is not None:
        links["desk"] = f"{base}/desk/consultations/{row.about}"
    return {
        "reader": {"first_name": first_name, "signed_up_on": signed_up_on},
        "practice": {"name": rt.settings.from_name, "postal_address": rt.settings.postal_address},
        "links": links,
    }
