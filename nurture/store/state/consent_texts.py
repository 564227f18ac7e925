"""The wordings of the consent that the form has shown: append-only, the newest is shown."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from nurture.ids import UserId
from nurture.store.core.desk_schema import consent_texts

W = consent_texts.c


@dataclass(frozen=True)
class ConsentText:
    """What stands beside the box that is ticked, and the name under which it is recorded."""

    version: str
    text: str
    written: datetime | None = None
    """Real time; None: it came with the service."""
    by: UserId | None = None


_WORDINGS = 0x6E75727475726524
"""Advisory lock on PostgreSQL, taken by whoever writes a wording."""


def lock(db: Connection) -> None:
    """From here to the end of the transaction nobody else writes a wording: each gets a version of its own."""
    if db.dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_WORDINGS)))


_EVERYTHING = select(W.version, W.text, W.written_at, W.written_by).order_by(W.written_at.desc(), W.version.desc())


def everything(db: Connection) -> list[ConsentText]:
    """All that were written here, newest first."""
    return [ConsentText(*row) for row in db.execute(_EVERYTHING)]


def get(db: Connection, version: str) -> ConsentText | None:
    """The one of that version, if it was written here."""
    row = db.execute(select(W.version, W.text, W.written_at, W.written_by).where(W.version == version)).first()
    return ConsentText(*row) if row else None


def add(db: Connection, wording: ConsentText) -> None:
    """From now on the form shows this one."""
    db.execute(
        insert(consent_texts).values(
            version=wording.version, text=wording.text, written_at=wording.written, written_by=wording.by
        )
    )
