"""A claim of 500 among ever more deliveries, and a tick that finds nothing due: both must not notice the size of the ledger.

python -m tests.benchmarks.claims DATABASE FOLDER ROWS…
"""

import json
import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text, update

from nurture.delivery.tick import tick
from nurture.domain.delivery import Kind, State
from nurture.runtime import Runtime
from nurture.store import ledger
from nurture.store.schema import deliveries
from nurture.words import BatchId, new_id
from tests.benchmarks.ours import analyze, build

_DUE = 5_000
_CLAIM = 500


def grow(rt: Runtime, have: int, rows: int) -> None:
    """Fill the ledger up: nine of ten accepted long ago, one of ten to come; notices, which need nobody."""
    now = rt.clock.now()
    for start in range(have, rows, 50_000):
        values: list[dict[str, Any]] = []
        for number in range(start, min(start + 50_000, rows)):
            past = number % 10 > 0
            at = now + timedelta(minutes=-number - 60 if past else number + 60 * 24)
            values.append({
                "id": new_id(), "kind": Kind.NOTICE, "state": State.ACCEPTED if past else State.SCHEDULED, "planned_at": at,
                "due_at": at, "created_at": at,
            })  # fmt: skip
        with rt.database.begin() as db:
            db.execute(insert(deliveries), values)


def main(database: str, folder: Path, sizes: list[int]) -> list[dict[str, float]]:
    """Milliseconds for each size: a claim of 500, and a tick with nothing due."""
    rt, have, found = build("http://127.0.0.1:9", database, 4, folder), 0, []
    for rows in sizes:
        grow(rt, have, rows - _DUE)
        have = rows - _DUE
        analyze(rt)
        idle = [_timed(lambda: tick(rt, _nobody)) for _ in range(40)]
        now = rt.clock.now()
        with rt.database.begin() as db:
            due = {"kind": Kind.NOTICE, "state": State.SCHEDULED, "planned_at": now, "due_at": now, "created_at": now}
            db.execute(insert(deliveries), [{"id": new_id()} | due for _ in range(_DUE)])
        analyze(rt)
        claims = [_timed(lambda: _claim(rt)) for _ in range(_DUE // _CLAIM)]
        found.append({"rows": rows, "claim_ms": statistics.median(claims), "idle_ms": statistics.median(idle)})
        with rt.database.begin() as db:  # these have been sent
            db.execute(
                update(deliveries).where(deliveries.c.state == State.CLAIMED).values(state=State.ACCEPTED, lease_until=None)
            )
        if not rt.database.is_sqlite:
            with rt.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
                db.execute(text("VACUUM deliveries"))  # as autovacuum does, with our scale factor, after one in a hundred
        have += _DUE
    rt.close()
    return found


def _timed(act: Any) -> float:
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1000


def _claim(rt: Runtime) -> None:
    now, wall = rt.clock.now(), rt.clock.wall()
    with rt.database.begin() as db:
        taken = ledger.claim(db, BatchId(new_id()), "bench", now, wall, wall + timedelta(minutes=2), _CLAIM)
    if len(taken) != _CLAIM:
        raise RuntimeError(f"{len(taken)} claimed")


def _nobody(_: BatchId) -> None:
    raise RuntimeError("something was due")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), [int(size) for size in sys.argv[3:]])))
