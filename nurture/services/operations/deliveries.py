"""Mail that needs a person: what is in doubt or held, what happened to it, and what to do with it."""

from nurture import log
from nurture.delivery.plan import plan_after
from nurture.domain.delivery import State
from nurture.domain.timeline import ON_TIME
from nurture.errors import NurtureError
from nurture.ids import DeliveryId
from nurture.runtime import Runtime
from nurture.store.deliveries import in_doubt, transitions
from nurture.store.deliveries.in_doubt import InDoubtDelivery
from nurture.store.deliveries.transitions import HistoryLine

_log = log.get(__name__)


class NotInDoubt(NurtureError):
    """A delivery that a person wants to settle is not unknown, held or failed."""


def list_doubts(rt: Runtime, state: State, limit: int = 1000) -> list[InDoubtDelivery]:
    """Deliveries that are UNKNOWN (evidence may still come), HELD (only a person can tell) or FAILED, longest first."""
    with rt.database.read() as db:
        return in_doubt.in_doubt(db, state, limit)


def resolve(rt: Runtime, delivery: DeliveryId, sent: bool, who: str) -> None:
    """Settle a delivery that is unknown, held or failed: count it as `sent`, and the sequence goes on; or send it again.

    Consent, suppression and the guards still decide whether it may go. Raises NotInDoubt.
    """
    with rt.database.begin() as db:
        now, real_now = rt.clock.now(), rt.clock.real_now()
        moved = in_doubt.resolve(db, delivery, sent, who, now, real_now)
        if moved is None:
            raise NotInDoubt(
                f"The delivery {delivery} is not unknown, held or failed, so there is nothing to settle. "
                "`nurture deliveries unknown`, `nurture deliveries held` and `nurture deliveries failed` list those that are."
            )
        if sent:
            plan_after(db, moved, now, real_now, rt.clock.stretch(ON_TIME))
    _log.info("delivery_resolved", delivery=delivery, outcome="sent" if sent else "again")


def retry_failed(rt: Runtime, reason: str, who: str) -> int:
    """Send all mail again that failed with a reason that holds these words; returns how many.

    What is unknown or held may have left, so that each of it is a decision of its own.
    """
    with rt.database.begin() as db:
        count = in_doubt.retry_failed(db, reason, who, rt.clock.now(), rt.clock.real_now())
    _log.info("deliveries_retried", count=count)
    return count


def count_doubts(rt: Runtime, state: State) -> int:
    """How many deliveries are UNKNOWN, HELD or FAILED."""
    with rt.database.read() as db:
        return in_doubt.count(db, state)


def history(rt: Runtime, delivery: DeliveryId) -> list[HistoryLine]:
    """Everything that happened to one delivery, in order; empty if there is none."""
    with rt.database.read() as db:
        return transitions.history(db, delivery)
