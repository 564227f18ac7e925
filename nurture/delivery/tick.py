"""One look at the clock: claim what is due, hand it over, count. Safe at the same instant in any number of processes.

What is due is a row whose `due_at` has passed (store.deliveries.ledger); when that is, domain.timeline decided.
"""

from collections.abc import Callable
from dataclasses import dataclass

from nurture import failpoints, log
from nurture.delivery.safety_checks import check
from nurture.ids import BatchId, new_id
from nurture.runtime import Runtime
from nurture.store.core.database import process_name
from nurture.store.deliveries import ledger, send_blocks
from nurture.store.state import heartbeats, launch

_log = log.get(__name__)

_CHECK_SECONDS = 5.0


@dataclass(frozen=True)
class TickReport:
    """How many mails one tick claimed, in how many batches."""

    claimed: int
    batches: int


def tick(rt: Runtime, submit: Callable[[BatchId], object]) -> TickReport:
    """Claim due rows batch by batch until none is left, or sending is blocked, and hand each batch to `submit`."""
    claimed = batches = 0
    if not check(rt):
        return TickReport(0, 0)
    checked = rt.clock.boot_seconds()
    while not rt.stopping.is_set():
        if rt.clock.boot_seconds() - checked >= _CHECK_SECONDS:  # a long tick: a backup may be restored meanwhile
            if not check(rt):
                break
            checked = rt.clock.boot_seconds()
        batch = BatchId(new_id())
        taken = _claim(rt, batch)
        if not taken:
            break
        claimed, batches = claimed + taken, batches + 1
        _log.info("batch_claimed", batch=batch, claimed=taken)
        submit(batch)
    return TickReport(claimed, batches)


def _claim(rt: Runtime, batch: BatchId) -> int:
    now, real_now = rt.clock.now(), rt.clock.real_now()
    with rt.database.begin(durable=False) as db:  # a claim that is forgotten was not marked either: it is due again
        heartbeats.beat(db, heartbeats.TICK, real_now)
        if send_blocks.stopped(send_blocks.active_blocks(db), real_now):
            return 0
        lease, most = real_now + rt.timeouts.lease, rt.settings.batch_size
        readers_too = not rt.requires_launch or launch.since(db) is not None
        taken = len(ledger.claim(db, batch, process_name(), now, real_now, lease, most, readers_too))
        failpoints.point("claim.before_commit")
    failpoints.point("claim.after_commit")
    return taken
