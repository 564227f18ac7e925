"""Tables of text as files: written so that no spreadsheet runs what a cell says, read with an error that says what to do."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nurture.errors import NurtureError

MOST_BYTES = 5 * 1024 * 1024
MOST_ROWS = 10_000
MOST_COLUMNS = 50
_LONGEST_LINE = 50_000
_MOST_LINES = 3 * MOST_ROWS
"""Empty ones among them, and those within a cell."""
_TOO_MANY_ROWS = f"This file has more than {MOST_ROWS:,} rows; so many can be added at once. Please split it."
_BOM = "\ufeff"
_RUNS = ("=", "+", "-", "@", "\t", "\r")


class SheetRefused(NurtureError):
    """A file cannot be read as a table. The message says why, and what to do."""


def safe(cell: str) -> str:
    """A cell no spreadsheet takes for a formula: an apostrophe goes before what begins like one (OWASP, "CSV Injection")."""
    return f"'{cell}" if cell.startswith(_RUNS) else cell


def written(rows: Iterable[Sequence[str]], first: bool = True) -> str:
    """Rows as text of a CSV file (RFC 4180), `first` with the mark by which Excel knows UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerows([safe(cell) for cell in row] for row in rows)
    return (_BOM if first else "") + text.getvalue()


@dataclass(frozen=True)
class Sheet:
    """A table: the names of its columns, and its rows with as many cells. `lines`: where each row begins in the file."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def __repr__(self) -> str:
        """Never the cells."""
        return f"Sheet({len(self.rows)} rows)"


def read(content: bytes) -> Sheet:
    """Read a CSV file with commas, semicolons or tabs. Its first row names the columns unless it holds an address itself.

    Raises SheetRefused.
    """
    if len(content) > MOST_BYTES:
        raise SheetRefused("This file is larger than 5 MB. Please split it, or leave out columns that are not needed.")
    if content.startswith(b"PK\x03\x04"):
        raise SheetRefused("This is a workbook, not a CSV file. Open it, choose “Save as”, and take “CSV UTF-8”.")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise SheetRefused("This is not a CSV file in UTF-8. Open it, choose “Save as”, and take “CSV UTF-8”.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SheetRefused(
            f"Line {line} holds letters that are not UTF-8. Open the file, choose “Save as”, and take “CSV UTF-8”."
        ) from None
    found = _rows(text)
    if not found:
        raise SheetRefused("This file is empty. It needs a row for each person.")
    named = not any("@" in cell for cell in found[0][1])
    width = max(len(row) for _, row in found)
    head = found[0][1] if named else []
    columns = tuple((head[at] if at < len(head) and head[at] else f"Column {at + 1}")[:80] for at in range(width))
    body = found[1:] if named else found
    if not body:
        raise SheetRefused("This file has names of columns, and no people below them.")
    if len(body) > MOST_ROWS:
        raise SheetRefused(_TOO_MANY_ROWS)
    if not any("@" in cell for _, row in body for cell in row):
        raise SheetRefused("No column of this file holds e-mail addresses. Each row needs one, such as name@example.org.")
    rows = tuple((*row, *[""] * (width - len(row))) for _, row in body)
    return Sheet(columns, rows, tuple(line for line, _ in body))


def _as_meant(cell: str) -> str:
    """Without the apostrophe that `safe` put before it, so that our own file comes back as it was."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _RUNS and cell[1:] else cell


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """Rows that are not empty, each with the line it begins on. Ends at the first thing that is out of bounds."""
    head = text[:_LONGEST_LINE].lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(_bounded_lines(text), delimiter=delimiter, strict=True)
    found, line, read = [], 1, 0
    try:
        for row in reader:
            read += 1
            if len(row) > MOST_COLUMNS:
                raise SheetRefused(
                    f"Line {line} has {len(row):,} columns; at most {MOST_COLUMNS} can be read. Please leave some out."
                )
            cells = [" ".join(_as_meant(cell).split()) for cell in row]
            if any(cells):
                found.append((line, cells))
            if len(found) > MOST_ROWS + 1 or read > _MOST_LINES:
                raise SheetRefused(_TOO_MANY_ROWS)
            line = reader.line_num + 1
    except csv.Error:
        raise SheetRefused(
            f"Line {line} cannot be read: a quotation mark is missing or stands in the wrong place. Please look at that line."
        ) from None
    return found


def _bounded_lines(text: str) -> Iterator[str]:
    """The lines of a text with their ends. Raises SheetRefused at one that is too long, before it is taken apart."""
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if len(line) > _LONGEST_LINE:
            raise SheetRefused(
                f"Line {number} is {len(line):,} characters long; at most {_LONGEST_LINE:,} can be read. Please shorten it."
            )
        if number > _MOST_LINES:
            raise SheetRefused(_TOO_MANY_ROWS)
        yield line
