"""What is a restored copy and what is not, as values."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.restore_evidence import DatabaseRecord, Position, RestoreEvidence, Surroundings, find_evidence

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
SQLITE = {"file": "71", "machine": "a"}
POSTGRESQL = {"server": "7", "timeline": "00000001", "database": "16384", "tables": "16390"}

positions = st.builds(Position, st.integers(0, 3), st.integers(0, 5), st.integers(0, 5))


def record(**changes: object) -> DatabaseRecord:
    """Of a database that has run until a moment ago."""
    kept: dict[str, object] = {"position": Position(0, 9, 4), "identity": SQLITE, "witnessed": True, "last_tick": NOW}
    return DatabaseRecord(**(kept | changes))  # type: ignore[arg-type]


def around(**changes: object) -> Surroundings:
    """A process that starts beside it."""
    kept: dict[str, object] = {"identity": SQLITE, "seen": (Position(0, 9, 4),), "is_start": True, "keeps_witness": True}
    return Surroundings(**(kept | changes))  # type: ignore[arg-type]


CASES = {
    "as it was left": (record(), around(), None),
    "ahead of its file": (record(position=Position(0, 10, 9)), around(), None),
    "new": (DatabaseRecord(), around(seen=()), None),
    "counted once, and killed before the file": (record(position=Position(0, 1, 0), witnessed=False), around(seen=()), None),
    "its file could never be written": (record(witnessed=False), around(seen=()), None),
    "its file is gone": (record(), around(seen=()), RestoreEvidence.NO_WITNESS),
    "an older version's, with its file": (record(identity=None), around(), None),
    "an older version's, without": (record(identity=None, witnessed=False), around(seen=()), RestoreEvidence.NO_WITNESS),
    "fewer marks": (record(position=Position(0, 9, 3)), around(), RestoreEvidence.BEHIND),
    "fewer counts": (record(position=Position(0, 8, 4)), around(), RestoreEvidence.BEHIND),
    "restored since the file was written": (record(position=Position(1, 3, 1)), around(), None),
    "restored once less": (record(), around(seen=(Position(1, 3, 1),)), RestoreEvidence.BEHIND),
    "another file": (record(), around(identity={"file": "72", "machine": "a"}), RestoreEvidence.FILE),
    "another machine": (record(), around(identity={"file": "71", "machine": "b"}), RestoreEvidence.MACHINE),
    "a container, where neither means anything": (record(), around(identity={}), None),
    "another server": (record(identity=POSTGRESQL), around(identity=POSTGRESQL | {"server": "8"}), RestoreEvidence.SERVER),
    "promoted": (record(identity=POSTGRESQL), around(identity=POSTGRESQL | {"timeline": "2"}), RestoreEvidence.TIMELINE),
    "created anew": (record(identity=POSTGRESQL), around(identity=POSTGRESQL | {"database": "9"}), RestoreEvidence.DATABASE),
    "loaded tables": (record(identity=POSTGRESQL), around(identity=POSTGRESQL | {"tables": "9"}), RestoreEvidence.TABLES),
    "a machine that joins": (
        record(identity=POSTGRESQL), around(identity=POSTGRESQL, seen=(), keeps_witness=False), None,
    ),
    "a host that forbids some functions": (
        record(identity=POSTGRESQL), around(identity={"database": "16384"}, seen=(), keeps_witness=False), None,
    ),
    "off for 40 minutes": (record(last_tick=NOW - timedelta(minutes=40)), around(), None),
    "off for a weekend, uncleanly": (record(last_tick=NOW - timedelta(days=2)), around(), RestoreEvidence.OLD_TICK),
    "off for a weekend, cleanly": (
        record(last_tick=NOW - timedelta(days=2), stopped=NOW - timedelta(days=2)), around(), None,
    ),
    "a clean stop before it ran again": (
        record(last_tick=NOW - timedelta(days=2), stopped=NOW - timedelta(days=3)), around(), RestoreEvidence.OLD_TICK,
    ),
    "looked at by a person": (record(last_tick=NOW - timedelta(days=2), reviewed=NOW - timedelta(hours=5)), around(), None),
    "asleep in a running process": (record(last_tick=NOW - timedelta(days=2)), around(is_start=False), None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_case(case: str) -> None:
    database, surroundings, expected = CASES[case]
    assert find_evidence(database, surroundings, NOW) == expected


@given(positions, positions)
def test_of_two_different_positions_one_at_least_is_behind(one: Position, other: Position) -> None:
    assert (one == other) is not (one.is_behind(other) or other.is_behind(one))


@given(positions, positions)
def test_the_joined_position_is_behind_neither(one: Position, other: Position) -> None:
    joined = one.joined(other)
    assert not joined.is_behind(one)
    assert not joined.is_behind(other)
