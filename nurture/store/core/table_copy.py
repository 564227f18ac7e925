"""Rows of whole tables as text, out of one database and into another, SQLite or PostgreSQL.

The text is that of PostgreSQL's COPY (PostgreSQL manual, "COPY", Text Format): a line for each row, columns separated by tabs.
PostgreSQL reads and writes it itself; for SQLite each value is converted here, by the kind of its column.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Integer, LargeBinary, Table, inspect, text
from sqlalchemy.exc import DatabaseError

from nurture.store.core.columns import EPOCH, MICROSECOND, EncryptedColumn, Id, Instant
from nurture.store.core.schema import metadata

_BLOCK_BYTES = 1 << 20
_ROWS_AT_ONCE = 1000
_UNREADABLE = "\ufffd".encode()
"""What PostgreSQL gets for a NUL, which it stores in no text; SQLite does."""


class ColumnKind(StrEnum):
    """How a column's values are written down, the same for both databases."""

    ID = "id"
    INSTANT = "instant"
    BYTES = "bytes"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    TEXT = "text"


@dataclass(frozen=True)
class TableShape:
    """A table as a backup describes it, so that it can be loaded without today's schema."""

    name: str
    columns: tuple[tuple[str, ColumnKind], ...]
    """Names and kinds, in the order of the values in a row."""


@dataclass(frozen=True)
class RowBlock:
    """Some rows of one table, as COPY's text."""

    data: bytes
    rows: int


def shapes() -> list[TableShape]:
    """All tables of this version, each after those it refers to."""
    return [_shape(table) for table in metadata.sorted_tables]


def _shape(table: Table) -> TableShape:
    return TableShape(table.name, tuple((column.name, _kind(column)) for column in table.columns))


def _kind(column: Column[Any]) -> ColumnKind:
    match column.type:
        case Id():
            return ColumnKind.ID
        case Instant():
            return ColumnKind.INSTANT
        case EncryptedColumn() | LargeBinary():
            return ColumnKind.BYTES
        case Boolean():
            return ColumnKind.BOOLEAN
        case Integer():
            return ColumnKind.INTEGER
    return ColumnKind.TEXT


def take_snapshot(db: Connection) -> None:
    """Let everything read in this transaction, which has not read yet, be of one instant, however long it takes. On neither
    database does that keep anybody from writing (SQLite: in WAL mode).
    """
    if db.dialect.name == "postgresql":
        db.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        _be_patient(db)
        db.execute(text("SET LOCAL datestyle TO 'ISO'"))
        db.execute(text("SET LOCAL bytea_output TO 'hex'"))
    db.execute(text("SELECT count(*) FROM alembic_version"))


def _be_patient(db: Connection) -> None:
    db.execute(text("SET LOCAL statement_timeout TO 0"))
    db.execute(text("SET LOCAL idle_in_transaction_session_timeout TO 0"))


def read_blocks(db: Connection, shape: TableShape) -> Iterator[RowBlock]:
    """All rows of a table, in blocks of about 1 MB."""
    rows = _postgresql_rows(db, shape) if db.dialect.name == "postgresql" else _sqlite_rows(db, shape)
    lines: list[bytes] = []
    size = 0
    for line in rows:
        lines.append(line)
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield RowBlock(b"".join(lines), len(lines))
            lines, size = [], 0
    if lines:
        yield RowBlock(b"".join(lines), len(lines))


def _postgresql_rows(db: Connection, shape: TableShape) -> Iterator[bytes]:
    with _driver(db).cursor().copy(f"COPY {_target(shape)} TO STDOUT") as copy:
        for line in copy:
            yield bytes(line)


def _sqlite_rows(db: Connection, shape: TableShape) -> Iterator[bytes]:
    writers = [_WRITERS[kind] for _, kind in shape.columns]
    names = ", ".join(_quoted(name) for name, _ in shape.columns)
    cursor = _driver(db).execute(f"SELECT {names} FROM {_quoted(shape.name)}")  # noqa: S608 - names of our own schema
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        for row in rows:
            values = ("\\N" if value is None else write(value) for write, value in zip(writers, row, strict=True))
            yield ("\t".join(values) + "\n").encode()


def prepare_load(db: Connection) -> None:
    """Make a transaction ready for `write_blocks`: it may take as long as it needs."""
    if db.dialect.name == "postgresql":
        _be_patient(db)


def delete_all(db: Connection, tables: Sequence[TableShape]) -> None:
    """Empty these tables, which are in the order of `shapes`: what a migration has put there comes with the archive."""
    for shape in reversed(tables):
        db.execute(text(f"DELETE FROM {_quoted(shape.name)}"))  # noqa: S608 - names of our own schema


