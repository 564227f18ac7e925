"""The types of ids, and new ones."""

import os
import threading
import time
from typing import NewType

SubscriberId = NewType("SubscriberId", str)
SequenceId = NewType("SequenceId", str)
EditionId = NewType("EditionId", str)
EnrollmentId = NewType("EnrollmentId", str)
DeliveryId = NewType("DeliveryId", str)
SignUpId = NewType("SignUpId", str)
BatchId = NewType("BatchId", str)
RequestId = NewType("RequestId", str)
ConsentId = NewType("ConsentId", str)
ConsultationId = NewType("ConsultationId", str)
LoginLinkId = NewType("LoginLinkId", str)
TestEmailId = NewType("TestEmailId", str)
AccountChangeId = NewType("AccountChangeId", str)
UserId = NewType("UserId", str)
KeyId = NewType("KeyId", str)
ScheduleId = NewType("ScheduleId", str)
ImageId = NewType("ImageId", str)
"""The first 128 bits of the SHA-256 of its content, as hex digits: another picture has another id."""
StepKey = NewType("StepKey", str)
"""Stable name of a step inside its sequence: the slug of its letter's file. Its position may change, this may not."""


class _Random(threading.local):
    """Random bytes of one thread, fetched for many ids at once: each fetch lets other threads have the interpreter."""

    pool = b""


_random = _Random()
_RANDOM_BYTES, _POOL_BYTES = 13, 13 * 315


def _forget() -> None:
    _random.pool = b""


os.register_at_fork(after_in_child=_forget)  # a child must not draw its parent's ids


def new_id() -> str:
    """A fresh id, 128 bits as 32 lower-case hex digits: the hour since 1970 in which it was drawn, then 104 random bits.

    Says nothing about whom. Ids of one hour lie together in every index, as the rows that come due together mostly do; wholly
    random ones touch a page of their own for each row, and more and more pages as a table grows (RFC 9562 section 6.13).
    """
    pool = _random.pool or os.urandom(_POOL_BYTES)
    _random.pool = pool[_RANDOM_BYTES:]
    return f"{int(time.time()) // 3600:06x}{pool[:_RANDOM_BYTES].hex()}"
