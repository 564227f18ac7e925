"""How a request for a call came, how far it has come, and how long its links work."""

from datetime import timedelta
from enum import StrEnum


class RequestState(StrEnum):
    """Where a request stands."""

    NEW = "new"
    CONTACTED = "contacted"
    BOOKED = "booked"
    CLOSED = "closed"


WAITING = (RequestState.NEW, RequestState.CONTACTED)
"""Still somebody's turn to act."""


class RequestOrigin(StrEnum):
    """How a request came, and so whether it proves who made it. Only LETTER and MAIL change anything for a reader."""

    LETTER = "letter"
    """By the link in a letter."""
    FORM = "form"
    """By the open form: anybody may have typed any address."""
    MAIL = "mail"
    """By the open form, and confirmed by the button of the mail to that address."""


LETTER_LINK_LASTS = timedelta(days=90)
"""How long the link in a letter says who asks, in real time. Links of versions before, which carry no time, are read as long
after the upgrade."""
QUESTION_LASTS = timedelta(days=7)
"""How long the button works by which a reader says that a request was theirs, in real time."""
