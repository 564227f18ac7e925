"""Leaving, and coming back: what a reader does by a link in a letter."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import Moment, go_on
from nurture.delivery.stop import stop
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.domain.timeline import first_opening
from nurture.runtime import Runtime
from nurture.services import suppressions
from nurture.store import ledger, schedules, sequences, subscribers
from nurture.store.subscribers import Person
from nurture.words import SubscriberId

_log = log.get(__name__)


class Exit(StrEnum):
    """How a reader left."""

    ONE_CLICK = "one-click"
    PAGE = "page"


_GONE = (SubscriberState.UNSUBSCRIBED, SubscriberState.BOUNCED, SubscriberState.COMPLAINED, SubscriberState.ERASED)


def unsubscribe(rt: Runtime, who: SubscriberId, how: Exit) -> bool:
    """Take a reader off the list at once. Doing it twice is fine. Returns whether something may still be on its way.

    After this commit nothing of theirs passes the ledger's `mark`: the suppression and the stop of every scheduled and
    claimed row are one transaction.
    """
    with rt.database.begin() as db:
        person = subscribers.get(db, who)
        if person is None:
            return False
        if person.state not in _GONE:
            now = rt.clock.now()
            stop(rt, db, person, Suppression.UNSUBSCRIBED)
            suppressions.tell_left(rt, db, who)
            subscribers.record_consent(db, who, "withdrawn", *subscribers.agreed_to(db, who), f"/unsubscribe ({how})", now)
            _log.info("unsubscribed", reason=how.value)
        return ledger.may_still_arrive(db, who)


def undo_unsubscribe(rt: Runtime, who: SubscriberId) -> bool:
    """Put a reader who left by mistake back where they were; letters already read are not sent again.

    Returns False, and changes nothing, for anybody who did not leave by unsubscribing.
    """
    with rt.database.begin() as db:
        person = subscribers.get(db, who)
        if person is None or person.state is not SubscriberState.UNSUBSCRIBED:
            return person is not None and person.state is SubscriberState.ACTIVE
        if subscribers.suppression(db, person.email_bidx) not in (None, Suppression.UNSUBSCRIBED):
            return False
        now = rt.clock.now()
        subscribers.lift_suppression(db, person.email_bidx, now)
        back = SubscriberState.ACTIVE if person.confirmed else SubscriberState.PENDING
        subscribers.set_state(db, who, back)
        subscribers.record_consent(db, who, "restored", *subscribers.agreed_to(db, who), "/unsubscribe (undo)", now)
        _resume(rt, db, person, suppressions.tell_back(rt, db, who))
    _log.info("unsubscribe_undone")
    return True


def _resume(rt: Runtime, db: Connection, person: Person, since: datetime) -> None:
    """`since`: when mail may reach them again, on the timeline."""
    schedules.hold(db)  # before any enrollment is locked: whoever changes a schedule locks them all
    for place in sequences.ended_by_leaving(db, person.id):
        if sequences.resume(db, place.id, Suppression.UNSUBSCRIBED.value) is EnrollmentState.ACTIVE:
            go_on(db, place, person.email_bidx, _not_before(since), "reader", rt.clock.now(), rt.clock.wall())


def _not_before(since: datetime) -> Moment:
    return lambda promised, rules, zone: promised if promised > since else first_opening(since, rules, zone)
