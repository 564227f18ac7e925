"""Lists of values as one parameter: statements that are built once and run with any number of rows.

A statement with `IN (…)` or `VALUES (…)` changes with every number of rows, and building and compiling it costs more than
running it. Here the rows travel as one JSON parameter, which both databases read as a table.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, Text, bindparam, cast, func, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from nurture.store.schema import EPOCH, MICROSECOND, Id, Instant


def pack(db: Connection, rows: Mapping[str, Sequence[Any]] | Iterable[str]) -> str:
    """Rows as the parameter of a `table`: columns by id, or ids alone."""
    found = rows if isinstance(rows, Mapping) else dict.fromkeys(rows, ())
    sqlite = db.dialect.name == "sqlite"
    return json.dumps({key: [_plain(value, sqlite) for value in values] for key, values in found.items()})


def _plain(value: Any, sqlite: bool) -> Any:
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND if sqlite else value.isoformat()
    return value


_Kinds = type[Id] | type[Instant] | type[Text]


def table(dialect: str, parameter: str, **columns: _Kinds) -> Subquery:
    """The packed parameter as a table: `id`, then the columns in the order they were packed, of the types named."""
    return _table(dialect, parameter, "id", Id, columns)


def table_by_name(dialect: str, parameter: str, **columns: _Kinds) -> Subquery:
    """The same for rows that are found by a `name`, which is text."""
    return _table(dialect, parameter, "name", Text, columns)


def _table(dialect: str, parameter: str, key: str, key_kind: _Kinds, columns: Mapping[str, _Kinds]) -> Subquery:
    sqlite = dialect == "sqlite"
    each = func.json_each if sqlite else func.jsonb_each
    packed = bindparam(parameter, type_=Text)
    pairs = each(packed if sqlite else cast(packed, JSONB)).table_valued("key", "value")
    found = [_read(sqlite, pairs.c.key, key_kind).label(key)]
    for number, (name, kind) in enumerate(columns.items()):
        found.append(_read(sqlite, pairs.c.value.op("->>")(number), kind).label(name))
    return select(*found).subquery(f"given_{parameter}")


def _read(sqlite: bool, text: ColumnElement[Any], kind: _Kinds) -> ColumnElement[Any]:
    if kind is Id:
        return func.unhex(text, type_=Id) if sqlite else cast(text, Id)
    return type_coerce(text, Instant) if sqlite and kind is Instant else cast(text, kind)
