"""Leaving, and coming back: what a reader does by a link in a letter."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import Moment, plan_resumed
from nurture.delivery.suppress import suppress
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.domain.timeline import first_opening
from nurture.ids import ConsentId, SubscriberId
from nurture.runtime import Runtime
from nurture.services.subscribers import suppressions
from nurture.store.deliveries import ledger
from nurture.store.sequences import schedules, sequences
from nurture.store.subscribers import subscribers
from nurture.store.subscribers.subscribers import Subscriber

_log = log.get(__name__)


class Exit(StrEnum):
    """How a reader left."""

    ONE_CLICK = "one-click"
    PAGE = "page"


_GONE = (SubscriberState.UNSUBSCRIBED, SubscriberState.BOUNCED, SubscriberState.COMPLAINED, SubscriberState.ERASED)


UNDO_WITHIN = timedelta(hours=1)
"""For how long after a reader has left it can be taken back, in real time."""


@dataclass(frozen=True)
class RecentLeaving:
    """A reader's unsubscribe that can still be taken back, until `until` (real time, UTC)."""

    id: ConsentId
    until: datetime


def unsubscribe(rt: Runtime, subscriber_id: SubscriberId, how: Exit) -> bool:
    """Take a reader off the list at once. Doing it twice is fine. Returns whether something may still be on its way.

    After this commit nothing of theirs passes the ledger's `mark`: the suppression and the stop of every scheduled and
    claimed row are one transaction.
    """
    with rt.database.begin() as db:
        person = subscribers.get(db, subscriber_id)
        if person is None:
            return False
        if person.state not in _GONE:
            suppress(rt, db, person, Suppression.UNSUBSCRIBED)
            suppressions.tell_left(rt, db, subscriber_id)
            left = subscribers.left_at(db, subscriber_id) or rt.clock.now()
            subscribers.record_consent(
                db, subscriber_id, "withdrawn", *subscribers.agreed_to(db, subscriber_id), f"/unsubscribe ({how})", left
            )
            _log.info("unsubscribed", reason=how.value)
        return ledger.may_still_arrive(db, subscriber_id)


def find_leaving(rt: Runtime, subscriber_id: SubscriberId) -> RecentLeaving | None:
    """The unsubscribe by which a reader left within the last hour; None for anybody else. Leaving again is no new leaving."""
    with rt.database.read() as db:
        person, left = subscribers.get_unlocked(db, subscriber_id), subscribers.left_at(db, subscriber_id)
        if person is None or left is None or person.state is not SubscriberState.UNSUBSCRIBED:
            return None
        found = subscribers.withdrawal_at(db, subscriber_id, left)
    passed = (rt.clock.now() - left) / rt.clock.stretch(UNDO_WITHIN)
    return RecentLeaving(found, rt.clock.real_now() + UNDO_WITHIN * (1 - passed)) if found and passed <= 1 else None


def undo_unsubscribe(rt: Runtime, leaving: ConsentId) -> bool:
    """Put a reader who left by mistake back where they were; letters already read are not sent again.

    Returns False, and changes nothing, for anything but a reader's last unsubscribe, within an hour of it.
    """
    with rt.database.begin() as db:
        found = subscribers.withdrawal(db, leaving)
        person = subscribers.get(db, found[0]) if found else None
        if found is None or person is None:
            return False
        who, left = found
        now = rt.clock.now()
        if subscribers.left_at(db, who) != left or now - left > rt.clock.stretch(UNDO_WITHIN):
            return False
        if person.state is not SubscriberState.UNSUBSCRIBED:
            return person.state is SubscriberState.ACTIVE
        if subscribers.suppression(db, person.email_index) not in (None, Suppression.UNSUBSCRIBED):
            return False
        subscribers.lift_suppression(db, person.email_index, now)
        back = SubscriberState.ACTIVE if person.confirmed else SubscriberState.PENDING
        subscribers.set_state(db, who, back)
        subscribers.record_consent(db, who, "restored", *subscribers.agreed_to(db, who), "/unsubscribe (undo)", now)
        _resume(rt, db, person, suppressions.tell_back(rt, db, who))
    _log.info("unsubscribe_undone")
    return True


def _resume(rt: Runtime, db: Connection, person: Subscriber, since: datetime) -> None:
    """`since`: when mail may reach them again, on the timeline."""
    schedules.lock_shared(db)  # before any enrollment is locked: whoever changes a schedule locks them all
    for place in sequences.ended_by_leaving(db, person.id):
        if sequences.resume(db, place.id, Suppression.UNSUBSCRIBED.value) is EnrollmentState.ACTIVE:
            plan_resumed(db, place, person.email_index, _not_before(since), "reader", rt.clock.now(), rt.clock.real_now())


def _not_before(since: datetime) -> Moment:
    return lambda promised, rules, zone: promised if promised > since else first_opening(since, rules, zone)
