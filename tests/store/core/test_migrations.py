"""The schema goes up and down on both databases, and is what the code thinks it is."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Connection, column, create_engine, delete, insert, inspect, select, table, text

from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.accounts import security_events
from nurture.services.subscribers import consultation_links
from nurture.services.subscribers.consultation_links import TIMED_LINKS_SINCE
from nurture.store.accounts import sessions
from nurture.store.core import schema_version
from nurture.store.core.columns import Id, Instant
from nurture.store.core.desk_schema import login_links
from nurture.store.core.schema import deliveries, editions, metadata, sequences
from nurture.store.state import app_state
from nurture.store.subscribers import consultations
from tests.delivery.test_subjects import a_login_link, a_request_for_a_call
from tests.people import a_subscriber, inbox, run_tick
from tests.services.operations.test_backup import content, fill_every_table


def tables(rt: Runtime) -> set[str]:
    with rt.database.read() as db:
        return set(inspect(db).get_table_names()) - {"alembic_version"}


def test_migrations_go_down_to_nothing_and_up_again(rt: Runtime) -> None:
    everything = set(metadata.tables)
    assert tables(rt) == everything
    rt.database.migrate("base")
    assert tables(rt) == set()
    rt.database.migrate()
    assert tables(rt) == everything
    rt.database.migrate()


SCRIPT = ScriptDirectory(str(schema_version.MIGRATIONS))


def test_the_schema_in_the_code_is_the_one_the_migrations_make(rt: Runtime) -> None:
    with rt.database.begin() as db:
        context = MigrationContext.configure(db, opts={"compare_type": False, "compare_server_default": False})
        assert compare_metadata(context, metadata) == []


def test_conditions_on_rows_are_those_of_the_code(rt: Runtime) -> None:
    def conditions(db: Connection, schema: str | None) -> dict[str, dict[str | None, str]]:
        return {
            table: {
                check["name"]: re.sub(r"[\\s\"()]", "", check["sqltext"])
                for check in inspect(db).get_check_constraints(table, schema=schema)
            }
            for table in metadata.tables
        }

    if rt.database.is_sqlite:
        apart = create_engine("sqlite://")
        metadata.create_all(apart)
        with apart.begin() as wanted, rt.database.read() as db:
            assert conditions(db, None) == conditions(wanted, None)
        return
    with rt.database.begin() as db:
        db.execute(text("CREATE SCHEMA apart"))
        metadata.create_all(db.execution_options(schema_translate_map={None: "apart"}))
        assert conditions(db, None) == conditions(db, "apart")


def test_names_of_indexes_and_constraints_are_those_of_the_code(rt: Runtime) -> None:
    """Where the databases keep them."""
    old = re.compile(
        r"gates|instance|pace|pictur|facts|wordings|readings|trials|acts|act_people|(?<!csv_)imports|bidx|twin|seal"
    )
    with rt.database.read() as db:
        if rt.database.is_sqlite:
            found = db.scalars(text("SELECT name || coalesce(sql, '') FROM sqlite_master")).all()
        else:
            named = "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
            found = db.scalars(
                text(f"{named} UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
            ).all()
    assert len(found) > 60
    assert [name for name in found if old.search(name) and "security_events" not in name] == []


def test_migrations_are_numbered_and_have_one_head(rt: Runtime) -> None:
    revisions = [revision.revision for revision in SCRIPT.walk_revisions()]
    assert len(SCRIPT.get_heads()) == 1
    assert sorted(revisions) == [f"{n:04d}" for n in range(1, len(revisions) + 1)] == schema_version.known()
    with rt.database.read() as db:
        assert schema_version.current(db) == SCRIPT.get_current_head()


def test_editions_of_before_are_numbered_by_the_clock_they_were_published_by(rt: Runtime) -> None:
    numbering = SCRIPT.get_revision("0010")
    rt.database.migrate(str(numbering.down_revision))
    with rt.database.begin() as db:
        sequence = db.scalar(select(sequences.c.id))
        for name, month in (("b", 2), ("a", 3), ("c", 1)):
            at = datetime(2026, month, 1, tzinfo=UTC)
            new = {"id": name * 32, "sequence_id": sequence, "step_key": "new", "published_at": at, "sha256": ""}
            db.execute(insert(editions).values(**new, subject="", html="", text=""))
    rt.database.migrate()
    with rt.database.read() as db:
        rows = db.execute(select(editions.c.id, editions.c.number).where(editions.c.step_key == "new"))
        assert sorted((row[1], row[0][0]) for row in rows) == [(1, "c"), (2, "b"), (3, "a")]


def test_requests_of_before_say_nothing_of_how_they_came_and_the_upgrade_notes_its_time(rt: Runtime) -> None:
    a_request_for_a_call(rt)
    (telling,) = [each for each in SCRIPT.walk_revisions() if "how a request for a call came" in each.doc.lower()]
    rt.database.migrate(str(telling.down_revision))
    with rt.database.read() as db:
        assert app_state.get_in_any_schema(db, TIMED_LINKS_SINCE) is None
    rt.database.migrate()
    with rt.database.read() as db:
        (row,) = consultations.newest(db, 10)
        assert (row.origin, row.email_index, row.looked_up) == (None, None, None)
        since = datetime.fromisoformat(app_state.get(db, TIMED_LINKS_SINCE) or "")
    assert abs(datetime.now(UTC) - since) < timedelta(hours=1)
    assert consultation_links.ask_readers(rt) == 0


def test_notices_of_before_say_what_they_are_about_and_one_whose_subject_is_gone_is_never_sent(rt: Runtime) -> None:
    a_login_link(rt)
    a_request_for_a_call(rt)
    naming = SCRIPT.get_revision("0014")
    rt.database.migrate(str(naming.down_revision))
    with rt.database.begin() as db:
        columns = "kind, state, planned_at, due_at, attempt, created_at"
        gone = {"id": new_id(), "about": new_id()}
        if db.dialect.name == "sqlite":
            gone = {name: bytes.fromhex(value) for name, value in gone.items()}  # type: ignore[misc]
        copied = f"INSERT INTO deliveries (id, about_id, {columns}) SELECT :id, :about, {columns} FROM deliveries LIMIT 1"
        db.execute(text(copied), gone)
    rt.database.migrate()
    with rt.database.read() as db:
        about = select(deliveries.c.kind, deliveries.c.login_link_id, deliveries.c.consultation_id)
        found = sorted((row[0].value, row[1] is not None, row[2] is not None) for row in db.execute(about))
    assert found == [("login_link", True, False), ("notice", False, False), ("notice", False, True)]
    run_tick(rt)
    assert len(inbox(rt)) == 2
    with rt.database.read() as db:
        assert sorted(db.scalars(select(deliveries.c.state))) == ["accepted", "accepted", "cancelled"]


def test_everything_is_kept_by_names_of_before_and_by_new_ones(rt: Runtime, tmp_path: Path) -> None:
    """Down to the schema before the names changed, and up again: the same rows, and what is due goes out as it would have."""
    for number in range(4):
        a_subscriber(rt, f"reader{number}@example.org")
    fill_every_table(rt)
    a_login_link(rt)
    a_request_for_a_call(rt)
    consultation_links.ask_readers(rt)
    before = content(rt)
    rt.database.migrate("0019")
    with rt.database.read() as db:
        there = set(inspect(db).get_table_names())
        assert {"gates", "instance", "facts", "send_requests"} <= there
        assert not {"send_blocks", "app_state"} & there
        kinds: dict[str, int] = dict(
            db.execute(text("SELECT about_kind, count(*) FROM deliveries WHERE about_id IS NOT NULL GROUP BY 1")).all()
        )
        assert kinds["login_link"] == kinds["consultation"] == 1
    rt.database.migrate()
    assert content(rt) == before
    with rt.database.read() as db:
        if rt.database.is_sqlite:
            assert db.scalar(text("PRAGMA integrity_check")) == "ok"
            assert db.execute(text("PRAGMA foreign_key_check")).all() == []
    run_tick(rt)
    assert {"Your link to the desk", "A new request is waiting"} <= {str(mail.message["Subject"]) for mail in inbox(rt)}


def test_what_is_gone_before_the_upgrade_or_the_way_back_is_never_sent(rt: Runtime) -> None:
    a_login_link(rt)
    a_request_for_a_call(rt)
    with rt.database.begin() as db:
        db.execute(delete(login_links))
    rt.database.migrate("0019")
    with rt.database.begin() as db:
        assert db.scalar(text("SELECT count(*) FROM deliveries WHERE about_id = id AND kind = 'notice'")) == 1
        db.execute(text("DELETE FROM consultations"))
    rt.database.migrate()
    run_tick(rt)
    assert inbox(rt) == []
    with rt.database.read() as db:
        found = db.execute(select(deliveries.c.kind, deliveries.c.state).order_by(deliveries.c.kind)).all()
    assert [tuple(row) for row in found] == [("login_link", "cancelled"), ("notice", "cancelled")]


def test_events_and_sessions_of_before_are_kept_and_a_process_of_before_goes_on_writing(rt: Runtime) -> None:
    adding = SCRIPT.get_revision("0015")
    rt.database.migrate(str(adding.down_revision))
    who = an_account_of_before(rt)
    rt.database.migrate()
    with rt.database.begin() as db:
        db.execute(text("INSERT INTO security_events (kind, at) SELECT 'logged_in', at FROM security_events LIMIT 1"))
    found = [(event.kind, event.times) for event in security_events.happened(rt)]
    assert found == [("logged_in", 1), ("account_added", 1)]
    with rt.database.read() as db:
        (session,) = sessions.sessions_of(db, who, rt.clock.real_now())
    assert session.device == ""
    rt.database.migrate(str(adding.down_revision))
    rt.database.migrate()


def an_account_of_before(rt: Runtime) -> UserId:
    """An account, its session and what happened to it, as the version before wrote them."""
    who, at = UserId(new_id()), rt.clock.real_now()
    accounts = table("users", column("id", Id), column("role"), column("created_at", Instant))
    names = ("id", Id), ("user_id", Id), ("created_at", Instant), ("seen_at", Instant), ("half", Boolean)
    open_sessions = table("desk_sessions", *(column(name, its_type) for name, its_type in names))
    happened = table("security_events", column("kind"), column("at", Instant))
    with rt.database.begin() as db:
        db.execute(insert(accounts).values(id=who, role="owner", created_at=at))
        db.execute(insert(open_sessions).values(id=new_id(), user_id=who, created_at=at, seen_at=at, half=False))
        db.execute(insert(happened).values(kind="account_added", at=at))
    return who
