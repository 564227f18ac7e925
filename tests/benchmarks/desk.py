"""Every page of the desk with 100,000 subscribers and a million deliveries: none may keep anybody waiting.

python -m tests.benchmarks.desk DATABASE FOLDER [SUBSCRIBERS]
"""

import json
import random
import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import bindparam, insert, select, text

from nurture import log, runtime
from nurture.app import create_app
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.ids import SubscriberId, new_id
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.store.core.columns import Instant
from nurture.store.core.desk_schema import tags
from nurture.store.core.schema import enrollments, sequences, steps, subscribers
from nurture.store.subscribers import subscribers as people
from tests.benchmarks.ledgers import settled
from tests.conftest import settings_for
from tests.desk import csrf, enter

_AT_ONCE = 5_000
_ROUNDS = 7


def fill(rt: Runtime, count: int) -> str:
    """People at every place of the sequence, ten deliveries for each, consents and tags; returns somebody's id."""
    chance = random.Random(7)
    now = rt.clock.now()
    with rt.database.read() as db:
        sequence = db.scalar(select(sequences.c.id))
        keys = list(db.scalars(select(steps.c.key).order_by(steps.c.position)))
    who = SubscriberId("")
    for start in range(0, count, _AT_ONCE):
        persons: list[dict[str, Any]] = []
        places: list[dict[str, Any]] = []
        tagged: list[dict[str, Any]] = []
        for number in range(start, min(start + _AT_ONCE, count)):
            who = SubscriberId(new_id())
            email = f"reader{number}@example.org"
            joined = now - timedelta(seconds=chance.randrange(2 * 365 * 86_400))
            state = chance.choices(list(SubscriberState)[:6], (5, 75, 0, 17, 2, 1))[0]
            gone = state not in (SubscriberState.PENDING, SubscriberState.ACTIVE)
            last = chance.randrange(len(keys))
            place = EnrollmentState.EXITED if gone else chance.choices(list(EnrollmentState), (5, 1, 20, 1))[0]
            if place is EnrollmentState.COMPLETED:
                last = len(keys) - 1
            persons.append({
                "id": who, "email_index": rt.cipher.blind_index(email), "state": state, "time_zone": "America/New_York",
                "email_encrypted": rt.cipher.encrypt(email, people.email_field(who)), "created_at": joined,
                "first_name_encrypted": rt.cipher.encrypt("Robin", people.first_name_field(who)),
                "confirmed_at": None if state is SubscriberState.PENDING else joined,
                "left_at": joined + timedelta(days=chance.randrange(40)) if gone else None,
            })  # fmt: skip
            if state is not SubscriberState.PENDING:
                places.append({
                    "id": new_id(), "subscriber_id": who, "sequence_id": sequence, "state": place, "anchor_at": joined,
                    "started_at": joined, "last_step": keys[last],
                    "reason": state.value if gone else "consultation" if place is EnrollmentState.EXITED else None,
                })  # fmt: skip
            if number % 3 == 0:
                tagged.append({"subscriber_id": who, "tag": f"tag {number % 9}"})
        with rt.database.begin() as db:
            db.execute(insert(subscribers), persons)
            db.execute(insert(enrollments), places)
            db.execute(insert(tags), tagged)
    _deliveries(rt)
    settled(rt)
    return who


