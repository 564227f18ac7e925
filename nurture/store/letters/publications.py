"""Letters on their way to becoming editions: asked for, tried on every living reader, then published or refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from nurture.domain.problem import Problem, ProblemKind
from nurture.domain.sequence import PublicationState
from nurture.store.core.schema import publications

P = publications.c


@dataclass(frozen=True)
class Publication:
    """One attempt to publish a sequence; `files` are its letters by file name, as they were when it was asked for."""

    id: int
    sequence: str
    files: Mapping[str, str]
    state: PublicationState
    asked: datetime
    by: str
    done: int
    total: int
    troubles: tuple[Problem, ...]
    finished: datetime | None
    partial: bool = False
    """Whether `files` are only the letters that change."""


_READ = select(
    P.id, P.sequence_key, P.files, P.state, P.asked_at, P.asked_by, P.done, P.total, P.troubles, P.finished_at, P.partial
)  # fmt: skip


def ask(db: Connection, sequence: str, files: Mapping[str, str], by: str, real_now: datetime, partial: bool = False) -> int:
    """Write down what shall be published, all letters of a sequence or only those that change; returns its number."""
    asked = insert(publications).values(
        sequence_key=sequence,
        files=json.dumps(files),
        state=PublicationState.CHECKING,
        asked_at=real_now,
        asked_by=by[:120],
        partial=partial,
    )
    return int(db.execute(asked.returning(P.id)).scalar_one())


def latest(db: Connection, limit: int) -> list[Publication]:
    """The newest first."""
    return [_publication(row) for row in db.execute(_READ.order_by(P.id.desc()).limit(limit))]


def get(db: Connection, publication: int) -> Publication | None:
    """One of them."""
    row = db.execute(_READ.where(P.id == publication)).first()
    return None if row is None else _publication(row)


def _publication(row: Any) -> Publication:
    first, sequence, files, state, asked, by, done, total, troubles, finished, partial = row
    told = tuple(_trouble(each) for each in json.loads(troubles))
    return Publication(first, sequence, json.loads(files), state, asked, by, done, total, told, finished, partial)


def _trouble(stored: str | Mapping[str, Any]) -> Problem:
    """One before the desk had words of its own is only a sentence."""
    return Problem(stored) if isinstance(stored, str) else Problem(**{**stored, "what": ProblemKind(stored["what"])})


def waiting(db: Connection) -> bool:
    """Whether any is still to be tried."""
    return db.scalar(select(P.id).where(P.state == PublicationState.CHECKING).limit(1)) is not None


def take(db: Connection, owner: str, real_now: datetime, lease_until: datetime, only: int | None = None) -> Publication | None:
    """The oldest that waits, or whose owner fell silent, for `owner` to try until `lease_until`; `only`: this one."""
    free = (P.state == PublicationState.CHECKING, or_(P.lease_until.is_(None), P.lease_until < real_now))
    query = select(P.id).where(*free).order_by(P.id).limit(1).with_for_update(skip_locked=True)
    found = db.scalar(query if only is None else query.where(P.id == only))
    if found is None:
        return None
    db.execute(update(publications).where(P.id == found).values(owner=owner, lease_until=lease_until, done=0))
    return get(db, found)


def progress(db: Connection, publication: int, owner: str, done: int, total: int, lease_until: datetime) -> bool:
    """Note how many readers are through; False if somebody else has it now."""
    mine = (P.id == publication, P.owner == owner, P.state == PublicationState.CHECKING)
    return bool(db.execute(update(publications).where(*mine).values(done=done, total=total, lease_until=lease_until)).rowcount)


def finish(
    db: Connection, publication: int, owner: str, state: PublicationState, troubles: Sequence[Problem], real_now: datetime
) -> bool:
    """Note how it ended; False, and nothing written, if somebody else has it now."""
    mine = (P.id == publication, P.owner == owner, P.state == PublicationState.CHECKING)
    ended = (
        update(publications)
        .where(*mine)
        .values(state=state, troubles=json.dumps([asdict(each) for each in troubles]), finished_at=real_now)
    )
    return bool(db.execute(ended.values(lease_until=None)).rowcount)
