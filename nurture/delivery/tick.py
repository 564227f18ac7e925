"""One look at the clock: claim what is due, hand it over, count. Safe at the same instant in any number of processes.

What is due is a row whose `due_at` has passed (store.ledger); when that is, domain.timeline decided.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from nurture import log
from nurture.runtime import Runtime
from nurture.store import ledger
from nurture.words import BatchId, new_id

_log = log.get(__name__)


@dataclass(frozen=True)
class TickReport:
    """How many mails one tick claimed, in how many batches."""

    claimed: int
    batches: int


def tick(rt: Runtime, carry: Callable[[BatchId], object]) -> TickReport:
    """Claim due rows batch by batch until none is left, and hand each batch to `carry`."""
    claimed = batches = 0
    while not rt.stopping.is_set():
        batch = BatchId(new_id())
        lease = rt.clock.wall() + timedelta(seconds=rt.settings.lease_seconds)
        with rt.database.begin() as db:
            taken = len(ledger.claim(db, batch, rt.clock.now(), lease, rt.settings.batch_size))
        if not taken:
            break
        claimed, batches = claimed + taken, batches + 1
        _log.info("batch_claimed", batch=batch, claimed=taken)
        carry(batch)
    with rt.database.begin() as db:
        ledger.beat(db, "tick", rt.clock.wall())
    return TickReport(claimed, batches)
