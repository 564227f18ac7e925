"""APScheduler: a handful of interval jobs that look at the database, and nothing else.

It only ticks: what is due is a row, so any number of schedulers in any number of processes give the result of one.
"""

from collections.abc import Callable
from functools import partial

from apscheduler.schedulers.background import BackgroundScheduler

from nurture import log
from nurture.delivery.reconcile import plan_missing, reconcile
from nurture.delivery.tick import tick
from nurture.runtime import Runtime
from nurture.services import publishing, suppressions
from nurture.services.privacy import retain
from nurture.words import BatchId

_log = log.get(__name__)

_RECONCILE_SECONDS = 30
_PLAN_SECONDS = 600
_RETENTION_SECONDS = 3600
_PUBLISH_SECONDS = 2


def _guarded(name: str, job: Callable[[Runtime], object], rt: Runtime) -> None:
    try:
        job(rt.snapshot())
    except Exception as error:  # a job that fails is tried again at its next interval; the process must live on
        _log.error("job_failed", kind=name, exc_info=error)


def start(rt: Runtime, carry: Callable[[BatchId], object]) -> BackgroundScheduler:
    """Start ticking in this process; `carry` takes the batches that its ticks claim."""
    scheduler = BackgroundScheduler(timezone="UTC")
    jobs: tuple[tuple[str, Callable[[Runtime], object], float], ...] = (
        ("tick", partial(tick, carry=carry), rt.settings.tick_seconds),
        ("reconcile", reconcile, _RECONCILE_SECONDS),
        ("plan", plan_missing, _PLAN_SECONDS),
        ("retention", retain, _RETENTION_SECONDS),
        ("publish", publishing.work, _PUBLISH_SECONDS),
        ("suppressions_push", suppressions.push, suppressions.PUSH_SECONDS),
        ("suppressions_pull", suppressions.pull, suppressions.PULL_SECONDS),
    )
    for name, job, seconds in jobs:
        scheduler.add_job(
            _guarded, "interval", (name, job, rt), id=name, seconds=seconds, max_instances=1, coalesce=True,
            misfire_grace_time=None, jitter=min(1, seconds / 10), next_run_time=rt.clock.wall(),
        )  # fmt: skip
    scheduler.start()
    _log.info("scheduler_started", seconds=rt.settings.tick_seconds)
    return scheduler


def stop(rt: Runtime, scheduler: BackgroundScheduler) -> None:
    """Claim no more, and wait for the tick that is under way."""
    rt.stopping.set()
    scheduler.shutdown(wait=True)
    _log.info("scheduler_stopped")
