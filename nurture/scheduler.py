"""APScheduler: a handful of interval jobs that look at the database (services.operations.jobs), and nothing else.

It only ticks: what is due is a row, so any number of schedulers in any number of processes give the result of one.
"""

from apscheduler.schedulers.background import BackgroundScheduler

from nurture import log
from nurture.runtime import Runtime
from nurture.services.operations.jobs import JOBS, Job, Submit

_log = log.get(__name__)


def _guarded(job: Job, rt: Runtime, submit: Submit) -> None:
    try:
        job.run(rt.snapshot(), submit)
    except Exception as error:  # a job that fails is tried again at its next interval; the process must live on
        _log.error("job_failed", kind=job.name, exc_info=error)


def start(rt: Runtime, submit: Submit) -> BackgroundScheduler:
    """Start ticking in this process; `submit` takes the batches that its ticks claim."""
    scheduler = BackgroundScheduler(timezone="UTC")
    for job in JOBS:
        seconds = job.interval(rt.settings)
        scheduler.add_job(
            _guarded,
            "interval",
            (job, rt, submit),
            id=job.name,
            seconds=seconds,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
            jitter=min(1, seconds / 10),
            next_run_time=rt.clock.real_now(),
        )
    scheduler.start()
    _log.info("scheduler_started", seconds=rt.settings.tick_seconds)
    return scheduler


def stop(rt: Runtime, scheduler: BackgroundScheduler) -> None:
    """Claim no more, and wait for the tick that is under way."""
    rt.stopping.set()
    scheduler.shutdown(wait=True)
    _log.info("scheduler_stopped")
