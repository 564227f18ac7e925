"""The list of people: its pages walk an index from a place in it, however long the list is."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from nurture import runtime
from nurture.domain.subscriber_status import SubscriberStatus
from nurture.ids import SubscriberId
from nurture.store.subscribers import listing
from nurture.store.subscribers.listing import Cursor, Filter
from tests.conftest import settings_for

MARK = Cursor(datetime(2026, 3, 2, tzinfo=UTC), SubscriberId("0" * 32))


def plan(db: Connection, which: Filter, after: Cursor | None, before: Cursor | None) -> list[str]:
    """What SQLite does for one page, in its own words."""
    seen: list[tuple[str, object]] = []
    event.listen(db, "before_cursor_execute", lambda *given: seen.append((given[2], given[3])))
    listing.page(db, which, 51, after, before)
    sql, values = seen[0]
    return [str(row[3]) for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]  # type: ignore[arg-type]


@pytest.mark.parametrize("which", [Filter(), Filter(SubscriberStatus.WAITING), Filter(source="/")])
@pytest.mark.parametrize(("after", "before"), [(None, None), (MARK, None), (None, MARK)])
def test_a_page_walks_the_list_s_index_and_sorts_nothing(
    which: Filter, after: Cursor | None, before: Cursor | None, tmp_path: Path
) -> None:
    rt = runtime.build(settings_for(tmp_path), migrate=True)
    with rt.database.read() as db:
        steps = plan(db, which, after, before)
    rt.close()
    assert any("subscribers USING" in step and "ix_subscribers_created_at" in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps
