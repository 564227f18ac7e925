"""The engine for SQLite or PostgreSQL, and `with database.begin() as db`: one transaction, visible where it begins."""

import math
import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.exc import DatabaseError

from nurture import log
from nurture.characters import storable
from nurture.errors import NurtureError
from nurture.store.core import schema_version
from nurture.store.subscribers.departures import DepartureJournal, Pending

_log = log.get(__name__)

try:
    import pysqlite3 as sqlite3  # the wheel carries a library without the WAL-reset bug
except ImportError:  # no wheel for this platform: the interpreter's library is checked like any other
    import sqlite3

_FIXED_SERIES: dict[tuple[int, ...], int] = {(3, 44): 6, (3, 50): 7, (3, 51): 3}
_OLDEST_POSTGRESQL = (15,)
_BUSY_SECONDS = 10
_CONNECT_SECONDS = 10
_IDLE_SECONDS = 0.1
"""A connection is asked whether its server still answers (`pool_pre_ping`) after so long; at each use it costs a round trip."""


_ASYNCHRONOUS_COMMIT = text("SET LOCAL synchronous_commit TO OFF")
_LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED = "55P03", "40P01"  # PostgreSQL manual, "PostgreSQL Error Codes"


_REMEDIES = (
    (("database \"",), "Make it (createdb), or correct the name of the database in NURTURE_DATABASE_URL."),
    (("password", "authentication", "pg_hba.conf", "role \""),
     "Check user and password in NURTURE_DATABASE_URL (or PGPASSWORD), and that the server lets this machine in."),
    (("permission denied", "must be owner"), "Give the database's user the right to make and change tables in it."),
    (("not a database", "malformed"), "Name another file in NURTURE_DATABASE_URL, or restore a backup of this one."),
    (("locked",), "Another program holds it: end that one, and try again."),
    (("readonly", "read-only", "unable to open"), "This user must be able to read and write the file and its folder."),
    (("disk is full", "No space"), "Make room on the disk."),
)  # fmt: skip
"""What to do, by words of the driver; a server that speaks another language than English falls through to the last remedy."""
_REMEDY_ELSE = "Check that the server runs, and host, port and database name in NURTURE_DATABASE_URL."


