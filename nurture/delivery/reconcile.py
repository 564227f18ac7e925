"""T4: rows whose owner fell silent, and readers whose next row is missing. Any process may run it, at any time."""

from dataclasses import dataclass

from nurture import log
from nurture.delivery.plan import heal
from nurture.delivery.settle import doubt_state
from nurture.domain.delivery import State
from nurture.runtime import Runtime
from nurture.store import ledger

_log = log.get(__name__)


@dataclass(frozen=True)
class ReconcileReport:
    """Rows given back because they were provably unsent or may be repeated, rows now in doubt, rows planned late."""

    released: int
    unknown: int
    planned: int


def reconcile(rt: Runtime) -> ReconcileReport:
    """Claimed and silent: due again. Sending and silent: in doubt, never sent again on its own. Without a next row: planned."""
    with rt.database.begin() as db:
        wall = rt.clock.wall()
        silent = State.SCHEDULED if rt.mailer.repeats_safely else doubt_state(rt)
        again, doubtful = ledger.reclaim(db, wall), ledger.doubt(db, wall, silent)
        if silent is State.SCHEDULED:
            again, doubtful = again + doubtful, 0
        report = ReconcileReport(again, doubtful, heal(db, rt.clock.now()))
    if report.released or report.unknown or report.planned:
        _log.warning("reconciled", released=report.released, unknown=report.unknown, planned=report.planned)
    return report
