"""What is kept no longer than it must be."""

from nurture import log
from nurture.delivery.vigil import look
from nurture.domain.subscriber import CONFIRM_WITHIN
from nurture.runtime import Runtime
from nurture.store import access, subscribers

_log = log.get(__name__)


def retain(rt: Runtime) -> int:
    """Delete sign-ups nobody confirmed in time, and ended desk sessions. Returns the sign-ups."""
    if not look(rt):  # by a clock that jumped, everything is old
        return 0
    with rt.database.begin() as db:
        deleted = subscribers.delete_unconfirmed(db, rt.clock.now() - CONFIRM_WITHIN)
        access.forget(db, rt.clock.wall())
    if deleted:
        _log.info("unconfirmed_deleted", count=deleted)
    return deleted