def _deliveries(rt: Runtime) -> None:
    sqlite = rt.database.is_sqlite
    fresh = "randomblob(16)" if sqlite else "gen_random_uuid()"
    day = "86400000000" if sqlite else "interval '1 day'"
    chance = "abs(random() % 1000)" if sqlite else "floor(random() * 1000)"
    became = (
        f"CASE WHEN {chance} < 970 THEN 'delivered' WHEN {chance} < 700 THEN 'bounced' "
        f"WHEN {chance} < 50 THEN 'complained' ELSE 'accepted' END"
    )
    into = (
        "INSERT INTO deliveries (id, kind, state, subscriber_id, email_index, enrollment_id, step_key, planned_at, due_at, "
        f"marked_at, accepted_at, created_at) SELECT {fresh}, "
    )
    at = f"e.started_at + p.position * 4 * {day}"
    places = (
        "FROM enrollments e JOIN subscribers s ON s.id = e.subscriber_id "
        "JOIN steps l ON l.sequence_id = e.sequence_id AND l.key = e.last_step JOIN steps p ON p.sequence_id = e.sequence_id "
    )
    six_times = " UNION ALL ".join(f"SELECT {number}" for number in range(6))
    statements = [
        f"INSERT INTO consents (id, subscriber_id, act, wording, wording_version, source, at) SELECT {fresh}, id, act, "
        "'words', '1', '/', created_at FROM subscribers, (SELECT 'given' AS act UNION ALL SELECT 'confirmed') AS acts",
        f"{into} 'letter', {became}, e.subscriber_id, s.email_index, e.id, p.key, {', '.join([at] * 5)} {places} "
        "WHERE p.position <= l.position",
        f"{into} 'letter', 'scheduled', e.subscriber_id, s.email_index, e.id, p.key, :now, :now, NULL, NULL, :now {places} "
        "WHERE p.position = l.position + 1 AND e.state = 'active'",
        f"{into} 'already_subscribed', 'delivered', id, email_index, NULL, NULL, {', '.join(['created_at'] * 5)} "
        f"FROM subscribers, ({six_times}) AS times",
    ]
    with rt.database.begin() as db:
        if sqlite:
            db.execute(text("PRAGMA cache_size = -1000000"))
        else:
            db.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in statements:
            typed = text(statement)
            if ":now" in statement:
                typed = typed.bindparams(bindparam("now", rt.clock.now() + timedelta(days=3), type_=Instant))
            db.execute(typed)


def measure(rt: Runtime, who: str) -> dict[str, float]:
    """Milliseconds of each page: the median of some rounds, after one that is not counted."""
    client = create_app(rt).test_client()
    enter(client, rt)
    base = "/desk/people/"
    listed = client.get(base).text
    older = listed.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    letters = [part.split('"')[0] for part in listed.split('<option value="')[1:] if part.startswith(("got.", "waits."))]
    paths = {
        "home": "/desk/", "the letters": "/desk/letters/", "the plan": "/desk/sequence/", "the simulator": "/desk/simulator",
        "all mails": "/desk/mails", "who has access": "/desk/access/", "the account": "/desk/account/",
        "settings": "/desk/settings/", "the first run": "/desk/start/", "what people agree to": "/desk/settings/consent",
        "a letter": "/desk/letters/ketamine-and-talk-therapy/history",
        "the list": base, "its second page": older, "those getting letters": f"{base}?standing=reading",
        "those who had every letter": f"{base}?standing=finished",
        "those paused": f"{base}?standing=paused", "those reported as spam": f"{base}?standing=complained",
        "those who ended early": f"{base}?standing=ended", "waiting for a letter": f"{base}?letter={letters[2]}",
        "got a letter last": f"{base}?letter={letters[-2]}", "by source": f"{base}?source=%2F", "by tag": f"{base}?tag=tag+3",
        "by days": f"{base}?since=2026-01-01&until=2026-01-31",
        "all filters": f"{base}?standing=reading&letter={letters[2]}&tag=tag+3&source=%2F",
        "one person": f"{base}{who}/", "requests": "/desk/requests",
        **{f"numbers, {back}": f"/desk/numbers?back={back}" for back in ("30-days", "90-days", "year", "all")},
    }  # fmt: skip
    found = {name: _timed(client, path) for name, path in paths.items()}
    token = csrf(client)
    form = {"csrf": token, "for": "all", "do": "pause", "standing": "reading"}
    found["how many it would pause"] = _timed(client, "/desk/people/many/", form)
    found["find an address"] = _timed(client, "/desk/people/find", {"csrf": token, "email": "reader7@example.org"})
    return found


def _timed(client: FlaskClient, path: str, form: dict[str, str] | None = None) -> float:
    times = []
    for _ in range(_ROUNDS + 1):
        begin = time.perf_counter()
        response = client.post(path, data=form) if form else client.get(path)
        times.append((time.perf_counter() - begin) * 1000)
        if response.status_code not in (200, 303):
            raise RuntimeError(f"{path}: {response.status_code}")
    return statistics.median(times[1:])


def main(url: str, folder: Path, count: int) -> dict[str, float]:
    """Fill a fresh database and measure."""
    log.quiet()
    rt = runtime.build(settings_for(folder, url, from_name="Dana from Oak Street"), migrate=True)
    publishing.load_shipped(rt)
    who = fill(rt, count)
    rt.close()
    found = measure(rt, who)
    with rt.database.read() as db:
        found["deliveries"] = db.scalar(text("SELECT count(*) FROM deliveries")) or 0
    rt.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 100_000)))
