"""T3: what came back from the provider, written down. Every write carries the batch: a fenced-off owner changes nothing."""

import random
from collections.abc import Mapping

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import plan_after
from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused, Rejected, State, backoff
from nurture.domain.timeline import ON_TIME
from nurture.runtime import Runtime
from nurture.store import ledger
from nurture.words import BatchId, DeliveryId

_log = log.get(__name__)


def doubt_state(rt: Runtime) -> State:
    """Where a mail in doubt waits: for evidence where the mailer can give it, else for a person."""
    return State.UNKNOWN if rt.mailer.gives_evidence else State.HELD


def settle(rt: Runtime, db: Connection, batch: BatchId, outcomes: Mapping[DeliveryId, tuple[int, Outcome]]) -> None:
    """Write the outcomes of one window: each delivery with its attempt number and what its request came to."""
    now, wall = rt.clock.now(), rt.clock.wall()
    taken = {delivery: o.message_id for delivery, (_, o) in outcomes.items() if isinstance(o, Accepted)}
    if taken:
        plan_after(db, ledger.accepted(db, batch, taken, now), now, rt.clock.stretch(ON_TIME))
    for delivery, (attempt, outcome) in outcomes.items():
        match outcome:
            case Refused(why, wait):
                wait = wait or backoff(attempt, random.random())  # noqa: S311 - jitter, not a secret
                ledger.refused(db, batch, [delivery], now + rt.clock.stretch(wait), why)
            case Rejected(why):
                ledger.failed(db, batch, {delivery: why})
            case Ambiguous(why):
                ledger.in_doubt(db, batch, [delivery], doubt_state(rt), wall, why)
            case Accepted():
                continue
        _log.warning("delivery_not_accepted", delivery=delivery, outcome=type(outcome).__name__.lower(), reason=outcome.why)


def hold_back(rt: Runtime, db: Connection, batch: BatchId, refused: Refused, attempt: int) -> int:
    """A refusal that concerns every mail: give back what is still claimed, not before the provider wants to hear of us."""
    wait = refused.wait or backoff(attempt, random.random())  # noqa: S311 - jitter, not a secret
    return ledger.release(db, batch, rt.clock.now() + rt.clock.stretch(wait))
