"""A claim of 500 among ever more deliveries, and a tick that finds nothing due: both must not notice the size of the ledger.

python -m tests.benchmarks.claims FOLDER ROWS DATABASE ROWS DATABASE …

All ledgers lie side by side, and each act is done in one after the other, so that noise hits them all.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from nurture.delivery.tick import tick
from nurture.domain.delivery import State
from nurture.ids import BatchId, new_id
from nurture.runtime import Runtime
from nurture.store.core.schema import deliveries
from nurture.store.deliveries import ledger
from tests.benchmarks.ledgers import fill, settled
from tests.benchmarks.ours import build, crowd

_CLAIM = 500
_DUE = 4 * _CLAIM
_PASSES, _IDLE = 8, 40

Taken = tuple[float, float]
"""Milliseconds, and microseconds of this process's CPU."""


def main(folder: Path, databases: dict[int, str]) -> list[dict[str, Any]]:
    """For each size what a claim of 500 took, its commit included, and what a tick with nothing due took: each time, Taken."""
    ledgers: dict[int, Runtime] = {}
    for rows, url in databases.items():
        place = folder / str(rows)  # the witness of one database must not accuse another
        place.mkdir()
        ledgers[rows] = build("http://127.0.0.1:9", url, 4, place)
        fill(ledgers[rows], rows - _DUE)
    idle: dict[int, list[Taken]] = {rows: [] for rows in ledgers}
    claims: dict[int, list[Taken]] = {rows: [] for rows in ledgers}
    for _ in range(_IDLE):
        for rows, rt in ledgers.items():
            idle[rows].append(_timed(lambda rt=rt: tick(rt, _nobody)))  # type: ignore[misc]
    for rt in ledgers.values():
        crowd(rt, _DUE)
        settled(rt)
    for _ in range(_PASSES):
        for _ in range(_DUE // _CLAIM):
            for rows, rt in ledgers.items():
                claims[rows].append(_timed(lambda rt=rt: _claim(rt)))  # type: ignore[misc]
        for rt in ledgers.values():
            _give_back(rt)
    found = []
    for rows, rt in ledgers.items():
        with rt.database.read() as db:
            have = db.scalar(select(func.count()).select_from(deliveries)) or 0
        if not 0.99 * rows <= have <= rows:
            raise RuntimeError(f"{have} deliveries, not {rows}")
        found.append({"rows": rows, "claims": claims[rows], "idle": idle[rows]})
        rt.close()
    return found


def _timed(act: Callable[[], object]) -> Taken:
    begin, cpu = time.perf_counter(), time.process_time()
    act()
    return (time.perf_counter() - begin) * 1000, (time.process_time() - cpu) * 1e6


def _claim(rt: Runtime) -> None:
    now, real_now = rt.clock.now(), rt.clock.real_now()
    with rt.database.begin() as db:
        taken = ledger.claim(db, BatchId(new_id()), "bench", now, real_now, real_now + timedelta(minutes=2), _CLAIM)
    if len(taken) != _CLAIM:
        raise RuntimeError(f"{len(taken)} claimed")


def _give_back(rt: Runtime) -> None:
    mine = deliveries.c.state == State.CLAIMED
    with rt.database.begin() as db:
        db.execute(update(deliveries).where(mine).values(state=State.SCHEDULED, batch_id=None, lease_until=None))
    settled(rt)


def _nobody(_: BatchId) -> None:
    raise RuntimeError("something was due")


if __name__ == "__main__":
    given = sys.argv[2:]
    print(json.dumps(main(Path(sys.argv[1]), dict(zip(map(int, given[::2]), given[1::2], strict=True)))))