class DatabaseRefused(NurtureError):
    """The database cannot be used as it is."""

    exit_code = 2


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite is free of the WAL-reset bug of 3.7.0–3.51.2, which can lose commits with two connections.

    Fixed in 3.51.3, and in the back-ports 3.44.6 and 3.50.7 (sqlite.org, "The WAL-reset bug").
    """
    series, patch = version[:2], version[2]
    return version < (3, 7, 0) or series > (3, 51) or patch >= _FIXED_SERIES.get(series, 1 << 30)


class Database:
    """One database. Connections are pooled per process, and never shared with a forked one."""

    def __init__(self, url: str, pool_size: int = 8, create: bool = True) -> None:
        """`url`: sqlite:///… or postgresql+psycopg://…; `pool_size`: connections kept open. `create`: make the file of a SQLite
        database if it is missing; otherwise that raises DatabaseRefused.
        """
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite and not create:
            self._check_file()
        self.engine = self._sqlite(pool_size) if self.is_sqlite else self._postgresql(pool_size)
        self.departures: DepartureJournal | None = None
        """Who leaves is written there after the commit; None: no journal is kept."""
        self._write_lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def _check_file(self) -> None:
        file = Path(self.url.database or "").resolve()
        if not file.exists():
            raise DatabaseRefused(
                f"There is no database here: looked for {file}. Change to the folder of your installation, or set "
                "NURTURE_INSTANCE_DIR or NURTURE_DATABASE_URL to where it is. Run `nurture init` only to make a new one."
            )

    def _sqlite(self, pool_size: int) -> Engine:
        if self.url.database:
            folder = Path(self.url.database).resolve().parent
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise DatabaseRefused(
                    f"The folder {folder} of the database cannot be made ({(error.strerror or 'unknown error').lower()}). Set "
                    "NURTURE_DATABASE_URL or NURTURE_INSTANCE_DIR to a folder that this user may write."
                ) from None
        module: ModuleType = sqlite3
        journal = "WAL" if wal_is_safe(sqlite3.sqlite_version_info) else "TRUNCATE"
        engine = create_engine(
            self.url, module=module, pool_size=pool_size, max_overflow=pool_size, hide_parameters=True, pool_timeout=30,
            connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        )  # fmt: skip

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _: Any) -> None:
            if sqlite3.sqlite_version_info < (3, 41):
                connection.create_function("unhex", 1, bytes.fromhex, deterministic=True)
            connection.isolation_level = None  # we say BEGIN ourselves: a transaction that will write says so at once
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA journal_mode={journal}")
            cursor.execute("PRAGMA synchronous=FULL")  # WAL with NORMAL may forget a commit when the power fails
            cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute("PRAGMA secure_delete=ON")  # an erased address must not linger in free pages
            cursor.execute("PRAGMA mmap_size=0")
            cursor.close()

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE")

        return engine

    def _postgresql(self, pool_size: int) -> Engine:
        from psycopg.types.string import TextLoader  # a quarter of a second that an embedded database need not wait for

        limits = (
            # A process that stands still in a transaction loses it before those who wait for its locks give up.
            "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s -c timezone=UTC "
            "-c jit=off -c synchronous_commit=on"  # whatever the server's own: a mark that is forgotten is a letter sent twice
        )
        engine = create_engine(
            self.url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True, pool_recycle=1800,
            pool_timeout=30, hide_parameters=True,
            connect_args={"options": limits, "application_name": "nurture"}
            | ({} if "connect_timeout" in self.url.query else {"connect_timeout": _CONNECT_SECONDS}),
        )  # fmt: skip

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _: Any) -> None:
            connection.adapters.register_loader("uuid", TextLoader)  # as the text it is: an object for each costs more

        used, ping = WeakKeyDictionary[Any, float](), engine.dialect.do_ping

        @event.listens_for(engine, "checkin")
        def note_use(connection: Any, _: Any) -> None:
            if connection is not None:
                used[connection] = time.monotonic()

        def ping_idle(connection: Any) -> bool:
            return time.monotonic() - used.get(connection, -math.inf) < _IDLE_SECONDS or ping(connection)

        engine.dialect.do_ping = ping_idle  # type: ignore[method-assign,assignment]
        return engine

    @property
    def shown_url(self) -> str:
        """The URL without its password, for people; a folder's name may hold bytes that are not UTF-8."""
        return self.url.set(database=storable(self.url.database or "")).render_as_string(hide_password=True)

    @contextmanager
    def begin(self, durable: bool = True, lock_timeout: float | None = None) -> Iterator[Connection]:
        """One transaction that may write: commits at the end, rolls back on any error.

        `durable`: a commit survives a crash of the database. Without, PostgreSQL may lose the last of them, in order: any later
        durable commit keeps those before it as well (PostgreSQL manual, "Asynchronous Commit").
        `lock_timeout`: seconds after which PostgreSQL fails that waits for a lock (`is_lock_timeout`); None: ten.
        """
        with self._write_lock_held(), self.engine.begin() as db:
            if not (durable or self.is_sqlite):
                db.execute(_ASYNCHRONOUS_COMMIT)
            if lock_timeout is not None and not self.is_sqlite:
                db.execute(text(f"SET LOCAL lock_timeout TO '{round(lock_timeout * 1000)}ms'"))
            pending = Pending(db, self.departures)
            yield db
            pending.before_commit()
        pending.after_commit()

    @contextmanager
    def _write_lock_held(self) -> Iterator[None]:
        """SQLite has one writer, and whoever finds it busy sleeps longer and longer; threads of one process queue here instead.
        Other processes, and whoever has waited too long, still meet SQLite's own lock.
        """
        mine = self.is_sqlite and self._write_lock.acquire(timeout=_BUSY_SECONDS)
        try:
            yield
        finally:
            if mine:
                self._write_lock.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only reads: it never waits for a writer."""
        with self.engine.connect().execution_options(reads=True) as db, db.begin():
            yield db

    @contextmanager
    def read_once(self) -> Iterator[Connection]:
        """For one statement that only reads, or several that need not see the same moment: without BEGIN and ROLLBACK, which
        are two round trips of PostgreSQL's.
        """
        options: dict[str, Any] = {"reads": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        with self.engine.connect().execution_options(**options) as db:
            yield db

    def scrub(self, tables: Collection[Table]) -> bool:
        """Overwrite what deleted and changed rows of `tables` left behind. Returns whether all of it could be done now.

        SQLite: pages are overwritten as they are freed (`secure_delete`); here they reach the file, and the log is emptied
        (SQLite manual, "PRAGMA wal_checkpoint"), unless somebody reads for longer than a few seconds. PostgreSQL: VACUUM, which
        cannot be part of a transaction; old row versions that another transaction may still see stay until the next time.
        """
        if self.is_sqlite:
            with self.engine.connect() as db:
                cursor = db.connection.cursor()  # no transaction is begun: a checkpoint within one is refused
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                (busy, *_) = cursor.fetchone() or (1,)
                cursor.close()
            return not busy
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(text(f"VACUUM {', '.join(table.name for table in tables)}"))
        return True

    def _forget(self) -> None:
        self.engine.dispose(close=False)  # inherited connections belong to the parent process
        self._write_lock = threading.Lock()  # and so does whoever held it

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to `revision`, up or down. Safe when several machines start at once."""
        with self.refusals(), self.begin() as db:
            self.migrate_within(db, revision)
        if self.is_sqlite and self.url.database:
            Path(self.url.database).chmod(0o600)

    def migrate_within(self, db: Connection, revision: str = "head") -> None:
        """The same as part of a transaction, which takes all of it back when it fails."""
        self._check_not_newer(schema_version.current(db))
        schema_version.migrate(db, revision)

    @staticmethod
    def knows(revision: str) -> bool:
        """Whether this version can bring a schema to `revision`."""
        return revision in schema_version.known()

    def revision(self, db: Connection) -> tuple[str | None, str]:
        """The schema's revision and the newest one this version knows."""
        return schema_version.current(db), schema_version.known()[-1]

    def check(self) -> None:
        """Raise DatabaseRefused, with the remedy, unless the database answers and its schema is this version's."""
        with self.refusals(), self.read() as db:
            now, head = self.revision(db)
        if not self.is_sqlite and (self.engine.dialect.server_version_info or (0,)) < _OLDEST_POSTGRESQL:
            raise DatabaseRefused("This PostgreSQL is older than version 15. Upgrade the server, or use another.")
        if self.is_sqlite and not wal_is_safe(sqlite3.sqlite_version_info):
            _log.warning("sqlite_without_wal", version=sqlite3.sqlite_version)
        if now != head:
            self._check_not_newer(now)
            raise DatabaseRefused(
                f"The database {self.place} is at revision {now or 'none'}, this version needs {head}. Run `nurture init`."
            )

    def _check_not_newer(self, now: str | None) -> None:
        """Raise DatabaseRefused if the schema is of a revision that this version does not know."""
        known = schema_version.known()
        if now is not None and now not in known:
            raise DatabaseRefused(
                f"The database {self.place} belongs to a newer version of this program: its revision is {now}, the newest "
                f"known here is {known[-1]}. Start that newer version, or restore an older backup."
            )

    @property
    def place(self) -> str:
        """Which database this is, without user and password."""
        if self.is_sqlite:
            return str(Path(self.url.database or "").resolve())
        host = self.url.host or self.url.query.get("host") or "the local socket"
        return f"{self.url.database} at {host}{f':{self.url.port}' if self.url.port else ''}"

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Turns what the driver raises while a process starts into DatabaseRefused: its reason without secrets, a remedy."""
        try:
            yield
        except (DatabaseError, sqlite3.Error) as error:
            reason = self._reason(getattr(error, "orig", None) or error)
            remedy = next((remedy for words, remedy in _REMEDIES if any(word in reason for word in words)), _REMEDY_ELSE)
            raise DatabaseRefused(f"The database {self.place} does not answer as it should: {reason}. {remedy}") from None

    def _reason(self, error: BaseException) -> str:
        """The driver's words in one line. A statement's failure may quote data in its details, which are left out."""
        diagnosis = getattr(error, "diag", None) if getattr(error, "sqlstate", None) else None
        lines = str(diagnosis.message_primary if diagnosis else error).splitlines()
        words = "; ".join(" ".join(line.split()) for line in lines if line.strip()).rstrip(".?")  # libpq ends with a question
        for secret in (self.url.password, self.url.query.get("password")):
            words = words.replace(str(secret), "…") if secret else words
        return words


def describe_failure(error: DatabaseError) -> str:
    """A failed statement in one line that quotes no data: the kind of failure and its SQLSTATE, or SQLite's own words."""
    state = getattr(error.orig, "sqlstate", None)
    words = f", SQLSTATE {state}" if state else f": {error.orig}" if isinstance(error.orig, sqlite3.Error) else ""
    return f"{type(error).__name__}{words}"


def is_lock_timeout(error: DatabaseError) -> bool:
    """Whether a transaction failed on PostgreSQL because of locks that others hold: the same may well succeed later."""
    return getattr(error.orig, "sqlstate", None) in (_LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED)


def process_name() -> str:
    """Names this process in the ledger: host and process id."""
    return storable(f"{os.uname().nodename}:{os.getpid()}"[:120])
