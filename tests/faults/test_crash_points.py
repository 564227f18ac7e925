"""Fault 1: kill -9 at every named point of the code, one process after the other on one database, then the two ledgers."""

import random
from collections.abc import Callable
from pathlib import Path

from nurture.crash import POINTS
from nurture.domain.delivery import State
from nurture.runtime import Runtime
from tests.faults.conftest import Record
from tests.faults.harness import Fleet, come, compare, drain, stage
from tests.servers.sendgrid import RemoteSendGrid

ROUNDS_IN_FULL = 20


def test_killed_at_every_point_without_events_nothing_is_sent_twice_and_every_doubt_is_held(
    ground: Runtime, judge: RemoteSendGrid, tmp_path: Path, full: bool, seed: int, say: Callable[[str], None], record: Record
) -> None:
    stage(ground, letters=3)
    dice = random.Random(seed)
    points = [point for point in POINTS if not point.startswith(("T0", "T5"))]  # nobody confirms here, and no event comes in
    dice.shuffle(points)
    with Fleet(ground, judge.url, tmp_path, evidence_seconds=1, give_up_seconds=1.5) as fleet:
        for point in points:
            come(ground, readers=8)
            if point.startswith(("T4", "T6")):  # these want something to be undecided
                assert fleet.start(crash_at="post.before").died(within=30)
            worker = fleet.start(crash_at=f"{point}:{dice.randint(1, 3) if point[:2] != 'T6' else 1}")
            assert worker.died(within=30), f"never came by {point}:\n{worker.words()}"
            say(f"  killed at {point}")
        worker = fleet.start()
        drain(ground, within=60)
        worker.end()
    found = compare(ground, judge)
    found.check()
    record(kills=len(points), seed=seed, mails=found.mails, held=found.held, longest_unknown=found.longest_unknown_seconds)
    assert set(found.states) <= {State.ACCEPTED, State.HELD}
