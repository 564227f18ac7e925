"""How many requests may be under way at the provider, judged by its answers: a circuit breaker, as a value.

Closed: as many as the workers can take. Open: none; the block itself is a row in the database, for the whole fleet. Half-open:
one request, the probe. After a probe that was accepted the limit doubles with each cycle that brings an acceptance.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol, TypeVar

from nurture.domain.delivery import Accepted, Concern, Outcome, Refused, Rejected

RUN_OF_REJECTIONS = 10
"""So many different mails rejected for one reason, with no acceptance between them: the cause is the sender, not the mails.
A rejection that concerns its recipient counts for nothing here.
"""
RUN_WAIT = timedelta(minutes=5)
"""How long such a run stops sending before the next probe, in real time."""
REASON_CHARACTERS = 200
"""As much of a reason as the database keeps of a block."""


class Answered(Protocol):
    """A request that an answer belongs to."""

    @property
    def ids(self) -> Collection[str]:
        """The deliveries in it."""
        ...


R = TypeVar("R", bound=Answered)


@dataclass(frozen=True, slots=True)
class RejectionRun:
    """Rejections in a row for one reason."""

    reason: str
    deliveries: frozenset[str]

    @property
    def concerns_all(self) -> bool:
        """Whether it is long enough to say that no mail would fare better."""
        return len(self.deliveries) >= RUN_OF_REJECTIONS


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """What the answers so far allow."""

    full: int
    """Most requests marked and not answered while all is well."""
    limit: int
    """Most now; at least 1 and at most `full`."""
    run: RejectionRun | None = None

    def judge(
        self, answers: Sequence[tuple[R, Outcome]], blocked_for: str | None
    ) -> tuple["CircuitBreaker", Sequence[tuple[R, Outcome]]]:
        """What answers mean once the ones before them are known: in a run of rejections the mails are refused, not rejected.

        `blocked_for`: the reason of the block that is half-open, which may be such a run that another process saw.
        Returns the next breaker and the answers to settle.
        """
        accepted = refused = rejected = False
        for _, outcome in answers:
            kind = type(outcome)
            accepted = accepted or kind is Accepted
            rejected = rejected or kind is Rejected
        run = self.run
        if rejected or (accepted and run is not None):
            answers, run = self._judge_rejections(answers, blocked_for)
        for _, outcome in answers:
            refused = refused or (isinstance(outcome, Refused) and outcome.everyone)
        limit = 1 if refused else min(self.full, 2 * self.limit) if accepted else self.limit
        if limit == self.limit and run is self.run:
            return self, answers
        return CircuitBreaker(self.full, limit, run), answers

    def _judge_rejections(
        self, answers: Sequence[tuple[R, Outcome]], blocked_for: str | None
    ) -> tuple[Sequence[tuple[R, Outcome]], RejectionRun | None]:
        run, judged = self.run, list[tuple[R, Outcome]]()
        for request, outcome in answers:
            if isinstance(outcome, Accepted):
                run = None
            elif isinstance(outcome, Rejected) and outcome.concerns is not Concern.RECIPIENT:
                reason = outcome.why[:REASON_CHARACTERS]
                same = run is not None and run.reason == reason
                if len(request.ids) == 1:  # one of several is found by halving the request, which says nothing of the others
                    run = RejectionRun(reason, frozenset(request.ids) | (run.deliveries if run and same else frozenset()))
                    same = True
                if reason == blocked_for or (run is not None and same and run.concerns_all):
                    outcome = Refused(outcome.why, RUN_WAIT, alarm=True)
            judged.append((request, outcome))
        return judged, run

    def half_opened(self) -> "CircuitBreaker":
        """While a block is half-open: one request at a time, until one is accepted."""
        return self if self.limit == 1 else replace(self, limit=1)
