"""How a request for a call came, how far it has come, and when a reader is asked whether it was theirs."""

from collections.abc import Collection
from datetime import datetime, timedelta
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
_ASK_AGAIN_AFTER, _MOST_QUESTIONS, _QUESTIONS_WITHIN = timedelta(hours=24), 2, timedelta(days=180)


def may_ask(unanswered: Collection[datetime], now: datetime) -> bool:
    """Whether a reader may be asked once more if a request was theirs: once in 24 hours, and not after two questions in 180
    days that they left unanswered, so that nobody can use the form to flood them. `unanswered`: when those were planned (UTC).
    """
    lately = [at for at in unanswered if now - at < _QUESTIONS_WITHIN]
    return len(lately) < _MOST_QUESTIONS and all(now - at >= _ASK_AGAIN_AFTER for at in lately)
