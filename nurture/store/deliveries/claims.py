"""What the owner of a claim does with it: read it, keep it for longer, or put rows it does not send where they belong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, func, select, update

from nurture.domain.delivery import DeliveryKind, State
from nurture.encryption import Encrypted
from nurture.ids import (
    AccountChangeId,
    BatchId,
    ConsultationId,
    DeliveryId,
    EditionId,
    EnrollmentId,
    LoginLinkId,
    SequenceId,
    StepKey,
    SubscriberId,
    TestEmailId,
)
from nurture.store.accounts import account_changes, sessions
from nurture.store.accounts.account_changes import ToldChange
from nurture.store.accounts.sessions import Addressed
from nurture.store.core.schema import deliveries, enrollments, steps, subscribers
from nurture.store.deliveries import subjects, transitions
from nurture.store.deliveries.transitions import Settled, is_in
from nurture.store.letters import drafts
from nurture.store.letters.drafts import TestEmail

D, E, S = deliveries.c, enrollments.c, subscribers.c


@dataclass(frozen=True)
class Claimed:
    """A claimed row with all that rendering needs. Personal values are still encrypted."""

    id: DeliveryId
    kind: DeliveryKind
    attempt: int
    planned: datetime
    subscriber: SubscriberId | None
    email: Encrypted | None
    first_name: Encrypted | None
    time_zone: str | None
    plain_sender: bool | None
    """Whether the reader chose the plainer sender's name."""
    confirmed: datetime | None
    enrollment: EnrollmentId | None
    sequence: SequenceId | None
    step: StepKey | None
    edition: EditionId | None
    consultation: ConsultationId | None
    login_link: LoginLinkId | None
    test_email: TestEmailId | None
    account_change: AccountChangeId | None
    login: Addressed | None = None
    """What `login_link` names, while it works."""
    test: TestEmail | None = None
    """What `test_email` names."""
    change: ToldChange | None = None
    """What `account_change` names."""


_READ_BATCH = (
    select(
        D.id, D.kind, D.attempt, D.planned_at, D.subscriber_id, S.email_encrypted, S.first_name_encrypted, S.time_zone,
        S.plain_sender, S.confirmed_at, D.enrollment_id, E.sequence_id, D.step_key, D.edition_id,
        D.consultation_id, D.login_link_id, D.test_email_id, D.account_change_id,
    )
    .select_from(deliveries)
    .outerjoin(subscribers, S.id == D.subscriber_id)
    .outerjoin(enrollments, E.id == D.enrollment_id)
    .outerjoin(steps, and_(steps.c.sequence_id == E.sequence_id, steps.c.key == D.step_key))
    .where(D.batch_id == bindparam("batch"), is_in(State.CLAIMED))
    .order_by(D.due_at, D.planned_at, steps.c.position, E.started_at, D.id)
)  # fmt: skip


def read_batch(db: Connection, batch: BatchId) -> list[Claimed]:
    """What is claimed under `batch`, joined with reader and place in the sequence: what has been due for longest first, then
    the oldest promise, then the letter that stands first in its sequence, then the series that began first.

    So what was refused comes after what was not tried: while one mail at a time probes the provider, none stands in the way.
    """
    return [Claimed(*tuple(row)) for row in db.execute(_READ_BATCH, {"batch": batch})]


def with_subjects(db: Connection, rows: Sequence[Claimed], real_now: datetime) -> list[Claimed]:
    """The rows with what they are about, as far as that is still there; login links only while they work at `real_now` (real
    time).
    """
    links = {row.login_link for row in rows if row.login_link}
    emails = {row.test_email for row in rows if row.test_email}
    changes = {row.account_change for row in rows if row.account_change}
    if not (links or emails or changes):
        return [*rows]
    logins, tests = sessions.addressed(db, links, real_now), drafts.read_test_emails(db, emails)
    told = account_changes.find(db, changes)
    return [
        replace(
            row,
            login=logins.get(row.login_link) if row.login_link else None,
            test=tests.get(row.test_email) if row.test_email else None,
            change=told.get(row.account_change) if row.account_change else None,
        )
        for row in rows
    ]


def lease_of(db: Connection, batch: BatchId) -> datetime | None:
    """Until when, in real time, a batch is its owner's; None if nothing is claimed under it."""
    found: datetime | None = db.scalar(select(func.min(D.lease_until)).where(D.batch_id == batch, is_in(State.CLAIMED)))
    return found


def unfit(db: Connection, batch: BatchId, whys: Mapping[DeliveryId, str], by: str, real_now: datetime) -> None:
    """These can never go out as they are, each for its own reason; the others of the batch can. One whose subject is gone is
    cancelled, the others have failed.
    """
    for delivery, why in whys.items():
        mine = (D.id == delivery, D.batch_id == batch, is_in(State.CLAIMED))
        to = State.CANCELLED if why == subjects.GONE else State.FAILED
        transitions.apply(db, to, by, real_now, why, *mine, lease_until=None)


def postponed(
    db: Connection, batch: BatchId, delivery: DeliveryId, to: datetime, by: str, real_now: datetime, why: str
) -> None:
    """A claimed row whose moment is not now: a new promise, at `to` (timeline)."""
    mine = (D.id == delivery, D.batch_id == batch, is_in(State.CLAIMED))
    transitions.apply(db, State.SCHEDULED, by, real_now, why, *mine, batch_id=None, lease_until=None, due_at=to, planned_at=to)


def put_aside(
    db: Connection, batch: BatchId, delivery: DeliveryId, to: State, by: str, real_now: datetime, why: str
) -> list[Settled]:
    """A claimed row that came far too late: CANCELLED, or HELD for a person. Returns it if it moved."""
    mine = (D.id == delivery, D.batch_id == batch, is_in(State.CLAIMED))
    return transitions.apply(db, to, by, real_now, why, *mine, lease_until=None)


def release(db: Connection, batch: BatchId, by: str, real_now: datetime, why: str) -> int:
    """Give back what is still claimed under `batch`: provably unsent."""
    mine = (D.batch_id == batch, is_in(State.CLAIMED))
    return len(transitions.apply(db, State.SCHEDULED, by, real_now, why, *mine, batch_id=None, lease_until=None))


def extend(db: Connection, batch: BatchId, lease_until: datetime) -> None:
    """Its owner is alive and still at it."""
    db.execute(update(deliveries).where(D.batch_id == batch, is_in(State.CLAIMED)).values(lease_until=lease_until))
