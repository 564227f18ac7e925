"""The hot path: one sender per process sends batches of claimed rows. Start at `Sender._run_cycle`: one cycle, one commit.

    claimed rows → build mails → [ settle what came back · mark what goes next ] → workers → the provider → what came back
                                   one transaction (SETTLE, MARK)                   one request each

What a cycle decides is in domain.send_cycle, as values, and its transaction in delivery.send_transaction; here are the thread
and the queue. Rows are marked `sending` only as far as workers are free, and once more so that no worker waits for a commit: a
crash leaves a handful in doubt, never a whole batch. No transaction is open while the provider is spoken to.
"""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from nurture import failpoints, log
from nurture.characters import storable
from nurture.delivery.outcomes import SendRequest
from nurture.delivery.send_buffer import Batch, SendBuffer, SendWindow, load_batch
from nurture.delivery.send_transaction import Answer, Begun, commit
from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused
from nurture.domain.send_cycle import SendCycle
from nurture.ids import BatchId, DeliveryId, RequestId
from nurture.runtime import Runtime

_log = log.get(__name__)

SEND_WITHIN_SECONDS = 10.0
"""A request starts at most this long after its rows were marked; a process that slept in between lets go instead."""
REQUEST_SECONDS = 30.0
"""And is over, whatever happens, after this long."""
GIVE_UP_SECONDS = 30.0
"""A sender that is to stop goes on trying for so long to reach a database that fails."""
_BATCHES_WAITING = 2
_LINGER_SECONDS, _LONGEST_LINGER_SECONDS = 0.0001, 0.005
_RETRY_SECONDS = 1.0
_TIMER_SECONDS = 0.001
"""A timer of the loop may ring this much early."""
_LOOK_SECONDS = 0.2
"""How often whoever waits for a sender looks whether the process has been asked to stop."""
_SWITCH_SECONDS = 0.0002
"""Two threads share the interpreter here; by default each waits up to 5 ms for the other whenever the database has answered."""


