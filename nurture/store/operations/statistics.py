"""Counts for the numbers page, always of the rows themselves: whatever happens late, or is deleted, they are right.

Each walks one covering index, however long the ledger is. Reads only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Interval,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
)

from nurture.domain.delivery import State
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.ids import SequenceId, StepKey
from nurture.store.core.columns import MICROSECOND, Instant
from nurture.store.core.schema import consents, deliveries, enrollments, subscribers
from nurture.store.deliveries.transitions import is_in

C, D, E, S = consents.c, deliveries.c, enrollments.c, subscribers.c

_FROM, _UNTIL = bindparam("since", type_=Instant), bindparam("until", type_=Instant)
_GIVEN = select(func.count()).where(C.act == bindparam("act"), C.at >= _FROM, C.at < _UNTIL)
_SENT = select(func.count()).where(D.accepted_at.is_not(None), D.accepted_at >= _FROM, D.accepted_at < _UNTIL)

Span = tuple[datetime, datetime]


def first_day(db: Connection) -> datetime | None:
    """When the first of all asked for letters (UTC)."""
    found: datetime | None = db.scalar(select(func.min(C.at)).where(C.act == "given"))
    return found


def said(db: Connection, act: str, spans: Sequence[Span]) -> list[int]:
    """How often people did that (`given`: asked, `confirmed`) in each span of time."""
    return [db.execute(_GIVEN, {"act": act, "since": since, "until": until}).scalar_one() for since, until in spans]


def sent(db: Connection, span: Span) -> int:
    """How many mails left in a span of time."""
    return db.execute(_SENT, {"since": span[0], "until": span[1]}).scalar_one()


def returned(db: Connection, span: Span) -> dict[State, int]:
    """How many mails of a span of time came back, by how. Whose recipient was refused at once had been due then."""
    then = func.coalesce(D.accepted_at, D.due_at)
    mine = (_came_back(), then >= span[0], then < span[1])
    return {row[0]: row[1] for row in db.execute(select(D.state, func.count()).where(*mine).group_by(D.state)).all()}


def _came_back() -> ColumnElement[bool]:
    return is_in(State.BOUNCED, State.DROPPED, State.COMPLAINED)


def sources(db: Connection, span: Span) -> list[tuple[str, int]]:
    """By which pages and lists people came, the most frequent first."""
    # not in WHERE: the walk through all, source by source, needs no sorting, and is the quicker the longer the span
    then = case((and_(C.at >= span[0], C.at < span[1]), 1))
    query = select(C.source, func.count(then)).where(C.act == "given").group_by(C.source)
    found = [(row[0], row[1]) for row in db.execute(query).all() if row[1]]
    return sorted(found, key=lambda row: (-row[1], row[0]))


@dataclass(frozen=True)
class FunnelCount:
    """How many of those who began in a span of time stand at the same place."""

    sequence: SequenceId
    last_step: StepKey | None
    state: EnrollmentState
    why: str | None
    count: int


def funnel_counts(db: Connection, span: Span) -> list[FunnelCount]:
    """Where those are who began a sequence in a span of time."""
    columns = (E.sequence_id, E.last_step, E.state, E.reason)
    mine = (E.started_at >= span[0], E.started_at < span[1])
    return [FunnelCount(*row) for row in db.execute(select(*columns, func.count()).where(*mine).group_by(*columns)).all()]


def undelivered(db: Connection, span: Span) -> dict[tuple[SequenceId, StepKey], int]:
    """How many letters to those who began in a span of time came back, by letter.

    The few that came back are walked, and each one's reader looked up: never the other way round, hence the outer join.
    """
    began = and_(E.id == D.enrollment_id, E.started_at >= span[0], E.started_at < span[1])
    mine = (_came_back(), D.state != State.COMPLAINED, D.accepted_at >= span[0], D.step_key.is_not(None))
    query = select(E.sequence_id, D.step_key, func.count()).select_from(deliveries).outerjoin(enrollments, began).where(*mine)
    rows = db.execute(query.group_by(E.sequence_id, D.step_key)).all()
    return {(row[0], row[1]): row[2] for row in rows if row[0] is not None}


def stays(db: Connection, span: Span, edges: Sequence[timedelta]) -> list[int]:
    """How many left in a span of time within each of `edges` after they confirmed, and, last, later than all of them."""
    sqlite = db.dialect.name == "sqlite"
    stayed: ColumnElement[Any] = literal_column("left_at - confirmed_at", BigInteger() if sqlite else Interval())
    limits = [edge // MICROSECOND if sqlite else edge for edge in edges]
    place = case(*((stayed < limit, number) for number, limit in enumerate(limits)), else_=len(limits))
    # the state as the index has it: SQLite uses a partial index only for its very words
    gone = text(f"state = '{SubscriberState.UNSUBSCRIBED}'")
    mine = (gone, S.left_at >= span[0], S.left_at < span[1], S.confirmed_at.is_not(None))
    grouped = select(place.label("place"), func.count()).select_from(subscribers).where(*mine).group_by(text("place"))
    found = {int(row[0]): int(row[1]) for row in db.execute(grouped).all()}
    return [found.get(number, 0) for number in range(len(edges) + 1)]
