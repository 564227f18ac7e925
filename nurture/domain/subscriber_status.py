"""Where a person stands, in one word: what they are to us and what their newest sequence is at, taken together."""

from enum import StrEnum

from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState


class SubscriberStatus(StrEnum):
    """One word for a person. Everybody has exactly one."""

    WAITING = "waiting"
    """Has not confirmed the address yet."""
    READING = "reading"
    PAUSED = "paused"
    FINISHED = "finished"
    """Has got the last letter."""
    ENDED = "ended"
    """On the list, but the letters ended before the last one: a call, or the therapist stopped them."""
    LEFT = "left"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    ERASED = "erased"


GONE = {
    SubscriberState.UNSUBSCRIBED: SubscriberStatus.LEFT,
    SubscriberState.BOUNCED: SubscriberStatus.BOUNCED,
    SubscriberState.COMPLAINED: SubscriberStatus.COMPLAINED,
    SubscriberState.ERASED: SubscriberStatus.ERASED,
}
"""States that say it all, whatever the sequence is at."""
PLACES = {
    EnrollmentState.ACTIVE: SubscriberStatus.READING,
    EnrollmentState.PAUSED: SubscriberStatus.PAUSED,
    EnrollmentState.COMPLETED: SubscriberStatus.FINISHED,
    EnrollmentState.EXITED: SubscriberStatus.ENDED,
}
"""What the newest sequence of somebody on the list is at."""


def status_of(person: SubscriberState, newest: EnrollmentState | None) -> SubscriberStatus:
    """The one word for a person; `newest`: what their newest sequence is at, None if they never were in one."""
    if person in GONE:
        return GONE[person]
    if person is SubscriberState.PENDING:
        return SubscriberStatus.WAITING
    if person is SubscriberState.PAUSED:
        return SubscriberStatus.PAUSED
    return PLACES[newest] if newest is not None else SubscriberStatus.ENDED
