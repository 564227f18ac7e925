"""Files of people to add, on their way, and what is known of the addresses in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.encryption import Encrypted, FieldRef
from nurture.ids import SubscriberId, UserId
from nurture.store.core.desk_schema import csv_imports
from nurture.store.core.schema import subscribers, suppressions

F, S = csv_imports.c, subscribers.c


@dataclass(frozen=True)
class File:
    """One file; content and report are still sealed. `counts`: empty until its people were added."""

    content: Encrypted
    choices: str
    counts: str | None
    report: Encrypted | None


def content_field(key: str) -> FieldRef:
    """Where a file's content is sealed."""
    return FieldRef("imports", "content", key)


def report_field(key: str) -> FieldRef:
    """Where its report is sealed."""
    return FieldRef("imports", "report", key)


def add(db: Connection, key: str, content: Encrypted, choices: str, by: UserId | None, real_now: datetime) -> None:
    """Keep a file. `by`: None for whoever runs the service."""
    db.execute(insert(csv_imports).values(id=key, made_at=real_now, made_by=by, content_encrypted=content, choices=choices))


def read(db: Connection, key: str, lock: bool = False) -> File | None:
    """One file; locked until the transaction ends if asked."""
    query = select(F.content_encrypted, F.choices, F.counts, F.report_encrypted).where(F.id == key)
    row = db.execute(query.with_for_update() if lock else query).first()
    return File(*row) if row else None


def choose(db: Connection, key: str, choices: str) -> None:
    """Note what its columns mean and how its people are to be added."""
    db.execute(update(csv_imports).where(F.id == key).values(choices=choices))


def claim(db: Connection, key: str, choices: str, counts: str) -> bool:
    """Begin to add its people; False if somebody has begun already."""
    mine = update(csv_imports).where(F.id == key, F.counts.is_(None)).values(choices=choices, counts=counts)
    return bool(db.execute(mine).rowcount)


def finish(db: Connection, key: str, counts: str, report: Encrypted, empty: Encrypted) -> None:
    """Its people are added: the content goes, the report stays for a day."""
    db.execute(update(csv_imports).where(F.id == key).values(counts=counts, report_encrypted=report, content_encrypted=empty))


def forget(db: Connection, before: datetime) -> None:
    """Delete files that came before then (real time)."""
    db.execute(delete(csv_imports).where(F.made_at < before))


def known(db: Connection, hashes: Sequence[bytes]) -> dict[bytes, SubscriberState]:
    """The state of whoever has one of these addresses, by its blind index."""
    rows = db.execute(select(S.email_index, S.state).where(S.email_index.in_(hashes))).all()
    return {bytes(row[0]): row[1] for row in rows}


def people(db: Connection, hashes: Sequence[bytes]) -> dict[bytes, SubscriberId]:
    """Whoever has one of these addresses, by its blind index."""
    rows = db.execute(select(S.email_index, S.id).where(S.email_index.in_(hashes))).all()
    return {bytes(row[0]): row[1] for row in rows}


def suppressed(db: Connection, hashes: Sequence[bytes]) -> dict[bytes, Suppression]:
    """Why some of these addresses must not be mailed."""
    s = suppressions.c
    rows = db.execute(select(s.email_index, s.reason).where(s.email_index.in_(hashes))).all()
    return {bytes(row[0]): row[1] for row in rows}
