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
from nurture.services import departures, publishing, suppressions
from nurture.services.ping import PING_SECONDS, ping
from nurture.services.privacy import retain
from nurture.words import BatchId

_log = log.get(__name__)

_RECONCILE_SECONDS = 30
_PLAN_SECONDS = 600
_RETENTION_SECONDS = 3600
_PUBLISH_SECONDS = 2


def _guarded(name: str, job: Callable[[], object]) -> None:
    try:
        job()
    except Exception as error:  # a job that fails is tried again at its next interval; the process must live on
        _log.error("job_failed", kind=name, exc_info=error)


def start(rt: Runtime, carry: Callable[[BatchId], object]) -> BackgroundScheduler:
    """Start ticking in this process; `carry` takes the batches that its ticks claim."""
    scheduler = BackgroundScheduler(timezone="UTC")
    jobs: tuple[tuple[str, Callable[[], object], float], ...] = (
        ("tick", partial(tick, rt, carry), rt.settings.tick_seconds),
        ("reconcile", partial(reconcile, rt), _RECONCILE_SECONDS),
        ("plan", partial(plan_missing, rt), _PLAN_SECONDS),
        ("retention", partial(retain, rt), _RETENTION_SECONDS),
        ("publish", partial(publishing.work, rt), _PUBLISH_SECONDS),
        ("suppressions_push", partial(suppressions.push, rt), suppressions.PUSH_SECONDS),
        ("ping", partial(ping, rt), PING_SECONDS),
        ("departures", partial(departures.complete, rt), departures.COMPLETE_SECONDS),
        ("suppressions_pull", partial(suppressions.pull, rt), suppressions.PULL_SECONDS),
    )
    for name, job, seconds in jobs:
        scheduler.add_job(
            _guarded, "interval", (name, job), id=name, seconds=seconds, max_instances=1, coalesce=True,
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
