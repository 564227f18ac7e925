"""Fault 1: kill -9 at every named point of the code, one process after the other on one database, then the two ledgers."""

import random
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from sqlalchemy import delete

from nurture.domain.delivery import DeliveryKind, State
from nurture.failpoints import POINTS, Point
from nurture.runtime import Runtime
from nurture.store.core.schema import deliveries
from nurture.tokens import Purpose
from tests.faults.conftest import Record
from tests.faults.harness import Fleet, Worker, come, compare, drain, reports_to, stage
from tests.people import Reader, sign_up
from tests.processes import free_port
from tests.servers.sendgrid import RemoteSendGrid
from tests.servers.sendgrid_events import Chaos

ROUNDS_IN_FULL = 20
LETTERS = 3
WITHOUT_EVENTS: tuple[Point, ...] = (
    "claim.after_commit", "mark.before_commit", "mark.after_commit", "post.half", "post.after", "settle.before_commit",
)  # fmt: skip
WITH_EVENTS: tuple[Point, ...] = (
    "plan.after_commit", "mark.after_commit", "post.half", "post.after", "settle.before_commit", "event.before_commit",
)  # fmt: skip
"""Of `make test`; `make faults` kills at every point."""
Say = Callable[[str], None]


def test_killed_at_every_point_without_events_nothing_is_sent_twice_and_every_doubt_is_held(
    ground: Runtime, judge: RemoteSendGrid, tmp_path: Path, full: bool, seed: int, say: Say, record: Record
) -> None:
    stage(ground, LETTERS)
    dice = random.Random(seed)
    points = [point for point in POINTS if not point.startswith(("plan", "event"))] if full else WITHOUT_EVENTS
    kills = 0
    with Fleet(ground, judge.url, tmp_path, evidence_seconds=1, give_up_seconds=1.5) as fleet:
        for number in range(ROUNDS_IN_FULL if full else 1):
            say(f"  round {number + 1}")
            for point in dice.sample(points, len(points)):
                come(ground, readers=8)
                kills += killed_at_work(fleet, point, dice)
        worker = fleet.start()
        drain(ground, within=120)
        worker.end()
    found = compare(ground, judge)
    found.check()
    assert set(found.states) <= {State.ACCEPTED, State.HELD}
    record(kills=kills, seed=seed, mails=found.mails, duplicates=0, lost=0, held=found.held,
           longest_unknown_seconds=round(found.longest_unknown_seconds, 1))  # fmt: skip


def test_killed_at_every_point_with_events_each_letter_goes_out_exactly_once(
    ground: Runtime, judge: RemoteSendGrid, tmp_path: Path, full: bool, seed: int, say: Say, record: Record
) -> None:
    stage(ground, LETTERS)
    dice, port, points = random.Random(seed), free_port(), POINTS if full else WITH_EVENTS
    kills = readers = 0
    judge.report_to(reports_to(port), chaos=Chaos(repeated=0.2, renamed=0.1, delay=0.2, shuffled=True, seed=seed))
    keys = {"sendgrid_webhook_key": judge.webhook_key}
    with Fleet(ground, judge.url, tmp_path, evidence_seconds=5, give_up_seconds=3600, settings=keys) as fleet:
        pages = fleet.pages(port)
        for number in range(ROUNDS_IN_FULL if full else 1):
            say(f"  round {number + 1}")
            for point in dice.sample(points, len(points)):
                if point.startswith(("plan", "event")):
                    pages.end()
                    pages = fleet.pages(port, crash_at=point)
                    if point.startswith("plan"):
                        readers += 1
                        press = confirming(ground, port)
                        assert not press(), "the process died before it answered"
                    else:
                        readers += len(come(ground, readers=8))
                        worker = fleet.start()
                    assert pages.died(within=30), f"never came by {point}:\n{pages.words()}"
                    kills += 1
                    pages = fleet.pages(port)
                    if point.startswith("plan"):
                        assert press(), "what a person does whose browser said nothing"
                    else:
                        worker.end()
                else:
                    readers += len(come(ground, readers=8))
                    kills += killed_at_work(fleet, point, dice)
        worker = fleet.start()
        drain(ground, within=120)
        judge.wait_for_events(60)
        worker.end()
    found = compare(ground, judge)
    found.check()
    assert found.states == {State.DELIVERED: readers * LETTERS}
    assert found.mails == readers * LETTERS, "each exactly once"
    record(kills=kills, seed=seed, mails=found.mails, duplicates=0, lost=0, held=0,
           longest_unknown_seconds=round(found.longest_unknown_seconds, 1))  # fmt: skip


def killed_at_work(fleet: Fleet, point: Point, dice: random.Random) -> int:
    """Processes that die there, among due letters, until one did at `point`; how many it took."""
    kills = 1
    if point.startswith(("reclaim", "resolve")):  # these want something to be undecided
        assert fleet.start(crash_at="post.before").died(within=30)
        kills += 1
    worker: Worker = fleet.start(crash_at=f"{point}:{dice.randint(1, 3) if not point.startswith('resolve') else 1}")
    assert worker.died(within=30), f"never came by {point}:\n{worker.words()}"
    return kills


def confirming(rt: Runtime, port: int) -> Callable[[], bool]:
    """Somebody who has signed up, with the button of the confirmation page before them: pressing it says whether it answers."""
    reader: Reader = sign_up(rt)
    with rt.database.begin() as db:
        db.execute(delete(deliveries).where(deliveries.c.kind == DeliveryKind.CONFIRMATION))
    url = f"http://127.0.0.1:{port}/confirm/{rt.tokens.mint(Purpose.CONFIRM, reader.id)}"

    def press() -> bool:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=b""), timeout=10) as answer:
                return bool(answer.status == 200)
        except (OSError, HTTPException):
            return False

    return press
