"""T0: write the next row of an enrollment. The instant comes from domain.timeline; here it becomes a promise."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import log
from nurture.domain.delivery import Kind
from nurture.domain.sequence import EnrollmentState, Step, following
from nurture.domain.timeline import NeverOpens, Rules, next_anchor, next_due
from nurture.letters.source import read_sequence
from nurture.store import ledger, sequences
from nurture.store.ledger import NewDelivery, Settled
from nurture.store.sequences import Enrolled, StoredSequence
from nurture.words import EnrollmentId, SequenceId

_log = log.get(__name__)
_HEAL_AT_ONCE = 500


class Plans:
    """Steps and rules of sequences, read once per transaction."""

    def __init__(self, db: Connection) -> None:
        """`db`: the transaction whose view of the sequences counts."""
        self._db = db
        self._known: dict[SequenceId, tuple[tuple[Step, ...], Rules]] = {}

    def of(self, sequence: SequenceId) -> tuple[Sequence[Step], Rules]:
        """Steps in order, and rules, of one sequence."""
        if sequence not in self._known:
            stored = sequences.load(self._db, sequence=sequence)
            if stored is None:
                raise LookupError("an enrollment's sequence is gone")  # a foreign key forbids it
            self._known[sequence] = read(stored)
        return self._known[sequence]


def read(stored: StoredSequence) -> tuple[tuple[Step, ...], Rules]:
    """A stored sequence as the timeline knows it."""
    return tuple(step.step for step in stored.steps), read_sequence(stored.rules).rules


def next_row(enrolled: Enrolled, email_bidx: bytes | None, plans: Plans) -> NewDelivery | None:
    """The row that comes next for a reader; None when the sequence is over. Raises NeverOpens."""
    steps, rules = plans.of(enrolled.sequence)
    step = following(steps, enrolled.last_step)
    if step is None:
        return None
    due = next_due(enrolled.anchor, step, rules, ZoneInfo(enrolled.time_zone))
    return NewDelivery(Kind.LETTER, due, enrolled.subscriber, email_bidx, enrolled.id, step.key)


def plan_after(db: Connection, settled: Iterable[Settled], now: datetime, grace: timedelta) -> None:
    """Advance the readers whose letter was accepted at `now` (UTC), and write their next rows, in the same transaction.

    `grace`: how late, on the timeline, still counts as on time.
    """
    letters = [row for row in settled if row.kind is Kind.LETTER and row.enrollment and row.step]
    if not letters:
        return
    places = sequences.enrolled(db, [row.enrollment for row in letters if row.enrollment])
    plans, rows = Plans(db), []
    for row in letters:
        place = places[row.enrollment]  # type: ignore[index]
        steps, _ = plans.of(place.sequence)
        done = following(steps, row.step) is None
        anchor = next_anchor(row.planned, now, grace)
        sequences.advance(db, place.id, row.step, anchor, done)  # type: ignore[arg-type]
        if not done and place.state is EnrollmentState.ACTIVE:
            moved = Enrolled(place.id, place.subscriber, place.sequence, place.state, anchor, row.step, place.time_zone)
            rows += _row_or_alarm(moved, row.email_bidx, plans)
    ledger.plan(db, rows, now)


def heal(db: Connection, now: datetime) -> int:
    """Write rows for active readers who have none to come: a sequence whose rules never opened has been put right, say."""
    from_store = ledger.stalled(db, _HEAL_AT_ONCE)
    places = sequences.enrolled(db, [enrollment for enrollment, _, _ in from_store])
    plans = Plans(db)
    rows = [row for enrollment, _, bidx in from_store for row in _row_or_alarm(places[enrollment], bidx, plans)]
    return ledger.plan(db, rows, now)


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
