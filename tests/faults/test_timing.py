"""How long an answer takes does not say who is on the list, or who has an account: a real server, 400 requests of each case."""

import random
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from sqlalchemy import delete

from nurture.delivery.suppress import suppress
from nurture.domain.subscriber import Suppression
from nurture.domain.user import Role
from nurture.runtime import Runtime
from nurture.services.accounts.accounts import add
from nurture.services.addresses import parse_address
from nurture.services.subscribers import personal_data
from nurture.store.core.desk_schema import login_attempts
from nurture.store.core.schema import limit_counters
from nurture.store.subscribers import subscribers
from nurture.tokens import Purpose
from tests.desk import PASSWORD, a_colleague
from tests.faults.conftest import FULL, Record
from tests.faults.timing import MOST_EFFECT, Asked, Case, Pair, compare, measure
from tests.people import Reader, a_subscriber, sign_up
from tests.processes import NURTURE, environment, free_port, running

TIMES = 400 if FULL else 2
EACH = 40 if FULL else 1
"""Different addresses of each kind; they take turns."""


@pytest.fixture
def port(ground: Runtime, tmp_path: Path) -> Iterator[int]:
    """Where the service serves its pages, in a process of its own, which decides on nothing meanwhile."""
    listens = free_port()
    url = f"http://127.0.0.1:{listens}"
    env = environment(tmp_path, database_url=ground.settings.database, listen=url.removeprefix("http://"), base_url=url)
    with running([*NURTURE, "serve", "--no-scheduler"], env, tmp_path / "log", url + "/healthz"):
        yield listens


def typed(kind: str, number: int) -> str:
    """Addresses of all kinds have the same length."""
    return f"{kind:x<12}{number % EACH:04}@example.org"


def known(rt: Runtime, kind: str) -> list[Reader]:
    return [a_subscriber(rt, typed(kind, number)) for number in range(EACH)]


def bounced(rt: Runtime) -> None:
    for reader in known(rt, "bounced"):
        with rt.database.begin() as db:
            person = subscribers.get(db, reader.id)
            assert person is not None
            suppress(rt, db, person, Suppression.BOUNCED)


def erased(rt: Runtime) -> list[Reader]:
    gone = known(rt, "erased")
    for reader in gone:
        personal_data.erase(rt, reader.id)
    return gone


def signing_up(kind: str) -> Case:
    def asked(number: int) -> Asked:
        form = {"email": typed(kind, number), "first_name": "Robin", "time_zone": "Europe/Berlin", "consent": "on"}
        return Asked("/subscribe", form)

    return asked


def asking_for_a_call(kind: str) -> Case:
    def asked(number: int) -> Asked:
        form = {"name": "Robin", "email": typed(kind, number), "region": "Oregon", "contact_way": "email", "times": "Mondays"}
        return Asked("/consultation", form)

    return asked


def logging_in(kind: str) -> Case:
    def asked(number: int) -> Asked:
        address = typed(kind, number)
        return Asked("/desk/login", {"email": address, "password": f"{PASSWORD} that is wrong"}, address)

    return asked


def asking_for_a_link(kind: str) -> Case:
    return lambda number: Asked("/desk/login/mail", {"email": typed(kind, number)})


def by_token(rt: Runtime, path: str, purpose: Purpose, people: list[Reader]) -> Case:
    tokens = cycle(rt.tokens.mint(purpose, reader.id) for reader in people)

    def asked(_: int) -> Asked:
        token = next(tokens)
        return Asked(path.format(token), typed=token)

    return asked


def pairs(rt: Runtime) -> list[Pair]:
    """What must not be told apart; everybody it needs comes first, because nobody decides on the sign-ups that are measured."""
    readers, gone = known(rt, "known"), erased(rt)
    bounced(rt)
    for number in range(EACH):
        sign_up(rt, typed("asked", number))
        a_colleague(rt, typed("dana", number))
        add(rt, parse_address(typed("invited", number)), "Robin", Role.VIEWER)

    def link(path: str, purpose: Purpose) -> Pair:
        both = by_token(rt, path, purpose, readers), by_token(rt, path, purpose, gone)
        return Pair(f"GET {path.format('…')}: on the list, erased", *both)

    return [
        Pair("sign-up: unknown, on the list", signing_up("stranger"), signing_up("known")),
        Pair("sign-up: unknown, mail came back", signing_up("new"), signing_up("bounced")),
        Pair("sign-up: unknown, not confirmed yet", signing_up("newest"), signing_up("asked")),
        Pair("request for a call: stranger, on the list", asking_for_a_call("caller"), asking_for_a_call("known")),
        Pair("log-in: no account, wrong password", logging_in("nobody"), logging_in("dana")),
        Pair("log-in: no account, no password yet", logging_in("noone"), logging_in("invited")),
        Pair("log-in link: no account, an account", asking_for_a_link("nobody"), asking_for_a_link("dana")),
        link("/confirm/{}", Purpose.CONFIRM),
        link("/unsubscribe/{}", Purpose.UNSUBSCRIBE),
    ]


def test_no_answer_tells_two_cases_apart(ground: Runtime, port: int, seed: int, record: Record) -> None:
    """By what it says, and in `make faults` by how long it takes."""

    def forget_limits() -> None:
        with ground.database.begin() as db:
            db.execute(delete(limit_counters))
            db.execute(delete(login_attempts))

    dice, apart = random.Random(seed), dict[str, float]()
    for pair in pairs(ground):
        found = measure(port, pair, TIMES, dice, forget_limits)
        assert found.answers[0] == found.answers[1], pair.name
        assert len(found.answers[0]) == 1, f"{pair.name}: not every request was answered in the same way"
        compared, (one, other) = found.compared, found.medians
        record(
            case=pair.name, requests=2 * TIMES, seed=seed, first_ms=f"{one:.2f}", second_ms=f"{other:.2f}",
            effect=f"{compared.effect:+.3f}", p=f"{compared.p:.2g}",
        )  # fmt: skip
        if abs(compared.effect) >= MOST_EFFECT:
            apart[pair.name] = compared.effect
    assert not (FULL and apart)


def test_samples_are_compared_by_their_ranks() -> None:
    assert compare([1, 2, 3], [4, 5, 6]).effect == 1
    assert compare([4, 5, 6], [1, 2, 3]).effect == -1
    same = compare([1, 1, 2, 2], [1, 1, 2, 2])
    assert (same.effect, same.p) == (0, 1)
    # Hollander and Wolfe, Nonparametric Statistical Methods, 1999, example 4.1: U is 15 of 50, and nothing is tied.
    found = compare([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46], [1.15, 0.88, 0.90, 0.74, 1.21])
    assert found.effect == pytest.approx(2 * 15 / 50 - 1)
    assert found.p == pytest.approx(0.2207, abs=0.0001)
    ties = compare([1, 2, 2, 3], [2, 3, 3, 4])  # U is 13, its variance 16/12 · (9 - 48/56)
    assert ties.effect == pytest.approx(2 * 13 / 16 - 1)
    assert ties.p == pytest.approx(0.1292, abs=0.0001)


def test_a_difference_of_a_tenth_of_a_spread_is_not_seen_and_one_of_a_half_is() -> None:
    dice = random.Random(14)
    one, same, other = ([dice.gauss(mean, 1) for _ in range(400)] for mean in (0, 0.1, 0.5))
    assert abs(compare(one, same).effect) < MOST_EFFECT < abs(compare(one, other).effect)
