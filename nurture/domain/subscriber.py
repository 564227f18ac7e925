"""States of a person, and whether a mail of a kind may go to them now."""

from datetime import timedelta
from enum import StrEnum

from nurture.domain.delivery import DeliveryKind
from nurture.domain.sequence import EnrollmentState


class SubscriberState(StrEnum):
    """Where a person stands with us."""

    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    ERASED = "erased"


class Suppression(StrEnum):
    """Why an address must not be mailed."""

    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    ERASED = "erased"


_WEIGHT = {Suppression.UNSUBSCRIBED: 0, Suppression.ERASED: 0, Suppression.BOUNCED: 1, Suppression.COMPLAINED: 2}


def outweighs(reason: Suppression, known: Suppression | None) -> bool:
    """Whether `reason` says more than what is known of an address. What a person did themselves, they can take back; a bounce
    they cannot, and a complaint says most.
    """
    return known is None or _WEIGHT[reason] > _WEIGHT[known]


CONFIRM_WITHIN = timedelta(days=7)
"""How long a confirmation link works, and after which an unconfirmed sign-up is deleted."""


def hindrance(
    kind: DeliveryKind, subscriber: SubscriberState, suppressed: Suppression | None, enrollment: EnrollmentState | None
) -> str | None:
    """Why a mail of `kind` may not go to a person now; None if it may.

    A confirmation answers a person who has just asked, so leaving earlier does not hinder it; a bounce or complaint does.
    The ledger's `mark` states the same rule in SQL; a test compares the two over every combination.
    """
    if kind is DeliveryKind.CONFIRMATION:
        if suppressed not in (None, Suppression.UNSUBSCRIBED, Suppression.ERASED):
            return suppressed.value
        return None if subscriber is SubscriberState.PENDING else subscriber.value
    if suppressed is not None:
        return suppressed.value
    if subscriber is not SubscriberState.ACTIVE:
        return subscriber.value
    if kind is DeliveryKind.LETTER and enrollment is not EnrollmentState.ACTIVE:
        return enrollment.value if enrollment else "not enrolled"
    return None
