"""Which migration the schema is at, and how it gets to another. Alembic is loaded only for the way there."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

MIGRATIONS = Path(__file__).parents[1] / "migrations"
_LOCK = 0x6E757274757265  # "nurture": one machine migrates at a time


def known() -> list[str]:
    """The revisions of this version, oldest first: the numbers that begin the names of the migrations."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def current(db: Connection) -> str | None:
    """The revision the schema is at; None: it is empty."""
    if not inspect(db).has_table("alembic_version"):
        return None
    found: str | None = db.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def needs_stop(db: Connection) -> bool:
    """Whether a process of the version at which the schema is cannot go on once it is upgraded: the names of migrations say
    after their number whether they expand the schema or need a stop.
    """
    now = current(db)
    ahead = [path.name for path in (MIGRATIONS / "versions").glob("[0-9]*_stop_*.py")]
    return now is not None and any(name.partition("_")[0] > now for name in ahead)


def migrate(db: Connection, revision: str) -> None:
    """Bring the schema to a revision of this version, to "head" or to "base", within the transaction of `db`."""
    from alembic import command  # here: only who migrates waits for it
    from alembic.config import Config

    if db.dialect.name == "postgresql":
        db.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = db
    now = current(db)
    is_down = revision == "base" or (revision != "head" and now is not None and revision <= now)
    (command.downgrade if is_down else command.upgrade)(config, revision)
