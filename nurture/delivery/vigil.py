"""Is time what we think it is? Looked at before anything is claimed, reclaimed or deleted.

A wall clock that jumps would send letters early or end leases; a database that was set back (a backup restored, a replica
promoted that had not got everything) would send again what it has forgotten. Both stop all sending until a person looks.
"""

import json
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import SET_BACK
from nurture.domain.clockwork import jump, jumped
from nurture.runtime import Runtime, Seen, keep_up
from nurture.store import doubts, facts, gates, heartbeats, instance
from nurture.store.database import process_name
from nurture.store.gates import Gate
from nurture.words import new_id

_log = log.get(__name__)

_IDENTITY, _GENERATION = "database_id", "generation"
_COUNT_SECONDS = 10.0
WITNESS_FILE = "witness.json"


def look(rt: Runtime) -> bool:
    """Look at the clock, at the database's age, and at what the desk has set. Returns whether nothing stops the work."""
    with rt.memory.looking:
        before = rt.memory.seen
        with rt.database.begin() as db:
            seen = _look_at_clock(rt, db, before)
            seen = _look_at_database(rt, db, seen)
            shut = {gate.gate for gate in gates.shut_gates(db)}
            changed = facts.version(db) != rt.version
        rt.memory.seen = seen  # not before the commit: what the database never got, it cannot have forgotten
        if seen.counted != before.counted:
            _bear_witness(rt, seen)
    if changed:
        keep_up(rt)
    return not shut & {Gate.CLOCK, Gate.EPOCH}


def _look_at_clock(rt: Runtime, db: Connection, seen: Seen) -> Seen:
    wall, boot = rt.clock.wall(), rt.clock.boot_seconds()
    if seen.wall is not None and not seen.alarmed and not jumped(jump(seen.wall, seen.boot, wall, boot)):
        return replace(seen, wall=wall, boot=boot)
    shut = next((gate for gate in gates.shut_gates(db) if gate.gate is Gate.CLOCK), None)
    if seen.wall is None:  # this process has just begun: all it can compare with is another's last tick
        last, since = max(wall, heartbeats.last_beat(db, heartbeats.TICK) or wall), boot
    elif seen.alarmed and shut is None:  # a person has looked, and trusts this clock
        last, since = wall, boot
    else:
        last, since = seen.wall, seen.boot
    by = jump(last, since, wall, boot)
    if not jumped(by):
        if seen.alarmed and shut is not None and shut.by == process_name():
            gates.open_(db, Gate.CLOCK)  # it was put right
        return replace(seen, wall=wall, boot=boot, alarmed=False)
    if not seen.alarmed:
        if shut is None:
            minutes = round(by.total_seconds() / 60)
            gates.shut(db, Gate.CLOCK, f"the clock of this machine jumped by {minutes:+d} minutes", process_name(), wall)
        _log.error("clock_jumped", seconds=round(by.total_seconds()))
    return replace(seen, wall=last, boot=since, alarmed=True)  # the last good look stays what later ones are compared with


def _look_at_database(rt: Runtime, db: Connection, seen: Seen) -> Seen:
    """Count on now and then; should the count be lower than we have seen it, the database has forgotten something."""
    boot, expected = rt.clock.boot_seconds(), seen.generation
    if seen.counted is None:
        expected = _witnessed(rt, instance.agree(db, _IDENTITY, new_id()))
    elif int(instance.get(db, _GENERATION) or 0) >= expected and 0 <= boot - seen.counted < _COUNT_SECONDS:
        return seen
    generation = int(instance.agree(db, _GENERATION, "0", lock=True))
    if generation < expected:
        _set_back(rt, db)
    generation = max(generation, expected) + 1
    instance.replace(db, _GENERATION, str(generation))
    return replace(seen, database=instance.agree(db, _IDENTITY, new_id()), generation=generation, counted=boot)


def _set_back(rt: Runtime, db: Connection) -> None:
    now, wall = rt.clock.now(), rt.clock.wall()
    gates.shut(db, Gate.EPOCH, "the database was set back: what was due since may have been sent", process_name(), wall)
    instance.agree(db, SET_BACK, "")
    instance.replace(db, SET_BACK, now.isoformat())
    count = doubts.set_back(db, process_name(), now, wall)
    _log.error("database_set_back", unknown=count)


def _path(rt: Runtime) -> Path:
    return rt.settings.instance_dir / WITNESS_FILE


def _witnessed(rt: Runtime, identity: str) -> int:
    try:
        said = json.loads(_path(rt).read_text("utf-8"))
        return int(said["generation"]) if said["database"] == identity else 0
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours: nothing to compare with
        return 0


def _bear_witness(rt: Runtime, seen: Seen) -> None:
    """Keep the count outside the database, so that a restored backup is found out also after everything was stopped."""
    draft = _path(rt).with_name(f".{WITNESS_FILE}.{process_name().replace(':', '.')}")
    draft.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft.write_text(json.dumps({"database": seen.database, "generation": seen.generation}), "utf-8")
    draft.replace(_path(rt))
