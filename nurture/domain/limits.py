"""How often something may happen, and when confirmations have to wait for a person. Values and decisions;
nurture.store.state.limits counts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Limit:
    """At most `most` in a `window`, for each of those it is counted for.

    A window begins with the first that is counted, and its counter ends with it. `starts_anew`: each one begins it anew, so
    that any window, whenever it begins, holds at most `most`.
    """

    name: str
    most: int
    window: timedelta
    starts_anew: bool = False


@dataclass(frozen=True)
class Counter:
    """How many were counted in a window that ends at `ends`."""

    count: int
    ends: datetime


def is_full(limit: Limit, counter: Counter | None, at: datetime) -> bool:
    """Whether one more at `at` is more than the limit allows."""
    return limit.most <= 0 or (counter is not None and counter.ends > at and counter.count >= limit.most)


def after_counting(limit: Limit, counter: Counter | None, at: datetime, weight: int = 1) -> Counter:
    """The counter after one more at `at`, which counts for `weight`."""
    if counter is None or counter.ends <= at:
        return Counter(weight, at + limit.window)
    return Counter(counter.count + weight, at + limit.window if limit.starts_anew else counter.ends)


CONFIRMATION = (
    Limit("confirmation.day", 1, DAY, starts_anew=True),
    Limit("confirmation.unanswered", 2, timedelta(days=180), starts_anew=True),
)
"""Confirmations to one mailbox, while it answers none: so nobody can use the form to flood somebody who never asked."""
CONSULTATION_QUESTION = (
    Limit("consultation_question.day", 1, DAY, starts_anew=True),
    Limit("consultation_question.unanswered", 2, timedelta(days=180), starts_anew=True),
)
"""Mails to one mailbox that ask whether a request for a call was theirs, while it says yes to none."""
ALREADY_SUBSCRIBED = (Limit("already_subscribed", 1, timedelta(days=30), starts_anew=True),)
"""Mails to one mailbox that say it is on the list already."""
LOG_IN_MAIL = (Limit("log_in_mail", 10, DAY),)
"""Mails with a log-in link to one address of the desk."""
CONSULTATION = (Limit("consultation", 3, DAY),)
"""Requests for a call from one mailbox."""
CONSULTATION_NETWORK = (Limit("consultation.network.hour", 10, HOUR), Limit("consultation.network.day", 30, DAY))
CONSULTATION_ALL = (Limit("consultation.all", 100, DAY),)
"""Requests for a call in all: each is a mail to the therapist."""
LOG_IN_MAIL_NETWORK = (Limit("log_in_mail.network", 20, HOUR),)
PASSKEY_NETWORK = (Limit("passkey.network", 120, HOUR),)
"""Challenges for passkeys of whoever is about to log in: each is a row."""


def sign_ups_of_network(hour: int, day: int) -> tuple[Limit, ...]:
    """Sign-ups from one network of clients."""
    return (Limit("sign_up.network.hour", hour, HOUR), Limit("sign_up.network.day", day, DAY))


def confirmations_in_all(hour: int) -> Limit:
    """Confirmations of the whole installation; above it they wait for a person."""
    return Limit("confirmation.all", hour, HOUR)


class Suspicion(StrEnum):
    """What a sign-up form shows of who filled it in."""

    NONE = "none"
    STAMP = "stamp"
    """Without a time stamp of ours, or filled in faster than a person can or more than a day later. Forms on other sites have
    none, so this refuses nothing; it counts more toward the breaker."""
    HONEYPOT = "honeypot"
    """The field that no person sees was filled in."""

    @property
    def weight(self) -> int:
        """How much a confirmation that this sign-up asks for counts toward the breaker."""
        return 2 if self is Suspicion.STAMP else 1


FASTEST, LONGEST = timedelta(seconds=3), DAY
"""How long a person takes to fill in the form."""


def suspicion_of(filled_honeypot: bool, shown_at: datetime | None, now: datetime) -> Suspicion:
    """What a form shows. `shown_at`: when it was shown, as its stamp says; None without a stamp of ours."""
    if filled_honeypot:
        return Suspicion.HONEYPOT
    return Suspicion.NONE if shown_at is not None and FASTEST <= now - shown_at <= LONGEST else Suspicion.STAMP


class Trip(StrEnum):
    """Why confirmations wait."""

    RATE = "rate"
    """More were asked for in an hour than an installation usually sends."""
    SHARE = "share"
    """So few of those who were asked to confirm did that somebody else may be typing their addresses."""


FEWEST_ASKED, LEAST_SHARE = 30, 0.15
"""Of at least this many confirmations, this share is answered. About half to four fifths is usual."""
SETTLED_AFTER, LOOK_BACK = HOUR, DAY
"""The share is taken of confirmations between these ages: fresh ones may still be answered."""


def check_share(asked: int, confirmed: int) -> Trip | None:
    """Whether the share that confirms is below its band."""
    return Trip.SHARE if asked >= FEWEST_ASKED and confirmed < LEAST_SHARE * asked else None
