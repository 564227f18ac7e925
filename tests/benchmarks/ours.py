"""Our own tick: claim, decrypt, fill, checks, commits of `sending` and `accepted`, and the next row, all in its time.

python -m tests.benchmarks.ours URL COUNT DATABASE CONCURRENCY FOLDER
"""

import json
import sys
import time
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, insert, select, text, update

from nurture import log, runtime
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.ids import SubscriberId, new_id
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.store.core.schema import deliveries, editions, enrollments, sequences, subscribers
from nurture.store.subscribers import subscribers as people
from tests.benchmarks.letter import HTML, SUBJECT, TEXT, WARM_UP
from tests.conftest import settings_for
from tests.people import run_tick
from tests.servers.sendgrid import KEY

_AT_ONCE = 2_000


def crowd(rt: Runtime, count: int, name: str = "reader", at: datetime | None = None) -> None:
    """Confirmed readers whose first letter is due, written in bulk."""
    due = at or rt.clock.now()
    with rt.database.read() as db:
        sequence = db.execute(select(sequences.c.id)).scalar_one()
    for start in range(0, count, _AT_ONCE):
        persons, places, letters = [], [], []
        for number in range(start, min(start + _AT_ONCE, count)):
            who, place = SubscriberId(new_id()), new_id()
            email = f"{name}{number}@example.org"
            email_index = rt.cipher.blind_index(email)
            persons.append({
                "id": who, "email_index": email_index, "email_encrypted": rt.cipher.encrypt(email, people.email_field(who)),
                "first_name_encrypted": rt.cipher.encrypt("Robin", people.first_name_field(who)),
                "time_zone": "America/New_York",
                "state": SubscriberState.ACTIVE, "created_at": due, "confirmed_at": due,
            })  # fmt: skip
            places.append({
                "id": place, "subscriber_id": who, "sequence_id": sequence, "state": EnrollmentState.ACTIVE, "anchor_at": due,
                "started_at": due,
            })  # fmt: skip
            letters.append({
                "id": new_id(), "kind": DeliveryKind.LETTER, "state": State.SCHEDULED, "subscriber_id": who,
                "email_index": email_index,
                "enrollment_id": place, "step_key": "welcome", "planned_at": due, "due_at": due, "created_at": due,
            })  # fmt: skip
        with rt.database.begin() as db:
            db.execute(insert(subscribers), persons)
            db.execute(insert(enrollments), places)
            db.execute(insert(deliveries), letters)


def build(url: str, database: str, concurrency: int, folder: Path) -> Runtime:
    """An installation that sends the bench's letter to a SendGrid server."""
    given = {"mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": url, "from_email": "dana@example.org"}
    settings = settings_for(
        folder, database, postal_address="PO Box 12", send_concurrency=concurrency, from_name="Dana", **given
    )
    rt = runtime.build(settings, migrate=True)
    log.quiet()
    publishing.load_shipped(rt)
    with rt.database.begin() as db:
        db.execute(update(editions).values(subject=SUBJECT, html=HTML, text=TEXT))
    return rt


def analyze(rt: Runtime) -> None:
    """What autovacuum does within a minute in real life: let the planner know how large the tables are."""
    if not rt.database.is_sqlite:
        with rt.database.begin() as db:
            db.execute(text("ANALYZE"))


def sent_and_planned(rt: Runtime) -> tuple[int, int]:
    """How many letters were accepted, and how many next ones are planned."""
    count = select(func.count()).select_from(deliveries)
    with rt.database.read() as db:
        accepted, planned = (db.scalar(count.where(deliveries.c.state == state)) for state in (State.ACCEPTED, State.SCHEDULED))
    return accepted or 0, planned or 0


def main(url: str, count: int, database: str, concurrency: int, folder: Path) -> dict[str, float]:
    """Seconds and CPU seconds of one tick over `count` due letters."""
    rt = build(url, database, concurrency, folder)
    crowd(rt, WARM_UP, "first")
    run_tick(rt)
    crowd(rt, count)
    analyze(rt)
    begin, cpu = time.perf_counter(), time.process_time()
    run_tick(rt)
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    if sent_and_planned(rt) != (WARM_UP + count, WARM_UP + count):
        raise RuntimeError(f"{sent_and_planned(rt)} sent and planned, not {WARM_UP + count} each")
    rt.close()
    return {"seconds": took, "cpu": cpu}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))))
