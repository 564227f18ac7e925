"""Letters whose moment is not now: too late after an outage, or too soon after another mail to the same person."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import ReaderSchedule, ScheduleLookup, plan_after
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.sequence import IfLate
from nurture.domain.timeline import ON_TIME, NeverOpens, first_opening, reopened, spaced_out
from nurture.ids import BatchId, DeliveryId, SubscriberId
from nurture.runtime import Runtime
from nurture.store.core.database import process_name
from nurture.store.deliveries import claims, ledger
from nurture.store.deliveries.claims import Claimed
from nurture.store.deliveries.transitions import SKIPPED

_log = log.get(__name__)


def handle_lateness(rt: Runtime, batch: BatchId, rows: list[Claimed]) -> list[Claimed]:
    """Take letters out of a batch that missed their moment: some wait for the next opening, some are skipped or asked about,
    as their step says. Returns the rest.
    """
    now, grace = rt.clock.now(), rt.clock.stretch(ON_TIME)
    late = [
        row for row in rows if row.kind is DeliveryKind.LETTER and now - row.planned > grace and row.sequence and row.time_zone
    ]
    if not late:
        return rows
    with rt.database.begin() as db:
        ways = ScheduleLookup(db).ways({row.enrollment: row.sequence for row in late if row.enrollment and row.sequence})
        moved = {row.id for row in late if row.enrollment and _moved(rt, db, batch, row, ways[row.enrollment], now, grace)}
    return [row for row in rows if row.id not in moved]


def _moved(
    rt: Runtime, db: Connection, batch: BatchId, row: Claimed, way: ReaderSchedule, now: datetime, grace: timedelta
) -> bool:
    real_now, by, late = rt.clock.real_now(), process_name(), now - row.planned
    step = next((step for step in way.steps if step.key == row.step), None)
    then = step.lateness.of(late) if step else IfLate.SEND
    hours = f"{late.total_seconds() / 3600:.0f} hours late"
    if then is IfLate.SKIP:
        plan_after(
            db, claims.put_aside(db, batch, row.id, State.CANCELLED, by, real_now, f"{SKIPPED}{hours}"), now, real_now, grace
        )
        return True
    if then is IfLate.ASK:
        claims.put_aside(db, batch, row.id, State.HELD, by, real_now, f"{hours}: shall it still go out?")
        return True
    try:
        opening = reopened(row.planned, now, grace, way.rules, ZoneInfo(row.time_zone or "UTC"))
    except NeverOpens as never:
        claims.unfit(db, batch, {row.id: str(never)}, by, real_now)
        return True
    if opening is not None:
        claims.postponed(db, batch, row.id, opening, by, real_now, f"{hours}: waits for the window")
    return opening is not None


def space_out(
    rt: Runtime,
    db: Connection,
    batch: BatchId,
    rows: Iterable[tuple[DeliveryId, SubscriberId, str]],
    known: dict[DeliveryId, Claimed],
) -> None:
    """Rows that MARK turned away because something went to the same person lately: a new promise at the first moment at which
    they may go.
    """
    now, real_now, by = rt.clock.now(), rt.clock.real_now(), process_name()
    plans = ScheduleLookup(db)
    for delivery, who, zone_name in rows:
        row, zone = known[delivery], ZoneInfo(zone_name)
        letter = row.kind is DeliveryKind.LETTER
        free = spaced_out(now, ledger.last_sent(db, who, True) if letter else None, rt.frequency_caps.gap, zone)
        if letter and row.sequence is not None and row.enrollment is not None:
            free = first_opening(free, plans.ways({row.enrollment: row.sequence})[row.enrollment].rules, zone)
        claims.postponed(db, batch, delivery, free, by, real_now, "too soon after another mail to the same person")
        _log.info("delivery_deferred_min_gap", delivery=delivery)
