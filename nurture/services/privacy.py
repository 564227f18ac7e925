"""What is kept no longer than it must be."""

from datetime import timedelta

from nurture import log
from nurture.domain.subscriber import CONFIRM_WITHIN
from nurture.runtime import Runtime
from nurture.store import access, ledger, subscribers

_log = log.get(__name__)

_REQUESTS_KEPT = timedelta(days=30)


def retain(rt: Runtime) -> int:
    """Delete sign-ups nobody confirmed in time, old notes on requests, and ended desk sessions. Returns the sign-ups."""
    with rt.database.begin() as db:
        deleted = subscribers.delete_unconfirmed(db, rt.clock.now() - CONFIRM_WITHIN)
        ledger.forget_requests(db, rt.clock.wall() - _REQUESTS_KEPT)
        access.forget(db, rt.clock.wall())
    if deleted:
        _log.info("unconfirmed_deleted", count=deleted)
    return deleted
