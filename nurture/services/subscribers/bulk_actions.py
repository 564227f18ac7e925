"""One thing done to many people: counted before, recorded while it is done, and taken back for exactly those it changed."""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from nurture import failpoints, log
from nurture.domain.timeline import NeverOpens
from nurture.errors import NurtureError
from nurture.ids import EnrollmentId, SubscriberId, UserId, new_id
from nurture.runtime import Runtime
from nurture.services.sequences import enrollments
from nurture.services.sequences.enrollments import ActRefused, AlsoInTransaction, TooLate
from nurture.store.subscribers import bulk_actions, listing
from nurture.store.subscribers.bulk_actions import ABOUT_TAGS, BulkAction, BulkActionRecord, Chosen

_log = log.get(__name__)

MOST_LETTERS = 2_000
"""Whose letters can be changed at once: each is a transaction of its own, and the page waits for the last of them."""
MOST_TAGS = 100_000
UNDO_WITHIN = timedelta(hours=1)
KEPT = timedelta(days=1)
_MOST_NAMED = 5


class BulkActionRefused(NurtureError):
    """Too many at once, or too late to undo. The message says what to do."""


@dataclass(frozen=True)
class BulkActionPreview:
    """How many an act would change, and why it cannot be done to all of them, if it cannot."""

    count: int
    refused: str


def preview(rt: Runtime, chosen: Chosen, act: BulkAction, tag: str, limit: int | None = None) -> BulkActionPreview:
    """Look before doing. `limit`: how many at once, MOST_TAGS or MOST_LETTERS unless told."""
    with rt.database.read() as db:
        count = bulk_actions.count(db, chosen, act, tag)
    return BulkActionPreview(count, _too_many(count, limit or _most(act)))


def _most(act: BulkAction) -> int:
    return MOST_TAGS if act in ABOUT_TAGS else MOST_LETTERS


def _too_many(count: int, limit: int) -> str:
    return f"This would change {count:,} people, and {limit:,} at once are the most. Please narrow the choice." * (
        count > limit
    )


def run(rt: Runtime, chosen: Chosen, act: BulkAction, tag: str, by: UserId, limit: int | None = None) -> str:
    """Do it to all whom it changes; returns the id of its record. Raises BulkActionRefused before anything is done.

    Whoever is changed is noted in the same transaction: should the process die, exactly those who were changed can be put back.
    """
    key, real_now, limit = new_id(), rt.clock.real_now(), limit or _most(act)
    with rt.database.begin() as db:
        targets = bulk_actions.targets(db, chosen, act, tag, limit + 1)
        if refused := _too_many(len(targets), limit):
            raise BulkActionRefused(refused)
        bulk_actions.forget(db, real_now - KEPT)
        bulk_actions.begin(db, key, act, tag, by, real_now)
        if act in ABOUT_TAGS:
            mark = listing.add_tag if act is BulkAction.TAG else listing.remove_tag
            bulk_actions.add(db, key, mark(db, [SubscriberId(each) for each in targets], tag))
    if act not in ABOUT_TAGS:
        for each in targets:
            with suppress(ActRefused, NeverOpens, _Late):  # somebody may have left since they were counted
                _change(rt, _DO[act], each, by, _noting(key, each))
    _log.info("bulk_action_done", kind=act.value, count=_read(rt, key).people)
    return key


_Change = Callable[[Runtime, EnrollmentId, UserId, AlsoInTransaction], enrollments.EnrollmentChange]

_DO: dict[BulkAction, _Change] = {
    BulkAction.PAUSE: enrollments.pause,
    BulkAction.RESUME: enrollments.resume,
    BulkAction.STOP: enrollments.stop,
}


def _undoing(act: BulkAction, since: datetime) -> _Change:
    """What takes an act about letters back that was done at `since` (real time)."""
    if act is BulkAction.RESUME:
        return partial(enrollments.pause, since=since)
    return enrollments.resume if act is BulkAction.PAUSE else enrollments.put_back


