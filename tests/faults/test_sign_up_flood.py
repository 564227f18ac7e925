"""Sign-ups from thousands of networks at once, half of them repeats: nobody is asked twice, and the breaker holds the rest."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, product
from pathlib import Path

import pytest
from sqlalchemy import func, select

from nurture.app import create_app
from nurture.domain.delivery import DeliveryKind, State
from nurture.runtime import Runtime
from nurture.services.subscribers import sign_up_queue
from nurture.settings import DEFINITIONS
from nurture.store.core.schema import deliveries, sign_ups, subscribers
from tests import people
from tests.desk import csrf, enter
from tests.faults import crowd
from tests.faults.conftest import FULL, Record
from tests.faults.harness import until
from tests.people import inbox
from tests.processes import NURTURE, ROOT, environment, free_port, running

SIGN_UPS = 2_000 if FULL else 200
"""In this process; over HTTP there are more."""
PROXY = {"REMOTE_ADDR": "10.0.0.7"}


def flood(rt: Runtime) -> None:
    """The sign-ups of a crowd, by eight clients at once."""
    app, numbers = create_app(rt), crowd.shuffled(SIGN_UPS)

    def post(place: int) -> int:
        form, headers = crowd.sign_up(place, numbers)
        return app.test_client().post("/subscribe", data=form, headers=headers, environ_base=PROXY).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(post, range(SIGN_UPS))) == {303}


def decide(rt: Runtime) -> None:
    """As two processes do it."""

    def all_of_it(_: int) -> None:
        while sign_up_queue.decide_on_sign_ups(rt):
            pass

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(all_of_it, range(2)))


def counts(rt: Runtime) -> tuple[int, int, int]:
    """Subscribers, confirmations, and sign-ups that wait."""
    with rt.database.read() as db:
        people = db.scalar(select(func.count()).select_from(subscribers)) or 0
        asked = (
            db.scalar(select(func.count()).select_from(deliveries).where(deliveries.c.kind == DeliveryKind.CONFIRMATION)) or 0
        )
        waiting = db.scalar(select(func.count()).select_from(sign_ups).where(sign_ups.c.asked_at.is_(None))) or 0
    return people, asked, waiting


def most_confirmations(rt: Runtime) -> int:
    """How many the one who got most of them got."""
    d = deliveries.c
    each = select(func.count().label("many")).where(d.kind == DeliveryKind.CONFIRMATION).group_by(d.email_index).subquery()
    with rt.database.read() as db:
        return db.scalar(select(func.max(each.c.many))) or 0


def do_wait(rt: Runtime) -> bool:
    with rt.database.read() as db:
        return sign_up_queue.on_hold(rt, db) is not None


def test_with_the_breaker_raised_each_address_is_one_subscriber_and_gets_one_confirmation(rt: Runtime) -> None:
    rt.settings = rt.settings.model_copy(update={"trusted_proxies": "10.0.0.0/8", "confirmations_per_hour": 1_000_000})
    flood(rt)
    decide(rt)
    assert counts(rt) == (SIGN_UPS // 2, SIGN_UPS // 2, 0)
    assert most_confirmations(rt) == 1


def test_with_the_defaults_the_breaker_trips_and_one_press_goes_on(rt: Runtime) -> None:
    most = DEFINITIONS["confirmations_per_hour"].default
    rt.settings = rt.settings.model_copy(update={"trusted_proxies": "10.0.0.0/8", "confirmations_per_hour": most})
    flood(rt)
    decide(rt)
    _, asked, waiting = counts(rt)
    assert asked <= most
    assert waiting >= SIGN_UPS // 2 - most
    assert do_wait(rt)
    sign_up_queue.resume(rt)
    decide(rt)
    assert counts(rt) == (SIGN_UPS // 2, SIGN_UPS // 2, 0)


def spellings(count: int) -> list[str]:
    """So many ways to write one mailbox: dots, capitals, tags, and the provider's other name."""
    name = "averylongname"
    found = [
        f"{''.join(part)}{tag}@{domain}"
        for tag, domain in product(("", "+a", "+News.2026", "+=?"), ("gmail.com", "googlemail.com", "GMail.COM"))
        for part in product(*[(letter, letter.upper(), f"{letter}.") for letter in name[:-1]], name[-1])
    ]
    return found[:: len(found) // count][:count]


def test_one_victim_in_every_spelling_gets_one_mail(rt: Runtime, record: Record) -> None:
    rt.settings = rt.settings.model_copy(update={"trusted_proxies": "10.0.0.0/8"})
    app, wanted = create_app(rt), spellings(1_000 if FULL else 40)
    answers = Counter[int]()
    for place, email in enumerate(wanted):
        client = f"2001:db8:{place:x}::1"
        answer = app.test_client().post(
            "/subscribe", data={"email": email, "consent": "on"}, headers={"X-Forwarded-For": client}, environ_base=PROXY
        )
        answers[answer.status_code] += 1
    assert len(set(wanted)) == sum(answers.values()) == len(wanted)
    assert answers[303] == len([email for email in wanted if "=?" not in email]), answers
    people.run_tick(rt)
    people.run_tick(rt)
    assert len(inbox(rt)) == 1
    record(spellings=len(wanted), taken=answers[303], mails=len(inbox(rt)))


PAGES = ("/", "/consultation", "/check-your-inbox", "/pages/sources", "/desk/login", "/read/ketamine-and-talk-therapy")
AT_ONCE, QUIET_SECONDS = (10_000, 30.0) if FULL else (60, 0.5)
FLOOD_SECONDS = 60.0 if FULL else 1.0
MOST_SLOWER = 5


class Visitor:
    """Somebody who opens one page after the other, and how long each took, in milliseconds."""

    def __init__(self, port: int) -> None:
        self.port, self.answers = port, Counter[int]()

    @contextmanager
    def visits(self) -> Iterator[list[float]]:
        """Opens pages until the block ends."""
        took, over = list[float](), threading.Event()
        thread = threading.Thread(target=self._visit, args=(took, over))
        thread.start()
        try:
            yield took
        finally:
            over.set()
            thread.join()

    def _visit(self, took: list[float], over: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        for path in cycle(PAGES):
            begin = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            took.append((time.perf_counter() - begin) * 1000)
            self.answers[answer.status] += 1
            if over.wait(0.03):
                break
        connection.close()


def p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


@pytest.mark.parametrize("breaker", ["raised", "as it is"] if FULL else ["raised"])
def test_ten_thousand_sign_ups_in_a_minute_keep_no_page_waiting(
    ground: Runtime, tmp_path: Path, breaker: str, record: Record
) -> None:
    """Over HTTP, into the service as it runs, which decides and sends meanwhile."""
    port = free_port()
    url, most = f"http://127.0.0.1:{port}", DEFINITIONS["confirmations_per_hour"].default
    env = environment(
        tmp_path, database_url=ground.settings.database, listen=f"127.0.0.1:{port}", base_url=url,
        trusted_proxies="127.0.0.0/8", confirmations_per_hour=1_000_000 if breaker == "raised" else most,
    )  # fmt: skip
    visitor, quiet, load = Visitor(port), list[float](), os.getloadavg()[0]
    with running([*NURTURE, "serve", "--workers", "2"], env, tmp_path / "log", url + "/healthz"):
        with visitor.visits():
            time.sleep(1)  # what is loaded once is no page's time
        with visitor.visits() as before:
            time.sleep(QUIET_SECONDS)
        command = [sys.executable, "-m", "tests.faults.crowd", str(port), str(AT_ONCE), str(FLOOD_SECONDS)]
        with visitor.visits() as meanwhile:
            done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        if breaker != "raised":
            assert until(lambda: do_wait(ground), 120, 0.2)
            assert counts(ground)[1] <= most
            desk = create_app(ground).test_client()
            enter(desk, ground)
            assert desk.post("/desk/confirmations", data={"csrf": csrf(desk, "/desk/account/")}).status_code == 303
        assert until(lambda: counts(ground)[2] == 0, 600, 0.5)
        assert until(lambda: sent(ground) == AT_ONCE // 2, 600, 0.5)
        with visitor.visits() as after:
            time.sleep(QUIET_SECONDS)
        quiet = before + after
    figures = {"breaker": breaker, "sign_ups": AT_ONCE, "seconds": f"{said['seconds']:.0f}", "answers": said["answers"]}
    pages = {"quiet_ms": f"{p99(quiet):.1f}", "meanwhile_ms": f"{p99(meanwhile):.1f}", "visits": len(quiet) + len(meanwhile)}
    ratio = p99(meanwhile) / p99(quiet)
    record(**figures, **pages, ratio=f"{ratio:.1f}", sign_up_p99_ms=f"{said['p99_ms']:.0f}", load=f"{load:.1f}")
    assert said["answers"] == {"303": AT_ONCE}
    assert set(visitor.answers) == {200}
    assert counts(ground) == (AT_ONCE // 2, AT_ONCE // 2, 0)
    assert most_confirmations(ground) == 1
    assert set(Counter(str(mail.message["To"]) for mail in inbox(ground)).values()) == {1}
    if FULL and load <= (os.cpu_count() or 1):  # else other work keeps pages and sign-ups waiting, and nothing is proved
        assert said["seconds"] < FLOOD_SECONDS * 1.1
        assert ratio <= MOST_SLOWER


def sent(rt: Runtime) -> int:
    d = deliveries.c
    with rt.database.read() as db:
        return db.scalar(select(func.count()).where(d.kind == DeliveryKind.CONFIRMATION, d.state == State.ACCEPTED)) or 0
