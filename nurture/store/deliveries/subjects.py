"""What a mail is about: a request for a call, a login link, a test email, a change of an account. A mail outlives what it is
about (its foreign key becomes empty); then it must not be sent.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, literal, not_, or_

from nurture.domain.delivery import DeliveryKind
from nurture.store.core.columns import Instant
from nurture.store.core.desk_schema import login_links, users
from nurture.store.core.schema import deliveries

D, L = deliveries.c, login_links.c

GONE = "what it was about is gone"
"""Why a mail was cancelled."""

_COLUMNS = {
    DeliveryKind.NOTICE: D.consultation_id,
    DeliveryKind.CONSULTATION_QUESTION: D.consultation_id,
    DeliveryKind.LOGIN_LINK: D.login_link_id,
    DeliveryKind.TEST_EMAIL: D.test_email_id,
    DeliveryKind.ACCOUNT_CHANGE: D.account_change_id,
}
"""The foreign key to what a mail of each kind is about; the other kinds are about nothing but their reader."""


def is_there(kind: DeliveryKind, real_now: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
    """Conditions under which what a mail of `kind` is about exists; a login link must still work at `real_now` (real time)."""
    if kind not in _COLUMNS:
        return []
    if kind is DeliveryKind.LOGIN_LINK:
        works = (L.id == D.login_link_id, L.used_at.is_(None), L.expires_at > real_now)
        return [exists().where(users.c.id == L.user_id, users.c.email_encrypted.is_not(None), *works)]
    return [_COLUMNS[kind].is_not(None)]


def is_gone(real_now: datetime) -> ColumnElement[bool]:
    """Whether what a mail is about is gone."""
    now = literal(real_now, Instant)
    return or_(*(and_(D.kind == kind, not_(and_(*is_there(kind, now)))) for kind in _COLUMNS))
