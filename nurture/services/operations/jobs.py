"""What has to be done again and again: one list, for the scheduler of a process that lives on and for `nurture tick` from cron.

The scheduler runs each job at its interval in every process. `nurture tick` is a new process each time, so when a job last
began is noted in the database, and of all processes that ask within an interval one runs it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from nurture import log
from nurture.delivery.reconcile import plan_missing, reconcile
from nurture.delivery.tick import tick
from nurture.ids import BatchId
from nurture.runtime import Runtime
from nurture.services.accounts.login import mail_links
from nurture.services.letters import publishing
from nurture.services.operations.ping import PING_SECONDS, ping
from nurture.services.operations.retention import retain
from nurture.services.subscribers import consultation_links, departures, sign_up_queue, suppressions
from nurture.settings import Settings
from nurture.store.state import heartbeats

_log = log.get(__name__)

Submit = Callable[[BatchId], object]
"""Takes a claimed batch, to be sent."""


@dataclass(frozen=True)
class Job:
    """A function and how often it runs."""

    name: str
    seconds: float | None
    """Real seconds between two runs; None: NURTURE_TICK_SECONDS."""
    run: Callable[[Runtime, Submit], object]
    needs_results: bool = False
    """Whether it tells what came of the mail: `nurture tick` runs it once that is known."""

    def interval(self, settings: Settings) -> float:
        """Real seconds between two runs."""
        return settings.tick_seconds if self.seconds is None else self.seconds


def _publish(rt: Runtime) -> None:
    while not rt.stopping.is_set() and publishing.work(rt):
        pass


JOBS: tuple[Job, ...] = (
    Job("reconcile", 30, lambda rt, _: reconcile(rt)),
    Job("call_requests", consultation_links.LOOK_UP_SECONDS, lambda rt, _: consultation_links.ask_readers(rt)),
    Job("plan", 600, lambda rt, _: plan_missing(rt)),
    Job("sign_ups", 2, lambda rt, _: sign_up_queue.decide_on_sign_ups(rt, rest=4)),
    Job("log_in_mails", 2, lambda rt, _: mail_links(rt)),
    Job("tick", None, tick),
    Job("publish", 2, lambda rt, _: _publish(rt)),
    Job("retention", 3600, lambda rt, _: retain(rt)),
    Job("suppressions_push", suppressions.PUSH_SECONDS, lambda rt, _: suppressions.push(rt)),
    Job("departures", departures.COMPLETE_SECONDS, lambda rt, _: departures.complete(rt)),
    Job("suppressions_pull", suppressions.PULL_SECONDS, lambda rt, _: suppressions.pull(rt)),
    Job("ping", PING_SECONDS, lambda rt, _: ping(rt), needs_results=True),
)
"""In the order in which `nurture tick` runs them: what is given back or planned late is due at once, and no mail waits for a
publication.
"""


@dataclass(frozen=True)
class JobsReport:
    """What the jobs that were due returned, by name, and the names of those that raised."""

    results: Mapping[str, object]
    failed: tuple[str, ...]


def run_due(rt: Runtime, submit: Submit, finish: Callable[[], object]) -> JobsReport:
    """Run every job whose interval has passed since it last began in any process; the tick always.

    `finish`: waits until what was submitted has left or was given back. A job that raises is logged, and does not keep the
    others from running.
    """
    results, failed = dict[str, object](), list[str]()
    for job in JOBS:
        try:
            if job.needs_results:
                finish()
            if job.seconds is None or _take_turn(rt, job):
                results[job.name] = job.run(rt.snapshot(), submit)
        except Exception as error:
            _log.error("job_failed", kind=job.name, exc_info=error)
            failed.append(job.name)
    return JobsReport(results, tuple(failed))


def _take_turn(rt: Runtime, job: Job) -> bool:
    with rt.database.begin() as db:
        every = timedelta(seconds=job.interval(rt.settings))
        return heartbeats.take_turn(db, f"{heartbeats.JOB}{job.name}", rt.clock.real_now(), every)
