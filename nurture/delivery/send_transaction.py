"""The one transaction of a cycle of sending: settle what came back, and mark what may go next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import failpoints, log
from nurture.delivery.lateness import space_out
from nurture.delivery.outcomes import SendRequest, apply_outcome, restore_request
from nurture.delivery.safety_checks import record_mark
from nurture.delivery.send_buffer import Batch, SendWindow
from nurture.domain.circuit_breaker import RUN_WAIT
from nurture.domain.delivery import Outcome, Refused
from nurture.domain.send_cycle import Decision, SendCycle, Situation
from nurture.ids import DeliveryId, RequestId, SubscriberId
from nurture.runtime import Runtime
from nurture.store.core.database import process_name
from nurture.store.deliveries import claims, ledger, marks, rate_limit, send_blocks
from nurture.store.deliveries.claims import Claimed
from nurture.store.deliveries.ledger import Offered
from nurture.store.deliveries.send_blocks import ActiveBlock, BlockKind
from nurture.store.state import launch

_log = log.get(__name__)

NOT_LIVE = "the set-up at the desk is not finished"
"""Why mail to readers was given back."""

Answer = tuple[SendRequest, Outcome]


@dataclass(frozen=True)
class Begun:
    """What a cycle begins with."""

    cycle: SendCycle
    answers: list[Answer]
    """Not settled yet."""
    window: SendWindow
    batches: list[Batch]
    """All that this sender holds."""
    under_way: int
    """Requests marked and not answered."""
    now: float
    """Monotonic seconds of the sender's loop."""
    began: float
    """Boot seconds before the mark: a pause in its commit counts too."""
    lost: dict[DeliveryId, RequestId]
    """Marked by a commit that failed, perhaps; they never left."""
    may_write_to_readers: bool
    stopping: bool


@dataclass(frozen=True)
class Committed:
    """What a cycle's commit allows."""

    cycle: SendCycle
    decision: Decision
    half_open: bool
    may_write_to_readers: bool
    leave: list[SendRequest]
    """Requests that may leave now."""
    wait: list[SendRequest]
    """Requests that were not marked."""


def commit(rt: Runtime, begun: Begun) -> Committed:
    """Run the transaction. What it lets go may leave once it has committed, and nothing else. Raises SQLAlchemyError."""
    by, window = process_name(), begun.window
    with rt.database.begin() as db:
        ledger.lock_readers(db, _people(window.requests) | _people(request for request, _ in begun.answers))
        transaction = send_blocks.lock_unblocked(db)
        now, real_now = rt.clock.now(), rt.clock.real_now()
        blocks = send_blocks.active_blocks(db)
        half_open = _half_open(blocks, real_now)
        cycle, answers = begun.cycle.judge(begun.answers, half_open.why if half_open else None)
        refused = any(isinstance(outcome, Refused) and outcome.everyone for _, outcome in answers)
        smaller = apply_outcome(rt, db, answers, half_open is not None and not refused)  # SETTLE
        failpoints.point("settle.before_commit")
        if begun.lost:
            ledger.refused(db, begun.lost, now, by, real_now, "never left: the database failed")
        for batch, whys in window.unfit.items():
            claims.unfit(db, batch, whys, by, real_now)
        if window.sender_fault is not None and send_blocks.block(
            db, BlockKind.PROVIDER, window.sender_fault, by, real_now, real_now + RUN_WAIT
        ):
            _log.error("sending_stopped", reason=window.sender_fault, seconds=RUN_WAIT.total_seconds())
        if half_open or refused or window.sender_fault is not None:
            blocks = send_blocks.active_blocks(db)
            half_open = _half_open(blocks, real_now)
        may_write = begun.may_write_to_readers or launch.since(db) is not None
        found = Situation(
            len(window.requests),
            begun.under_way,
            begun.now,
            _blocked(blocks, real_now, may_write, window.requests),
            half_open is not None,
            begun.stopping,
        )
        cycle, decision = _decide(rt, db, cycle, found, real_now)
        if decision.release is None:
            _extend(rt, db, begun.batches, begun.began)
        for each in begun.batches if decision.release is not None else ():
            claims.release(db, each.id, by, real_now, decision.release or "")
        leave = smaller + _mark(rt, db, window.requests[: decision.mark])  # MARK
        number = marks.raise_number(db, transaction) if leave else None
        failpoints.point("mark.before_commit")
    if number is not None:
        record_mark(rt, number)
    if begun.answers:
        failpoints.point("settle.after_commit")
    if leave:
        failpoints.point("mark.after_commit")
    if decision.probe:
        _log.info("provider_probed", deliveries=decision.mark)
    wait = window.requests[decision.mark :] if decision.release is None else []
    return Committed(cycle, decision, half_open is not None, may_write, leave, wait)