class Sender:
    """Sends what is submitted to it, in a thread of its own, until closed."""

    def __init__(self, rt: Runtime) -> None:
        """`rt`: this process's parts, kept as they are now: what the desk sets later is for the next sender.
        Workers: NURTURE_SEND_CONCURRENCY.
        """
        self._rt = rt = replace(rt)
        self.version = rt.version
        """Of the desk's settings that this sender works by."""
        self._may_write_to_readers = not rt.requires_launch
        self._workers = rt.settings.send_concurrency
        self._cycle = SendCycle.begin(self._workers, rt.settings.max_sends_per_second)
        self._linger = min(_LINGER_SECONDS * self._workers, _LONGEST_LINGER_SECONDS)
        self._changed = threading.Condition()
        self._waiting: deque[BatchId] = deque()
        self._idle, self._closing = True, False
        self._error: BaseException | None = None
        self._buffer = SendBuffer(rt)
        self._loading: asyncio.Task[None] | None = None
        self._ready: asyncio.Queue[tuple[SendRequest, float]] = asyncio.Queue()  # with the boot seconds before its mark
        self._answers: list[Answer] = []
        self._under_way = 0  # requests marked and not answered
        self._lost: dict[DeliveryId, RequestId] = {}  # their commit failed: marked perhaps, but they never left
        self._failing_since: float | None = None  # loop time of the first commit that failed while this was to stop
        self._awake = asyncio.Event()
        self._ledger = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    # What other threads may call.

    def submit(self, batch: BatchId) -> None:
        """Take a claimed batch to send; waits while enough is waiting. The same one twice, or in two places, is harmless.

        In a process that is to stop it is taken at once, and given back. Raises what the sender died of.
        """
        with self._changed:
            self._wait_until(lambda: len(self._waiting) < _BATCHES_WAITING or self._stopping)
            self._waiting.append(batch)
            self._idle = False
        self._wake()

    def finish(self) -> None:
        """Wait until everything submitted is settled or given back. Raises what the sender died of."""
        with self._changed:
            self._wait_until(lambda: self._idle)

    def close(self) -> None:
        """Finish what is under way, give back the rest, and end."""
        self._closing = True
        self._wake()
        self._thread.join()

    def _wait_until(self, true: Callable[[], bool]) -> None:
        """`stopping` is set by others, who know of no sender: whoever waits here sees it, and wakes the sender for it."""
        while not self._changed.wait_for(lambda: true() or self._error, _LOOK_SECONDS):
            if self._stopping:
                self._wake()
        self._raise()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._awake.set)
        except RuntimeError:  # its loop has ended: by `close`, or by an error that whoever waits must hear of
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # The thread of the sender.

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
            self._ledger.shutdown()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            self._report_idle()

    async def _work(self) -> None:
        self._loop.set_default_executor(ThreadPoolExecutor(self._workers, thread_name_prefix="send"))
        workers = [asyncio.create_task(self._work_off()) for _ in range(self._workers)]
        try:
            while not (self._closing and self._nothing_left) and not self._must_give_up:
                self._prefetch()
                if self._cycle_makes_sense:
                    if 0 < len(self._answers) < self._workers // 2 and not self._ready.empty():
                        await asyncio.sleep(self._linger)  # no worker is idle yet: one commit for several answers
                    await self._run_cycle()
                else:
                    self._report_idle()
                    await self._awake.wait()
                self._awake.clear()
                self._raise()
        finally:
            for worker in workers:
                worker.cancel()
            await self._rt.mailer.aclose()

    @property
    def _stopping(self) -> bool:
        return self._closing or self._rt.stopping.is_set()

    @property
    def _nothing_left(self) -> bool:
        return not (
            self._buffer.batches
            or self._answers
            or self._under_way
            or self._cycle.must_release
            or self._loading
            or self._waiting
        )

    @property
    def _must_give_up(self) -> bool:
        return self._failing_since is not None and self._loop.time() > self._failing_since + GIVE_UP_SECONDS

    @property
    def _cycle_makes_sense(self) -> bool:
        if self._answers or self._cycle.must_release:
            return True
        if self._stopping:
            return not self._under_way and not self._loading and bool(self._buffer.batches)
        return self._buffer.has_any() and self._cycle.room(self._under_way, self._loop.time()) > 0

    def _report_idle(self) -> None:
        with self._changed:
            if self._nothing_left or self._loop.is_closed():
                self._idle = True
                self._changed.notify_all()

    def _prefetch(self) -> None:
        """Load the next batch while the one before is still going out."""
        wanted = 2 * self._cycle.breaker.full
        if self._waiting and not self._loading and (self._buffer.waiting() < wanted or self._stopping):
            with self._changed:
                batch = self._waiting.popleft()
                self._changed.notify_all()
            self._loading = asyncio.create_task(self._load(batch))

    async def _load(self, batch: BatchId) -> None:
        try:
            if self._stopping:  # it is given back as it is
                self._buffer.add(Batch(batch, self._rt.clock.boot_seconds(), to_return=True))
            else:
                self._buffer.add(await asyncio.to_thread(load_batch, self._rt, batch))
        except SQLAlchemyError as error:  # its lease runs out, and it is due again
            _log.error("database_failed", batch=batch, exc_info=error)
        except Exception as error:  # the same; the other batches go on
            _log.error("job_failed", kind="batch", batch=batch, exc_info=error)
        except BaseException as error:
            self._error = error
        self._loading = None
        self._awake.set()

    async def _work_off(self) -> None:
        """A worker: one request after another."""
        while True:
            request, began = await self._ready.get()
            try:
                outcome = await self._post(request, began)
            except BaseException as error:
                if not isinstance(error, asyncio.CancelledError):
                    self._error = error
                    self._awake.set()
                raise
            if isinstance(outcome, Refused) and outcome.everyone:
                self._cycle = self._cycle.refused(outcome)
            self._answers.append((request, outcome))
            self._under_way -= 1
            self._awake.set()

    async def _post(self, request: SendRequest, began: float) -> Outcome:
        failpoints.point("post.before")
        if self._rt.clock.boot_seconds() - began > SEND_WITHIN_SECONDS:
            return Refused("too late after marking: this process was held up", wait=None, everyone=False)
        if self._cycle.refusal:
            return self._cycle.refusal  # this one would fare no better
        try:
            outcome = await self._rt.mailer.post(request.mails, REQUEST_SECONDS)
        except Exception as error:  # a mailer must not raise; that it did says nothing of where the mail is
            _log.error("mailer_raised", exc_info=error)
            return Ambiguous(f"the mailer failed ({type(error).__name__})")
        failpoints.point("post.after")
        return _storable(outcome)

    async def _run_cycle(self) -> None:
        """Settle what has come back, and mark what may go next: one commit. Then it goes."""
        room = 0 if self._stopping else self._cycle.room(self._under_way, self._loop.time())
        window = SendWindow() if self._stopping else self._buffer.window(room)
        answers, self._answers = self._answers, []
        begun = Begun(
            self._cycle,
            answers,
            window,
            [*self._buffer.batches.values()],
            self._under_way,
            self._loop.time(),
            self._rt.clock.boot_seconds(),
            self._lost,
            self._may_write_to_readers,
            self._stopping,
        )
        writing = self._loop.run_in_executor(self._ledger, commit, self._rt, begun)
        self._buffer.fill(0 if self._stopping else self._workers)  # while the database works
        try:
            done = await writing
        except SQLAlchemyError as error:
            await self._commit_failed(begun, error)
            return
        self._lost, self._failing_since, self._may_write_to_readers = {}, None, done.may_write_to_readers
        self._cycle = self._cycle.committed(done.cycle, len(done.leave), done.half_open)
        if self._cycle.limiter.slots:  # reserved for a moment to come
            self._loop.call_at(self._cycle.limiter.opens_at + _TIMER_SECONDS, self._awake.set)
        self._end(answers, window, {row.id for request in done.leave for row in request.rows}, done.wait)
        self._buffer.put_back(done.wait)
        if done.decision.release is not None:
            self._buffer.clear(begun.batches)
        self._under_way += len(done.leave)
        for request in done.leave:
            self._ready.put_nowait((request, begun.began))

    def _end(self, answers: Iterable[Answer], window: SendWindow, going_on: set[DeliveryId], wait: list[SendRequest]) -> None:
        """Count rows whose end is known: what came back, what no mail could be built of, what was turned away at MARK."""
        for request, outcome in answers:
            self._buffer.end(request.batch, sum(row.id not in going_on for row in request.rows), type(outcome).__name__.lower())
        for batch, whys in window.unfit.items():
            self._buffer.end(batch, len(whys), "unfit")
        for request in window.requests:
            if request not in wait:
                self._buffer.end(request.batch, sum(row.id not in going_on for row in request.rows), "not_marked")

    async def _commit_failed(self, begun: Begun, error: SQLAlchemyError) -> None:
        """Whether that commit took place nobody knows. Answers are settled again, which changes nothing the second time; what
        it may have marked has not left, and is given back with everything else as soon as the database answers.
        """
        _log.error("database_failed", deliveries=len(begun.answers) + len(begun.window.requests), exc_info=error)
        self._buffer.keep(begun.window)
        self._end([], begun.window, set(), [])
        self._answers = begun.answers + self._answers
        for request in begun.window.requests:
            self._lost |= request.of
        self._cycle = self._cycle.commit_failed()
        if self._stopping and self._failing_since is None:
            self._failing_since = self._loop.time()
        if self._must_give_up:  # leases run out: what was answered is in doubt until evidence comes, the rest is due again
            _log.error("sender_gave_up", deliveries=len(self._answers), seconds=GIVE_UP_SECONDS)
            return
        await asyncio.sleep(_RETRY_SECONDS)


def _storable(outcome: Outcome) -> Outcome:
    """The outcome in words that any database takes: a server's own may hold anything."""
    if isinstance(outcome, Accepted):
        message = outcome.message_id
        return outcome if message is None or message.isprintable() else replace(outcome, message_id=None)
    return outcome if outcome.why.isprintable() else replace(outcome, why=storable(outcome.why))


def send_batch(rt: Runtime, batch: BatchId) -> None:
    """Send what is claimed under one batch, to its end. Safe to call twice, anywhere: the rows and their fences decide."""
    sender = Sender(rt)
    try:
        sender.submit(batch)
        sender.finish()
    finally:
        sender.close()
