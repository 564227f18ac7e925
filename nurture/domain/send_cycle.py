"""What one cycle of sending decides, without I/O: how much may go, whether it is a probe, what is given back.

A sender lives for weeks, so its state is a value, and each method here returns the next one. A cycle is:

    room → the requests offered → judge what came back → settle it → decide → mark → committed (or commit_failed)

Liveness: while nothing is blocked and nothing is under way, `room` is at least 1 as soon as reserved slots open, whatever was
answered before. Safety: a cycle marks no more than the breaker's limit less what is under way, and no more than the rate
allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nurture.domain.circuit_breaker import CircuitBreaker, R
from nurture.domain.delivery import Outcome, Refused
from nurture.domain.rate_limiter import RateLimiter

MARKED_PER_WORKER = 2
"""Requests marked for each worker: the one it sends, and the next, so that no worker waits for a commit."""
GIVEN_BACK = "given back"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a cycle finds in its transaction, once answers are settled."""

    offered: int
    """Requests that could be marked."""
    under_way: int
    """Requests marked and not answered."""
    now: float
    """Monotonic seconds."""
    blocked: str | None = None
    """Why nothing may be sent now."""
    half_open: bool = False
    """Whether a block's wait is over, and nobody has been accepted since."""
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What a cycle does with the requests offered to it."""

    mark: int = 0
    """How many of them, from the first, are marked; the others wait."""
    probe: bool = False
    """Whether what is marked tries a provider that has refused everything."""
    reserve: int = 0
    """Slots to reserve first; then decide again."""
    release: str | None = None
    """Why everything that is not marked is given back, if it is."""


@dataclass(frozen=True, slots=True)
class SendCycle:
    """The state of a sender between two cycles."""

    workers: int
    breaker: CircuitBreaker
    limiter: RateLimiter
    refusal: Refused | None = None
    """A refusal of everything: requests marked before it are not sent any more."""
    must_release: bool = False
    """Whether a commit has failed: what it may have marked has not left, and is given back."""

    @classmethod
    def begin(cls, workers: int, per_second: float | None) -> "SendCycle":
        """Of a sender that has just been started. `per_second`: the fleet's limit, None for none."""
        full = MARKED_PER_WORKER * workers
        return cls(workers, CircuitBreaker(full, full), RateLimiter(per_second))

    def room(self, under_way: int, now: float) -> int:
        """How many requests to offer to the coming cycle."""
        room = min(self.workers, self.breaker.limit - under_way)
        slots = self.limiter.room(now)
        return max(0, room if slots is None else min(room, slots))

    def judge(
        self, answers: Sequence[tuple[R, Outcome]], blocked_for: str | None
    ) -> tuple["SendCycle", Sequence[tuple[R, Outcome]]]:
        """The answers to settle; see CircuitBreaker.judge."""
        breaker, judged = self.breaker.judge(answers, blocked_for)
        return (self if breaker is self.breaker else replace(self, breaker=breaker)), judged

    def decide(self, found: Situation) -> Decision:
        """What to do with what is offered."""
        if found.blocked is not None or found.stopping or self.must_release:
            return Decision(release=found.blocked or GIVEN_BACK)
        limit = 1 if found.half_open else self.breaker.limit
        wanted = max(0, min(found.offered, limit - found.under_way))
        reserve = self.limiter.to_reserve(wanted, found.now)
        mark = 0 if reserve else self.limiter.usable(wanted, found.now)
        return Decision(mark, probe=found.half_open and mark > 0, reserve=reserve)

    def reserved(self, slots: int, opens_at: float) -> "SendCycle":
        """With slots that the database has handed out."""
        return replace(self, limiter=self.limiter.reserved(slots, opens_at))

    def refused(self, refusal: Refused) -> "SendCycle":
        """An answer has come that refuses everything: what is marked and has not left stays here."""
        return replace(self, refusal=refusal)

    def committed(self, after: "SendCycle", marked: int, half_open: bool) -> "SendCycle":
        """The state after a commit. `self` is the state now, in which a refusal may have come during the commit; `after` what
        the cycle came to from the state it began with.

        A refusal holds until something is marked that the cycle knew to be allowed in spite of it.
        """
        breaker = after.breaker.half_opened() if half_open else after.breaker
        limiter = after.limiter.used() if marked else after.limiter
        refusal = None if marked and self.refusal is after.refusal else self.refusal
        if breaker is self.breaker and limiter is self.limiter and refusal is self.refusal and not self.must_release:
            return self  # as in nearly every cycle
        return replace(self, breaker=breaker, limiter=limiter, refusal=refusal, must_release=False)

    def commit_failed(self) -> "SendCycle":
        """The state when a commit may have taken place or not: answers are settled again, everything else is given back."""
        return replace(self, must_release=True)
