"""What is done to many people at once: whom it changes, and a record of exactly whom it did, to take it back."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, not_, select, update

from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.ids import SubscriberId, UserId
from nurture.store.core import bulk_params
from nurture.store.core.desk_schema import bulk_action_targets, bulk_actions, tags
from nurture.store.core.schema import enrollments, subscribers
from nurture.store.subscribers import listing as people
from nurture.store.subscribers.listing import Filter

S, E, T, A, P = subscribers.c, enrollments.c, tags.c, bulk_actions.c, bulk_action_targets.c


class BulkAction(StrEnum):
    """What can be done to many at once."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    TAG = "tag"
    UNTAG = "untag"


_FROM = {
    BulkAction.PAUSE: (EnrollmentState.ACTIVE,),
    BulkAction.RESUME: (EnrollmentState.PAUSED,),
    BulkAction.STOP: (EnrollmentState.ACTIVE, EnrollmentState.PAUSED),
}
ABOUT_TAGS = (BulkAction.TAG, BulkAction.UNTAG)

Chosen = Filter | tuple[SubscriberId, ...]
"""Everybody a filter finds, or these people."""


def _targets(db: Connection, chosen: Chosen, act: BulkAction, tag: str) -> Select[Any]:
    """Whom the act would change: enrollments, or subscribers where it is about a tag."""
    if isinstance(chosen, Filter):
        who = people.conditions(chosen)
    else:
        who = [
            bulk_params.in_ids(db.dialect.name, S.id, "chosen", bulk_params.encode_ids(db, chosen)),
            S.state != SubscriberState.ERASED,
        ]
    if act in ABOUT_TAGS:
        have = S.id.in_(select(T.subscriber_id).where(T.tag == tag))
        return select(S.id).where(*who, not_(have) if act is BulkAction.TAG else have)
    there = (S.state == SubscriberState.ACTIVE, E.state.in_(_FROM[act]))
    return select(E.id).join(subscribers, S.id == E.subscriber_id).where(*who, *there)


def count(db: Connection, chosen: Chosen, act: BulkAction, tag: str) -> int:
    """How many the act would change."""
    return db.execute(select(func.count()).select_from(_targets(db, chosen, act, tag).subquery())).scalar_one()


def targets(db: Connection, chosen: Chosen, act: BulkAction, tag: str, limit: int) -> list[str]:
    """The first `limit` whom the act would change."""
    return list(db.scalars(_targets(db, chosen, act, tag).limit(limit)))


@dataclass(frozen=True)
class BulkActionRecord:
    """One thing done to many. Real time."""

    act: BulkAction
    tag: str
    people: int
    at: datetime
    undone: datetime | None
    """Since when it is being undone, or is."""
    left: int = 0
    """Of how many it can still be taken back."""


def begin(db: Connection, key: str, act: BulkAction, tag: str, by: UserId, real_now: datetime) -> None:
    """Note that something is done to many; whom it changed is added with `add`."""
    db.execute(insert(bulk_actions).values(id=key, action=act.value, detail=tag, people=0, done_at=real_now, done_by=by))


def add(db: Connection, key: str, changed: Collection[str]) -> bool:
    """Note whom it changes, in the transaction that changes them. False, and nothing noted, once it is being undone."""
    if not changed:
        return True
    going_on = (A.id == key, A.undone_at.is_(None))
    if not db.execute(update(bulk_actions).where(*going_on).values(people=A.people + len(changed))).rowcount:
        return False
    db.execute(insert(bulk_action_targets), [{"bulk_action_id": key, "target_id": target} for target in changed])
    return True


_LEFT = select(func.count()).select_from(bulk_action_targets).where(P.bulk_action_id == A.id).scalar_subquery()
_DONE = select(A.id, A.action, A.detail, A.people, A.done_at, A.undone_at, _LEFT)


def read(db: Connection, key: str) -> BulkActionRecord | None:
    """One thing done to many."""
    row = db.execute(_DONE.where(A.id == key)).first()
    return BulkActionRecord(BulkAction(row[1]), *row[2:]) if row else None


def latest(db: Connection, since: datetime, limit: int) -> list[tuple[str, BulkActionRecord]]:
    """What was done since then (real time) and can still be taken back, with its id, newest first."""
    query = _DONE.where(A.done_at > since, _LEFT > 0).order_by(A.done_at.desc(), A.id.desc()).limit(limit)
    return [(row[0], BulkActionRecord(BulkAction(row[1]), *row[2:])) for row in db.execute(query)]


def begin_undo(db: Connection, key: str, real_now: datetime) -> list[str]:
    """From here on nobody more is changed; returns whom it has changed and nobody has taken it back of."""
    db.execute(update(bulk_actions).where(A.id == key, A.undone_at.is_(None)).values(undone_at=real_now))
    return list(db.scalars(select(P.target_id).where(P.bulk_action_id == key).order_by(P.target_id)))


def note_undone(db: Connection, key: str, targets: Collection[str]) -> int:
    """Note of whom it is taken back, in the transaction that does; returns of how many nobody else had."""
    mine = bulk_params.in_ids(db.dialect.name, P.target_id, "targets", bulk_params.encode_ids(db, targets))
    return db.execute(delete(bulk_action_targets).where(P.bulk_action_id == key, mine)).rowcount


def forget(db: Connection, before: datetime) -> None:
    """Delete the records of what was done before then (real time)."""
    old = select(A.id).where(A.done_at < before)
    db.execute(delete(bulk_action_targets).where(P.bulk_action_id.in_(old)))
    db.execute(delete(bulk_actions).where(A.done_at < before))
