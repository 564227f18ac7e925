"""T0: write the next row of an enrollment. The instant comes from domain.timeline; here it becomes a promise."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import crash, log
from nurture.domain.delivery import Kind
from nurture.domain.sequence import EnrollmentState, Step, following, read_step
from nurture.domain.timeline import NeverOpens, Rules, next_anchor, next_due
from nurture.letters.source import read_sequence
from nurture.store import doubts, instance, ledger, sequences
from nurture.store.database import process_name
from nurture.store.history import Settled
from nurture.store.ledger import NewDelivery
from nurture.store.sequences import Advance, Enrolled
from nurture.words import DeliveryId, EnrollmentId, SequenceId, StepKey

_log = log.get(__name__)
_HEAL_AT_ONCE = 500
SET_BACK = "set_back_until"
"""Until when, on the timeline, the database has once been set back."""


@lru_cache(maxsize=256)
def _steps(timing: tuple[tuple[str, str, str], ...]) -> tuple[Step, ...]:
    return tuple(read_step(StepKey(key), wait, if_late) for key, wait, if_late in timing)


class Plans:
    """Steps and rules of sequences, read once per transaction."""

    def __init__(self, db: Connection) -> None:
        """`db`: the transaction whose view of the sequences counts."""
        self._db = db
        self._known: dict[SequenceId, tuple[tuple[Step, ...], Rules]] = {}

    def of(self, sequence: SequenceId) -> tuple[Sequence[Step], Rules]:
        """Steps in order, and rules, of one sequence."""
        if sequence not in self._known:
            rules, timing = sequences.timing(self._db, sequence)
            self._known[sequence] = _steps(timing), read_sequence(rules).rules
        return self._known[sequence]


def next_row(enrolled: Enrolled, email_bidx: bytes | None, plans: Plans) -> NewDelivery | None:
    """The row that comes next for a reader; None when the sequence is over. Raises NeverOpens."""
    steps, rules = plans.of(enrolled.sequence)
    step = following(steps, enrolled.last_step)
    if step is None:
        return None
    due = next_due(enrolled.anchor, step, rules, ZoneInfo(enrolled.time_zone))
    return NewDelivery(Kind.LETTER, due, enrolled.subscriber, email_bidx, enrolled.id, step.key)


def plan_after(db: Connection, settled: Iterable[Settled], now: datetime, grace: timedelta) -> None:
    """Advance the readers whose letter was sent, or skipped at `now` (UTC), and write their next rows, in the same
    transaction. `grace`: how late, on the timeline, still counts as on time.
    """
    letters = [row for row in settled if row.enrollment and row.step]
    if not letters:
        return
    places = sequences.enrolled(db, [row.enrollment for row in letters if row.enrollment])
    plans, advances = Plans(db), list[Advance]()
    following_rows: dict[DeliveryId, tuple[StepKey, datetime]] = {}
    for row in letters:
        place = places[row.enrollment]  # type: ignore[index]
        steps, _ = plans.of(place.sequence)
        done = following(steps, row.step) is None
        moved = replace(place, anchor=next_anchor(row.planned, row.sent or now, grace), last_step=row.step)
        advances.append(Advance(place.id, row.step, moved.anchor, done))  # type: ignore[arg-type]
        if not done and place.state is EnrollmentState.ACTIVE:
            for new in _row_or_alarm(moved, row.email_bidx, plans):
                following_rows[row.id] = (new.step, new.due)  # type: ignore[assignment]
    sequences.advance(db, advances)
    crash.point("T3.between")
    ledger.plan_next(db, following_rows, now)
    if any(due <= now for _, due in following_rows.values()):
        _doubt_promises(db, now)


def _doubt_promises(db: Connection, now: datetime) -> None:
    """A promise that lies in the time the database has forgotten (delivery.vigil) may have been kept then."""
    until = instance.get(db, SET_BACK)
    if until:
        doubts.set_back(db, process_name(), datetime.fromisoformat(until), now)


def heal(db: Connection, now: datetime) -> int:
    """Write rows for active readers who have none to come: a sequence whose rules never opened has been put right, say."""
    from_store = doubts.stalled(db, _HEAL_AT_ONCE)
    places = sequences.enrolled(db, [enrollment for enrollment, _, _ in from_store])
    plans = Plans(db)
    rows = [row for enrollment, _, bidx in from_store for row in _row_or_alarm(places[enrollment], bidx, plans)]
    ledger.plan(db, rows, now)
    return len(rows)


def _row_or_alarm(enrolled: Enrolled, email_bidx: bytes | None, plans: Plans) -> list[NewDelivery]:
    """One row, or none and an alarm: rules that never open must not undo the outcome of a letter already sent."""
    try:
        row = next_row(enrolled, email_bidx, plans)
    except NeverOpens:
        _log.error("sequence_never_opens", enrollment=enrolled.id, sequence=enrolled.sequence)
        return []
    return [row] if row else []


def plan_first(db: Connection, enrollment: EnrollmentId, email_bidx: bytes, now: datetime) -> None:
    """Write the first row of a reader who has just been enrolled. Raises NeverOpens."""
    place = sequences.enrolled(db, [enrollment])[enrollment]
    row = next_row(place, email_bidx, Plans(db))
    ledger.plan(db, [row] if row else [], now)
    crash.point("T0.before_commit")
