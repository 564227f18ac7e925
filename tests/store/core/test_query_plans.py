"""What runs every few seconds must not read the whole ledger: SQLite says how it would find the rows."""

from pathlib import Path
from typing import Any

import pytest

from nurture import runtime
from nurture.domain.delivery import DeliveryKind, State
from nurture.store.core.schema import deliveries
from nurture.store.deliveries import claims, in_doubt, ledger
from nurture.store.deliveries.transitions import is_in
from nurture.store.sequences import sequences
from tests.conftest import settings_for

OF_GIVEN_ROWS: dict[str, Any] = {
    **{
        f"mark a {kind}": ledger._mark("sqlite", kind) for kind in DeliveryKind if kind is not DeliveryKind.CONFIRMATION
    },  # one list more
    "accept": ledger._accepted("sqlite", straight=True),
    "accept late": ledger._accepted("sqlite", straight=False),
    "advance": sequences._advance("sqlite"),
    "plan the next": ledger._plan_next("sqlite"),
}
STATEMENTS: dict[str, Any] = OF_GIVEN_ROWS | {
    "claim": ledger._claim("sqlite", True),
    "read a batch": claims._READ_BATCH,
    "reclaim": deliveries.select().where(is_in(State.CLAIMED), deliveries.c.lease_until < 1),
    "doubt": deliveries.select().where(is_in(State.SENDING), deliveries.c.lease_until < 1),
    "unknown": in_doubt._DOUBTS.where(is_in(State.UNKNOWN)),
    "what is due": deliveries.select().where(is_in(State.SCHEDULED), deliveries.c.due_at < 1),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_it_finds_its_rows_by_an_index(name: str, tmp_path: Path) -> None:
    """Walking a partial index is fine: it holds only what is due, in flight or in doubt."""
    steps = plan_of(name, tmp_path)
    whole = [step for step in steps if step.startswith("SCAN deliveries") and "USING INDEX" not in step]
    assert whole == [], steps


@pytest.mark.parametrize("name", OF_GIVEN_ROWS)
def test_it_looks_through_what_it_is_given_once_and_finds_each_row_by_its_id(name: str, tmp_path: Path) -> None:
    """The other way round, the list is searched for every row: a turn then costs the square of its letters."""
    steps = plan_of(name, tmp_path)
    assert "VIRTUAL TABLE" in steps[0], steps
    assert "(id=?)" in steps[1], steps
    assert sum("VIRTUAL TABLE" in step for step in steps) == 1, steps


def plan_of(name: str, tmp_path: Path) -> list[str]:
    """What SQLite does, in its own words, outermost loop first."""
    rt = runtime.build(settings_for(tmp_path), migrate=True)
    sql = str(STATEMENTS[name].compile(rt.database.engine, compile_kwargs={"render_postcompile": True}))
    with rt.database.engine.connect() as db:
        cursor = db.connection.cursor()
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * sql.count("?"))
        steps = [str(row[3]) for row in cursor.fetchall()]
    rt.close()
    return steps
