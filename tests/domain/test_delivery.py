"""The table of moves says what the protocol promises; retries spread out and stay within bounds."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery import IN_DOUBT, MOVES, OPEN, DeliveryKind, InDoubt, State, backoff, before, policy, verdict

REPORTED = {State.DELIVERED, State.BOUNCED, State.DROPPED, State.COMPLAINED}
EVERY_PAIR = list(product(State, State))


def reachable(start: State, without: State | None = None) -> set[State]:
    """Every state a delivery can come to from `start`, if it never passes through `without`."""
    found, open_ends = {start}, [start]
    while open_ends:
        fresh = MOVES[open_ends.pop()] - found - {without}
        found |= fresh
        open_ends += fresh
    return found


def test_the_table_has_a_line_for_every_state() -> None:
    assert set(MOVES) == set(State)


def test_what_a_provider_reported_last_is_the_end() -> None:
    assert {state for state in State if not MOVES[state]} == {State.BOUNCED, State.DROPPED, State.COMPLAINED}


def test_only_a_scheduled_delivery_can_be_claimed() -> None:
    assert before(State.CLAIMED) == (State.SCHEDULED,)


def test_only_a_claimed_delivery_can_be_sent() -> None:
    assert before(State.SENDING) == (State.CLAIMED,)


@pytest.mark.parametrize("state", IN_DOUBT)
def test_a_delivery_in_doubt_goes_straight_neither_to_a_claim_nor_to_a_mailer(state: State) -> None:
    assert not MOVES[state] & {State.CLAIMED, State.SENDING}


@pytest.mark.parametrize("state", IN_DOUBT)
def test_a_delivery_in_doubt_takes_every_report_of_a_provider(state: State) -> None:
    assert {State.ACCEPTED, *REPORTED} <= MOVES[state]


def test_doubt_begins_with_sending_or_with_a_database_that_forgot() -> None:
    assert set(before(State.UNKNOWN)) == {State.SCHEDULED, State.CLAIMED, State.SENDING}
    assert set(before(State.HELD)) == {State.CLAIMED, State.SENDING, State.UNKNOWN}


@pytest.mark.parametrize("state", sorted(set(State) - {State.ACCEPTED, *REPORTED}))
def test_evidence_is_believed_whatever_we_thought(state: State) -> None:
    assert {State.ACCEPTED, *REPORTED} <= MOVES[state]


def test_an_accepted_delivery_is_never_sent_again() -> None:
    assert reachable(State.ACCEPTED) == {State.ACCEPTED, *REPORTED}


def test_a_report_never_moves_back_to_accepted() -> None:
    for state in REPORTED:
        assert State.ACCEPTED not in reachable(state)


@pytest.mark.parametrize("state", OPEN)
def test_what_no_mailer_has_yet_can_be_stopped(state: State) -> None:
    assert State.CANCELLED in MOVES[state]


def test_open_and_in_doubt_are_apart() -> None:
    assert not set(OPEN) & set(IN_DOUBT)


def test_every_state_can_be_reached() -> None:
    assert reachable(State.SCHEDULED) == set(State)


def test_no_delivery_moves_to_the_state_it_is_in() -> None:
    assert not [state for state in State if state in MOVES[state]]


@pytest.mark.parametrize(("now", "to"), EVERY_PAIR)
def test_before_is_the_table_read_backwards(now: State, to: State) -> None:
    assert (now in before(to)) == (to in MOVES[now])


attempts, chances = st.integers(1, 100_000), st.floats(0, 1)


@given(attempts, chances)
def test_a_wait_after_a_refusal_is_between_half_and_all_of_its_bound(attempt: int, chance: float) -> None:
    bound = min(5 * 2 ** (min(attempt, 20) - 1), 900)
    assert timedelta(seconds=bound / 2) <= backoff(attempt, chance) <= timedelta(seconds=bound)


@given(attempts, chances)
def test_a_later_refusal_never_waits_less(attempt: int, chance: float) -> None:
    assert backoff(attempt, chance) <= backoff(attempt + 1, chance)


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"),
    [(1, 0, 2.5), (1, 1, 5), (2, 1, 10), (3, 0.5, 15), (8, 1, 640), (9, 1, 900), (1000, 1, 900), (1000, 0, 450)],
)
def test_waits_double_from_five_seconds_to_a_quarter_of_an_hour(attempt: int, chance: float, seconds: float) -> None:
    assert backoff(attempt, chance) == timedelta(seconds=seconds)


HALF_HOUR, DAY = timedelta(minutes=30), timedelta(hours=26)


@pytest.mark.parametrize(
    ("then", "unknown_for", "watched_for", "healthy", "end"),
    [
        (InDoubt.RESEND, 31, 31, True, State.SCHEDULED),
        (InDoubt.RESEND, 31, 31, False, State.UNKNOWN),
        (InDoubt.RESEND, 31, 29, True, State.UNKNOWN),
        (InDoubt.RESEND, 29, 31, True, State.UNKNOWN),
        (InDoubt.RESEND, 60 * 24 * 30, 29, True, State.HELD),
        (InDoubt.RESEND, 60 * 26, 60 * 26, False, State.HELD),
        (InDoubt.HOLD, 60 * 25, 60 * 25, True, State.UNKNOWN),
        (InDoubt.HOLD, 60 * 26, 60 * 26, True, State.HELD),
    ],
)
def test_what_becomes_of_a_doubt(then: InDoubt, unknown_for: int, watched_for: int, healthy: bool, end: State) -> None:
    """Minutes. Sent again only by policy, with healthy evidence, and by the monotonic clock too; else a person decides."""
    unknown, watched = timedelta(minutes=unknown_for), timedelta(minutes=watched_for)
    assert verdict(then, unknown, watched, healthy, HALF_HOUR, DAY) is end


def test_a_first_contact_is_never_sent_again_on_its_own() -> None:
    assert {policy(kind, InDoubt.RESEND) for kind in (DeliveryKind.CONFIRMATION, DeliveryKind.ALREADY_SUBSCRIBED)} == {
        InDoubt.HOLD
    }
    assert (policy(DeliveryKind.LETTER, InDoubt.HOLD), policy(DeliveryKind.LETTER, InDoubt.RESEND)) == (
        InDoubt.HOLD,
        InDoubt.RESEND,
    )
