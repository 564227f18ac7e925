"""Whether pages can be served, and whether mail goes out: two questions with two answers."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from nurture.delivery.provider_events import DUPLICATES
from nurture.domain.delivery import State
from nurture.runtime import Runtime
from nurture.services.settings import launch
from nurture.store.deliveries import in_doubt, rescheduling, send_blocks
from nurture.store.deliveries.in_doubt import LedgerCounts
from nurture.store.deliveries.send_blocks import ActiveBlock, BlockKind
from nurture.store.state import app_state, heartbeats

_MISSED_TICKS = 6
_PATIENCE = timedelta(seconds=60)
OVERDUE = timedelta(minutes=15)
"""Mail may wait so long for its turn; afterwards something must have left lately, or sending is overdue."""
_OVERDUE_IN_ANY_CASE = timedelta(hours=1)
_WRITE_EVERY_SECONDS = 10.0
_WRITABLE = "writable"


def readiness(rt: Runtime) -> dict[str, str]:
    """`ok`, or what is wrong, for what pages need: the database, its schema, and that it takes a write."""
    try:
        with rt.database.read() as db:
            now, head = rt.database.revision(db)
    except SQLAlchemyError:
        return {"database": "does not answer"}
    checks = {"database": "ok", "schema": "ok", "writes": "ok"}
    if now != head:
        checks["schema"] = f"revision {now}, needs {head}: run `nurture init`"
    elif not _takes_a_write(rt):
        checks["writes"] = "the database takes no write: is its disk full, or read-only?"
    return checks


def _takes_a_write(rt: Runtime) -> bool:
    """Whether a commit succeeds. Anybody may ask, so a good answer is given again for some seconds."""
    boot = rt.clock.boot_seconds()
    if 0 <= boot - rt.process_state.last_write < _WRITE_EVERY_SECONDS:
        return True
    try:
        with rt.database.begin() as db:
            heartbeats.beat(db, _WRITABLE, rt.clock.real_now())
    except SQLAlchemyError:
        return False
    rt.process_state.last_write = boot
    return True


def silent_for(rt: Runtime, last_tick: datetime | None) -> timedelta | None:
    """How long no scheduler has ticked, if that is longer than it may be; `timedelta.max`: none ever has."""
    silent = timedelta.max if last_tick is None else rt.clock.real_now() - last_tick
    return silent if silent > max(_PATIENCE, timedelta(seconds=rt.settings.tick_seconds * _MISSED_TICKS)) else None


def is_scheduler_silent(rt: Runtime) -> bool:
    """Whether no process has looked for due mail lately."""
    with rt.database.read() as db:
        last = heartbeats.last_beat(db, heartbeats.TICK)
    return silent_for(rt, last) is not None


STATES = tuple(state.value for state in State)


@dataclass(frozen=True)
class LedgerSummary:
    """How the ledger stands now, when a scheduler last looked at it, and what stops it."""

    rows: LedgerCounts
    last_tick: datetime | None
    blocks: list[ActiveBlock]
    duplicates_confirmed: int
    abandoned: int
    """Mails whose sender fell silent so long ago that somebody should have seen to them."""
    sent_lately: bool
    refused_waiting: bool
    """Whether something stops mail, or has just done so, and mail that could not be sent waits for its next try."""


def ledger_summary(rt: Runtime) -> LedgerSummary:
    """Read all of it in one look."""
    now, real_now = rt.clock.now(), rt.clock.real_now()
    with rt.database.read() as db:
        blocks = send_blocks.active_blocks(db)
        return LedgerSummary(
            in_doubt.ledger_counts(db, now),
            heartbeats.last_beat(db, heartbeats.TICK),
            blocks,
            int(app_state.get(db, DUPLICATES) or 0),
            in_doubt.count_abandoned(db, real_now - OVERDUE),
            in_doubt.accepted_since(db, now - rt.clock.stretch(OVERDUE)),
            bool(blocks) and rescheduling.is_tried_waiting(db),
        )


@dataclass(frozen=True)
class SendingProblem:
    """Why mail does not go out."""

    summary: str
    """For everybody: nothing that a person typed or a server said."""
    detail: str
    """For whoever runs the service."""


_SUMMARIES = {
    BlockKind.STOP: "stopped: by a person",
    BlockKind.PROVIDER: "stopped: the mail service refuses all mail",
    BlockKind.CLOCK: "stopped: a clock jumped",
    BlockKind.DATABASE_RESTORED: "stopped: the database is a restored copy",
}


def sending_problems(rt: Runtime, summary: LedgerSummary) -> list[SendingProblem]:
    """What keeps mail from going out; empty while sending is healthy.

    A provider that refused everything does so until it takes a mail again, however often it is asked meanwhile.
    """
    real_now = rt.clock.real_now()
    found = [
        SendingProblem(_SUMMARIES[each.kind], f"stopped since {each.since:%Y-%m-%d %H:%M} UTC: {each.why} (by {each.by})")
        for each in summary.blocks
        if each.stops(real_now) or summary.rows.due or summary.refused_waiting
    ]
    if not launch.is_open(rt):
        waits = "mail to readers waits for the first run at the desk (/desk/start/)"
        found.append(SendingProblem("stopped: the first run is not done", waits))
    return found or _overdue(rt, summary)


def _overdue(rt: Runtime, summary: LedgerSummary) -> list[SendingProblem]:
    waited = timedelta(seconds=summary.rows.oldest_due_seconds)
    late = waited > rt.clock.stretch(OVERDUE) and not summary.sent_lately
    if not (late or waited > rt.clock.stretch(_OVERDUE_IN_ANY_CASE) or summary.abandoned):
        return []
    minutes = int(waited.total_seconds() / 60)
    count = summary.rows.due + summary.abandoned
    silent = silent_for(rt, summary.last_tick)
    if silent is None:
        why = "a scheduler is at work: the log says what fails (job_failed, request_not_accepted)"
    elif silent == timedelta.max:
        why = "no scheduler has ever looked: start `nurture worker`, or `nurture serve` with its scheduler"
    else:
        why = f"no scheduler has looked for {int(silent.total_seconds() / 60)} minutes: is `nurture worker` running?"
    text = f"overdue: {count} {'mail' if count == 1 else 'mails'}, the oldest due {minutes} minutes ago"
    return [SendingProblem(f"overdue: mail is due for {minutes} minutes", f"{text}; {why}")]


def sending_summary(rt: Runtime) -> str:
    """`ok`, or in a few words why mail does not go out, or that nobody looks for it. Raises SQLAlchemyError."""
    summary = ledger_summary(rt)
    problems = sending_problems(rt, summary)
    if problems:
        return "; ".join(problem.summary for problem in problems)
    silent = silent_for(rt, summary.last_tick)
    if silent is None:
        return "ok"
    if silent == timedelta.max:
        return "no tick yet: start `nurture worker`, or `nurture serve` with its scheduler"
    return f"the last tick was {int(silent.total_seconds())} s ago: is a scheduler running?"
