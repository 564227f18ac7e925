"""What all tables share: one metadata with names for its constraints, and how a column of words is checked."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Integer, MetaData, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def one_of(column: str, values: type[Any]) -> CheckConstraint:
    """The column holds one of the words of an enumeration."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(value.value) for value in values)})", name=f"{column}_known")


SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""A number that counts on by itself; SQLite does that for its own INTEGER only."""


def where(condition: str) -> dict[str, Any]:
    """A partial index, on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