def write_blocks(db: Connection, shape: TableShape, blocks: Iterable[bytes]) -> int:
    """Add rows to a table; returns how many. Raises DatabaseError, and ValueError for text that is no row of it."""
    if db.dialect.name == "postgresql":
        return _write_postgresql(db, shape, blocks)
    return _write_sqlite(db, shape, blocks)


def _write_postgresql(db: Connection, shape: TableShape, blocks: Iterable[bytes]) -> int:
    import psycopg

    cursor = _driver(db).cursor()
    try:
        with cursor.copy(f"COPY {_target(shape)} FROM STDIN") as copy:
            for block in blocks:
                copy.write(block.replace(b"\0", _UNREADABLE))
    except psycopg.Error as error:
        raise DatabaseError(f"COPY {shape.name}", None, error, hide_parameters=True) from error
    return int(cursor.rowcount)


def _write_sqlite(db: Connection, shape: TableShape, blocks: Iterable[bytes]) -> int:
    names = ", ".join(_quoted(name) for name, _ in shape.columns)
    marks = ", ".join("?" * len(shape.columns))
    statement = f"INSERT INTO {_quoted(shape.name)} ({names}) VALUES ({marks})"  # noqa: S608 - names of our own schema
    readers = [_READERS[kind] for _, kind in shape.columns]
    count = 0
    for block in blocks:
        rows = [_parsed(line, readers) for line in block.decode().split("\n")[:-1]]
        db.exec_driver_sql(statement, rows)
        count += len(rows)
    return count


def continue_numbers(db: Connection, tables: Sequence[TableShape]) -> None:
    """Let numbers that count by themselves go on after those that were loaded. SQLite does so by itself."""
    if db.dialect.name != "postgresql":
        return
    for shape in tables:
        for name, kind in shape.columns:
            if kind is not ColumnKind.INTEGER:
                continue
            sequence = db.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": shape.name, "column": name})
            if sequence is not None:
                latest = f"SELECT max({_quoted(name)}) FROM {_quoted(shape.name)}"  # noqa: S608 - names of our own schema
                db.execute(
                    text(f"SELECT setval(:sequence, coalesce(({latest}), 1), ({latest}) IS NOT NULL)"),
                    {"sequence": sequence},
                )


def count_rows(db: Connection) -> dict[str, int]:
    """How many rows each table of the database has that this version knows, the empty ones and missing ones left out."""
    there = set(inspect(db).get_table_names())
    found = {}
    for table in metadata.tables:
        if table in there:
            number = db.execute(text(f"SELECT count(*) FROM {_quoted(table)}")).scalar_one()  # noqa: S608
            if number:
                found[table] = int(number)
    return found


def _driver(db: Connection) -> Any:
    return db.connection.driver_connection


def _quoted(name: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise ValueError(f"{name!r} is no name of a table or column")
    return f'"{name}"'


def _target(shape: TableShape) -> str:
    return f"{_quoted(shape.name)} ({', '.join(_quoted(name) for name, _ in shape.columns)})"


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
_SPECIAL = re.compile("[\\\\\n\r\t\b\f\v]")
_MEANINGS = {written[1]: character for character, written in _ESCAPES.items()}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _write_text(value: Any) -> str:
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], str(value))


def _write_instant(value: int) -> str:
    return (EPOCH + timedelta(microseconds=value)).isoformat(" ")


_WRITERS: dict[ColumnKind, Callable[[Any], str]] = {
    ColumnKind.ID: lambda value: bytes(value).hex(),
    ColumnKind.INSTANT: _write_instant,
    ColumnKind.BYTES: lambda value: f"\\\\x{bytes(value).hex()}",
    ColumnKind.BOOLEAN: lambda value: "t" if value else "f",
    ColumnKind.INTEGER: str,
    ColumnKind.TEXT: _write_text,
}


def _read_text(value: str) -> str:
    return _ESCAPED.sub(lambda found: _MEANINGS.get(found[1], found[1]), value) if "\\" in value else value


def _read_bytes(value: str) -> bytes:
    if not value.startswith("\\\\x"):
        raise ValueError("bytes are written in hexadecimal")
    return bytes.fromhex(value[3:])


_READERS: dict[ColumnKind, Callable[[str], Any]] = {
    ColumnKind.ID: lambda value: bytes.fromhex(value.replace("-", "")),
    ColumnKind.INSTANT: lambda value: (datetime.fromisoformat(value) - EPOCH) // MICROSECOND,
    ColumnKind.BYTES: _read_bytes,
    ColumnKind.BOOLEAN: lambda value: {"t": 1, "f": 0}[value],
    ColumnKind.INTEGER: int,
    ColumnKind.TEXT: _read_text,
}


def _parsed(line: str, readers: Sequence[Callable[[str], Any]]) -> tuple[Any, ...]:
    values = zip(readers, line.split("\t"), strict=True)
    return tuple(None if value == "\\N" else read(value) for read, value in values)
