"""Is this process able to do its work now?"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from nurture.domain.delivery import State
from nurture.runtime import Runtime
from nurture.store import doubts, gates, heartbeats
from nurture.store.doubts import Standing
from nurture.store.gates import Shut

_MISSED_TICKS = 6
_PATIENCE = timedelta(seconds=60)


def readiness(rt: Runtime) -> dict[str, str]:
    """`ok`, or what is wrong, for the database's schema and the scheduler's last tick. Raises SQLAlchemyError if it is down."""
    with rt.database.read() as db:
        now, head = rt.database.revision(db)
        beat = heartbeats.last_beat(db, heartbeats.TICK)
    patience = max(_PATIENCE, timedelta(seconds=rt.settings.tick_seconds * _MISSED_TICKS))
    silent = None if beat is None else rt.clock.wall() - beat
    if silent is None:
        scheduler = "no tick yet: start `nurture worker`, or `nurture serve` with its scheduler"
    elif silent > patience:
        scheduler = f"the last tick was {int(silent.total_seconds())} s ago: is a scheduler running?"
    else:
        scheduler = "ok"
    schema = "ok" if now == head else f"revision {now}, needs {head}: run `nurture init`"
    return {"database": "ok", "schema": schema, "scheduler": scheduler}


STATES = tuple(state.value for state in State)


@dataclass(frozen=True)
class LedgerStanding:
    """How the ledger stands now, when a scheduler last looked at it, and what stops it."""

    rows: Standing
    last_tick: datetime | None
    shut: list[Shut]
    duplicates_confirmed: int


def ledger_standing(rt: Runtime) -> LedgerStanding:
    """Read all of it in one look."""
    with rt.database.read() as db:
        rows, last = doubts.standing(db, rt.clock.now()), heartbeats.last_beat(db, heartbeats.TICK)
        return LedgerStanding(rows, last, gates.shut_gates(db), doubts.duplicates_confirmed(db))
