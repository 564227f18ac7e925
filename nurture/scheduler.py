"""APScheduler: a handful of interval jobs that look at the database, and nothing else.

It only ticks: what is due is a row, so any number of schedulers in any number of processes give the result of one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from apscheduler.schedulers.background import BackgroundScheduler

from nurture import log
from nurture.delivery.reconcile import reconcile
from nurture.delivery.send import Office
from nurture.delivery.tick import TickReport, tick
from nurture.runtime import Runtime
from nurture.services import suppressions
from nurture.services.privacy import retain

_log = log.get(__name__)

_RECONCILE_SECONDS = 30
_RETENTION_SECONDS = 3600


def tick_here(rt: Runtime) -> TickReport:
    """One tick whose batches this process sends itself, to their end."""
    office = Office(rt)
    try:
        report = tick(rt, office.carry)
        office.finish()
    finally:
        office.close()
    return report


@dataclass
class Ticking:
    """A scheduler at work in this process, and the office that sends what it claims."""

    scheduler: BackgroundScheduler
    office: Office


def _guarded(name: str, job: Callable[[], object]) -> None:
    try:
        job()
    except Exception as error:  # a job that fails is tried again at its next interval; the process must live on
        _log.error("job_failed", kind=name, exc_info=error)


def start(rt: Runtime) -> Ticking:
    """Start ticking in this process."""
    scheduler, office = BackgroundScheduler(timezone="UTC"), Office(rt)
    jobs: tuple[tuple[str, Callable[[], object], float], ...] = (
        ("tick", partial(tick, rt, office.carry), rt.settings.tick_seconds),
        ("reconcile", partial(reconcile, rt), _RECONCILE_SECONDS),
        ("retention", partial(retain, rt), _RETENTION_SECONDS),
        ("suppressions_push", partial(suppressions.push, rt), suppressions.PUSH_SECONDS),
        ("suppressions_pull", partial(suppressions.pull, rt), suppressions.PULL_SECONDS),
    )
    for name, job, seconds in jobs:
        scheduler.add_job(
            _guarded, "interval", (name, job), id=name, seconds=seconds, max_instances=1, coalesce=True,
            misfire_grace_time=None, jitter=min(1, seconds / 10), next_run_time=rt.clock.wall(),
        )  # fmt: skip
    scheduler.start()
    _log.info("scheduler_started", seconds=rt.settings.tick_seconds)
    return Ticking(scheduler, office)


def stop(rt: Runtime, ticking: Ticking) -> None:
    """Finish what is in flight, give back the rest, and stop."""
    rt.stopping.set()
    ticking.office.close()
    ticking.scheduler.shutdown(wait=True)
    _log.info("scheduler_stopped")
