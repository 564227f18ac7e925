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
from nurture.delivery.send import send_batch
from nurture.runtime import Runtime
from nurture.words import BatchId

_log = log.get(__name__)

_AT_ONCE = 2
"""Batches a worker has in hand: while one waits for its last answers, the next is under way."""
_ENOUGH = 8
"""Batches that wait in the queue before nobody claims more: few, so that no lease runs out in it."""
_LOOK_SECONDS = 0.1
_TRY_AGAIN_SECONDS = 10.0
"""So long a process goes on alone before it speaks to a broker again that did not answer."""
_CONNECT_SECONDS = 0.9
_ANSWER_SECONDS = 0.9
"""A tick waits for a broker at most twice as long: a kept connection may be dead, and a fresh one then not answer."""

_PATIENT_SECONDS = 5.0
"""For a worker, whose connection asks for a message for a second at a time, and in no hurry."""


class Here:
    """Without a broker: a batch is sent by the process that claims it."""

    def __init__(self, rt: Runtime, send: Callable[[BatchId], object]) -> None:
        """`send` sends what is claimed under a batch id; doing it twice must be safe."""
        self._rt = rt
        self._send = send

    def carry(self, batch: BatchId) -> None:
        """Take a claimed batch from a tick."""
        self._send(batch)

    def work(self) -> None:
        """Work until the process is asked to stop."""
        self._rt.stopping.wait()

    def close(self) -> None:
        """Give back connections."""


class Fleet(Here):
    """With a broker: a tick's batch is published, and whoever works takes the next one."""

    def __init__(self, rt: Runtime, send: Callable[[BatchId], object], broker: str) -> None:
        """Connects to nothing yet. `broker`: a URL that may hold a password, so it is in no log line."""
        super().__init__(rt, send)
        # One installation, one queue: a broker that serves two does not mix them.
        self._queue = f"nurture.{rt.sealer.fingerprint()}"
        self._app = _app(broker, self._queue)
        self._task = self._app.task(self._take, name="nurture.send_batch", shared=False)
        self._alone_until = 0.0

    def carry(self, batch: BatchId) -> None:
        """Publish a claimed batch, within two seconds; send it here while the broker does not take it. Raises nothing of it."""
        if self._rt.clock.boot_seconds() >= self._alone_until:
            try:
                self._wait_for_room()
                self._task.apply_async((batch,), confirm_timeout=_ANSWER_SECONDS)
                return
            except Exception as error:  # whatever a broker has against it (full, locked, gone): the mail goes on
                _log.warning("broker_unreachable", seconds=_TRY_AGAIN_SECONDS, error=type(error).__name__)
                self._alone_until = self._rt.clock.boot_seconds() + _TRY_AGAIN_SECONDS
        super().carry(batch)

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
        self._app.finalize()
        state.should_stop = None
        while not self._rt.stopping.is_set():
            worker = self._app.WorkController(
                pool_cls="threads", concurrency=_AT_ONCE, without_gossip=True, without_mingle=True, without_heartbeat=True
            )
            threading.Thread(target=self._stop, args=(state, worker), daemon=True).start()
            worker.start()  # comes back when told to stop, or when a message its library cannot read has thrown it over
            if not self._rt.stopping.is_set():
                _log.error("job_failed", kind="worker")
                self._rt.stopping.wait(1)

    def _stop(self, state: Any, worker: Any) -> None:
        self._rt.stopping.wait()
        state.should_stop = 0
        worker.hub.call_soon(int)  # its loop may sleep for a second: wake it

    def _take(self, *given: object, **named: object) -> None:
        """The one task, run by whoever takes the message. Anything but one batch id is dropped unread."""
        batch = given[0] if len(given) == 1 and not named else None
        if not isinstance(batch, str) or not re.fullmatch(r"[0-9a-f]{32}", batch):
            _log.warning("message_dropped", count=len(given) + len(named))
            return
        _log.info("batch_taken", batch=batch)
        try:
            self._send(BatchId(batch))
        except Exception as error:  # nobody reads a result: the lease brings its rows back
            _log.error("job_failed", kind="batch", exc_info=error)

    def close(self) -> None:
        """Close connections to the broker."""
        self._app.close()
        self._app.pool.force_close_all()


def _app(broker: str, queue: str) -> Any:
    """The Celery application: batches out and in, and nothing else of what Celery can do."""
    from celery import Celery  # here: a process without a broker does not load it (25 MB, half a second)

    app = Celery("nurture", set_as_current=False)
    app.conf.update(
        task_default_queue=queue,
        task_default_exchange="",  # straight to the queue: Redis keeps no binding that FLUSHALL could lose
        task_default_delivery_mode="transient",  # the ledger is the durable part
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        # After the work, for fairness only: what a worker has not begun stays with the broker, for whoever is free first.
        # For safety it does not matter: a message taken early and lost, or late and doubled, meets the ledger.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # a batch goes on without its message
        worker_enable_remote_control=False,  # nobody with the broker's password can stop a worker by a message
        worker_hijack_root_logger=False,
        broker_connection_timeout=_CONNECT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_acquire_timeout=_CONNECT_SECONDS,
        broker_use_ssl={"server_hostname": None} if broker.startswith("amqps:") else None,  # the URL's host is checked
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
        broker_transport_options={
            "max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0,
            "confirm_publish": True,  # RabbitMQ says that it has the message, as Redis does anyway
            "socket_connect_timeout": _CONNECT_SECONDS, "socket_timeout": _ANSWER_SECONDS,
        },
    )  # fmt: skip
    # Explicitly: CELERY_BROKER_URL in the environment, perhaps another program's, would win over the configuration.
    patient = {"socket_timeout": _PATIENT_SECONDS}
    app.connection_for_read = partial(app.connection_for_read, broker, transport_options=patient)
    app.connection_for_write = partial(app.connection_for_write, broker)
    return app


def join(rt: Runtime) -> Here:
    """The part this process has in the fleet, as NURTURE_BROKER_URL says. To be called after any fork."""
    send = partial(send_batch, rt)
    broker = rt.settings.broker_url
    return Here(rt, send) if broker is None else Fleet(rt, send, broker.get_secret_value())
