"""Taking a person off the list, whoever asks for it: the reader, the provider's report, the provider's own list."""

from sqlalchemy import Connection

from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.runtime import Runtime
from nurture.store.deliveries import ledger
from nurture.store.sequences import sequences
from nurture.store.subscribers import subscribers
from nurture.store.subscribers.subscribers import Subscriber

_STATE = {
    Suppression.UNSUBSCRIBED: SubscriberState.UNSUBSCRIBED,
    Suppression.BOUNCED: SubscriberState.BOUNCED,
    Suppression.COMPLAINED: SubscriberState.COMPLAINED,
    Suppression.ERASED: SubscriberState.ERASED,
}


def suppress(rt: Runtime, db: Connection, person: Subscriber, reason: Suppression) -> bool:
    """Suppress the address, end what they are enrolled in, and cancel every mail that has not been handed over: one
    transaction, after whose commit nothing of theirs passes the ledger's `mark`. Returns whether they were on the list.

    A bounce or complaint weighs more than an unsubscribe, and is noted also for those who have left.
    """
    now, real_now = rt.clock.now(), rt.clock.real_now()
    subscribers.suppress(db, person.email_index, reason, now)
    gone = person.state in _STATE.values()
    if gone and (reason is Suppression.UNSUBSCRIBED or person.state is SubscriberState.ERASED):
        return False
    subscribers.set_state(db, person.id, _STATE[reason], left=None if gone else now)
    for place in sequences.enrollments_of(db, person.id):
        sequences.end(db, place.id, reason.value, now)
    ledger.cancel_open(db, reason.value, person.id, real_now)
    return not gone
