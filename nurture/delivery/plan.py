"""T0: write the next row of an enrollment. The instant comes from domain.timeline; here it becomes a promise."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import crash, log
from nurture.domain.delivery import Kind
from nurture.domain.sequence import Step, following, read_step
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


_Next = tuple[StepKey, datetime]
"""A step, and when its letter is due."""


def _next(sequence: SequenceId, last: StepKey | None, anchor: datetime, zone: str, plans: Plans) -> _Next | None:
    """The step that comes next for a reader, and when; None when the sequence is over. Raises NeverOpens."""
    steps, rules = plans.of(sequence)
    step = following(steps, last)
    return None if step is None else (step.key, next_due(anchor, step, rules, ZoneInfo(zone)))


def _next_or_alarm(
    enrollment: EnrollmentId, sequence: SequenceId, last: StepKey | None, anchor: datetime, zone: str, plans: Plans
) -> _Next | None:
    """None and an alarm too where rules never open: they must not undo the outcome of a letter already sent."""
    try:
        return _next(sequence, last, anchor, zone, plans)
    except NeverOpens:
        _log.error("sequence_never_opens", enrollment=enrollment, sequence=sequence)
        return None


def plan_after(db: Connection, settled: Iterable[Settled], now: datetime, grace: timedelta) -> None:
    """Advance the readers whose letter was sent, or skipped at `now` (UTC), and write their next rows, in the same
    transaction. `grace`: how late, on the timeline, still counts as on time.
    """
    plans, advances, following_rows = Plans(db), list[Advance](), dict[DeliveryId, _Next]()
    for row in settled:
        if row.enrollment is None or row.sequence is None or row.step is None:
            continue  # no letter
        anchor = next_anchor(row.planned, row.sent or now, grace)
        done = following(plans.of(row.sequence)[0], row.step) is None
        advances.append(Advance(row.enrollment, row.step, anchor, done))
        new = _next_or_alarm(row.enrollment, row.sequence, row.step, anchor, row.time_zone or "UTC", plans)
        if new is not None:
            following_rows[row.id] = new
    if not advances:
        return
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
    plans, rows = Plans(db), list[NewDelivery]()
    for enrollment, _, bidx in from_store:
        place = places[enrollment]
        new = _next_or_alarm(place.id, place.sequence, place.last_step, place.anchor, place.time_zone, plans)
        if new is not None:
            rows.append(_row(place, bidx, *new))
    ledger.plan(db, rows, now)
    return len(rows)


def plan_first(db: Connection, enrollment: EnrollmentId, email_bidx: bytes, now: datetime) -> None:
    """Write the first row of a reader who has just been enrolled. Raises NeverOpens."""
    place = sequences.enrolled(db, [enrollment])[enrollment]
    first = _next(place.sequence, place.last_step, place.anchor, place.time_zone, Plans(db))
    ledger.plan(db, [_row(place, email_bidx, *first)] if first else [], now)
    crash.point("T0.before_commit")


def _row(place: Enrolled, email_bidx: bytes, step: StepKey, due: datetime) -> NewDelivery:
    return NewDelivery(Kind.LETTER, due, place.subscriber, email_bidx, place.id, step)
