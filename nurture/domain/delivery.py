"""The states of a delivery, the moves between them, and what a provider's answer means for it."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from nurture.words import NurtureError


class Kind(StrEnum):
    """What a delivery carries. Every mail that leaves the house is one of these."""

    LETTER = "letter"
    CONFIRMATION = "confirmation"
    ALREADY_SUBSCRIBED = "already_subscribed"
    NOTICE = "notice"


class State(StrEnum):
    """Where a delivery stands in its life."""

    SCHEDULED = "scheduled"
    CLAIMED = "claimed"
    SENDING = "sending"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DROPPED = "dropped"
    COMPLAINED = "complained"
    UNKNOWN = "unknown"
    HELD = "held"
    FAILED = "failed"
    CANCELLED = "cancelled"


_REPORTED = {State.DELIVERED, State.BOUNCED, State.DROPPED, State.COMPLAINED}

MOVES: dict[State, set[State]] = {
    State.SCHEDULED: {State.CLAIMED, State.CANCELLED},
    State.CLAIMED: {State.SENDING, State.SCHEDULED, State.CANCELLED, State.FAILED},  # lease ran out: provably unsent
    State.SENDING: {
        State.ACCEPTED,
        State.UNKNOWN,
        State.HELD,
        State.SCHEDULED,
        State.CANCELLED,
        State.FAILED,
        *_REPORTED,
    },
    State.UNKNOWN: {State.ACCEPTED, State.HELD, State.SCHEDULED, State.CANCELLED, State.FAILED, *_REPORTED},
    State.HELD: {State.ACCEPTED, State.SCHEDULED, State.CANCELLED, *_REPORTED},
    State.ACCEPTED: set(_REPORTED),
    State.DELIVERED: {State.BOUNCED, State.COMPLAINED},  # some servers bounce after they took the mail
    State.BOUNCED: set(),
    State.DROPPED: set(),
    State.COMPLAINED: set(),
    State.FAILED: {State.SCHEDULED, State.CANCELLED},  # a person may try again
    State.CANCELLED: {State.SCHEDULED},  # an unsubscribe undone
}

OPEN = (State.SCHEDULED, State.CLAIMED)
"""Not yet handed to a mailer: may still be stopped."""
IN_DOUBT = (State.SENDING, State.UNKNOWN, State.HELD)
"""Handed to a mailer, answer missing: never sent again without evidence or a person's decision."""


class ForbiddenMove(NurtureError):
    """A delivery cannot go from one state to another."""


def check_move(now: State, to: State) -> None:
    """Raise ForbiddenMove unless a delivery may go from `now` to `to`."""
    if to not in MOVES[now]:
        raise ForbiddenMove(f"A delivery cannot go from {now} to {to}.")


def before(to: State) -> tuple[State, ...]:
    """Every state from which a delivery may go to `to`."""
    return tuple(state for state in State if to in MOVES[state])


@dataclass(frozen=True)
class Accepted:
    """The provider took the mail and says so."""

    message_id: str | None = None


@dataclass(frozen=True)
class Refused:
    """Nothing left the house: try again after `wait` (real time; None: as `backoff` says).

    `everyone`: the cause is not this mail, so the next one would fare no better.
    """

    why: str
    wait: timedelta | None
    everyone: bool = True


@dataclass(frozen=True)
class Rejected:
    """The provider will never take this mail as it is."""

    why: str


@dataclass(frozen=True)
class Ambiguous:
    """The mail may have left or not: only evidence or a person may decide."""

    why: str


Outcome = Accepted | Refused | Rejected | Ambiguous


_SHORTEST, _LONGEST = timedelta(seconds=5), timedelta(minutes=15)


def backoff(attempt: int, chance: float) -> timedelta:
    """How long to wait after refusal number `attempt` (from 1), in real time: doubling from 5 s to 15 min.

    `chance` (0 to 1) spreads it over half to all of that, so that machines do not come back in step.
    """
    doublings: int = 2 ** min(attempt - 1, 16)
    longest = min(_SHORTEST * doublings, _LONGEST)
    return longest * (0.5 + chance / 2)
