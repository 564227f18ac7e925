"""Tables of sign-ups before anybody has confirmed them, and of limits."""

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, String, Table, Text

from nurture.domain.limits import Suspicion
from nurture.store.core.columns import EncryptedColumn, Id, Instant, Word
from nurture.store.core.metadata import metadata, one_of, where

limit_counters = Table(
    "limit_counters", metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Index("ix_limit_counters_ends_at", "ends_at"),  # retention
)  # fmt: skip
"""How often something has happened. `key`: a keyed hash of the limit's name and of whom it is counted for."""

sign_ups = Table(
    "sign_ups", metadata,
    Column("id", Id, primary_key=True),
    Column("email_index", LargeBinary(32), nullable=False),
    Column("email_encrypted", EncryptedColumn, nullable=False),
    Column("first_name_encrypted", EncryptedColumn),
    Column("time_zone", String(64), nullable=False),
    Column("plain_sender", Boolean, nullable=False),
    Column("wording", Text, nullable=False),
    Column("wording_version", String(20), nullable=False),
    Column("source", String(200), nullable=False),
    Column("suspicion", Word(Suspicion), nullable=False),
    Column("at", Instant, nullable=False),
    Column("asked_at", Instant),
    Column("confirmed_at", Instant),
    one_of("suspicion", Suspicion),
    Index("ix_sign_ups_waiting", "at", "id", **where("asked_at IS NULL")),  # what is to be decided on
    Index("ix_sign_ups_asked_at", "asked_at"),  # the share that confirms; retention
    Index("ix_sign_ups_email_index", "email_index"),  # erasure
)  # fmt: skip
"""What was typed into the form, each time it was. `id` is also that of the confirmation's delivery. `asked_at`: when that was
planned; empty: nobody has decided yet. What one sign-up says becomes the reader's when its own confirmation is answered."""

link_requests = Table(
    "link_requests", metadata,
    Column("id", Id, primary_key=True),
    Column("email_index", LargeBinary(32), nullable=False),
    Column("at", Instant, nullable=False),
)  # fmt: skip
"""Requests for a log-in link to the desk, until it has been decided whether one is mailed. Real time."""
