"""Pictures of letters, and who still shows them."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, exists, insert, select, update

from nurture.domain.picture import LetterImage, shown_in
from nurture.domain.sequence import PublicationState
from nurture.ids import EditionId, ImageId
from nurture.store.core.schema import drafts, edition_images, images, publications

P, U = images.c, edition_images.c
_READ = select(P.id, P.name, P.subtype, P.width, P.height, P.size)
_TOUCHED_EVERY = timedelta(days=1)


def add(db: Connection, picture: LetterImage, content: bytes, alt: str, by: str, real_now: datetime) -> None:
    """Keep a picture that is not here yet, neither its content nor its name."""
    db.execute(
        insert(images).values(
            id=picture.id, name=picture.name, content=content, size=picture.size, subtype=picture.subtype, width=picture.width,
            height=picture.height, alt=alt, added_at=real_now, added_by=by[:120], used_at=real_now,
        )
    )  # fmt: skip


def get(db: Connection, picture: ImageId) -> LetterImage | None:
    """One picture."""
    row = db.execute(_READ.where(P.id == picture)).first()
    return LetterImage(*row) if row else None


def named(db: Connection, names: Collection[str]) -> dict[str, LetterImage]:
    """Those of these names that there are."""
    if not names:
        return {}
    return {row.name: LetterImage(*row) for row in db.execute(_READ.where(P.name.in_(names)))}


def contents(db: Connection, ids: Collection[ImageId]) -> dict[ImageId, tuple[bytes, str]]:
    """Content and subtype of those of these pictures that there are."""
    if not ids:
        return {}
    rows = db.execute(select(P.id, P.content, P.subtype).where(P.id.in_(ids)))
    return {row[0]: (bytes(row[1]), row[2]) for row in rows}


def shown_by(db: Connection, edition: EditionId, html: str) -> None:
    """Note which pictures a new edition shows."""
    rows = [{"edition_id": edition, "image_id": picture} for picture in shown_in(html)]
    if rows:
        db.execute(insert(edition_images), rows)


def texts_under_way(db: Connection) -> list[str]:
    """Everything that may name a picture and is no edition yet: drafts, and letters that are being tried on readers."""
    asked = select(publications.c.files).where(publications.c.state == PublicationState.CHECKING)
    return [*db.scalars(select(drafts.c.text)), *db.scalars(asked)]


def touch(db: Connection, names: Iterable[str], real_now: datetime) -> None:
    """Note that pictures of these names, and all that editions show, are in use."""
    stale = P.used_at < real_now - _TOUCHED_EVERY
    for which in (P.name.in_(list(names)), exists().where(U.image_id == P.id)):
        db.execute(update(images).where(stale, which).values(used_at=real_now))


def forget(db: Connection, before: datetime) -> int:
    """Delete pictures that nothing has used since then, and say how many."""
    unused = (P.used_at < before, ~exists().where(U.image_id == P.id))
    return db.execute(delete(images).where(*unused)).rowcount
