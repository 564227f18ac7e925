"""Lists of values as one parameter: statements that are built once and run with any number of rows.

A statement with `IN (…)` or `VALUES (…)` changes with every number of rows, and building and compiling it costs more than
running it. Here the rows travel as one JSON parameter, which both databases read as a table.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Subquery,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)

from nurture.store.core.columns import EPOCH, MICROSECOND, Id, Instant


def encode(db: Connection, rows: Mapping[Any, Sequence[Any]]) -> str:
    """Rows as the parameter of `as_table`: columns by id."""
    plain = _microseconds if db.dialect.name == "sqlite" else datetime.isoformat
    return orjson.dumps(rows, default=plain, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _microseconds(value: datetime) -> int:
    return (value - EPOCH) // MICROSECOND


def encode_ids(db: Connection, found: Iterable[str]) -> str | list[str]:
    """Ids as the parameter of `in_ids`."""
    return orjson.dumps(list(found)).decode() if db.dialect.name == "sqlite" else list(found)


def in_ids(
    dialect: str, column: ColumnElement[Any], parameter: str, value: str | list[str] | None = None
) -> ColumnElement[bool]:
    """The column is one of the ids of the parameter. On PostgreSQL an array, whose length the planner can see.

    `value`: what `ids` packed, for a statement that is built where it runs.
    """
    kind = ARRAY(Uuid(as_uuid=False)) if dialect == "postgresql" else Text()
    packed = bindparam(parameter, type_=kind) if value is None else bindparam(parameter, value, type_=kind)
    if dialect == "postgresql":
        return column == func.any(packed)
    each = func.json_each(packed).table_valued("value")
    return column.in_(select(func.unhex(each.c.value, type_=Id)))


_Kinds = type[Id] | type[Instant] | type[Integer] | type[Text]


def as_table(dialect: str, parameter: str, **columns: _Kinds) -> Subquery:
    """The packed parameter as a table: `id`, then the columns in the order they were packed, of the types named."""
    return _table(dialect, parameter, lambda key: _read(dialect == "sqlite", key, Id).label("id"), columns)


def as_bytes_table(dialect: str, parameter: str, **columns: _Kinds) -> Subquery:
    """The same for rows known by other bytes than an id, packed as hex digits: `key`, then the columns."""
    unhex = func.unhex if dialect == "sqlite" else partial(_decode, "hex")
    return _table(dialect, parameter, lambda key: unhex(key).label("key"), columns)


def _decode(how: str, text: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.decode(text, how, type_=LargeBinary)


def _as_jsonb(text: ColumnElement[Any]) -> ColumnElement[Any]:
    from sqlalchemy.dialects.postgresql import JSONB  # here: SQLite does without a third of a second of CPU

    return cast(text, JSONB)


def _table(
    dialect: str, parameter: str, name: Callable[[ColumnElement[Any]], ColumnElement[Any]], columns: Mapping[str, _Kinds]
) -> Subquery:
    sqlite = dialect == "sqlite"
    each = func.json_each if sqlite else func.jsonb_each
    packed = bindparam(parameter, type_=Text)
    pairs = each(packed if sqlite else _as_jsonb(packed)).table_valued("key", "value")
    found = [name(pairs.c.key)]
    for number, (column, kind) in enumerate(columns.items()):
        found.append(_read(sqlite, pairs.c.value.op("->>")(literal_column(str(number))), kind).label(column))
    return select(*found).subquery(f"given_{parameter}")


def _read(sqlite: bool, text: ColumnElement[Any], kind: _Kinds) -> ColumnElement[Any]:
    if kind is Id:
        return func.unhex(text, type_=Id) if sqlite else cast(text, Id)
    return type_coerce(text, Instant) if sqlite and kind is Instant else cast(text, kind)
