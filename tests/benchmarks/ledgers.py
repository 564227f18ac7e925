"""Ledgers of any size, written by the database itself: readers near the end of a sequence, as an installation has them.

Of each reader's letters all but the last were accepted in the past two months, and the last is scheduled for the next two. Only
columns that must be given are named, so that a new one changes nothing here. Nothing is sealed: a claim opens nothing.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, text

from nurture.runtime import Runtime
from nurture.store.core.columns import Id, Instant
from nurture.store.core.schema import sequences, steps


@dataclass(frozen=True)
class _Words:
    """How one database says what they both can."""

    one_for_each_reader: str
    id: str
    bytes: str
    ago: str
    ahead: str
    swiftly: tuple[str, ...]
    """Said first: filling is not what is measured."""


_SQLITE = _Words(
    "FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :readers) SELECT i FROM n)",
    "randomblob(16)", "randomblob(32)", ":now - abs(random()) % 5184000000000",
    ":now + 3600000000 + abs(random()) % 5184000000000", ("PRAGMA cache_size = -1000000",),
)  # fmt: skip
_POSTGRESQL = _Words(
    "FROM generate_series(1, :readers)", "gen_random_uuid()", "sha256(gen_random_uuid()::text::bytea)",
    ":now - random() * interval '60 days'", ":now + interval '1 hour' + random() * interval '60 days'",
    ("SET LOCAL statement_timeout = 0", "SET LOCAL session_replication_role = replica"),  # foreign keys hold by construction
)  # fmt: skip


def fill(rt: Runtime, rows: int) -> None:
    """Write `rows` deliveries, or a few less, of which none is due; then the database learns how large it has become."""
    say = _SQLITE if rt.database.is_sqlite else _POSTGRESQL
    with rt.database.read() as db:
        sequence, last, letters = db.execute(
            select(sequences.c.id, func.max(steps.c.position), func.count())
            .join(steps, steps.c.sequence_id == sequences.c.id)
            .group_by(sequences.c.id)
        ).one()
    statements = (
        "INSERT INTO subscribers (id, email_index, email_encrypted, time_zone, state, created_at) "
        f"SELECT {say.id}, {say.bytes}, {say.bytes}, 'America/New_York', 'active', :now {say.one_for_each_reader}",
        "INSERT INTO enrollments (id, subscriber_id, sequence_id, state, anchor_at, started_at) "
        f"SELECT {say.id}, id, :sequence, 'active', :now, :now FROM subscribers",
        "INSERT INTO deliveries "
        "(id, kind, state, subscriber_id, email_index, enrollment_id, step_key, planned_at, due_at, created_at) "
        f"SELECT {say.id}, 'letter', CASE WHEN p.position < :last THEN 'accepted' ELSE 'scheduled' END, s.id, s.email_index, "
        f"e.id, p.key, :now, CASE WHEN p.position < :last THEN {say.ago} ELSE {say.ahead} END, :now "
        "FROM enrollments e JOIN subscribers s ON s.id = e.subscriber_id JOIN steps p ON p.sequence_id = e.sequence_id",
    )
    values = {"readers": rows // letters, "now": rt.clock.now(), "sequence": sequence, "last": last}
    types = {"readers": None, "now": Instant, "sequence": Id, "last": None}
    with rt.database.begin() as db:
        for words in say.swiftly:
            db.execute(text(words))
        for statement in statements:
            used = [name for name in values if f":{name}" in statement]
            typed = text(statement).bindparams(*(bindparam(name, type_=types[name]) for name in used))
            db.execute(typed, {name: values[name] for name in used})
    settled(rt)
    rt.close()  # later connections have the service's own cache again


def settled(rt: Runtime) -> None:
    """What autovacuum does on PostgreSQL after one row in a hundred has changed."""
    if not rt.database.is_sqlite:
        with rt.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(text("SET statement_timeout = 0"))
            db.execute(text("VACUUM ANALYZE"))
            db.execute(text("RESET statement_timeout"))
