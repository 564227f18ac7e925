"""Crash points inside one process: the thread that comes by one does what a test says, dying included."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nurture import failpoints
from nurture.failpoints import Desk, Point


class Killed(BaseException):
    """The process dies here. Nothing in the service catches it."""


def die() -> None:
    """As kill -9 would."""
    raise Killed


@contextmanager
def meeting(point: Point | Desk | None, act: Callable[[], None] = die, nth: int = 1) -> Iterator[list[bool]]:
    """Whoever comes by `point` for the `nth` time within the block does `act`. Yields a list that is filled when it happens.

    The environment is read once, when a process begins; here it begins again with every block.
    """
    lock, came, met = threading.Lock(), [0], []

    def meet() -> None:
        with lock:
            came[0] += 1
            mine = came[0] == nth
        if mine:
            met.append(True)
            act()

    before = failpoints._chosen, failpoints._meet
    failpoints._chosen, failpoints._meet = point or "", meet
    try:
        yield met
    finally:
        failpoints._chosen, failpoints._meet = before
