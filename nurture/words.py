"""The glossary as types: the words every other module uses, and the base of every error we raise on purpose."""

import os
import threading
from typing import NewType

SubscriberId = NewType("SubscriberId", str)
SequenceId = NewType("SequenceId", str)
EditionId = NewType("EditionId", str)
EnrollmentId = NewType("EnrollmentId", str)
DeliveryId = NewType("DeliveryId", str)
BatchId = NewType("BatchId", str)
RequestId = NewType("RequestId", str)
ConsultationId = NewType("ConsultationId", str)
StepKey = NewType("StepKey", str)
"""Stable name of a step inside its sequence: the slug of its letter's file. Its position may change, this may not."""


class NurtureError(Exception):
    """Something we refuse on purpose. The message says what is wrong, which value, and what to do."""


class _Random(threading.local):
    """Random bytes of one thread, fetched for many ids at once: each fetch lets other threads have the interpreter."""

    pool = b""


_random = _Random()
_ID_BYTES, _POOL_BYTES = 16, 4096


def _forget() -> None:
    _random.pool = b""


os.register_at_fork(after_in_child=_forget)  # a child must not draw its parent's ids


def new_id() -> str:
    """A fresh random id: 128 bits as 32 lower-case hex digits. Says nothing about whom or when."""
    pool = _random.pool or os.urandom(_POOL_BYTES)
    _random.pool = pool[_ID_BYTES:]
    return pool[:_ID_BYTES].hex()
