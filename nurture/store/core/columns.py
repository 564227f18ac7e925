"""The types of columns: each value has one form in Python, and on each database the one that suits it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import TIMESTAMP, BigInteger, Dialect, LargeBinary, String, Uuid
from sqlalchemy.types import TypeDecorator, TypeEngine

from nurture.encryption import Encrypted

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Id(TypeDecorator[str]):
    """A 128-bit id: `uuid` on PostgreSQL, 16 bytes on SQLite, 32 hex digits in Python."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the database."""
        return dialect.type_descriptor(Uuid(as_uuid=False) if dialect.name == "postgresql" else LargeBinary(16))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Hex digits to the database's form."""
        return value if value is None or dialect.name == "postgresql" else bytes.fromhex(value)

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], str | None]:
        """The database's form to hex digits: one call a value, since every row carries several."""
        return _plain_uuid if dialect.name == "postgresql" else _hex


def _plain_uuid(value: str | None) -> str | None:
    return value if value is None else value.replace("-", "")  # a string: see Database


def _hex(value: bytes | None) -> str | None:
    return value if value is None else value.hex()


class Instant(TypeDecorator[datetime]):
    """A UTC instant to the microsecond: `timestamptz` on PostgreSQL, microseconds since 1970 on SQLite."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the database."""
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """An aware datetime to the database's form."""
        if value is None or dialect.name == "postgresql":
            return value
        return (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """The database's form to an aware datetime in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else EPOCH + timedelta(microseconds=value)


class EncryptedColumn(TypeDecorator[Encrypted]):
    """A sealed personal value; see nurture.encryption."""

    impl = LargeBinary
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> Encrypted | None:
        """Bytes that print as ‹sealed›."""
        return None if value is None else Encrypted(value)


class Word(TypeDecorator[StrEnum]):
    """One word of an enumeration, stored as text."""

    impl = String
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        """`words`: the enumeration."""
        super().__init__(24)
        self.words = words

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        """Text to the enumeration's member."""
        return None if value is None else self.words(value)
