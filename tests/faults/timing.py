"""Whether the time of an answer tells two cases apart: requests in random order to a running server, compared by ranks."""

import gc
import http.client
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlencode

MOST_EFFECT = 0.2
"""Of the rank-biserial correlation. Of 400 and 400 times that do not differ, one in a million comparisons is above it."""


@dataclass(frozen=True)
class Compared:
    """Two samples by their ranks (Mann and Whitney 1947; normal approximation with ties)."""

    effect: float
    """Rank-biserial correlation, 2·AUC - 1: 1 if every value of the second is above every one of the first, 0 if neither is."""
    p: float


def compare(first: Sequence[float], second: Sequence[float]) -> Compared:
    """Compare two samples."""
    n, m = len(first), len(second)
    marked = sorted([*((value, 0) for value in first), *((value, 1) for value in second)])
    before, ranks_of_second, ties = 0, 0.0, 0
    for _, same in groupby(marked, key=lambda each: each[0]):
        group = [of_second for _, of_second in same]
        ranks_of_second += sum(group) * (before + (len(group) + 1) / 2)
        ties += len(group) ** 3 - len(group)
        before += len(group)
    u = ranks_of_second - m * (m + 1) / 2
    spread = math.sqrt(n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))))
    p = math.erfc(abs(u - n * m / 2) / spread / math.sqrt(2)) if spread else 1.0
    return Compared(2 * u / (n * m) - 1, p)


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    form: Mapping[str, str] | None = None
    """None: a GET."""
    typed: str = ""
    """What the answer may repeat."""


Case = Callable[[int], Asked]
"""The n-th request of a case."""


@dataclass(frozen=True)
class Pair:
    """Two cases that a stranger must not be able to tell apart."""

    name: str
    first: Case
    second: Case


@dataclass
class Times:
    """How long the answers to both cases took, in seconds, and what they were."""

    first: list[float]
    second: list[float]
    answers: tuple[set[tuple[int, str, bytes]], set[tuple[int, str, bytes]]]

    @property
    def compared(self) -> Compared:
        """The second against the first."""
        return compare(self.first, self.second)

    @property
    def medians(self) -> tuple[float, float]:
        """In milliseconds."""
        return statistics.median(self.first) * 1000, statistics.median(self.second) * 1000


def measure(port: int, pair: Pair, count: int, dice: random.Random, forget_limits: Callable[[], None]) -> Times:
    """Send `count` requests of each case over one connection, each two of them in random order. `forget_limits` is called now
    and then, so that no limit is reached.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    found = Times([], [], (set(), set()))
    for case in (pair.first, pair.second):
        _answer(connection, case(count))  # what is loaded once is no part of a case
    gc.collect()
    gc.disable()
    try:
        for number in range(count):
            if number % 20 == 0:
                forget_limits()
                _answer(connection, Asked("/healthz"))
            both = [(found.first, found.answers[0], pair.first), (found.second, found.answers[1], pair.second)]
            dice.shuffle(both)
            for times, answers, case in both:
                seconds, answer = _answer(connection, case(number))
                times.append(seconds)
                answers.add(answer)
    finally:
        gc.enable()
        connection.close()
    return found


def _answer(connection: http.client.HTTPConnection, asked: Asked) -> tuple[float, tuple[int, str, bytes]]:
    """How long it took, and status, place to go to and page, without what was typed."""
    body = urlencode(asked.form).encode() if asked.form is not None else None
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    begin = time.perf_counter()
    connection.request("GET" if body is None else "POST", asked.path, body, headers)
    response = connection.getresponse()
    page = response.read()
    seconds = time.perf_counter() - begin
    shown = page.replace(asked.typed.encode(), b"") if asked.typed else page
    return seconds, (response.status, response.headers.get("Location", ""), shown)
