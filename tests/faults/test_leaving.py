"""Fault 19: readers leave at every moment of a letter's way. What the page did not announce does not come."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from nurture.delivery.sender import Sender
from nurture.delivery.tick import tick
from nurture.domain.delivery import Accepted, FrequencyCaps, Outcome
from nurture.failpoints import POINTS, Point
from nurture.mailers.base import Mail
from nurture.runtime import Runtime
from nurture.services.subscribers import unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from tests.faults.conftest import Record
from tests.faults.harness import Fleet, come, drain, stage
from tests.people import Reader
from tests.scripted import Answering
from tests.servers.sendgrid import RemoteSendGrid

SHORT: tuple[Point, ...] = (
    "claim.after_commit",
    "mark.before_commit",
    "mark.after_commit",
    "post.before",
    "settle.before_commit",
)
Say = Callable[[str], None]


def test_who_leaves_while_a_process_stands_still_at_any_point_gets_nothing_unannounced(
    ground: Runtime, judge: RemoteSendGrid, tmp_path: Path, full: bool, seed: int, say: Say, record: Record
) -> None:
    dice = random.Random(seed)
    points = [point for point in POINTS if point.startswith(("claim", "mark", "settle", "render", "post"))] if full else SHORT
    left: dict[str, tuple[float, bool]] = {}
    stage(ground, letters=3)
    with Fleet(ground, judge.url, tmp_path, evidence_seconds=1, give_up_seconds=2) as fleet:
        for number in range(20 if full else 1):
            say(f"  round {number + 1}")
            for point in dice.sample(points, len(points)):
                readers = come(ground, readers=6)
                worker = fleet.start(crash_at=f"{point}=stop")
                assert worker.stopped(within=30), f"never came by {point}:\n{worker.words()}"
                leaving = threading.Thread(target=_leave, args=(ground, readers, left))
                leaving.start()
                leaving.join(0.3)  # where a transaction is open, they wait for it
                if dice.random() < 0.5:
                    worker.kill()
                else:
                    worker.wake()
                leaving.join(30)
                assert not leaving.is_alive()
                others = fleet.start().ready()
                drain(ground, within=60)
                others.end()
                worker.kill()
    after = Counter(
        mail.address for mail in judge.accepted if mail.address in left and mail.received_at > left[mail.address][0]
    )
    announced = sum(told for _, told in left.values())
    assert {who: times for who, times in after.items() if times > left[who][1]} == {}
    assert announced, "some left while their letter was in a request"
    assert any(mail.address in left for mail in judge.accepted), "and this would be seen"
    record(left=len(left), seed=seed, sent_after_leaving_unannounced=0, announced=announced, arrived_after=after.total())


def _leave(rt: Runtime, readers: list[Reader], left: dict[str, tuple[float, bool]]) -> None:
    for reader in readers:
        told = unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
        left[reader.email] = time.time(), told
        assert unsubscribe.unsubscribe(rt, reader.id, Exit.ONE_CLICK) in (told, False), "a second time promises no less"


def test_thousands_who_leave_while_letters_go_out_get_nothing_unannounced(
    ground: Runtime, full: bool, seed: int, record: Record
) -> None:
    count, dice = (10_000 if full else 150), random.Random(seed)
    stage(ground, letters=5)
    readers = come(ground, count)
    began: dict[str, list[float]] = {reader.email: [] for reader in readers}
    left: dict[str, tuple[float, bool]] = {}

    def accept(mail: Mail) -> Outcome:
        began[mail.to].append(time.monotonic())
        return Accepted("m")

    ground.mailer, ground.frequency_caps = Answering(accept), FrequencyCaps(timedelta(), 1000, 1000)
    sender, done = Sender(ground), threading.Event()

    def send() -> None:
        while not done.is_set():
            tick(ground, sender.submit)

    sending = threading.Thread(target=send)
    sending.start()
    for reader in dice.sample(readers, count):
        time.sleep(dice.uniform(0, 0.01))
        told = unsubscribe.unsubscribe(ground, reader.id, Exit.PAGE)
        left[reader.email] = time.monotonic(), told
    done.set()
    sending.join()
    sender.finish()
    sender.close()
    late = {who: sum(at > left[who][0] for at in times) for who, times in began.items()}
    assert {who: times for who, times in late.items() if times > left[who][1]} == {}
    assert sum(map(len, began.values())) > count / 10, "letters did go out meanwhile"
    record(left=count, seed=seed, letters=sum(map(len, began.values())), sent_after_leaving_unannounced=0,
           announced=sum(told for _, told in left.values()), arrived_after=sum(late.values()))  # fmt: skip
