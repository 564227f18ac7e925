"""Named points at which a process can be made to die or to stand still, so that anyone can prove nothing is lost there.

`NURTURE_CRASH_AT=mark.after_commit` kills the process (SIGKILL) when it first comes by, `…:3` the third time, and
`mark.after_commit:3=stop` stops it (SIGSTOP) until somebody sends SIGCONT. `make faults` drives this; see docs/reliability.md.
"""

import os
import signal
import threading
from typing import Literal, get_args

Point = Literal[
    "plan.before_commit", "plan.after_commit",
    "claim.before_commit", "claim.after_commit",
    "render",
    "mark.before_commit", "mark.after_commit",
    "post.before", "post.half", "post.after",
    "settle.before_commit", "settle.between", "settle.after_commit",
    "reclaim.before_commit", "reclaim.after_commit",
    "event.before_commit", "event.after_commit",
    "resolve.before_commit", "resolve.after_commit",
]  # fmt: skip
"""plan: write the next row · claim · mark: the point of no return · post: the request · settle: write the outcome ·
reclaim: take back what a silent owner claimed · event: what the provider reports · resolve: decide on a mail in doubt."""

Desk = Literal["bulk_action.before_commit", "bulk_action.after_commit"]
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
