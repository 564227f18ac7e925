"""What notices are about: a request for a call, a login link, a test email, a change of an account. A notice outlives its
subject; it must not be sent then, least of all as a notice about something else.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, literal, not_, or_, select

from nurture.domain.delivery import DeliveryKind, Subject
from nurture.ids import ConsultationId
from nurture.store.accounts import account_changes, sessions
from nurture.store.accounts.account_changes import ToldChange
from nurture.store.accounts.sessions import Addressed
from nurture.store.core.columns import Instant
from nurture.store.core.desk_schema import account_changes as account_change_rows
from nurture.store.core.desk_schema import login_links, trials, users
from nurture.store.core.schema import consultations, deliveries
from nurture.store.letters import drafts
from nurture.store.letters.drafts import TestEmail

D, L = deliveries.c, login_links.c

GONE = "what it was about is gone"
"""Why a notice was cancelled."""


def is_there(real_now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether the subject of a notice exists, and a login link still works at `real_now` (real time)."""
    link = (L.id == D.about_id, L.used_at.is_(None), L.expires_at > real_now, users.c.email_sealed.is_not(None))
    return or_(
        D.about_id.is_(None),
        and_(_may_be(Subject.CONSULTATION), exists().where(consultations.c.id == D.about_id)),
        and_(_may_be(Subject.LOGIN_LINK), exists().where(users.c.id == L.user_id, *link)),
        and_(_may_be(Subject.TEST_EMAIL), exists().where(trials.c.id == D.about_id)),
        and_(_may_be(Subject.ACCOUNT_CHANGE), exists().where(account_change_rows.c.id == D.about_id)),
    )


def is_gone(real_now: datetime) -> ColumnElement[bool]:
    """The contrary, for mails that may have a subject only."""
    return and_(D.kind.in_((DeliveryKind.NOTICE, DeliveryKind.ALREADY_SUBSCRIBED)), not_(is_there(literal(real_now, Instant))))


def _may_be(kind: Subject) -> ColumnElement[bool]:
    """A row written by a version that did not say what kind it is about is taken for whatever has its id."""
    return or_(D.about_kind == kind, D.about_kind.is_(None))


@dataclass(frozen=True)
class FoundSubjects:
    """Subjects that are there, by id."""

    links: dict[str, Addressed]
    tests: dict[ConsultationId, TestEmail]
    consultations: set[str]
    changes: dict[str, ToldChange]

    def kind_of(self, subject: ConsultationId, said: Subject | None) -> Subject | None:
        """The kind of a subject, which must be the one its row `said`, if it did; None if there is no such subject."""
        there = {
            Subject.LOGIN_LINK: subject in self.links,
            Subject.TEST_EMAIL: subject in self.tests,
            Subject.CONSULTATION: subject in self.consultations,
            Subject.ACCOUNT_CHANGE: subject in self.changes,
        }
        return next((kind for kind, is_found in there.items() if is_found and said in (None, kind)), None)


def find(db: Connection, ids: Collection[ConsultationId], real_now: datetime) -> FoundSubjects:
    """Those of `ids` that are there; login links only while they work."""
    if not ids:
        return FoundSubjects({}, {}, set(), {})
    known = set(db.scalars(select(consultations.c.id).where(consultations.c.id.in_(ids))))
    return FoundSubjects(
        sessions.addressed(db, ids, real_now), drafts.test_email_statuses(db, ids), known, account_changes.find(db, ids)
    )
