"""The hot path: one office per process sends batches of claimed rows. Start at `Office._turn`: one turn, one commit.

    claimed rows → fill → [ settle what came back · mark what goes next ] → lanes → the provider → what came back
                            one transaction (T3, T2)                         one request each

Rows are marked `sending` only as far as lanes are free, and once more so that no lane waits for a commit: a crash leaves a
handful in doubt, never a whole batch. No transaction is open while the provider is spoken to.
"""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from nurture import crash, log
from nurture.delivery.late import space_out
from nurture.delivery.safety_checks import record_mark
from nurture.delivery.settle import Request, keep, settle
from nurture.delivery.tray import Batch, Tray, Window, open_batch
from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused
from nurture.runtime import Runtime
from nurture.store import claims, gates, ledger, live, marks, pace
from nurture.store.claims import Claimed
from nurture.store.database import process_name
from nurture.store.ledger import Offered
from nurture.words import BatchId, DeliveryId, RequestId, SubscriberId

_log = log.get(__name__)

SEND_WITHIN_SECONDS = 10.0
"""A request starts at most this long after its rows were marked; a process that slept in between lets go instead."""
REQUEST_SECONDS = 30.0
"""And is over, whatever happens, after this long."""
NOT_LIVE = "the set-up at the desk is not finished"
"""Why mail to readers was given back."""
_BATCHES_WAITING = 2
_MARKED_FOR_A_LANE = 2
_LINGER_SECONDS, _LONGEST_LINGER_SECONDS = 0.0001, 0.005
_RETRY_SECONDS = 1.0
_SWITCH_SECONDS = 0.0002
"""Two threads share the interpreter here; by default each waits up to 5 ms for the other whenever the database has answered."""


Done = tuple[Request, Outcome]


@dataclass
class _Written:
    """What a turn's commit allows: requests that may leave now; those that must wait; or that all has been given back."""

    leave: list[Request]
    wait: list[Request]
    given_back: bool = False


