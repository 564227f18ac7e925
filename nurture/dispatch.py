"""Celery: with NURTURE_BROKER_URL a claimed batch travels to a `nurture worker` on any machine. A message is its id.

The ledger alone decides what may be sent. A message that is lost, doubled, late or forged changes when a mail leaves and
never which: what is lost comes back when its lease runs out, and an id that holds nothing any more sends nothing.
So a broker needs no backup and no disk, and while it is away mail goes on: each process sends what it claims.
"""

import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from nurture import log
from nurture.delivery.sender import Sender
from nurture.ids import BatchId
from nurture.runtime import Runtime

_log = log.get(__name__)

_AT_ONCE = 1
"""Batches a worker offers to its sender, which takes the next one before it has done with the last."""
_ENOUGH = 8
"""Batches that wait in the queue before nobody claims more: few, so that no lease runs out in it."""
_LOOK_SECONDS = 0.1
_TRY_AGAIN_SECONDS = 10.0
"""So long a process goes on alone before it speaks to a broker again that did not answer."""
_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 0.6
"""For whoever publishes. A broker that stands still is waited for three times: the answer, and two good-byes."""
_PATIENT_SECONDS = 1.5
"""The same for a worker, whose connection to Redis asks for a message for a second at a time."""


class LocalDispatcher:
    """Without a broker: a batch is sent by the process that claims it."""

    def __init__(self, rt: Runtime) -> None:
        """Start this process's sender; `close` ends it."""
        self._rt = rt
        self._sender, self._renewing = Sender(rt), threading.Lock()

    def submit(self, batch: BatchId) -> None:
        """Take a claimed batch from a tick; waits while enough is waiting."""
        self._send(batch)

    def _send(self, batch: BatchId) -> None:
        """Submit a batch to the sender. One that has died of a fault of ours is like a killed process: a new one takes its
        place, and what it held comes back with its lease. Raises what it died of, once.
        """
        sender = self._current()
        try:
            sender.submit(batch)
        except Exception as error:
            _log.error("sender_crashed", exc_info=error)
            with self._renewing:
                if self._sender is sender:
                    self._sender = Sender(self._rt)
            raise

    def _current(self) -> Sender:
        """The sender; a new one where the desk's settings have changed since it was started."""
        with self._renewing:
            if self._sender.version != self._rt.version:
                before, self._sender = self._sender, Sender(self._rt)
                before.close()
            return self._sender

    def finish(self) -> None:
        """Wait until everything that was to be sent here is settled or given back."""
        self._sender.finish()

    def work(self) -> None:
        """Work until the process is asked to stop."""
        self._rt.stopping.wait()

    def close(self) -> None:
        """Finish what is in flight here, and give back the rest."""
        self._sender.close()


class CeleryDispatcher(LocalDispatcher):
    """With a broker: a tick's batch is published, and whoever works takes the next one."""

    def __init__(self, rt: Runtime, broker: str) -> None:
        """Connects to nothing yet. `broker`: a URL that may hold a password, so it is in no log line."""
        super().__init__(rt)
        # One installation, one queue: a broker that serves two does not mix them.
        self._queue = f"nurture.{rt.cipher.fingerprint()}"
        self._app = _app(broker, self._queue)

        def send_batch(batch: str) -> None:
            self._take(BatchId(batch))

        self._task = self._app.task(send_batch, name="nurture.send_batch", shared=False, Strategy=staticmethod(_only_batches))
        self._app.finalize()  # here, by one thread
        self._alone_until = 0.0
        self._worker: Any = None

    def submit(self, batch: BatchId) -> None:
        """Publish a claimed batch, within two seconds; send it here while the broker does not take it. Raises nothing of it."""
        if self._rt.clock.boot_seconds() >= self._alone_until:
            try:
                self._wait_for_room()
                self._task.apply_async((batch,), confirm_timeout=_ANSWER_SECONDS)
                return
            except Exception as error:  # whatever a broker has against it (full, locked, gone): the mail goes on
                _log.warning("broker_unreachable", seconds=_TRY_AGAIN_SECONDS, error=type(error).__name__)
                self._alone_until = self._rt.clock.boot_seconds() + _TRY_AGAIN_SECONDS
        super().submit(batch)

    def _wait_for_room(self) -> None:
        """Let the workers catch up before more is claimed, for at most a quarter of a lease."""
        settings = self._rt.settings
        most: float = _ENOUGH
        if settings.max_sends_per_second is not None:  # what waits must be able to leave within half its lease
            most = min(most, settings.max_sends_per_second * settings.lease_seconds / 2 / settings.batch_size)
        for _ in range(int(settings.lease_seconds / 4 / _LOOK_SECONDS)):
            if self.waiting() <= most or self._rt.stopping.is_set():
                return
            self._rt.stopping.wait(_LOOK_SECONDS)
        _log.warning("workers_behind", seconds=settings.lease_seconds / 4)

    def waiting(self) -> int:
        """How many messages lie in the queue. Raises what the broker's library raises."""
        with self._app.pool.acquire(block=True, timeout=_CONNECT_SECONDS) as connection:
            declared = connection.default_channel.queue_declare(self._queue, durable=True, auto_delete=False)
        return int(declared.message_count)

    def work(self) -> None:
        """Take batches and send them until the process is asked to stop; then finish what is in flight and return."""
        from celery.worker import state

        self._app.set_default()  # what its threads look for
        state.should_stop = None
        stops = threading.Thread(target=self._stop, args=(state,), daemon=True)
        stops.start()
        while not self._rt.stopping.is_set():
            self._worker = self._app.WorkController(
                pool_cls="threads", concurrency=_AT_ONCE, without_gossip=True, without_mingle=True, without_heartbeat=True
            )
            self._worker.start()  # comes back when told to stop, or when a message its library cannot read has thrown it over
            if not self._rt.stopping.is_set():
                _log.error("job_failed", kind="worker")
                self._rt.stopping.wait(1)
        stops.join()

    def _stop(self, state: Any) -> None:
        self._rt.stopping.wait()
        state.should_stop = 0  # looked at before each sleep of the worker's loop …
        if self._worker is not None and self._worker.hub is not None:
            self._worker.hub.call_soon(int)  # … which may last ten seconds: wake it

    def _take(self, batch: BatchId) -> None:
        _log.info("batch_taken", batch=batch)
        try:
            self._send(batch)
        except Exception as error:  # the lease brings its rows back
            _log.error("job_failed", kind="batch", exc_info=error)
            self._rt.stopping.wait(_TRY_AGAIN_SECONDS)  # who cannot send leaves the next ones to others

    def close(self) -> None:
        """Finish what is in flight here, give back the rest, and close connections to the broker."""
        super().close()
        self._app.pool.force_close_all(close_pool=False)  # the library keeps pools by URL: another of ours may want it
        self._app.close()


