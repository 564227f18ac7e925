"""Whether a mail may go to a person, as a table one can read."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from nurture.domain.delivery import Kind
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

MAY_GO: dict[Kind, tuple[set[SubscriberState], set[Suppression | None], set[EnrollmentState | None]]] = {
    # kind                    the person is              suppressed for   in a sequence
    Kind.LETTER:             ({SubscriberState.ACTIVE},  NOT_SUPPRESSED,  {EnrollmentState.ACTIVE}),
    Kind.CONFIRMATION:       ({SubscriberState.PENDING}, MAY_ASK_AGAIN,   ANYWHERE),
    Kind.ALREADY_SUBSCRIBED: ({SubscriberState.ACTIVE},  NOT_SUPPRESSED,  ANYWHERE),
    Kind.NOTICE:             ({SubscriberState.ACTIVE},  NOT_SUPPRESSED,  ANYWHERE),
}  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
def test_a_mail_may_go_exactly_where_the_table_says(kind: Kind) -> None:
    persons, reasons, places = MAY_GO[kind]
    for person, reason, place in product(SubscriberState, [None, *Suppression], [None, *EnrollmentState]):
        allowed = person in persons and reason in reasons and place in places
        assert (hindrance(kind, person, reason, place) is None) == allowed, (kind, person, reason, place)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("reason", [Suppression.BOUNCED, Suppression.COMPLAINED])
def test_a_bounce_or_complaint_stops_every_kind_of_mail(kind: Kind, reason: Suppression) -> None:
    for person, place in product(SubscriberState, [None, *EnrollmentState]):
        assert hindrance(kind, person, reason, place) == reason.value


@pytest.mark.parametrize(
    ("kind", "person", "reason", "place", "said"),
    [
        (Kind.LETTER, SubscriberState.UNSUBSCRIBED, Suppression.UNSUBSCRIBED, EnrollmentState.EXITED, "unsubscribed"),
        (Kind.LETTER, SubscriberState.PAUSED, None, EnrollmentState.ACTIVE, "paused"),
        (Kind.LETTER, SubscriberState.PENDING, None, None, "pending"),
        (Kind.LETTER, SubscriberState.ACTIVE, None, EnrollmentState.COMPLETED, "completed"),
        (Kind.LETTER, SubscriberState.ACTIVE, None, EnrollmentState.EXITED, "exited"),
        (Kind.LETTER, SubscriberState.ACTIVE, None, None, "not enrolled"),
        (Kind.LETTER, SubscriberState.ACTIVE, Suppression.ERASED, EnrollmentState.ACTIVE, "erased"),
        (Kind.CONFIRMATION, SubscriberState.ACTIVE, None, EnrollmentState.ACTIVE, "active"),
        (Kind.CONFIRMATION, SubscriberState.ERASED, Suppression.ERASED, None, "erased"),
        (Kind.NOTICE, SubscriberState.COMPLAINED, Suppression.COMPLAINED, None, "complained"),
    ],
)
def test_a_hindrance_says_why(
    kind: Kind, person: SubscriberState, reason: Suppression | None, place: EnrollmentState | None, said: str
) -> None:
    assert hindrance(kind, person, reason, place) == said


def test_a_person_who_left_and_asks_again_gets_a_confirmation_and_no_letter() -> None:
    back = SubscriberState.PENDING, Suppression.UNSUBSCRIBED, None
    assert hindrance(Kind.CONFIRMATION, *back) is None
    assert hindrance(Kind.LETTER, *back) == "unsubscribed"


def test_what_a_person_did_themselves_weighs_least_and_a_complaint_most() -> None:
    own = (Suppression.UNSUBSCRIBED, Suppression.ERASED)
    rising: list[set[Suppression | None]] = [{None}, set(own), {Suppression.BOUNCED}, {Suppression.COMPLAINED}]
    for (low, lesser), (high, greater) in product(enumerate(rising), repeat=2):
        for known, reason in product(lesser, greater):
            if reason is not None:
                assert outweighs(reason, known) is (high > low), (reason, known)
