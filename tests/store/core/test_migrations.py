"""The schema goes up and down on both databases, and is what the code thinks it is."""

from datetime import UTC, datetime, timedelta

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select, text

from nurture.domain.user import Role
from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.accounts import security_events
from nurture.services.subscribers import consultation_links
from nurture.services.subscribers.consultation_links import TIMED_LINKS_SINCE
from nurture.store.accounts import sessions, users
from nurture.store.accounts.users import User
from nurture.store.core import schema_version
from nurture.store.core.schema import deliveries, editions, metadata, sequences
from nurture.store.state import app_state
from nurture.store.subscribers import consultations
from tests.delivery.test_subjects import a_login_link, a_request_for_a_call
from tests.people import inbox, run_tick


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
        assert app_state.get(db, TIMED_LINKS_SINCE) is None
    rt.database.migrate()
    with rt.database.read() as db:
        (row,) = consultations.newest(db, 10)
        assert (row.origin, row.email_bidx, row.looked_up) == (None, None, None)
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
        found = db.scalars(select(deliveries.c.about_kind))
        assert sorted(str(kind) for kind in found) == ["None", "consultation", "login_link"]
    run_tick(rt)
    assert len(inbox(rt)) == 2
    with rt.database.read() as db:
        assert sorted(db.scalars(select(deliveries.c.state))) == ["accepted", "accepted", "cancelled"]


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
    who = UserId(new_id())
    with rt.database.begin() as db:
        users.add(db, User(who, Role.OWNER), rt.clock.real_now())
        given = {"id": new_id(), "who": who}
        if db.dialect.name == "sqlite":
            given = {name: bytes.fromhex(value) for name, value in given.items()}  # type: ignore[misc]
        columns = "(id, user_id, created_at, seen_at, half)"
        db.execute(
            text(f"INSERT INTO desk_sessions {columns} SELECT :id, :who, created_at, created_at, false FROM users"), given
        )
        db.execute(text("INSERT INTO security_events (kind, at) SELECT 'account_added', created_at FROM users"))
    return who