class _Late(BulkActionRefused):
    """Somebody else was faster: nothing more is done, or it is taken back already."""


def _noting(key: str, target: str) -> AlsoInTransaction:
    def note(db: Connection) -> None:
        if not bulk_actions.add(db, key, [target]):
            raise _Late("This is being undone.")
        failpoints.point("bulk_action.before_commit")

    return note


def _striking(key: str, target: str) -> AlsoInTransaction:
    def strike(db: Connection) -> None:
        if not bulk_actions.note_undone(db, key, [target]):
            raise _Late("This is taken back already.")
        failpoints.point("bulk_action.before_commit")

    return strike


def _change(rt: Runtime, change: _Change, enrollment: str, by: UserId, also: AlsoInTransaction) -> bool:
    """Whether it changed anything. Raises ActRefused, NeverOpens, _Late."""
    changed = change(rt, EnrollmentId(enrollment), by, also).changed
    failpoints.point("bulk_action.after_commit")
    return changed


def _read(rt: Runtime, key: str) -> BulkActionRecord:
    with rt.database.read() as db:
        found = bulk_actions.read(db, key)
    if found is None:
        raise BulkActionRefused("This was too long ago: what was done is remembered for a day.")
    return found


@dataclass(frozen=True)
class BulkActionResult:
    """What was done, and whether it can still be undone."""

    done: BulkActionRecord
    undoable: bool


def load_result(rt: Runtime, key: str) -> BulkActionResult:
    """What was done to many. Raises BulkActionRefused if nobody remembers."""
    return _told(rt, _read(rt, key))


def _told(rt: Runtime, done: BulkActionRecord) -> BulkActionResult:
    return BulkActionResult(done, done.left > 0 and rt.clock.real_now() - done.at < UNDO_WITHIN)


def latest(rt: Runtime) -> list[tuple[str, BulkActionResult]]:
    """What was done to many within the last hour and can still be undone, with its id, newest first."""
    with rt.database.read() as db:
        return [(key, _told(rt, done)) for key, done in bulk_actions.latest(db, rt.clock.real_now() - UNDO_WITHIN, _MOST_NAMED)]


@dataclass(frozen=True)
class Undone:
    """How many were put back, and for how many it was too late: a letter had left since."""

    back: int = 0
    late: int = 0


def undo(rt: Runtime, key: str, by: UserId) -> Undone:
    """Put back exactly those it changed, where nothing else has happened to them since.

    Whoever is put back is struck off in the same transaction: should the process die, a second undo goes on where this one
    stopped. Raises BulkActionRefused after an hour, or when it has been undone.
    """
    told = load_result(rt, key)
    act, tag = told.done.act, told.done.tag
    if not told.undoable:
        raise BulkActionRefused("This can no longer be undone: it was more than an hour ago, or has been undone already.")
    with rt.database.begin() as db:
        targets = bulk_actions.begin_undo(db, key, rt.clock.real_now())
        if not targets:
            raise BulkActionRefused("This has been undone already.")
        if act in ABOUT_TAGS:
            mark = listing.remove_tag if act is BulkAction.TAG else listing.add_tag
            undone = Undone(len(mark(db, [SubscriberId(each) for each in targets], tag)))
            bulk_actions.note_undone(db, key, targets)
    if act not in ABOUT_TAGS:
        undone = _put_back(rt, key, _undoing(act, told.done.at), targets, by)
        with rt.database.begin() as db:
            bulk_actions.note_undone(db, key, targets)  # whoever could not be put back stays as they are for good
    _log.info("bulk_action_undone", kind=act.value, count=undone.back)
    return undone


def _put_back(rt: Runtime, key: str, change: _Change, targets: Collection[str], by: UserId) -> Undone:
    back = late = 0
    for each in targets:
        try:
            back += _change(rt, change, each, by, _striking(key, each))
        except TooLate:
            late += 1
        except (ActRefused, NeverOpens, _Late):
            continue
    return Undone(back, late)
