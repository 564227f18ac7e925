"""Named points at which a process can be made to die or to stand still, so that anyone can prove nothing is lost there.

`NURTURE_CRASH_AT=T2.after_commit` kills the process (SIGKILL) when it first comes by, `…:3` the third time, and
`T2.after_commit:3=stop` stops it (SIGSTOP) until somebody sends SIGCONT. `make faults` drives this; see docs/reliability.md.
"""

import os
import signal
import threading
from typing import Literal, get_args

Point = Literal[
    "T0.before_commit", "T0.after_commit",
    "T1.before_commit", "T1.after_commit",
    "render",
    "T2.before_commit", "T2.after_commit",
    "post.before", "post.half", "post.after",
    "T3.before_commit", "T3.between", "T3.after_commit",
    "T4.before_commit", "T4.after_commit",
    "T5.before_commit", "T5.after_commit",
    "T6.before_commit", "T6.after_commit",
]  # fmt: skip
"""T0 plan · T1 claim · T2 mark, the point of no return · post: the request · T3 outcome · T4 reclaim · T5 event ·
T6 decision on a doubt."""

Desk = Literal["many.before_commit", "many.after_commit"]
"""The desk does something to many people, or takes it back: one of them after the other, a transaction each."""

POINTS: tuple[Point, ...] = get_args(Point)

_chosen, _, _act = os.environ.get("NURTURE_CRASH_AT", "").partition("=")
_chosen, _, _nth = _chosen.partition(":")
_left = int(_nth or 1)
_lock = threading.Lock()


def chosen(name: Point) -> bool:
    """Whether this is the point chosen: for places that must take another way to have it at all."""
    return name == _chosen


def point(name: Point | Desk) -> None:
    """Pass by; die here if the environment says so."""
    if name == _chosen:
        _meet()


def _meet() -> None:
    global _left
    with _lock:
        _left -= 1
        met = _left == 0
    if met:
        os.kill(os.getpid(), signal.SIGSTOP if _act == "stop" else signal.SIGKILL)
