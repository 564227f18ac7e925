"""Whether a mail may go to a person, as a table one can read."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from nurture.domain.delivery import TO_DESK, DeliveryKind
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import (
    SubscriberState,
    Suppression,
    hindrance,
    outweighs,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

ANYWHERE: set[EnrollmentState | None] = {None, *EnrollmentState}
NOT_SUPPRESSED: set[Suppression | None] = {None}
MAY_ASK_AGAIN: set[Suppression | None] = {None, Suppression.UNSUBSCRIBED, Suppression.ERASED}

MAY_GO: dict[DeliveryKind, tuple[set[SubscriberState], set[Suppression | None], set[EnrollmentState | None]]] = {
    # kind                    the person is              suppressed for   in a sequence
    DeliveryKind.LETTER:             ({SubscriberState.ACTIVE},  NOT_SUPPRESSED,  {EnrollmentState.ACTIVE}),
    DeliveryKind.CONFIRMATION:       ({SubscriberState.PENDING}, MAY_ASK_AGAIN,   ANYWHERE),
    DeliveryKind.ALREADY_SUBSCRIBED: ({SubscriberState.ACTIVE},  NOT_SUPPRESSED,  ANYWHERE),
    DeliveryKind.CONSULTATION_QUESTION: ({SubscriberState.ACTIVE}, NOT_SUPPRESSED, ANYWHERE),
    **{kind:                         ({SubscriberState.ACTIVE},  NOT_SUPPRESSED,  ANYWHERE) for kind in TO_DESK},
}  # fmt: skip


@pytest.mark.parametrize("kind", DeliveryKind)
def test_a_mail_may_go_exactly_where_the_table_says(kind: DeliveryKind) -> None:
    persons, reasons, places = MAY_GO[kind]
    for person, reason, place in product(SubscriberState, [None, *Suppression], [None, *EnrollmentState]):
        allowed = person in persons and reason in reasons and place in places
        assert (hindrance(kind, person, reason, place) is None) == allowed, (kind, person, reason, place)


@pytest.mark.parametrize("kind", DeliveryKind)
@pytest.mark.parametrize("reason", [Suppression.BOUNCED, Suppression.COMPLAINED])
def test_a_bounce_or_complaint_stops_every_kind_of_mail(kind: DeliveryKind, reason: Suppression) -> None:
    for person, place in product(SubscriberState, [None, *EnrollmentState]):
        assert hindrance(kind, person, reason, place) == reason.value


@pytest.mark.parametrize(
    ("kind", "person", "reason", "place", "said"),
    [
        (DeliveryKind.LETTER, SubscriberState.UNSUBSCRIBED, Suppression.UNSUBSCRIBED, EnrollmentState.EXITED, "unsubscribed"),
        (DeliveryKind.LETTER, SubscriberState.PAUSED, None, EnrollmentState.ACTIVE, "paused"),
        (DeliveryKind.LETTER, SubscriberState.PENDING, None, None, "pending"),
        (DeliveryKind.LETTER, SubscriberState.ACTIVE, None, EnrollmentState.COMPLETED, "completed"),
        (DeliveryKind.LETTER, SubscriberState.ACTIVE, None, EnrollmentState.EXITED, "exited"),
        (DeliveryKind.LETTER, SubscriberState.ACTIVE, None, None, "not enrolled"),
        (DeliveryKind.LETTER, SubscriberState.ACTIVE, Suppression.ERASED, EnrollmentState.ACTIVE, "erased"),
        (DeliveryKind.CONFIRMATION, SubscriberState.ACTIVE, None, EnrollmentState.ACTIVE, "active"),
        (DeliveryKind.CONFIRMATION, SubscriberState.ERASED, Suppression.ERASED, None, "erased"),
        (DeliveryKind.NOTICE, SubscriberState.COMPLAINED, Suppression.COMPLAINED, None, "complained"),
    ],
)
def test_a_hindrance_says_why(
    kind: DeliveryKind, person: SubscriberState, reason: Suppression | None, place: EnrollmentState | None, said: str
) -> None:
    assert hindrance(kind, person, reason, place) == said


def test_a_person_who_left_and_asks_again_gets_a_confirmation_and_no_letter() -> None:
    back = SubscriberState.PENDING, Suppression.UNSUBSCRIBED, None
    assert hindrance(DeliveryKind.CONFIRMATION, *back) is None
    assert hindrance(DeliveryKind.LETTER, *back) == "unsubscribed"


def test_what_a_person_did_themselves_weighs_least_and_a_complaint_most() -> None:
    own = (Suppression.UNSUBSCRIBED, Suppression.ERASED)
    rising: list[set[Suppression | None]] = [{None}, set(own), {Suppression.BOUNCED}, {Suppression.COMPLAINED}]
    for (low, lesser), (high, greater) in product(enumerate(rising), repeat=2):
        for known, reason in product(lesser, greater):
            if reason is not None:
                assert outweighs(reason, known) is (high > low), (reason, known)
