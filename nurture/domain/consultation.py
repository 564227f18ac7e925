"""How far a request for a call has come."""

from enum import StrEnum


class RequestState(StrEnum):
    """Where a request stands."""

    NEW = "new"
    CONTACTED = "contacted"
    BOOKED = "booked"
    CLOSED = "closed"


WAITING = (RequestState.NEW, RequestState.CONTACTED)
"""Still somebody's turn to act."""
