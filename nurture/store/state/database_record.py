"""What a database says about itself, in the table of facts: a `domain.restore_evidence.DatabaseRecord`."""

import json
from datetime import datetime

from sqlalchemy import Connection, select

from nurture.domain.restore_evidence import DatabaseRecord, Position
from nurture.ids import new_id
from nurture.store.core.schema import app_state as facts
from nurture.store.deliveries import marks
from nurture.store.state import app_state, heartbeats

_ID, _GENERATION, _RESTORES, _IDENTITY = "database_id", "generation", "restores", "identity"
_WITNESSED, _STOPPED, _REVIEWED = "generation_witnessed", "stopped_cleanly_at", "restore_reviewed_at"
_KEYS = (_ID, marks.KEY, _GENERATION, _RESTORES, _IDENTITY, _WITNESSED, _STOPPED, _REVIEWED)


def create_id(db: Connection) -> str:
    """Give the database its random id; returns the one that another process was quicker to give."""
    return app_state.get_or_set(db, _ID, new_id())


def lock(db: Connection) -> None:
    """Let nobody else write the record before this transaction ends."""
    app_state.get_or_set(db, _GENERATION, "0", lock=True)


def read(db: Connection) -> DatabaseRecord:
    """The record as it stands."""
    found = {row[0]: row[1] for row in db.execute(select(facts.c.key, facts.c.value).where(facts.c.key.in_(_KEYS)))}
    mark = marks.last_transaction(db) if db.dialect.name == "postgresql" else int(found.get(marks.KEY, 0))
    return DatabaseRecord(
        Position(int(found.get(_RESTORES, 0)), int(found.get(_GENERATION, 0)), mark),
        found.get(_ID, ""),
        json.loads(found[_IDENTITY]) if _IDENTITY in found else None,
        _WITNESSED in found,
        heartbeats.last_beat(db, heartbeats.TICK),
        _instant(found.get(_STOPPED)),
        _instant(found.get(_REVIEWED)),
    )


def write(db: Connection, before: DatabaseRecord, record: DatabaseRecord) -> None:
    """Write what has changed of it. Locked since `before` was read; the mark's number is not written here."""
    app_state.set_value(db, _GENERATION, str(record.position.generation))
    if record.position.restores != before.position.restores:
        app_state.set_value(db, _RESTORES, str(record.position.restores))
    if record.identity != before.identity:
        app_state.set_value(db, _IDENTITY, json.dumps(record.identity))
    if record.witnessed and not before.witnessed:
        app_state.set_value(db, _WITNESSED, "1")


def write_stop(db: Connection, real_now: datetime) -> None:
    """Record a clean stop; not before the last tick, which another machine's clock may have dated."""
    last = heartbeats.last_beat(db, heartbeats.TICK)
    app_state.set_value(db, _STOPPED, max(real_now, last or real_now).isoformat())


def last_tick_since_stop(db: Connection) -> datetime | None:
    """When a process last looked for due mail, if none has ended cleanly since; real time. Reads a schema of any version."""
    last = heartbeats.last_beat(db, heartbeats.TICK)
    stopped = _instant(app_state.get_in_any_schema(db, _STOPPED))
    return None if last is None or (stopped is not None and stopped >= last) else last


def write_review(db: Connection, real_now: datetime) -> None:
    """Record that a person has started sending after a restore."""
    last = heartbeats.last_beat(db, heartbeats.TICK)
    app_state.set_value(db, _REVIEWED, max(real_now, last or real_now).isoformat())


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
