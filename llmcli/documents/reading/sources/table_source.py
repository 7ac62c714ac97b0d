"""Tables: CSV and spreadsheets.

A small table is read as it is, a large one as an overview of columns and sampled rows.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from llmcli.documents.delimited_table import DelimitedTable, default_delimiter, unique_names
from llmcli.documents.reading.document import decode_utf8
from llmcli.documents.reading.passages import Section
from llmcli.documents.reading.sources.column_profile import (
    ColumnProfile,
    RowSample,
    describe_columns,
    describe_sample,
)
from llmcli.documents.reading.sources.optional_library import import_optional
from llmcli.documents.reading.sources.section_builder import format_row
from llmcli.documents.reading.sources.zip_package import ZipPackage
from llmcli.errors import BadDocument

MAX_WHOLE_CHARS = 32_000
"""The longest table or JSON that is read as it is."""
MAX_COLUMNS = 200
"""Columns of an overview; the rest is counted."""
MAX_SPREADSHEET_BYTES = 128 << 20
MAX_SHEET_CELLS = 5_000_000
"""Cells of the area of a sheet that has content, empty ones included: the reader keeps all of them in memory."""
_ROWS_OF_SECTION = 5_000
# the positions of cells and rows; a cell without one stands beside the cell before it
_CELL = re.compile(rb"<(?:\w+:)?(?:c|row)\s(?:[^>]*?\s)?r\s*=\s*[\"']([A-Z]{0,3})(\d{1,10})[\"']")


def read_csv(data: bytes, name: str) -> Iterator[Section | str]:
    """Yield the text of a small CSV or TSV file, else an overview and a note. Raises ``BadDocument``, ``NotUtf8``."""
    text, _ = decode_utf8(data, name)
    if len(text) <= MAX_WHOLE_CHARS:
        yield Section(text)
    else:
        yield from describe_csv(io.StringIO(text, newline=""), name)


def describe_csv(lines: Iterable[str], name: str) -> Iterator[Section | str]:
    """Yield the overview of a CSV or TSV file, and a note that says so. Raises ``BadDocument``."""
    table = DelimitedTable(lines, name, default=default_delimiter(name))
    yield from _describe_table((), None, table.header, table)


def read_spreadsheet(data: bytes, name: str) -> Iterator[Section | str]:
    """Yield each sheet with content (XLSX, ODS); ``page`` is the number of the sheet.

    Raises ``MissingExtra`` and ``BadDocument``.
    """
    del name
    for title, number, rows in _read_sheets(data):
        yield from _describe_sheet(title, number, rows)


def read_sheet_rows(data: bytes, name: str) -> Iterator[Section]:
    """Yield all rows of each sheet, some at a time, as a JSON list of lists of texts; otherwise as ``read_spreadsheet``."""
    del name
    for title, number, rows in _read_sheets(data):
        for at in range(0, len(rows), _ROWS_OF_SECTION):
            texts = [[_cell_text(cell) for cell in row] for row in rows[at : at + _ROWS_OF_SECTION]]
            yield Section(json.dumps(texts), (title,), number)


def _read_sheets(data: bytes) -> Iterator[tuple[str, int, list[list[object]]]]:
    """Yield the title, the number and the rows of each sheet. Raises as ``read_spreadsheet``."""
    calamine = import_optional("python_calamine", "python-calamine")
    _check_size(ZipPackage(data))
    try:
        workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        names = list(workbook.sheet_names)
    except calamine.PasswordError as error:
        raise BadDocument(detail="it is encrypted; save it without a password") from error
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise BadDocument(detail=f"the file is damaged: {error}") from error
    for number, title in enumerate(names, 1):
        try:
            rows = workbook.get_sheet_by_index(number - 1).to_python()
        except (calamine.CalamineError, OSError, ValueError) as error:
            raise BadDocument(detail=f"the sheet {title} is damaged: {error}") from error
        yield title, number, rows


def _describe_sheet(title: str, number: int, rows: list[list[object]]) -> Iterator[Section | str]:
    texts = [[_cell_text(cell) for cell in row] for row in rows]
    lines, size = [f"# {title}", ""], 0
    for row in texts:
        if any(row):
            lines.append(format_row(row))
            size += len(lines[-1]) + 1
            if size > MAX_WHOLE_CHARS:
                above, (header, *filled) = split_titles(texts)
                yield from _describe_table(
                    (title,), number, header, filled, [" ".join(filter(None, row)) for row in above]
                )
                return
    if size:
        yield Section("\n".join(lines), (title,), number)


def split_titles(rows: Iterable[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the titles above a table, and its header and rows, without blank ones.

    A title is a row with one cell above the first one that has several. A table of one column has none.
    """
    filled = [row for row in rows if any(row)]
    start = next((at for at, row in enumerate(filled) if sum(map(bool, row)) > 1), 0)
    return filled[:start], filled[start:]


def _describe_table(
    headings: tuple[str, ...],
    page: int | None,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    titles: Sequence[str] = (),
) -> Iterator[Section | str]:
    """Yield the overview of a table below its ``titles``, and a note that says so."""
    profiles = [ColumnProfile() for _ in header]
    sample: RowSample[Sequence[str]] = RowSample()
    count = 0
    for count, row in enumerate(rows, 1):
        profiles += [ColumnProfile() for _ in range(len(profiles), len(row))]
        for profile, value in zip(profiles, row, strict=False):
            profile.add(value)
        sample.add(count, row[:MAX_COLUMNS])
    names = unique_names([*header, *[""] * (len(profiles) - len(header))])
    shown = list(zip(names, profiles, strict=True))[:MAX_COLUMNS]
    what = f"{count:,} rows and {len(profiles):,} columns"
    more = f"; the first {MAX_COLUMNS} columns are shown" if len(profiles) > MAX_COLUMNS else ""
    lines = [*(f"# {title}" for title in headings), *titles, f"Overview of a table with {what}{more}.", ""]
    lines += [*describe_columns(shown), "", f"{len(sample.rows)} of the {count:,} rows:", ""]
    lines += describe_sample([name for name, _ in shown], sample)
    yield Section("\n".join(lines), headings, page)
    where = f"sheet {headings[0]}: " if headings else ""
    yield f"{where}a table with {what} is given to the model as an overview with {len(sample.rows)} rows"


def _cell_text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:  # noqa: PLR2004 (exact as an integer)
        return str(int(cell))
    return str(cell).removesuffix(" 00:00:00")  # a date


def _check_size(package: ZipPackage) -> None:
    """Raise ``BadDocument`` if the workbook or the area of a sheet is too large for memory."""
    if package.unpacked_size(".xml", ".rels") > MAX_SPREADSHEET_BYTES:
        raise BadDocument(detail=f"it unpacks to more than {MAX_SPREADSHEET_BYTES >> 20} MiB; export it as CSV")
    for name in package.names:
        if name.startswith("xl/") and name.endswith(".xml"):
            rows, columns = _sheet_area(package.read(name))
            if rows * columns > MAX_SHEET_CELLS:
                raise BadDocument(detail=f"{name} spans {rows:,} rows and {columns:,} columns; export it as CSV")


def _sheet_area(xml: bytes) -> tuple[int, int]:
    """Return the number of rows and columns of the smallest area that holds all cells."""
    columns: set[bytes] = set()
    low, high = 1 << 32, 0
    for cell in _CELL.finditer(xml):
        row = int(cell[2])
        low, high = min(low, row), max(high, row)
        columns.add(cell[1])
    numbers = [_column_number(each) for each in columns if each] or [0]
    return max(0, high - low + 1), max(numbers) - min(numbers) + 1


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
