"""Deliveries whose owner fell silent, deliveries in doubt, and readers whose next row is missing. Any process, any time."""

from dataclasses import dataclass
from datetime import timedelta

from nurture import failpoints, log
from nurture.delivery.outcomes import doubt_state
from nurture.delivery.plan import backfill_missing
from nurture.delivery.provider_events import settle_noted
from nurture.delivery.safety_checks import check
from nurture.domain.delivery import DeliveryKind, InDoubt, State, policy, verdict
from nurture.ids import DeliveryId
from nurture.letters.source import read_sequence
from nurture.runtime import Runtime
from nurture.store.core.database import process_name
from nurture.store.deliveries import in_doubt
from nurture.store.deliveries.in_doubt import InDoubtDelivery
from nurture.store.state import heartbeats

_log = log.get(__name__)
_AT_ONCE = 10_000


@dataclass(frozen=True)
class ReconcileReport:
    """Rows given back because they were provably unsent or may be repeated, rows now in doubt, doubts that ended in another
    try or with a person.
    """

    released: int = 0
    unknown: int = 0
    resent: int = 0
    held: int = 0


def reconcile(rt: Runtime) -> ReconcileReport:
    """Claimed and silent: due again. Sending and silent: in doubt. In doubt for long: as its policy says.
    Only a process that lives on from call to call ever sends a mail again on its own.
    """
    if not check(rt):
        return ReconcileReport()
    with rt.database.begin() as db:
        real_now, by = rt.clock.real_now(), process_name()
        silent = State.SCHEDULED if rt.mailer.repeats_safely else doubt_state(rt)
        again, doubtful = in_doubt.reclaim(db, by, real_now), in_doubt.mark_in_doubt(db, by, real_now, silent)
        if silent is State.SCHEDULED:
            again, doubtful = again + doubtful, 0
        failpoints.point("reclaim.before_commit")
    failpoints.point("reclaim.after_commit")
    settle_noted(rt, _AT_ONCE)
    resent, held = _decide(rt)
    report = ReconcileReport(again, doubtful, resent, held)
    if report != ReconcileReport():
        _log.warning("reconciled", released=again, unknown=doubtful, resent=resent, held=held)
    return report


def plan_missing(rt: Runtime) -> int:
    """Write the next row of readers who have none to come; looks at every reader under way, so not as often."""
    if not check(rt):
        return 0
    with rt.database.begin() as db:
        planned = backfill_missing(db, rt.clock.now())
    if planned:
        _log.warning("deliveries_backfilled", planned=planned)
    return planned


def _decide(rt: Runtime) -> tuple[int, int]:
    """RESOLVE: another try for what may have one, a person for the rest; how many of each.

    While reports are turned away, and for as long again as any may take, that none has come of a mail means nothing.
    """
    with rt.database.read() as db:
        unknown = in_doubt.in_doubt(db, State.UNKNOWN, _AT_ONCE)
        reported = heartbeats.last_beat(db, heartbeats.EVIDENCE)
        turned_away = heartbeats.last_beat(db, heartbeats.TURNED_AWAY)
    boot, real_now = rt.clock.boot_seconds(), rt.clock.real_now()
    let_in = turned_away is None or real_now - turned_away >= rt.timeouts.evidence
    if boot - rt.process_state.in_doubt_checked_at > rt.timeouts.evidence.total_seconds() / 2:
        rt.process_state.in_doubt_since.clear()  # it stood still, or could not reach the database: no more could reports
    seen = rt.process_state.in_doubt_since = {row.id: rt.process_state.in_doubt_since.get(row.id, boot) for row in unknown}
    rt.process_state.in_doubt_checked_at = boot
    ends: dict[State, list[DeliveryId]] = {State.SCHEDULED: [], State.HELD: [], State.UNKNOWN: []}
    for row in unknown:
        healthy = let_in and reported is not None and row.sending is not None and reported > row.sending
        lasted = real_now - (row.since or real_now)
        watched = timedelta(seconds=boot - seen[row.id])
        end = verdict(_policy(row), lasted, watched, healthy, rt.timeouts.evidence, rt.timeouts.give_up)
        ends[end].append(row.id)
    if not (ends[State.SCHEDULED] or ends[State.HELD]):
        return 0, 0
    with rt.database.begin() as db:
        by = process_name()
        resent = in_doubt.decide(
            db, ends[State.SCHEDULED], State.SCHEDULED, by, real_now, "no evidence of it, only of later ones"
        )
        held = in_doubt.decide(db, ends[State.HELD], State.HELD, by, real_now, "no evidence came: a person decides")
        failpoints.point("resolve.before_commit")
    failpoints.point("resolve.after_commit")
    return resent, held


def _policy(row: InDoubtDelivery) -> InDoubt:
    if row.sending is None:  # the database was set back: it does not know whether there was a request
        return InDoubt.HOLD
    chosen = read_sequence(row.rules).in_doubt if row.kind is DeliveryKind.LETTER and row.rules else InDoubt.HOLD
    return policy(row.kind, chosen)
