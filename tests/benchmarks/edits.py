"""An edit of the plan over 100,000 readers in its middle: how long looking at it takes, and saving it for everyone.

python -m tests.benchmarks.edits DATABASE FOLDER [READERS]
"""

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import insert, select

from nurture import log, runtime
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.edit import Choice
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.domain.timeline import next_due
from nurture.ids import DeliveryId, EnrollmentId, SubscriberId, UserId, new_id
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.services.sequences import schedule, schedule_migration
from nurture.services.sequences.enrollments import BY_DESK
from nurture.services.sequences.schedule import Edited
from nurture.store.core.schema import deliveries, enrollments, subscribers
from nurture.store.sequences import sequences
from nurture.store.subscribers import subscribers as people
from tests.benchmarks.ledgers import settled

KEY = "ketamine-and-talk-therapy"
ME = UserId("0" * 32)
_AT_ONCE = 5_000
_ZONES = (
    *("America/New_York",) * 6, *("America/Chicago",) * 4, *("America/Los_Angeles",) * 4, *("America/Denver",) * 2,
    "America/Phoenix", "Europe/Berlin", "Europe/London", "Australia/Sydney",
)  # fmt: skip


def fill(rt: Runtime, count: int) -> None:
    """Readers who signed up at any second of the past weeks and have got what was due since; one in fifty is paused."""
    chance, now = random.Random(7), rt.clock.now()
    with rt.database.read() as db:
        stored = sequences.load(db, KEY)
    assert stored
    version = schedule_migration.version_of(schedule_migration.schedule_of(stored))
    sealed = rt.cipher.encrypt("reader@example.org", people.email_field(SubscriberId("")))
    for start in range(0, count, _AT_ONCE):
        persons, places, rows = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
        while len(persons) < min(_AT_ONCE, count - start):
            who, place, email_index, name = (
                SubscriberId(new_id()),
                EnrollmentId(new_id()),
                chance.randbytes(32),
                chance.choice(_ZONES),
            )
            joined = anchor = now - timedelta(microseconds=chance.randrange(24 * 86_400_000_000))
            paused, last, mine = chance.random() < 0.02, None, list[dict[str, Any]]()
            for step in version.steps:
                due = next_due(anchor, step, version.rules, ZoneInfo(name))
                state = State.DELIVERED if due <= now else State.CANCELLED if paused else State.SCHEDULED
                sent = due if due <= now else None
                mine.append({
                    "id": DeliveryId(new_id()), "kind": DeliveryKind.LETTER, "state": state, "subscriber_id": who,
                    "email_index": email_index,
                    "enrollment_id": place, "step_key": step.key, "planned_at": due, "due_at": due, "marked_at": sent,
                    "accepted_at": sent, "created_at": anchor,
                })  # fmt: skip
                if due > now:
                    break
                anchor, last = due, step.key
            else:
                continue  # has had every letter
            persons.append({
                "id": who, "email_index": email_index, "state": SubscriberState.ACTIVE, "time_zone": name,
                "email_encrypted": sealed, "created_at": joined, "confirmed_at": joined,
            })  # fmt: skip
            places.append({
                "id": place, "subscriber_id": who, "sequence_id": stored.id, "anchor_at": anchor, "started_at": joined,
                "state": EnrollmentState.PAUSED if paused else EnrollmentState.ACTIVE, "last_step": last,
                "paused_at": now if paused else None, "reason": BY_DESK if paused else None,
            })  # fmt: skip
            rows += mine
        with rt.database.begin() as db:
            for table, values in ((subscribers, persons), (enrollments, places), (deliveries, rows)):
                db.execute(insert(table), values)
    settled(rt)


def measure(rt: Runtime) -> dict[str, float]:
    """Seconds of each act."""
    found = dict[str, float]()

    def timed(what: str, act: Callable[[], object]) -> None:
        begin = time.perf_counter()
        act()
        found[what] = time.perf_counter() - begin

    shown = schedule.load(rt, KEY)
    slots = list(shown.edited.slots)
    slots[3] = replace(slots[3], wait="5 days")
    one_wait = Edited(tuple(slots), shown.rules)
    window = shown.rules.window
    later = replace(
        shown.rules, window=replace(window, opens=window.opens.replace(hour=10), closes=window.closes.replace(hour=16))
    )
    all_hours = Edited(tuple(slots), later)
    timed("look at a longer wait", lambda: schedule.preview(rt, KEY, one_wait))
    timed("save it for everyone", lambda: schedule.save(rt, KEY, one_wait, Choice.EVERYONE, ME, shown.version))
    timed("look at other hours", lambda: schedule.preview(rt, KEY, all_hours))
    timed("save them for everyone", lambda: schedule.save(rt, KEY, all_hours, Choice.EVERYONE, ME, shown.version + 1))
    return found


def main(url: str, folder: Path, count: int) -> dict[str, float]:
    """Fill a fresh database and measure."""
    from tests.conftest import settings_for

    log.quiet()
    rt = runtime.build(settings_for(folder, url, from_name="Dana from Oak Street"), migrate=True)
    publishing.load_shipped(rt)
    fill(rt, count)
    rt.close()
    found = measure(rt)
    d = deliveries.c
    with rt.database.read() as db:
        found["deliveries"] = len(db.scalars(select(d.id)).all())
    rt.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 100_000)))
