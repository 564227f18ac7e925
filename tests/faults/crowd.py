"""Visitors through a proxy that is trusted: sign-ups from thousands of networks, half of them repeats, at an even pace.

python -m tests.faults.crowd PORT SIGN_UPS SECONDS
"""

import http.client
import json
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

PER_NETWORK = 2
_CONNECTIONS = 8


def sign_up(place: int, numbers: list[int]) -> tuple[dict[str, str], dict[str, str]]:
    """The form and the headers of one of the sign-ups: half as many addresses, half as many networks, in any order."""
    network = place // PER_NETWORK
    client = f"2001:db8:{network >> 8:x}:{(network & 255) << 8:x}::1"
    form = {"email": f"reader{numbers[place]}@example.org", "consent": "on"}
    return form, {"X-Forwarded-For": f"203.0.113.9, {client}"}


def shuffled(count: int) -> list[int]:
    """Who signs up, one after the other: everybody twice."""
    numbers = [*range(count // 2)] * 2
    random.Random(14).shuffle(numbers)
    return numbers


def come(port: int, count: int, seconds: float) -> dict[str, object]:
    """Sign up; what was answered, how long it took in all, and the slowest answers in milliseconds."""
    numbers, answers, took = shuffled(count), Counter[int](), list[float]()
    begin = time.monotonic()

    def visit(places: range) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for place in places:
            time.sleep(max(0.0, begin + seconds * place / count - time.monotonic()))
            form, headers = sign_up(place, numbers)
            asked = time.perf_counter()
            connection.request(
                "POST", "/subscribe", urlencode(form), {"Content-Type": "application/x-www-form-urlencoded", **headers}
            )
            answer = connection.getresponse()
            answer.read()
            took.append(time.perf_counter() - asked)
            answers[answer.status] += 1
        connection.close()

    with ThreadPoolExecutor(_CONNECTIONS) as threads:
        list(threads.map(visit, [range(first, count, _CONNECTIONS) for first in range(_CONNECTIONS)]))
    took.sort()
    return {
        "answers": dict(answers),
        "seconds": time.monotonic() - begin,
        "p99_ms": took[int(len(took) * 0.99)] * 1000,
        "worst_ms": took[-1] * 1000,
    }


if __name__ == "__main__":
    print(json.dumps(come(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
