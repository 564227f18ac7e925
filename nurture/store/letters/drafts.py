"""Letters somebody works on, what was published before, and mails by which somebody tries them out."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from nurture.domain.delivery import State
from nurture.encryption import Encrypted, FieldRef
from nurture.ids import EditionId, SequenceId, StepKey, SubscriberId, TestEmailId, UserId
from nurture.store.core.desk_schema import test_emails, users
from nurture.store.core.schema import deliveries, drafts, editions

R, E, T, D = drafts.c, editions.c, test_emails.c, deliveries.c


@dataclass(frozen=True)
class LetterDraft:
    """A letter as a file, on its way. `version` counts its saves."""

    step: StepKey
    version: int
    text: str
    saved: datetime
    by: UserId | None


_COLUMNS = (R.step_key, R.version, R.text, R.saved_at, R.saved_by)


def get(db: Connection, sequence: SequenceId, step: StepKey) -> LetterDraft | None:
    """The draft of a letter."""
    row = db.execute(select(*_COLUMNS).where(R.sequence_id == sequence, R.step_key == step)).first()
    return LetterDraft(*row) if row else None


def of_sequence(db: Connection, sequence: SequenceId) -> dict[StepKey, LetterDraft]:
    """All drafts of a sequence."""
    rows = db.execute(select(*_COLUMNS).where(R.sequence_id == sequence))
    return {row[0]: LetterDraft(*row) for row in rows}


def save(db: Connection, sequence: SequenceId, draft: LetterDraft) -> bool:
    """Write a draft's next `version`; False, and nothing written, if it is not at the one before any more."""
    mine = (R.sequence_id == sequence, R.step_key == draft.step, R.version == draft.version - 1)
    values = {"version": draft.version, "text": draft.text, "saved_at": draft.saved, "saved_by": draft.by}
    if db.execute(update(drafts).where(*mine).values(values)).rowcount:
        return True
    if draft.version > 1:
        return False
    try:
        with db.begin_nested():
            db.execute(insert(drafts).values(sequence_id=sequence, step_key=draft.step, **values))
    except IntegrityError:  # somebody else began one this moment
        return False
    return True


def drop(db: Connection, sequence: SequenceId, step: StepKey, version: int) -> bool:
    """Forget a draft that is still at `version`: it is published, or thrown away."""
    mine = (R.sequence_id == sequence, R.step_key == step, R.version == version)
    return bool(db.execute(delete(drafts).where(*mine)).rowcount)


@dataclass(frozen=True)
class PastEdition:
    """An edition as it was published. `source`: the letter's file; empty in editions older than the desk."""

    id: EditionId
    published: datetime
    by: str
    source: str
    html: str
    text: str


def editions_of(db: Connection, sequence: SequenceId, step: StepKey, limit: int = 100) -> list[PastEdition]:
    """What was published of a letter, newest first."""
    columns = (E.id, E.published_at, E.published_by, E.source, E.html, E.text)
    query = select(*columns).where(E.sequence_id == sequence, E.step_key == step)
    rows = db.execute(query.order_by(E.number.desc().nulls_first(), E.published_at.desc()).limit(limit))
    return [PastEdition(row[0], row[1], row[2] or "", row[3] or "", row[4], row[5]) for row in rows]


@dataclass(frozen=True)
class LatestEdition:
    """When (timeline) an edition was published, and by whom: `user` and an account's id, or who typed a command."""

    at: datetime
    by: str


def released(db: Connection, ids: Collection[EditionId]) -> dict[EditionId, LatestEdition]:
    """Of editions."""
    rows = db.execute(select(E.id, E.published_at, E.published_by).where(E.id.in_(ids)))
    return {row[0]: LatestEdition(row[1], row[2] or "") for row in rows}


@dataclass(frozen=True)
class TestEmail:
    """A letter as one person at the desk tries it out in their own inbox."""

    id: TestEmailId
    user: UserId
    content: Encrypted | None
    """Subject, HTML and text as JSON; None: an older version kept them as `plain`."""
    plain: tuple[str, str, str] = ("", "", "")
    email: Encrypted | None = None


def field_of_test_email(test_email: str) -> FieldRef:
    """Where the content of a test email is bound to."""
    return FieldRef("trials", "content", test_email)


def add_test_email(
    db: Connection,
    email: TestEmail,
    mailer: str,
    real_now: datetime,
    edition: EditionId | None = None,
    imitated: SubscriberId | None = None,
) -> None:
    """Keep what a test email will say. `mailer`: what carries mail now; `edition`: which published one it shows; `imitated`:
    whose name it holds.
    """
    db.execute(
        insert(test_emails).values(
            id=email.id, user_id=email.user, subject="", html="", text="", content_encrypted=email.content, made_at=real_now,
            mailer=mailer, edition_id=edition, subscriber_id=imitated,
        )
    )  # fmt: skip


@dataclass(frozen=True)
class TestEmailStatus:
    """What became of a test email. Times are real."""

    id: TestEmailId
    edition: EditionId | None
    mailer: str
    made: datetime
    state: State
    why: str
    """What the provider or the ledger has against it."""


def all_test_emails(db: Connection) -> list[TestEmailStatus]:
    """Every test email that is still kept, newest first."""
    columns = (T.id, T.edition_id, T.mailer, T.made_at, D.state, D.reason)
    rows = db.execute(
        select(*columns).join(deliveries, D.test_email_id == T.id).order_by(T.made_at.desc(), D.planned_at.desc())
    )
    return [TestEmailStatus(row[0], row[1], row[2] or "", row[3], row[4], row[5] or "") for row in rows]


def read_test_emails(db: Connection, ids: Collection[TestEmailId]) -> dict[TestEmailId, TestEmail]:
    """Those of `ids` that there are."""
    columns = (T.id, T.user_id, T.content_encrypted, T.subject, T.html, T.text, users.c.email_encrypted)
    rows = db.execute(select(*columns).join(users, users.c.id == T.user_id).where(T.id.in_(ids)))
    return {row[0]: TestEmail(row[0], row[1], row[2], (row[3], row[4], row[5]), row[6]) for row in rows}


def test_emails_imitating(db: Connection, subscriber_id: SubscriberId) -> list[TestEmailId]:
    """Test emails that hold a subscriber's name, and those of an older version, of which nobody knows whose they hold."""
    return list(db.scalars(select(T.id).where(or_(T.subscriber_id == subscriber_id, T.content_encrypted.is_(None)))))


def remove_test_emails(db: Connection, ids: Collection[TestEmailId]) -> None:
    """Delete test emails, whether or not they have been sent."""
    db.execute(delete(test_emails).where(T.id.in_(ids)))


def forget_test_emails(db: Connection, before: datetime) -> None:
    """Delete test emails made before then: they have been sent."""
    db.execute(delete(test_emails).where(T.made_at < before))
