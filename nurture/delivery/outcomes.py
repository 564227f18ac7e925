"""SETTLE: what came back from the provider, written down. Every write names the request: a fenced-off owner changes nothing."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import plan_after
from nurture.delivery.suppress import suppress
from nurture.domain.delivery import Accepted, Ambiguous, Concern, Outcome, Refused, Rejected, State, backoff
from nurture.domain.subscriber import Suppression
from nurture.domain.timeline import ON_TIME
from nurture.ids import BatchId, DeliveryId, RequestId, SubscriberId, new_id
from nurture.mailers.base import PreparedMail
from nurture.runtime import Runtime
from nurture.store.core.database import process_name
from nurture.store.deliveries import ledger, send_blocks
from nurture.store.deliveries.claims import Claimed
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.deliveries.transitions import Settled
from nurture.store.sequences import schedules
from nurture.store.subscribers import subscribers

_log = log.get(__name__)


@dataclass(frozen=True)
class SendRequest:
    """One request: the unit of doubt. What is true of one of its mails is true of all."""

    id: RequestId
    batch: BatchId
    rows: tuple[Claimed, ...]
    mails: tuple[PreparedMail, ...]
    marked: datetime | None = None
    """When MARK let it go, on the timeline."""

    @property
    def of(self) -> dict[DeliveryId, RequestId]:
        """Its rows, each with its id."""
        return {row.id: self.id for row in self.rows}

    @property
    def ids(self) -> tuple[DeliveryId, ...]:
        """The deliveries in it."""
        return tuple(row.id for row in self.rows)


def doubt_state(rt: Runtime) -> State:
    """Where a mail in doubt waits: for evidence where the mailer can give it, else for a person."""
    return State.UNKNOWN if rt.mailer.gives_evidence else State.HELD


def apply_outcome(
    rt: Runtime, db: Connection, done: Iterable[tuple[SendRequest, Outcome]], half_open: bool
) -> list[SendRequest]:
    """Write down what requests came to. Returns the smaller requests that one refused as a whole goes on in.

    `half_open`: what is accepted here ends a block of the provider that was half-open.
    """
    now, real_now, by = rt.clock.now(), rt.clock.real_now(), process_name()
    done = [*done]
    if any(_bounced(request, outcome) for request, outcome in done):
        schedules.lock_shared(db)  # before any row is locked: whoever changes a schedule locks what is scheduled
    taken: dict[DeliveryId, tuple[RequestId, str | None]] = {}
    settled: dict[DeliveryId, Settled] = {}
    smaller: list[SendRequest] = []
    for request, outcome in done:
        match outcome:
            case Accepted(message):
                taken |= {row.id: (request.id, message) for row in request.rows}
                settled |= {row.id: _settled(row, request.marked) for row in request.rows}
                continue
            case Refused(why, wait):
                wait = wait or backoff(request.rows[0].attempt, random.random())  # noqa: S311 - jitter, not a secret
                ledger.refused(db, request.of, now + rt.clock.stretch(wait), by, real_now, why)
                if (
                    outcome.everyone
                    and send_blocks.block(db, BlockKind.PROVIDER, why, by, real_now, real_now + wait)
                    and outcome.alarm
                ):
                    _log.error("sending_stopped", reason=why, seconds=wait.total_seconds())
            case Rejected() if len(request.rows) > 1:
                smaller += _halves(rt, db, request)
            case Rejected(why) if (reader := _bounced(request, outcome)) is not None:
                ledger.failed(db, request.of, by, real_now, why, State.BOUNCED)
                person = subscribers.get(db, reader)
                if person is not None:
                    suppress(rt, db, person, Suppression.BOUNCED)
            case Rejected(why):
                ledger.failed(db, request.of, by, real_now, why)
            case Ambiguous(why):
                ledger.in_doubt(db, request.of, doubt_state(rt), by, real_now, why)
        _log.warning(
            "request_not_accepted",
            request=request.id,
            outcome=type(outcome).__name__.lower(),
            reason=outcome.why,
            deliveries=len(request.rows),
        )
    if taken:
        moved = ledger.accepted(db, taken, by, now, real_now)
        plan_after(db, (settled[row] for row in moved), now, real_now, rt.clock.stretch(ON_TIME))
        if half_open:
            send_blocks.unblock(db, BlockKind.PROVIDER)
    return smaller


def _bounced(request: SendRequest, outcome: Outcome) -> SubscriberId | None:
    """The reader whose address takes no mail, as a rejection of their one mail says. A notice is to no reader: it fails."""
    if isinstance(outcome, Rejected) and outcome.concerns is Concern.RECIPIENT and len(request.rows) == 1:
        return request.rows[0].subscriber
    return None


def _settled(row: Claimed, marked: datetime | None) -> Settled:
    return Settled(row.id, row.enrollment, row.sequence, row.step, row.time_zone, row.planned, marked)


def _halves(rt: Runtime, db: Connection, request: SendRequest) -> list[SendRequest]:
    """A request refused as a whole goes on in two: one bad address among n is found in 2·log2(n) more requests."""
    middle = len(request.rows) // 2
    halves = []
    for part in (slice(None, middle), slice(middle, None)):
        fresh = RequestId(new_id())
        mails = tuple(rt.mailer.prepare(replace(each.mail, request=fresh)) for each in request.mails[part])
        halves.append(SendRequest(fresh, request.batch, request.rows[part], mails, request.marked))
    real_now = rt.clock.real_now()
    ids = {row.id: half.id for half in halves for row in half.rows}
    moved = ledger.split(db, request.id, ids, process_name(), real_now, real_now + rt.timeouts.lease)
    return [kept for half in halves if (kept := restore_request(half, moved)) is not None]


def restore_request(request: SendRequest, marked: set[DeliveryId]) -> SendRequest | None:
    """The request with only those rows that were marked for it; None if none was."""
    if all(row.id in marked for row in request.rows):
        return request
    kept = [(row, mail) for row, mail in zip(request.rows, request.mails, strict=True) if row.id in marked]
    if not kept:
        return None
    return replace(request, rows=tuple(row for row, _ in kept), mails=tuple(mail for _, mail in kept))