def _half_open(blocks: Sequence[ActiveBlock], real_now: datetime) -> ActiveBlock | None:
    """The provider's block, if its wait is over and nobody has been accepted since."""
    return next((block for block in blocks if block.kind is BlockKind.PROVIDER and not block.stops(real_now)), None)


def _blocked(blocks: Sequence[ActiveBlock], real_now: datetime, may_write: bool, requests: list[SendRequest]) -> str | None:
    """Why nothing may be sent. Also when some of the requests are for readers, and nobody at the desk has said yet that mail
    may leave: a claim leaves such rows alone, but these were claimed when there was another mailer.
    """
    stopped = send_blocks.stopped(blocks, real_now)
    return stopped.why if stopped else NOT_LIVE if not may_write and _people(requests) else None


def _decide(rt: Runtime, db: Connection, cycle: SendCycle, found: Situation, real_now: datetime) -> tuple[SendCycle, Decision]:
    """The cycle's decision, with slots of the fleet's rate reserved where it wants some."""
    decision, rate = cycle.decide(found), rt.settings.max_sends_per_second
    if decision.reserve and rate is not None:
        begin = rate_limit.reserve(db, decision.reserve, rate, real_now)
        cycle = cycle.reserved(decision.reserve, found.now + max(0.0, (begin - real_now).total_seconds()))
        decision = cycle.decide(found)
    return cycle, decision


def _mark(rt: Runtime, db: Connection, requests: list[SendRequest]) -> list[SendRequest]:
    """MARK of a window. What is turned away for coming too soon gets a new promise."""
    by, now, real_now = process_name(), rt.clock.now(), rt.clock.real_now()
    kept: list[SendRequest] = []
    for batch in {request.batch for request in requests}:
        mine = [request for request in requests if request.batch == batch]
        rows = {row.id: row for request in mine for row in request.rows}
        offered = {row.id: _offered(row, request.id, now) for request in mine for row in request.rows}
        marked = ledger.mark(db, batch, offered, rt.frequency_caps, by, now, real_now)
        if len(marked) < len(offered):
            space_out(rt, db, batch, ledger.cancel_ineligible(db, batch, offered.keys() - marked, by, real_now), rows)
        kept += [replace(whole, marked=now) for request in mine if (whole := restore_request(request, marked)) is not None]
    return kept


def _extend(rt: Runtime, db: Connection, batches: list[Batch], boot: float) -> None:
    """Renew leases before a third of them has passed: we are alive and still at it."""
    for batch in batches:
        if boot - batch.leased > rt.timeouts.lease.total_seconds() / 3:
            claims.extend(db, batch.id, rt.clock.real_now() + rt.timeouts.lease)
            batch.leased = boot


def _people(requests: Iterable[SendRequest]) -> set[SubscriberId]:
    return {row.subscriber for request in requests for row in request.rows if row.subscriber}


def _offered(row: Claimed, request: RequestId, now: datetime) -> Offered:
    local = now.astimezone(ZoneInfo(row.time_zone or "UTC"))
    return Offered(row.kind, request, local.replace(hour=0, minute=0, second=0, microsecond=0))
