"""A PostgreSQL server of our own: private folder, unix socket only, gone when the tests end, however they end."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

_OLDEST = 15
_SECONDS = 60
"""For a start on a machine that is busy."""

_OPTIONS = {
    "listen_addresses": "",
    "max_connections": "200",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""A test's data need not survive a power cut."""


def _binaries() -> Path:
    """The newest server at hand. Raises RuntimeError when there is none from 15 on."""
    versions = {int(path.parts[-3]): path.parent for path in Path("/usr/lib/postgresql").glob("[0-9]*/bin/initdb")}
    if versions and max(versions) >= _OLDEST:
        return versions[max(versions)]
    initdb = shutil.which("initdb")
    if initdb is not None:
        said = subprocess.run([initdb, "--version"], check=True, capture_output=True, text=True).stdout
        version = re.search(r"\d+", said)
        if version is not None and int(version[0]) >= _OLDEST:
            return Path(initdb).resolve().parent
    raise RuntimeError(f"PostgreSQL {_OLDEST} or later is needed; `make test` installs it, or says how.")


class Postgres:
    """One server, from `with Postgres() as server` to the end of the block."""

    def __init__(self, durable: bool = False, options: Mapping[str, str] | None = None) -> None:
        """`durable`: what was committed survives whatever happens to the server, as PostgreSQL does by default.
        `options`: more settings of the server.
        """
        self._bin, self._options = _binaries(), _OPTIONS | ({} if durable else _FORGETFUL) | dict(options or {})
        # Not $TMPDIR: a socket's path has room for 107 bytes, and the user `postgres` must be able to get there.
        self._folder = Path(tempfile.mkdtemp(prefix="nurture-pg-", dir="/tmp"))
        # The server ends with the process that started it, killed or not.
        self._prefix = ["setpriv", "--pdeathsig=INT"]
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._prefix += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start; about half a second. Raises RuntimeError with the server's own words when it does not."""
        try:
            with self._log.open("wb") as output:
                made = [
                    "initdb",
                    "-D",
                    str(self._data),
                    "-U",
                    "postgres",
                    "-A",
                    "trust",
                    "-N",
                    "--locale=C.UTF-8",
                    "-E",
                    "UTF8",
                ]
                subprocess.run(self._command(*made), check=True, cwd=self._folder, stdout=output, stderr=output)
            self.start()
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            words = self._log.read_text("utf-8", "replace")[-2000:]
            self._stop()
            raise RuntimeError(f"PostgreSQL did not start: {error}\n{words}") from error
        return self

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def start(self) -> None:
        """Start the server again, and wait until it is ready."""
        given = [
            part
            for name, value in (self._options | {"unix_socket_directories": str(self._folder)}).items()
            for part in ("-c", f"{name}={value}")
        ]
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command("postgres", "-D", str(self._data), *given),
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._wait(self._process)

    def stop(self, at_once: bool = False) -> None:
        """Stop the server while others are at it. `at_once`: nothing is tidied up, as when it crashes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)  # "immediate", "fast"
        self._process.wait(_SECONDS)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [*self._prefix, str(self._bin / program), *arguments]

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        status = self._data / "postmaster.pid"  # its last line says "ready", as pg_ctl reads it
        until = time.monotonic() + _SECONDS
        while not (status.is_file() and status.read_text().split()[-1:] == ["ready"]):
            if process.poll() is not None:
                raise RuntimeError(f"It ended with {process.returncode}.")
            if time.monotonic() > until:
                raise RuntimeError(f"It is not ready after {_SECONDS} s.")
            time.sleep(0.01)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": connections are ended, nothing is waited for
            try:
                self._process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"

    def create(self, name: str, template: str | None = None) -> None:
        """Create a database: empty, or as a copy of `template`, to which nobody may be connected."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8' STRATEGY FILE_COPY")  # half the time of WAL_LOG
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template or "template0")))

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def names(self) -> list[str]:
        """Names of its databases."""
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            return [row[0] for row in connection.execute("SELECT datname FROM pg_database")]

    def end_connections(self, name: str) -> int:
        """End every connection to a database, in mid-transaction or not; returns how many there were."""
        statement = sql.SQL("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = {}")
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            found = connection.execute(statement.format(sql.Literal(name))).fetchone()
        return int(found[0]) if found else 0

    def tool(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own programs against this server."""
        command = self._command(program, "-h", str(self._folder), "-U", "postgres", *arguments)
        subprocess.run(command, check=True, cwd=self._folder, capture_output=True)

    def copy_data(self) -> None:
        """Keep a copy of all data, as a snapshot of the disk does. The server is stopped."""
        shutil.rmtree(self._snapshot, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self._data), str(self._snapshot)], check=True)

    def put_back_data(self) -> None:
        """Put the copy back. The server is stopped."""
        shutil.rmtree(self._data)
        self._snapshot.rename(self._data)

    def become_standby(self) -> None:
        """Let the stopped server be a replica that has lost its primary, from when it starts (PostgreSQL manual,
        "Standby Server Operation").
        """
        signal_file = self._data / "standby.signal"
        signal_file.touch()
        owner = self._data.stat()
        os.chown(signal_file, owner.st_uid, owner.st_gid)

    def promote(self) -> None:
        """Let a replica take over."""
        self._execute(sql.SQL("SELECT pg_promote()").format())

    @property
    def folder(self) -> Path:
        """A folder that the server's user may write to."""
        return self._folder

    @property
    def _snapshot(self) -> Path:
        return self._folder / "snapshot"

    @property
    def socket(self) -> Path:
        """Its unix socket."""
        return self._folder / ".s.PGSQL.5432"

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)
