"""Tables as files: what a spreadsheet must not run, and what a person is told about a file that cannot be read."""

import csv
import io
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.services.subscribers import csv_files
from nurture.services.subscribers.csv_files import SheetRefused


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_that_is_written_begins_a_formula(cell: str) -> None:
    (row,) = csv.reader(io.StringIO(csv_files.written([[cell, "plain"]], first=False), newline=""))
    assert row == [f"'{cell}", "plain"]


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1), min_size=2, max_size=2)))
def test_what_is_written_is_read_back_as_it_was(rows: list[list[str]]) -> None:
    text = csv_files.written([["address", "name"], ["a@example.org", "A"], *rows])
    found = csv_files.read(text.encode())
    assert found.columns == ("address", "name")
    expected = [tuple(" ".join(cell.split()) for cell in row) for row in rows]
    assert list(found.rows[1:]) == [row for row in expected if any(row)]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_are_understood(mark: str) -> None:
    text = f"Name{mark}E-Mail\r\n\r\nAda{mark}ada@example.org\r\nBo{mark}bo@example.org\r\n"
    found = csv_files.read(text.encode("utf-8-sig"))
    assert found.columns == ("Name", "E-Mail")
    assert found.rows == (("Ada", "ada@example.org"), ("Bo", "bo@example.org"))
    assert found.lines == (3, 4)


def test_a_file_without_names_of_columns_loses_no_row() -> None:
    found = csv_files.read(b"ada@example.org\nbo@example.org,Bo\n")
    assert found.columns == ("Column 1", "Column 2")
    assert found.rows == (("ada@example.org", ""), ("bo@example.org", "Bo"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "This file is empty"),
        (b"\n \n,,\n", "This file is empty"),
        (b"Address\n", "no people below them"),
        (b"Name,Town\nAda,Bonn\n", "No column of this file holds e-mail addresses"),
        ("a@example.org\n\xe9".encode("latin-1"), "Line 2 holds letters that are not UTF-8"),
        ("a@example.org".encode("utf-16"), "Save as"),
        (b"PK\x03\x04rest", "This is a workbook, not a CSV file"),
        (b'a@example.org\n"b@example.org\n', "Line 2 cannot be read"),
        (b"a@example.org\n" * (csv_files.MOST_ROWS + 1), "more than 10,000 rows"),
        (b"a@example.org" + b"," * 60, "61 columns; at most 50"),
        (b"a@example.org\n" + b"x" * csv_files.MOST_BYTES, "larger than 5 MB"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_and_what_to_do(content: bytes, said: str) -> None:
    with pytest.raises(SheetRefused, match=said):
        csv_files.read(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\n" * 2_500_000, "more than 10,000 rows"),
        (b"\n" * 5_000_000, "more than 10,000 rows"),
        (b'"' + b"\n" * 5_000_000 + b'"', "more than 10,000 rows"),
        (b"," * 5_000_000, "5,000,000 characters long; at most 50,000"),
        (b"a@example.org\n" + b"x" * 4_000_000, "Line 2 is 4,000,000 characters long"),
        (b",".join([b"a"] * 20_000), "20,000 columns; at most 50"),
    ],
    ids=["short rows", "empty rows", "one cell of many lines", "commas", "a long cell", "many columns"],
)
def test_a_file_is_read_no_further_than_what_is_out_of_bounds(content: bytes, said: str) -> None:
    """Counted in lines of Python that ran, not in seconds: a busy machine is no fault of the code."""
    steps = 0

    def count(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
        nonlocal steps
        steps += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with pytest.raises(SheetRefused, match=said):
            csv_files.read(content)
    finally:
        sys.settrace(before)
    assert steps < 1_000_000