def _only_batches(*given: Any, **named: Any) -> Callable[..., None]:
    """How Celery begins our task, with a look at the message before: anything but one batch id is dropped, content unlogged.

    Celery alone drops most of what it cannot use; but what is JSON and no list throws its loop over, and RabbitMQ, which
    never got its answer, would deliver it again, for ever.
    """
    from celery.worker.strategy import default

    begin = default(*given, **named)

    def look(message: Any, *rest: Any, **more: Any) -> None:
        try:
            (batch,), options, more_tasks = message.payload
            later = message.headers["eta"]
            if re.fullmatch(r"[0-9a-f]{32}", batch) and not (options or later or any(more_tasks.values())):
                begin(message, *rest, **more)
                return
        except Exception as error:  # whatever its sender made of it
            _log.warning("message_dropped", error=type(error).__name__)
        else:
            _log.warning("message_dropped", reason="more than a batch id")
        message.ack()

    return look


def _app(broker: str, queue: str) -> Any:
    """The Celery application: batches out and in, and nothing else of what Celery can do."""
    from celery import Celery  # here: a process without a broker does not load it (25 MB, half a second)

    scheme = broker.partition(":")[0]
    app = Celery("nurture", set_as_current=False)
    app.conf.update(
        task_default_queue=queue,
        task_default_exchange="",  # straight to the queue: Redis keeps no binding that FLUSHALL could lose
        task_default_delivery_mode="transient",  # the ledger is the durable part
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        # Late, for fairness only: what this worker's sender has no room for yet stays with the broker, for whoever is free
        # first. For safety it does not matter: a message that is lost after an early answer, or doubled for want of a late
        # one, meets the ledger.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # a batch goes on without its message
        worker_enable_remote_control=False,  # nobody with the broker's password can stop a worker by a message
        worker_hijack_root_logger=False,
        broker_connection_timeout=_CONNECT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_acquire_timeout=_CONNECT_SECONDS,
        # By itself the library asks a Redis for no certificate, and RabbitMQ's for no name; None stands for the URL's.
        broker_use_ssl={"rediss": {"ssl_cert_reqs": "required"}, "amqps": {"server_hostname": None}}.get(scheme),
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
    )
    # A publisher is in a hurry in every way it can be kept waiting (Redis socket_…, RabbitMQ read_ and write_timeout), and
    # takes an answer for every message, so that it knows when it is on its own. A worker only must not wait for ever.
    hurried = {
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
        "confirm_publish": True,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _ANSWER_SECONDS,
        "read_timeout": _ANSWER_SECONDS,
        "write_timeout": _ANSWER_SECONDS,
    }
    transport_options = {
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _PATIENT_SECONDS,
        "read_timeout": _PATIENT_SECONDS,
        "write_timeout": _PATIENT_SECONDS,
    }
    # Explicitly: CELERY_BROKER_URL in the environment, perhaps another program's, would win over the configuration.
    app.connection_for_write = partial(app.connection_for_write, broker, transport_options=hurried)
    app.connection_for_read = partial(app.connection_for_read, broker, transport_options=transport_options)
    return app


def create_dispatcher(rt: Runtime) -> LocalDispatcher:
    """The part this process has in the fleet, as NURTURE_BROKER_URL says. To be called after any fork."""
    broker = rt.settings.broker_url
    return LocalDispatcher(rt) if broker is None else CeleryDispatcher(rt, broker.get_secret_value())
