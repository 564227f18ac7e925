"""When mail may leave under a limit on mails per second, as a value. The database hands out the slots of the whole fleet."""

from dataclasses import dataclass, replace

SLOTS_KEPT_SECONDS = 10.0
"""Slots not used so long after their time are given up: they must not add to those of a later second."""


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """Slots that one process has reserved and not used yet. Times are seconds of one monotonic clock."""

    per_second: float | None
    """None: no limit."""
    slots: int = 0
    opens_at: float = 0.0
    """From when the reserved slots may be used."""

    def room(self, now: float) -> int | None:
        """Most requests that may be offered now; None for as many as one likes, 0 while reserved slots are waited for."""
        if not self._has_slots(now):
            return None
        return self.slots if now >= self.opens_at else 0

    def to_reserve(self, wanted: int, now: float) -> int:
        """How many slots to reserve before any of `wanted` requests may go: one second's worth at most, 0 if none is needed."""
        if self.per_second is None or not wanted or self._has_slots(now):
            return 0
        return min(wanted, max(1, int(self.per_second)))

    def usable(self, wanted: int, now: float) -> int:
        """How many of `wanted` requests may go now."""
        if self.per_second is None:
            return wanted
        return min(wanted, self.slots) if self._has_slots(now) and now >= self.opens_at else 0

    def reserved(self, slots: int, opens_at: float) -> "RateLimiter":
        """With slots that the database has handed out."""
        return replace(self, slots=slots, opens_at=opens_at)

    def used(self) -> "RateLimiter":
        """After a cycle that used slots: what is left of them is given up."""
        return replace(self, slots=0) if self.slots else self

    def _has_slots(self, now: float) -> bool:
        return self.slots > 0 and now <= self.opens_at + SLOTS_KEPT_SECONDS