class Office:
    """Sends what it is handed, in a thread of its own, until closed."""

    def __init__(self, rt: Runtime) -> None:
        """`rt`: this process's parts, kept as they are now: what the desk sets later is for the next office.
        Lanes: NURTURE_SEND_CONCURRENCY.
        """
        self._rt = rt = replace(rt)
        self.version = rt.version
        """Of the desk's settings that this office works by."""
        self._may_write_to_readers = not rt.needs_live
        self._lanes = rt.settings.send_concurrency
        self._most = self._all = _MARKED_FOR_A_LANE * self._lanes  # marked at once; fewer while the provider is on trial
        self._linger = min(_LINGER_SECONDS * self._lanes, _LONGEST_LINGER_SECONDS)
        self._changed = threading.Condition()
        self._waiting: deque[BatchId] = deque()
        self._idle, self._closing = True, False
        self._error: BaseException | None = None
        self._tray = Tray(rt)
        self._reading: asyncio.Task[None] | None = None
        self._ready: asyncio.Queue[tuple[Request, float]] = asyncio.Queue()  # with the boot seconds before its mark
        self._done: list[Done] = []
        self._out = 0  # requests marked and not come back
        self._lost: dict[DeliveryId, RequestId] = {}  # their commit failed: marked perhaps, but they never left
        self._failed = False  # a commit failed: what is known must be written again, the rest given back
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
            self._idle = False
        self._poke()

    def finish(self) -> None:
        """Wait until everything handed over is settled or given back."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._error)
            self._raise()

    def close(self) -> None:
        """Finish what is in flight, give back the rest, and end."""
        self._closing = True
        self._poke()
        self._thread.join()

    def _poke(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # its loop has ended: by `close`, or by an error that whoever waits must hear of
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # The thread of the office.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        sys.setswitchinterval(min(_SWITCH_SECONDS, sys.getswitchinterval()))
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
                    if 0 < len(self._done) < self._lanes // 2 and not self._ready.empty():
                        await asyncio.sleep(self._linger)  # no lane is idle yet: one commit for several outcomes
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
        return not (self._tray.batches or self._done or self._out or self._failed or self._reading or self._waiting)

    @property
    def _room(self) -> int:
        if self._slots and self._loop.time() < self._slots[1]:
            return 0
        return max(0, min(self._lanes, self._most - self._out, *(self._slots or ())[:1]))

    @property
    def _turn_makes_sense(self) -> bool:
        if self._done or self._failed:
            return True
        if self._stopping:
            return not self._out and not self._reading and bool(self._tray.batches)
        return self._room > 0 and self._tray.has_any()

    def _report_idle(self) -> None:
        with self._changed:
            if self._nothing_left or self._loop.is_closed():
                self._idle = True
                self._changed.notify_all()

    def _prefetch(self) -> None:
        """Read the next batch while the one before is still going out."""
        if self._waiting and not self._reading and (self._tray.waiting() < 2 * self._all or self._stopping):
            with self._changed:
                batch = self._waiting.popleft()
                self._changed.notify_all()
            self._reading = asyncio.create_task(self._read(batch))

    async def _read(self, batch: BatchId) -> None:
        try:
            if self._stopping:  # it is given back as it is
                self._tray.add(Batch(batch, self._rt.clock.boot_seconds(), to_return=True))
            else:
                self._tray.add(await asyncio.to_thread(open_batch, self._rt, batch))
        except SQLAlchemyError as error:  # its lease runs out, and it is due again
            _log.error("database_failed", error=type(error).__name__, batch=batch)
        except BaseException as error:
            self._error = error
        self._reading = None
        self._wake.set()

    async def _lane(self) -> None:
        """One request after another."""
        while True:
            request, began = await self._ready.get()
            try:
                outcome = await self._post(request, began)
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

    async def _post(self, request: Request, began: float) -> Outcome:
        crash.point("post.before")
        if self._rt.clock.boot_seconds() - began > SEND_WITHIN_SECONDS:
            return Refused("too late after marking: this process was held up", wait=None, everyone=False)
        if self._refusal:
            return self._refusal  # this one would fare no better
        try:
            outcome = await self._rt.mailer.post(request.mails, REQUEST_SECONDS)
        except Exception as error:  # a mailer must not raise; that it did says nothing of where the mail is
            _log.error("mailer_raised", exc_info=error)
            return Ambiguous(f"the mailer failed ({type(error).__name__})")
        crash.point("post.after")
        return outcome

    async def _turn(self) -> None:
        """Settle what has come back, and mark what may go next: one commit. Then it goes."""
        window = Window() if self._stopping else self._tray.window(self._room)
        done, self._done = self._done, []
        began = self._rt.clock.boot_seconds()  # before the mark: a pause in its commit counts too
        batches = [*self._tray.batches.values()]
        writing = self._loop.run_in_executor(self._ledger, self._write, done, window, batches, began)
        self._tray.fill(0 if self._stopping else self._lanes)  # while the database works
        try:
            written = await writing
        except SQLAlchemyError as error:
            await self._database_failed(done, window, error)
            return
        self._end(done, window, {row.id for request in written.leave for row in request.rows}, written.wait)
        self._tray.put_back(written.wait)
        if written.given_back:
            self._tray.clear(batches)
        self._out += len(written.leave)
        for request in written.leave:
            self._ready.put_nowait((request, began))

    def _end(self, done: Iterable[Done], window: Window, going_on: set[DeliveryId], wait: list[Request]) -> None:
        """Count rows whose end is known: what came back, what no mail could be made of, what was turned away at T2."""
        for request, outcome in done:
            self._tray.end(request.batch, sum(row.id not in going_on for row in request.rows), type(outcome).__name__.lower())
        for batch, whys in window.unfit.items():
            self._tray.end(batch, len(whys), "unfit")
        for request in window.requests:
            if request not in wait:
                self._tray.end(request.batch, sum(row.id not in going_on for row in request.rows), "not_marked")

    def _write(self, done: list[Done], window: Window, batches: list[Batch], began: float) -> _Written:
        """The one transaction of a turn. What it lets go may leave once it has committed, and nothing else."""
        rt, by = self._rt, process_name()
        with rt.database.begin() as db:
            ledger.lock_readers(db, _people(window.requests) | _people(request for request, _ in done))
            transaction = gates.hold_open(db)
            trial = bool(gates.shut_gates(db))
            smaller = settle(rt, db, done, trial)  # T3
            crash.point("T3.before_commit")
            now, wall = rt.clock.now(), rt.clock.wall()
            if self._lost:
                ledger.refused(db, self._lost, now, by, wall, "never left: the database failed")
            for batch, whys in window.unfit.items():
                claims.unfit(db, batch, whys, by, wall)
            stopped = gates.stopped(gates.shut_gates(db), wall) if trial or _refused(done) else None
            too_early = self._is_too_early(db, window.requests)
            if stopped or too_early or self._failed or self._stopping:
                why = stopped.why if stopped else NOT_LIVE if too_early else "given back"
                for each in batches:
                    claims.release(db, each.id, by, wall, why)
                written = _Written(smaller, [], given_back=True)
            else:
                self._extend(db, batches, began)
                go, wait = self._allowed(db, window.requests, trial)
                written = _Written(smaller + self._mark(db, go), wait)  # T2
            number = marks.raise_number(db, transaction) if written.leave else None
            crash.point("T2.before_commit")
        if number is not None:
            record_mark(rt, number)
        if done:
            crash.point("T3.after_commit")
        if written.leave:
            crash.point("T2.after_commit")
        self._lost.clear()
        self._failed = False
        self._refusal = None
        if any(isinstance(outcome, Accepted) for _, outcome in done):
            self._most = min(self._all, 2 * self._most)
        return written

    def _is_too_early(self, db: Connection, requests: list[Request]) -> bool:
        """Whether some of these are for readers, and nobody at the desk has said yet that mail may leave. A claim leaves such
        rows alone; these were claimed when there was another mailer.
        """
        self._may_write_to_readers = self._may_write_to_readers or live.since(db) is not None
        return not self._may_write_to_readers and bool(_people(requests))

    def _mark(self, db: Connection, requests: list[Request]) -> list[Request]:
        """T2 of a window. What is turned away for coming too soon gets a new promise."""
        rt, by = self._rt, process_name()
        now, wall = rt.clock.now(), rt.clock.wall()
        kept: list[Request] = []
        for batch in {request.batch for request in requests}:
            mine = [request for request in requests if request.batch == batch]
            rows = {row.id: row for request in mine for row in request.rows}
            offered = {row.id: _offered(row, request.id, now) for request in mine for row in request.rows}
            marked = ledger.mark(db, batch, offered, rt.guards, by, now, wall)
            if len(marked) < len(offered):
                space_out(rt, db, batch, ledger.turned_away(db, batch, offered.keys() - marked, by, wall), rows)
            kept += [replace(whole, marked=now) for request in mine if (whole := keep(request, marked)) is not None]
        return kept

    def _allowed(self, db: Connection, requests: list[Request], trial: bool) -> tuple[list[Request], list[Request]]:
        """As many as may go now: one while the provider is on trial, and no more than the fleet's rate. The rest waits."""
        most, rate = len(requests), self._rt.settings.max_sends_per_second
        if trial:
            self._most = most = min(1, most)
        if rate is not None and most:
            if self._slots is None:
                most, wall = min(most, max(1, int(rate))), self._rt.clock.wall()
                wait = max(0.0, (pace.reserve(db, most, rate, wall) - wall).total_seconds())
                self._slots = (most, self._loop.time() + wait)
                self._loop.call_soon_threadsafe(self._loop.call_later, wait, self._wake.set)
            most, self._slots = (0, self._slots) if self._loop.time() < self._slots[1] else (most, None)
        return requests[:most], requests[most:]

    def _extend(self, db: Connection, batches: list[Batch], boot: float) -> None:
        """Renew leases before a third of them has passed: we are alive and still at it."""
        for batch in batches:
            if boot - batch.leased > self._rt.patience.lease.total_seconds() / 3:
                claims.extend(db, batch.id, self._rt.clock.wall() + self._rt.patience.lease)
                batch.leased = boot

    async def _database_failed(self, done: list[Done], window: Window, error: SQLAlchemyError) -> None:
        """Whether that commit took place nobody knows. Outcomes are written again, which changes nothing the second time; what
        it may have marked has not left, and is given back with everything else as soon as the database answers.
        """
        _log.error("database_failed", error=type(error).__name__, deliveries=len(done) + len(window.requests))
        self._tray.keep(window)
        self._end([], window, set(), [])
        self._done = done + self._done
        for request in window.requests:
            self._lost |= request.of
        self._failed = True
        await asyncio.sleep(_RETRY_SECONDS)


def _people(requests: Iterable[Request]) -> set[SubscriberId]:
    return {row.subscriber for request in requests for row in request.rows if row.subscriber}


def _offered(row: Claimed, request: RequestId, now: datetime) -> Offered:
    local = now.astimezone(ZoneInfo(row.time_zone or "UTC"))
    return Offered(row.kind, request, local.replace(hour=0, minute=0, second=0, microsecond=0))


def _refused(done: Iterable[Done]) -> bool:
    return any(isinstance(outcome, Refused) for _, outcome in done)


def send_batch(rt: Runtime, batch: BatchId) -> None:
    """Send what is claimed under one batch, to its end. Safe to call twice, anywhere: the rows and their fences decide."""
    office = Office(rt)
    try:
        office.carry(batch)
        office.finish()
    finally:
        office.close()
