"""Which editions somebody at the desk has read before the first go out."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, delete, select

from nurture.ids import EditionId, UserId
from nurture.store.core.desk_schema import letter_reviews
from nurture.store.core.insert import insert_into

R = letter_reviews.c


def reviewed(db: Connection, among: Collection[EditionId]) -> set[EditionId]:
    """Those of `among` that have been read."""
    return set(db.scalars(select(R.edition_id).where(R.edition_id.in_(among))))


def record_review(db: Connection, edition: EditionId, by: UserId, real_now: datetime) -> None:
    """Somebody has read it."""
    db.execute(
        insert_into(letter_reviews, db.dialect.name)
        .values(edition_id=edition, reviewed_at=real_now, reviewed_by=by)
        .on_conflict_do_nothing()
    )


def take_back(db: Connection, edition: EditionId) -> None:
    """It was not read after all."""
    db.execute(delete(letter_reviews).where(R.edition_id == edition))
