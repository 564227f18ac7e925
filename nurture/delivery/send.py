"""The hot path: one office per process sends batches of claimed rows. Start at `Office._turn`: one turn, one commit.

    claimed rows → fill → [ settle what came back · mark what goes next ] → lanes → the provider → what came back
                            one transaction (T3, T2)                         one request each

Rows are marked `sending` only as far as lanes are free, plus a quarter so that no lane waits for a commit: a crash leaves a
handful in doubt, never a whole batch. No transaction is open while the provider is spoken to.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from nurture import crash, log
from nurture.delivery.fill import UNFIT, mail_of
from nurture.delivery.late import sort_out, space_out
from nurture.delivery.settle import Request, keep, settle
from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused
from nurture.runtime import Runtime
from nurture.store import gates, ledger, pace, sequences
from nurture.store.database import process_name
from nurture.store.ledger import Claimed
from nurture.store.sequences import StoredEdition
from nurture.words import BatchId, DeliveryId, EditionId, RequestId, SubscriberId, new_id

_log = log.get(__name__)

SEND_WITHIN_SECONDS = 10.0
"""A request starts at most this long after its rows were marked; a process that slept in between lets go instead."""
REQUEST_SECONDS = 30.0
"""And is over, whatever happens, after this long."""
_BATCHES_WAITING = 2
_LINGER_SECONDS, _LONGEST_LINGER_SECONDS = 0.0001, 0.005
_RETRY_SECONDS = 1.0


@dataclass
class _Batch:
    """What is left of one claim."""

    id: BatchId
    editions: dict[EditionId, StoredEdition]
    rows: deque[Claimed]
    out: int = 0
    """Requests marked and not settled."""
    outcomes: Counter[str] = field(default_factory=Counter)


@dataclass
class _Window:
    """What one turn may mark: requests, and rows of which no mail can be made, with the reason."""

    requests: list[Request] = field(default_factory=list)
    unfit: dict[BatchId, dict[DeliveryId, str]] = field(default_factory=dict)


class Office:
    """Sends what it is handed, in a thread of its own, until closed."""

    def __init__(self, rt: Runtime) -> None:
        """`rt`: this process's parts. Lanes: NURTURE_SEND_CONCURRENCY."""
        self._rt = rt
        self._lanes = rt.settings.send_concurrency
        self._most = self._all = self._lanes + self._lanes // 4  # marked at once; fewer while the provider is on trial
        self._linger = min(_LINGER_SECONDS * self._lanes, _LONGEST_LINGER_SECONDS)
        self._changed = threading.Condition()
        self._waiting: deque[BatchId] = deque()
        self._idle, self._closing = True, False
        self._error: BaseException | None = None
        self._leased: dict[BatchId, float] = {}  # boot seconds when a lease was last written
        self._batches: dict[BatchId, _Batch] = {}
        self._reading: asyncio.Task[None] | None = None
        self._ready: asyncio.Queue[Request] = asyncio.Queue()
        self._done: list[tuple[Request, Outcome]] = []
        self._out = 0  # requests marked and not come back
        self._lost: list[RequestId] = []  # their commit failed: marked perhaps, but they never left
        self._refusal: Refused | None = None  # of everything, and not settled yet
        self._slots: tuple[int, float] | None = None  # how many the fleet's rate lets go, and from when (loop time)
        self._wake = asyncio.Event()
        self._ledger = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="office", daemon=True)
        self._thread.start()

    # What other threads may call.

    def carry(self, batch: BatchId) -> None:
        """Take a claimed batch to send; waits while enough is waiting. The same one twice, or in two places, is harmless."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < _BATCHES_WAITING or self._error)
            self._raise()
            self._waiting.append(batch)
            self._leased[batch] = self._rt.clock.boot_seconds()
            self._idle = False
        self._loop.call_soon_threadsafe(self._wake.set)

    def finish(self) -> None:
        """Wait until everything handed over is settled or given back."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._error)
            self._raise()

    def close(self) -> None:
        """Finish what is in flight, give back the rest, and end."""
        self._closing = True
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._wake.set)
            self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # The thread of the office.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._work())
        except BaseException as error:  # whoever waits for us must hear of it
            with self._changed:
                self._error = error
                self._changed.notify_all()
        finally:
            self._report_idle()
            self._ledger.shutdown()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _work(self) -> None:
        self._loop.set_default_executor(ThreadPoolExecutor(self._lanes, thread_name_prefix="lane"))
        lanes = [asyncio.create_task(self._lane()) for _ in range(self._lanes)]
        try:
            while not (self._stopping and self._nothing_left):
                self._prefetch()
                if self._turn_makes_sense:
                    if self._out and 0 < len(self._done) < self._lanes // 2:
                        await asyncio.sleep(self._linger)  # one commit for several outcomes
                    await self._turn()
                else:
                    self._report_idle()
                    await self._wake.wait()
                self._wake.clear()
                self._raise()
        finally:
            for lane in lanes:
                lane.cancel()
            await self._rt.mailer.rest()

    @property
    def _stopping(self) -> bool:
        return self._closing or self._rt.stopping.is_set()

    @property
    def _nothing_left(self) -> bool:
        return not (self._batches or self._done or self._out or self._lost or self._reading or self._waiting)

    @property
    def _room(self) -> int:
        if self._slots and self._loop.time() < self._slots[1]:
            return 0
        return min(self._lanes, self._most - self._out, *(self._slots or ())[:1])

    @property
    def _turn_makes_sense(self) -> bool:
        if self._done or self._lost:
            return True
        if self._stopping:
            return not self._out and not self._reading and bool(self._batches)
        return self._room > 0 and any(batch.rows for batch in self._batches.values())

    def _report_idle(self) -> None:
        with self._changed:
            if self._nothing_left:
                self._idle = True
                self._changed.notify_all()

    def _prefetch(self) -> None:
        """Read the next batch while the one before is still going out."""
        rows = sum(len(batch.rows) for batch in self._batches.values())
        if self._waiting and not self._reading and (rows < 2 * self._all or self._stopping):
            with self._changed:
                batch = self._waiting.popleft()
                self._changed.notify_all()
            self._reading = asyncio.create_task(self._read(batch))

    async def _read(self, batch: BatchId) -> None:
        try:
            self._batches[batch] = await asyncio.to_thread(self._opened, batch)
        except BaseException as error:
            self._error = error
        self._reading = None
        self._put_away()
        self._wake.set()

    def _opened(self, batch: BatchId) -> _Batch:
        rt = self._rt
        if self._stopping:
            return _Batch(batch, {}, deque())
        with rt.database.read() as db:
            rows = ledger.read_batch(db, batch)
            editions = sequences.read_editions(db, {row.edition for row in rows if row.edition})
        return _Batch(batch, editions, deque(sort_out(rt, batch, rows)))

    async def _lane(self) -> None:
        """One request after another."""
        while True:
            request = await self._ready.get()
            try:
                outcome = await self._post(request)
            except BaseException as error:
                if not isinstance(error, asyncio.CancelledError):
                    self._error = error
                    self._wake.set()
                raise
            if isinstance(outcome, Refused) and outcome.everyone:
                self._refusal = outcome
            self._done.append((request, outcome))
            self._out -= 1
            self._wake.set()

    async def _post(self, request: Request) -> Outcome:
        if self._rt.clock.boot_seconds() - request.began > SEND_WITHIN_SECONDS:
            return Refused("too late after marking: this process was held up", wait=None, everyone=False)
        if self._refusal:
            return self._refusal  # this one would fare no better
        crash.point("post.before")
        try:
            outcome = await self._rt.mailer.post(request.mails, REQUEST_SECONDS)
        except Exception as error:  # a mailer must not raise; that it did says nothing of where the mail is
            _log.error("mailer_raised", exc_info=error)
            return Ambiguous(f"the mailer failed ({type(error).__name__})")
        crash.point("post.after")
        return outcome

    async def _turn(self) -> None:
        """Settle what has come back, and mark what may go next: one commit. Then it goes."""
        window = _Window() if self._stopping else self._fill()
        done, self._done = self._done, []
        began = self._rt.clock.boot_seconds()  # before the mark: a pause in its commit counts too
        try:
            marked = await self._loop.run_in_executor(self._ledger, self._write, done, window, began)
        except SQLAlchemyError as error:
            await self._database_failed(done, window, error)
            return
        for request, outcome in done:
            batch = self._batches[request.batch]
            batch.out -= 1
            batch.outcomes[type(outcome).__name__.lower()] += len(request.rows)
        for request in marked:
            self._batches[request.batch].out += 1
            self._out += 1
            self._ready.put_nowait(request)
        self._put_away()

    def _write(self, done: list[tuple[Request, Outcome]], window: _Window, began: float) -> list[Request]:
        """The one transaction of a turn. Only the requests returned may leave, once it has committed."""
        rt, by = self._rt, process_name()
        with rt.database.begin() as db:
            ledger.lock_readers(db, _people(window.requests) | _people(request for request, _ in done))
            gates.hold_open(db)
            trial = bool(gates.shut_gates(db))
            smaller = settle(rt, db, done, began, trial)  # T3
            crash.point("T3.before_commit")
            now, wall = rt.clock.now(), rt.clock.wall()
            if self._lost:
                ledger.refused(db, self._lost, now, by, wall, "never left: the database failed")
            for batch, whys in window.unfit.items():
                ledger.unfit(db, batch, whys, by, wall)
            stopped = gates.stopped(gates.shut_gates(db), wall) if trial or _refused(done) else None
            if stopped or self._lost or self._stopping:
                self._give_back(db, stopped.why if stopped else "given back")
                marked = []
            else:
                self._extend(db, began)
                marked = self._mark(db, self._allowed(db, window.requests, trial), began)  # T2
            crash.point("T2.before_commit")
        crash.point("T2.after_commit" if marked else "T3.after_commit")
        self._lost.clear()
        self._refusal = None
        self._most = min(self._all, 2 * self._most) if any(isinstance(o, Accepted) for _, o in done) else self._most
        return [*smaller, *marked]

    def _mark(self, db: Connection, requests: list[Request], began: float) -> list[Request]:
        """T2 of a window. What is turned away for coming too soon gets a new promise."""
        rt, by = self._rt, process_name()
        now, wall = rt.clock.now(), rt.clock.wall()
        kept: list[Request] = []
        for batch in {request.batch for request in requests}:
            mine = [request for request in requests if request.batch == batch]
            rows = {row.id: row for request in mine for row in request.rows}
            offered = {row.id: request.id for request in mine for row in request.rows}
            zones = {row.time_zone for row in rows.values() if row.time_zone}
            marked = ledger.mark(db, batch, offered, zones, rt.guards, by, now, wall, wall + rt.patience.lease)
            if len(marked) < len(offered):
                space_out(rt, db, batch, ledger.turned_away(db, batch, offered.keys() - marked, by, wall), rows)
            kept += [whole for request in mine if (whole := keep(request, marked)) is not None]
        return kept

    def _allowed(self, db: Connection, requests: list[Request], trial: bool) -> list[Request]:
        """As many as may go now: one while the provider is on trial, and no more than the fleet's rate. The rest goes back."""
        most = len(requests)
        if trial:
            self._most = most = min(1, most)
        rate = self._rt.settings.max_sends_per_second
        if rate is not None and most:
            if self._slots is None:
                most = min(most, max(1, int(rate)))
                wall = self._rt.clock.wall()
                wait = (pace.reserve(db, most, rate, wall) - wall).total_seconds()
                self._slots = (most, self._loop.time() + wait)
                self._loop.call_soon_threadsafe(self._loop.call_later, wait, self._wake.set)
            most, self._slots = (0, self._slots) if self._loop.time() < self._slots[1] else (most, None)
        for request in reversed(requests[most:]):
            self._batches[request.batch].rows.extendleft(reversed(request.rows))
        return requests[:most]

    def _give_back(self, db: Connection, why: str) -> None:
        for batch in self._batches.values():
            batch.rows.clear()
            ledger.release(db, batch.id, process_name(), self._rt.clock.wall(), why)

    def _extend(self, db: Connection, boot: float) -> None:
        """Renew leases before a third of them has passed: we are alive and still at it."""
        third = self._rt.patience.lease.total_seconds() / 3
        for batch, leased in list(self._leased.items()):
            if boot - leased > third:
                ledger.extend(db, batch, self._rt.clock.wall() + self._rt.patience.lease)
                self._leased[batch] = boot

    async def _database_failed(self, done: list[tuple[Request, Outcome]], window: _Window, error: SQLAlchemyError) -> None:
        """Whether that commit took place nobody knows. Outcomes are written again, which changes nothing the second time; what
        it may have marked has not left, and is given back as soon as the database answers.
        """
        _log.error("database_failed", error=type(error).__name__, deliveries=len(done) + len(window.requests))
        self._done = done + self._done
        self._lost += [request.id for request in window.requests] or [RequestId(new_id())]
        await asyncio.sleep(_RETRY_SECONDS)

    def _fill(self) -> _Window:
        """Finished mails for as many rows as there is room for, outside any transaction; at most one a person."""
        window, people, room = _Window(), set[SubscriberId](), self._room
        for batch in self._batches.values():
            later: list[Claimed] = []
            while batch.rows and room > 0:
                row = batch.rows.popleft()
                if row.subscriber in people:
                    later.append(row)
                    continue
                if row.subscriber:
                    people.add(row.subscriber)
                request = RequestId(new_id())
                try:
                    mail = mail_of(self._rt, row, batch.editions, request)
                except UNFIT as error:
                    window.unfit.setdefault(batch.id, {})[row.id] = str(error)
                    _log.error("delivery_cannot_be_rendered", delivery=row.id, kind=row.kind.value, error=type(error).__name__)
                else:
                    window.requests.append(Request(request, batch.id, (row,), (mail,), self._rt.clock.boot_seconds()))
                    room -= 1
                crash.point("render")
            batch.rows.extendleft(reversed(later))
        return window

    def _put_away(self) -> None:
        for batch in [batch for batch in self._batches.values() if not batch.rows and not batch.out]:
            del self._batches[batch.id], self._leased[batch.id]
            _log.info("batch_sent", batch=batch.id, sent=batch.outcomes["accepted"], outcome=dict(batch.outcomes))


def _people(requests: Iterable[Request]) -> set[SubscriberId]:
    return {row.subscriber for request in requests for row in request.rows if row.subscriber}


def _refused(done: Iterable[tuple[Request, Outcome]]) -> bool:
    return any(isinstance(outcome, Refused) for _, outcome in done)


def send_batch(rt: Runtime, batch: BatchId) -> None:
    """Send what is claimed under one batch, to its end. Safe to call twice, anywhere: the rows and their fences decide."""
    office = Office(rt)
    try:
        office.carry(batch)
        office.finish()
    finally:
        office.close()
