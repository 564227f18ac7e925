"""Sign-ups from thousands of networks at once, half of them repeats: nobody is asked twice, and the breaker holds the rest."""

import random
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select

from nurture.app import create_app
from nurture.domain.delivery import Kind
from nurture.runtime import Runtime
from nurture.services import sign_up_queue
from nurture.settings import DEFINITIONS
from nurture.store.schema import deliveries, sign_ups, subscribers
from tests.faults.conftest import FULL

SIGN_UPS = 10_000 if FULL else 200
PER_NETWORK = 2
PROXY = {"REMOTE_ADDR": "10.0.0.7"}


def flood(rt: Runtime) -> None:
    """Half as many addresses as sign-ups, half as many networks, in any order, by eight clients at once."""
    app = create_app(rt)
    numbers = [*range(SIGN_UPS // 2)] * 2
    random.Random(14).shuffle(numbers)

    def post(place: int) -> int:
        network = place // PER_NETWORK
        client = f"2001:db8:{network >> 8:x}:{(network & 255) << 8:x}::1"
        form = {"email": f"reader{numbers[place]}@example.org", "consent": "on"}
        headers = {"X-Forwarded-For": f"203.0.113.9, {client}"}
        return app.test_client().post("/subscribe", data=form, headers=headers, environ_base=PROXY).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(post, range(SIGN_UPS))) == {303}


def decide(rt: Runtime) -> None:
    """As two processes do it."""

    def all_of_it(_: int) -> None:
        while sign_up_queue.decide(rt):
            pass

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(all_of_it, range(2)))


def counts(rt: Runtime) -> tuple[int, int, int]:
    """Subscribers, confirmations, and sign-ups that wait."""
    with rt.database.read() as db:
        people = db.scalar(select(func.count()).select_from(subscribers)) or 0
        asked = db.scalar(select(func.count()).select_from(deliveries).where(deliveries.c.kind == Kind.CONFIRMATION)) or 0
        waiting = db.scalar(select(func.count()).select_from(sign_ups).where(sign_ups.c.asked_at.is_(None))) or 0
    return people, asked, waiting


def test_with_the_breaker_raised_each_address_is_one_subscriber_and_gets_one_confirmation(rt: Runtime) -> None:
    rt.settings = rt.settings.model_copy(update={"trusted_proxies": "10.0.0.0/8", "confirmations_per_hour": 1_000_000})
    flood(rt)
    decide(rt)
    assert counts(rt) == (SIGN_UPS // 2, SIGN_UPS // 2, 0)


def test_with_the_defaults_the_breaker_trips_and_one_press_goes_on(rt: Runtime) -> None:
    most = DEFINITIONS["confirmations_per_hour"].default
    rt.settings = rt.settings.model_copy(update={"trusted_proxies": "10.0.0.0/8", "confirmations_per_hour": most})
    flood(rt)
    decide(rt)
    _, asked, waiting = counts(rt)
    assert asked <= most
    assert waiting >= SIGN_UPS // 2 - most
    with rt.database.read() as db:
        assert sign_up_queue.waiting(rt, db) is not None
    sign_up_queue.go_on(rt)
    decide(rt)
    assert counts(rt) == (SIGN_UPS // 2, SIGN_UPS // 2, 0)
