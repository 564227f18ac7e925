"""Several `nurture worker` over one PostgreSQL, with and without a broker: letters a second, by the provider's own clock."""

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from nurture import runtime
from nurture.clock import SystemClock
from nurture.services.letters import publishing
from tests.benchmarks.ours import analyze, crowd
from tests.conftest import settings_for
from tests.processes import NURTURE, environment, running
from tests.servers.redis import Redis
from tests.servers.sendgrid import KEY, RemoteSendGrid

LANES = 32
_TO_START = timedelta(seconds=8)


def measure(judge: RemoteSendGrid, database: str, folder: Path, count: int, workers: int, redis: Redis | None) -> float:
    """Letters a second of `workers` processes of 32 lanes each, whose `count` letters all fall due at one moment."""
    given: dict[str, Any] = {
        "mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": judge.url, "from_email": "dana@example.org",
        "postal_address": "PO Box 12", "send_concurrency": LANES, "tick_seconds": 0.2,
    }  # fmt: skip
    given |= {"broker_url": redis.url} if redis else {}
    rt = runtime.build(settings_for(folder, database, **given), migrate=True)
    publishing.load_shipped(rt)
    judge.reset()
    crowd(rt, count, at=SystemClock().now() + _TO_START + timedelta(milliseconds=count / 2))  # so long takes the writing
    analyze(rt)
    env = environment(folder, database_url=database, **given)
    with ExitStack() as stack:
        for number in range(workers):
            stack.enter_context(running([*NURTURE, "worker"], env, folder / f"worker{number}"))
        judge.wait_for(count, timeout=300)
    times = sorted(mail.received_monotonic for mail in judge.accepted)
    rt.close()
    if len(times) != count:
        raise RuntimeError(f"{len(times)} of {count} letters arrived")
    return (count - 1) / (times[-1] - times[0])
