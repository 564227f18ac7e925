"""The glossary as types: the words every other module uses, and the base of every error we raise on purpose."""

import secrets
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


def new_id() -> str:
    """A fresh random id: 128 bits as 32 lower-case hex digits. Says nothing about whom or when."""
    return secrets.token_hex(16)
