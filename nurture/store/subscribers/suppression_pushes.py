"""What the provider's own suppression list is still to be told: the newest word per reader. All times are real.

A word's id is its fence: a newer word has a new one, so whoever told an older word finds out when writing that down.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache

from sqlalchemy import Connection, Executable, bindparam, delete, select, update

from nurture.encryption import Encrypted
from nurture.ids import SubscriberId, new_id
from nurture.store.core.insert import insert_into
from nurture.store.core.schema import subscribers, suppression_pushes

P, S = suppression_pushes.c, subscribers.c


class PushAction(StrEnum):
    """What the provider is to do with an address."""

    ADD = "add"
    REMOVE = "remove"


@dataclass(frozen=True)
class Push:
    """One word to be told."""

    id: str
    subscriber: SubscriberId
    act: PushAction
    attempt: int
    """How often it has been taken up, this time included."""
    email: Encrypted


def enqueue(db: Connection, subscriber_id: SubscriberId, act: PushAction, now: datetime) -> None:
    """Have the provider told about a reader, as soon as may be. It takes the place of an older word about them."""
    word = {"id": new_id(), "act": act, "due_at": now, "attempt": 0}
    written = insert_into(suppression_pushes, db.dialect.name).values(subscriber_id=subscriber_id, **word)
    db.execute(written.on_conflict_do_update(index_elements=[P.subscriber_id], set_=word))


def forget(db: Connection, subscriber_id: SubscriberId) -> None:
    """There is nothing to tell about a reader any more."""
    db.execute(delete(suppression_pushes).where(P.subscriber_id == subscriber_id))


@cache
def _claim(dialect: str) -> Executable:
    due = select(P.id).where(P.due_at <= bindparam("now")).order_by(P.due_at, P.id).limit(bindparam("most"))
    if dialect == "postgresql":  # SKIP LOCKED: another claimer's rows are not waited for; MATERIALIZED: LIMIT holds
        chosen = due.with_for_update(skip_locked=True).cte("due").prefix_with("MATERIALIZED")
        due = select(chosen.c.id)
    taken = update(suppression_pushes).where(P.id.in_(due))
    return taken.values(due_at=bindparam("until"), attempt=P.attempt + 1).returning(P.id)


def claim(db: Connection, now: datetime, until: datetime, limit: int) -> list[Push]:
    """Take up to `limit` words due by `now`; until `until` nobody else takes them. To be committed before they are told."""
    ids = db.scalars(_claim(db.dialect.name), {"now": now, "most": limit, "until": until}).all()
    query = select(P.id, P.subscriber_id, P.act, P.attempt, S.email_encrypted).join(subscribers, S.id == P.subscriber_id)
    rows = db.execute(query.where(P.id.in_(ids)).order_by(P.id))
    return [Push(row[0], SubscriberId(row[1]), PushAction(row[2]), row[3], row[4]) for row in rows]


def done(db: Connection, ids: Collection[str]) -> set[str]:
    """These have been told. Returns those that still were the newest word; others were overtaken meanwhile."""
    return set(db.scalars(delete(suppression_pushes).where(P.id.in_(ids)).returning(P.id)))


def later(db: Connection, ids: Collection[str], due: datetime) -> None:
    """These are to be tried again at `due`."""
    db.execute(update(suppression_pushes).where(P.id.in_(ids)).values(due_at=due))


def put_off(db: Connection, now: datetime, until: datetime) -> None:
    """The provider answers nobody: whatever is due by `now` waits until `until`."""
    db.execute(update(suppression_pushes).where(P.due_at <= now).values(due_at=until))
