"""Faults 2 and 3: one of four workers is killed again and again; processes stand still around the request, and wake up late."""

import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete

from nurture.failpoints import Point
from nurture.runtime import Runtime
from nurture.store.core.schema import subscribers
from tests.faults.conftest import Record
from tests.faults.harness import (
    Fleet,
    Worker,
    come,
    come_later,
    compare,
    drain,
    due_now,
    in_doubt,
    is_locked,
    never_came,
    reports_to,
    stage,
    unfinished,
)
from tests.processes import free_port
from tests.servers.sendgrid import RemoteSendGrid, another_process
from tests.servers.sendgrid_events import Chaos

WORKERS, LETTERS = 4, 5
AROUND_THE_REQUEST: tuple[Point, ...] = (
    "claim.after_commit", "render", "mark.after_commit", "post.before", "post.after", "settle.after_commit",
)  # fmt: skip
Say = Callable[[str], None]
_TAIL = 0.01
"""The share of letters that nobody is killed over any more."""


def test_one_of_four_workers_is_killed_again_and_again_and_each_letter_goes_out_exactly_once(
    ground: Runtime, tmp_path: Path, full: bool, seed: int, say: Say, record: Record
) -> None:
    readers, most_kills, latency_ms = (10_000, 500, 140) if full else (60, 8, 80)
    dice = random.Random(seed)
    stage(ground, LETTERS)
    with another_process("--latency-ms", str(latency_ms), "--no-bodies") as judge:
        undisturbed = _drained_in_peace(ground, judge, tmp_path, readers // (10 if full else 2)) * (10 if full else 2)
        judge.reset()
        _start_anew(ground)
        come(ground, readers)
        later = come_later(ground, readers=300)
        with _fleet(ground, judge, tmp_path, seed) as fleet:
            workers = [fleet.start() for _ in range(WORKERS)]
            kills, began = 0, time.monotonic()
            while unfinished(ground) - len(later) > readers * LETTERS * _TAIL and kills < most_kills:
                time.sleep(dice.uniform(0.2, 1.6) if full else dice.uniform(0.1, 0.4))
                victim = dice.randrange(WORKERS)
                workers[victim].kill()
                workers[victim] = fleet.start()
                kills += 1
                if kills % 50 == 0:
                    say(f"  {kills} kills, {len(judge.by_delivery()):,} letters")
            # A doubt is resolved once later mail has been reported: what is left of the backlog, then those who come later.
            deadline = time.monotonic() + 1200
            while (left := unfinished(ground) - len(later)) > 0:
                assert later and time.monotonic() < deadline, f"it does not end: {left} left, {in_doubt(ground)} in doubt"
                if in_doubt(ground) == left:
                    due_now(ground, later.pop())
                    readers += 1
                time.sleep(1)
            took = time.monotonic() - began
            never_came(ground, later)
            judge.wait_for_events(120)
            for worker in workers:
                worker.end()
        found = compare(ground, judge)
    found.check_all_went_out_once(readers * LETTERS)
    record(kills=kills, seed=seed, subscribers=readers, mails=found.mails, duplicates=0, lost=0, held=found.held,
           longest_unknown_seconds=round(found.longest_unknown_seconds, 1), drained_in_seconds=round(took, 1),
           undisturbed_seconds=round(undisturbed, 1))  # fmt: skip


def test_processes_that_stand_still_around_the_request_and_wake_late_send_nothing_twice(
    ground: Runtime, judge: RemoteSendGrid, tmp_path: Path, full: bool, seed: int, say: Say, record: Record
) -> None:
    dice, stops, readers = random.Random(seed), 0, 0
    stage(ground, LETTERS)
    with _fleet(ground, judge, tmp_path, seed) as fleet:
        for number in range(10 if full else 1):
            count = 20 if full else len(AROUND_THE_REQUEST)
            readers += len(come(ground, readers=8 * count))
            points = itertools.islice(itertools.cycle(AROUND_THE_REQUEST), count)
            asleep = [(fleet.start(crash_at=f"{point}:{dice.randint(1, 3)}=stop"), point) for point in points]
            _wait_until_they_stand_still(ground, dict(asleep))
            say(f"  round {number + 1}: {count} stand still")
            stops += count
            others = fleet.start().ready()
            for worker, _ in dice.sample(asleep, count):  # within a deadline, past a lease, past T_evidence
                time.sleep(dice.uniform(0, 1.5))
                worker.wake()
            for worker, _ in asleep:
                worker.end()
            others.end()
        worker = fleet.start()
        drain(ground, within=180)
        judge.wait_for_events(60)
        worker.end()
    found = compare(ground, judge)
    found.check_all_went_out_once(readers * LETTERS)
    record(stops=stops, seed=seed, mails=found.mails, duplicates=0, lost=0, held=0,
           longest_unknown_seconds=round(found.longest_unknown_seconds, 1))  # fmt: skip


def _fleet(rt: Runtime, judge: RemoteSendGrid, folder: Path, seed: int) -> Fleet:
    """With a process that takes the judge's reports, which come repeated and in any order.

    Nobody gives up while processes are killed: one that lives for seconds cannot have watched for longer.
    """
    port = free_port()
    keys = {"sendgrid_webhook_key": judge.webhook_key}
    fleet = Fleet(rt, judge.url, folder, evidence_seconds=5, give_up_seconds=3600, settings=keys)
    fleet.pages(port)
    judge.report_to(reports_to(port), chaos=Chaos(repeated=0.1, renamed=0.05, delay=0.2, shuffled=True, seed=seed))
    return fleet


def _drained_in_peace(rt: Runtime, judge: RemoteSendGrid, folder: Path, readers: int) -> float:
    """How long four workers take when nobody kills them, in seconds."""
    come(rt, readers)
    with Fleet(rt, judge.url, folder) as fleet:
        began = time.monotonic()
        workers = [fleet.start() for _ in range(WORKERS)]
        drain(rt, within=600)
        took = time.monotonic() - began
        for worker in workers:
            worker.end()
    return took


def _start_anew(rt: Runtime) -> None:
    with rt.database.begin() as db:
        db.execute(delete(subscribers))


def _wait_until_they_stand_still(rt: Runtime, coming: dict[Worker, Point]) -> None:
    """SQLite has one writer: a process that stands still in the middle of a transaction stops all others, so it wakes again."""
    end, still = time.monotonic() + 90, list[Worker]()
    while coming:
        assert time.monotonic() < end, "\n".join(f"never came by {point}:\n{who.words()}" for who, point in coming.items())
        still += [worker for worker in coming if worker.stopped(within=0.1)]
        coming = {worker: point for worker, point in coming.items() if worker not in still}
        while still and is_locked(rt):
            still.pop().wake()
