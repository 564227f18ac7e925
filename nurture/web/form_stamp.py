"""When a form was shown: a signed time in a hidden field, and a field that only programs fill in."""

from datetime import UTC, datetime

from flask import request

from nurture.domain.limits import LONGEST, Suspicion, suspicion_of
from nurture.tokens import Purpose, TokenRefused
from nurture.web.pages import rt

STAMP, HONEYPOT = "shown", "leave_empty"


def stamp() -> str:
    """A stamp of now, or the one that came with the form, which is shown again."""
    if _shown_at(request.form.get(STAMP, "")) is not None:
        return request.form[STAMP]
    real_now = rt().clock.real_now()
    return rt().tokens.mint(Purpose.FORM, f"{int(real_now.timestamp() * 1000):032x}", real_now + LONGEST)


def _shown_at(typed: str) -> datetime | None:
    try:
        millis = int(rt().tokens.read(Purpose.FORM, typed, rt().clock.real_now()), 16)
    except TokenRefused:
        return None
    return datetime.fromtimestamp(millis / 1000, UTC)


def suspicion() -> Suspicion:
    """What the form that came shows of who filled it in."""
    return suspicion_of(
        bool(request.form.get(HONEYPOT, "").strip()), _shown_at(request.form.get(STAMP, "")), rt().clock.real_now()
    )
