"""The states of a delivery, the moves between them, and what a provider's answer means for it."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class DeliveryKind(StrEnum):
    """What a delivery carries. Every mail is one of these."""

    LETTER = "letter"
    CONFIRMATION = "confirmation"
    ALREADY_SUBSCRIBED = "already_subscribed"
    """To a subscriber whose address was typed into the sign-up form again."""
    CONSULTATION_QUESTION = "consultation_question"
    """To a subscriber whose address was typed into the form for a call: whether that was them."""
    NOTICE = "notice"
    """To the practice: somebody asks for a call."""
    LOGIN_LINK = "login_link"
    TEST_EMAIL = "test_email"
    """A letter that somebody at the desk sends to themselves."""
    ACCOUNT_CHANGE = "account_change"
    """To the address an account had before its way to log in was changed."""


TO_DESK = (DeliveryKind.NOTICE, DeliveryKind.LOGIN_LINK, DeliveryKind.TEST_EMAIL, DeliveryKind.ACCOUNT_CHANGE)
"""Mails to whoever runs the service: no subscriber's state and no suppression concerns them."""


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
_PROVEN = {State.ACCEPTED, *_REPORTED}
"""Where evidence may take a row from anywhere: whatever we thought, the provider has the mail."""

MOVES: dict[State, set[State]] = {
    State.SCHEDULED: {State.CLAIMED, State.CANCELLED, State.UNKNOWN, *_PROVEN},  # unknown: the database was set back
    # Back to scheduled: its lease ran out or its turn has not come, so it is provably unsent.
    State.CLAIMED: {State.SENDING, State.SCHEDULED, State.CANCELLED, State.FAILED, State.HELD, State.UNKNOWN, *_PROVEN},
    # Back to scheduled: only on a definite refusal, or where a repeated delivery changes nothing.
    State.SENDING: {State.UNKNOWN, State.HELD, State.SCHEDULED, State.CANCELLED, State.FAILED, *_PROVEN},
    State.UNKNOWN: {State.HELD, State.SCHEDULED, State.CANCELLED, State.FAILED, *_PROVEN},
    State.HELD: {State.SCHEDULED, State.CANCELLED, *_PROVEN},
    State.ACCEPTED: set(_REPORTED),
    State.DELIVERED: {State.BOUNCED, State.COMPLAINED},  # some servers bounce after they took the mail
    State.BOUNCED: set(),
    State.DROPPED: set(),
    State.COMPLAINED: set(),
    State.FAILED: {State.SCHEDULED, State.CANCELLED, *_PROVEN},  # a person may try again
    State.CANCELLED: {State.SCHEDULED, *_PROVEN},  # an unsubscribe undone
}

OPEN = (State.SCHEDULED, State.CLAIMED)
"""Not yet handed to a mailer: may still be stopped."""
IN_DOUBT = (State.SENDING, State.UNKNOWN, State.HELD)
"""Handed to a mailer, answer missing: never sent again without evidence or a person's decision."""


def before(to: State) -> tuple[State, ...]:
    """Every state from which a delivery may go to `to`."""
    return tuple(state for state in State if to in MOVES[state])


class Concern(StrEnum):
    """Whom a refusal concerns, and so what follows from it (domain.refusals holds the table)."""

    SENDER = "sender"
    """The sender or the account: the next mail would fare no better, so all sending stops."""
    RECIPIENT = "recipient"
    """This address takes no mail: its reader is suppressed as after a bounce."""
    MAIL = "mail"
    """This mail as it is: it has failed until a person takes it back."""
    NOBODY = "nobody"
    """Nobody yet: the same mail may be taken later."""


@dataclass(frozen=True)
class Accepted:
    """The provider took the mail and says so."""

    message_id: str | None = None


@dataclass(frozen=True)
class Refused:
    """Nothing was sent: try again after `wait` (real time; None: as `backoff` says).

    `everyone`: it concerns the sender or the account, so the next mail would fare no better, from whatever machine; `alarm`:
    it will not get better by itself.
    """

    why: str
    wait: timedelta | None
    everyone: bool = True
    alarm: bool = False


@dataclass(frozen=True)
class Rejected:
    """The provider will never take this request as it is. `concerns`: RECIPIENT or MAIL."""

    why: str
    concerns: Concern = Concern.MAIL


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


class InDoubt(StrEnum):
    """What happens to a mail about which no evidence ever comes."""

    HOLD = "hold"
    RESEND = "resend"


def policy(kind: DeliveryKind, chosen: InDoubt) -> InDoubt:
    """What counts for a mail: a first contact is never repeated; a letter follows its sequence; a mail to the desk is sent
    again.
    """
    match kind:
        case DeliveryKind.CONFIRMATION | DeliveryKind.ALREADY_SUBSCRIBED | DeliveryKind.CONSULTATION_QUESTION:
            return InDoubt.HOLD
        case DeliveryKind.LETTER:
            return chosen
        case _:
            return InDoubt.RESEND


def verdict(
    then: InDoubt, unknown_for: timedelta, watched_for: timedelta, healthy: bool, evidence: timedelta, give_up: timedelta
) -> State:
    """RESOLVE: where a delivery in doubt goes: SCHEDULED (sent again), HELD (a person decides), or UNKNOWN (wait).

    `unknown_for`: by the wall clock, which may jump, so it can only lead to a person. `watched_for`: by the monotonic
    clock of one process that looked again and again and saw no evidence. `healthy`: evidence of a request made after this
    one has come, so that its absence means something. `evidence`, `give_up`: see runtime.Patience.
    """
    if then is InDoubt.RESEND and healthy and min(watched_for, unknown_for) >= evidence:
        return State.SCHEDULED
    return State.HELD if unknown_for >= give_up else State.UNKNOWN


@dataclass(frozen=True)
class FrequencyCaps:
    """What no bug, edit or import can get past: how closely mails to one person may follow each other."""

    gap: timedelta = timedelta(hours=20)
    """Least time between two letters, on the timeline."""
    letters: int = 1
    """Most letters on one day of the reader's own calendar."""
    others: int = 5
    """Most other mails on one such day."""
