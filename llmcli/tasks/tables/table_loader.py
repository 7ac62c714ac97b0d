"""Tables of named columns: CSV and JSON documents, the sheets of workbooks, and the tables in the text of a report.

Reports have rows of cells between vertical bars, as Markdown and the readers write them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import PurePath
from typing import Any

from llmcli.documents.delimited_table import (
    DELIMITERS,
    DelimitedTable,
    default_delimiter,
    sniff_delimiter,
    without_quoted_fields,
)
from llmcli.documents.format_registry import (
    DELIMITED_FORMATS,
    JSON_LINES,
    WORKBOOK_FORMATS,
    find_reader_by_name,
    is_markdown_suffix,
)
from llmcli.documents.json_values import parse_json_at
from llmcli.documents.reading.document import Document, bad_table, decode_utf8
from llmcli.documents.reading.file_reader import read_bytes
from llmcli.documents.reading.reader_process import read_in_child
from llmcli.documents.reading.source_reader import refuse_unknown
from llmcli.documents.reading.sources.table_source import split_titles
from llmcli.documents.reading.streamed_file import open_streamed_file
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen, replace
from llmcli.interrupt import Interrupt, run_interruptible
from llmcli.tasks.tables.streamed_rows import StreamedTable, flatten_objects, type_cells
from llmcli.tasks.tables.table_values import Value, unique_name

_ROW = re.compile(r"[ \t>]*\|(.*)\|[ \t]*")
_SEPARATOR = re.compile(r"[ \t>]*\|(?:[ \t]*:?-+:?[ \t]*\|)+[ \t]*")
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_JSON_START = re.compile(r"\s*(?:\{\s*(?:[\"}]|\Z)|\[\s*(?:[{\"]|\Z))")
_SHEETS_READER = "llmcli.documents.reading.sources.table_source:read_sheet_rows"
_SNIFFED_LINES = 20
_MIN_ROWS, _MIN_FIELDS = 3, 3
_MAX_TITLE_CHARS = 60
_REPORTED_NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s?%?")


@frozen
class Table:
    """A table: the names of its columns, unique without regard to case, and its rows, each as long as these.

    ``longer_rows``: the number of the first row with a value that no column was named for; 0 if there is none.
    """

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Value]]
    longer_rows: int = 0


def is_table(document: Document) -> bool:
    """Whether a document is a workbook, or a table or JSON by the suffix of its name."""
    return is_table_name(document.name) or _is_workbook(document)


def is_table_name(name: str) -> bool:
    """Whether a file is a workbook, a table or JSON by the suffix of its name."""
    found = find_reader_by_name(name)
    return found is not None and (found.is_text or found.name in WORKBOOK_FORMATS)


def _is_workbook(document: Document) -> bool:
    return document.source is not None and document.source.format_name in WORKBOOK_FORMATS


def holds_records(document: Document) -> bool:
    """Whether a document has rows or JSON instead of prose: by its name, its format, or the first lines of a text."""
    if is_table(document):
        return True
    if is_markdown_suffix(PurePath(document.name).suffix[1:].lower()):
        return False
    lines = [line for line in islice(io.StringIO(document.text), _SNIFFED_LINES) if line.strip()]
    return bool(lines) and (_JSON_START.match(lines[0]) is not None or _are_rows(lines))


def _are_rows(lines: Sequence[str]) -> bool:
    """Whether lines have equally many fields below a header that is no sentence."""
    delimiter = sniff_delimiter(lines[0], ",")
    counts = {without_quoted_fields(line).count(delimiter) for line in lines}
    titles = [title.strip() for title in lines[0].split(delimiter)]
    return (
        len(lines) >= _MIN_ROWS
        and len(titles) >= _MIN_FIELDS
        and len(counts) == 1
        and all(0 < len(title) <= _MAX_TITLE_CHARS for title in titles)
        and not titles[-1].endswith((".", "!", "?"))
    )


def load_tables(documents: Sequence[Document], interrupt: Interrupt) -> list[Table]:
    """Return the tables of documents; a document of several lists of objects gives several, as one of several sheets does.

    A file that was read as an overview is read again, as a whole. Raises ``BadDocument`` for one that is no table, and
    what ``read_bytes`` raises.
    """
    found: list[Table] = []
    names: set[str] = set()
    for document in documents:
        try:
            found += [
                replace(table, name=unique_name(_identifier(table.name), names))
                for table in _read_tables(document, interrupt)
            ]
        except BadDocument as error:
            raise bad_table(document.name, error) from error
    return found


def make_table(title: str, cells: Sequence[list[str]], used: set[str], interrupt: Interrupt) -> Table:
    """Return the table of cells whose first row names the columns; its name is added to the ``used`` ones.

    Raises ``BadDocument`` for too many columns.
    """
    columns, rows = type_cells(cells[0], lambda: cells[1:], interrupt)
    return Table(unique_name(_identifier(title), used), columns, rows[:])


def _read_tables(document: Document, interrupt: Interrupt) -> Iterator[Table]:
    """Yield the tables of a document; a name may occur twice."""
    if _is_workbook(document):
        yield from _read_workbook(document, interrupt)
        return
    found, title = find_reader_by_name(document.name), PurePath(document.name).stem
    kind = "" if found is None or not found.is_text else found.name
    large = None if document.source is None or document.path is None else open_streamed_file(document.name)
    if large is not None and kind in DELIMITED_FORMATS:
        columns, rows = _read_delimited(large.lines, document.name, interrupt)
        yield Table(title, columns, rows, rows.longer)
    elif large is not None and kind == JSON_LINES:
        yield Table(title, *flatten_objects(lambda: _parse_lines(large.lines()), interrupt))
    else:
        title = title if document.path is not None else "data"
        for key, (columns, rows) in _read_text(document, kind, interrupt):
            yield Table(key or title, columns, rows[:], rows.longer)


def _read_workbook(document: Document, interrupt: Interrupt) -> Iterator[Table]:
    """Yield the tables of the sheets, called as these if there are several.

    A file is read again, with all its rows. Raises ``BadDocument`` if no sheet has a table, and if there is only an
    overview.
    """
    if document.path is not None:
        sheets = run_interruptible(_read_sheets, read_bytes(document.name, interrupt, refuse_unknown))
    elif document.source is None or document.notes:
        raise BadDocument(detail="its sheets are too large for standard input; name the file")
    else:
        sheets = [(" ".join(each.headings), _find_rows(each.text)) for each in document.source.passages]
    tables = [(title, table) for title, rows in sheets if len(table := split_titles(rows)[1]) > 1]
    if not tables:
        raise BadDocument(detail="no sheet has a header and a row")
    for title, (header, *rows) in tables:
        columns, values = type_cells(header, partial(iter, rows), interrupt)
        yield Table(title if len(tables) > 1 else PurePath(document.name).stem, columns, values[:], values.longer)


def _read_sheets(data: bytes) -> list[tuple[str, list[list[str]]]]:
    """Return the title and the rows of each sheet."""
    sheets: dict[int | None, tuple[str, list[list[str]]]] = {}
    for section in read_in_child(_SHEETS_READER, data):
        assert not isinstance(section, str)
        _, rows = sheets.setdefault(section.page, (section.headings[0], []))
        rows += json.loads(section.text)
    return [*sheets.values()]


def _read_text(document: Document, kind: str, interrupt: Interrupt) -> Iterator[tuple[str, StreamedTable]]:
    """Yield the tables of a text that is kept in memory, with their names, "" for a single one."""
    text = document.text
    if document.source is not None and document.path is not None:
        text, _ = decode_utf8(read_bytes(document.name, interrupt), document.name)
    if kind == JSON_LINES:
        values = list(_parse_lines(io.StringIO(text)))
        yield "", flatten_objects(lambda: values, interrupt)
    elif kind == "json" or (not kind and text.lstrip()[:1] in {"[", "{"}):
        yield from _read_json(text, interrupt)
    else:
        yield "", _read_delimited(partial(io.StringIO, text, newline=""), document.name, interrupt)


def _read_delimited(open_lines: Callable[[], Iterable[str]], name: str, interrupt: Interrupt) -> StreamedTable:
    def open_table() -> DelimitedTable:
        return DelimitedTable(open_lines(), name, default=default_delimiter(name))

    first = open_table()
    if not first.header:
        raise BadDocument(detail="it has no header")
    return type_cells(first.header, open_table, interrupt, delimiter=first.delimiter)


def _parse_lines(lines: Iterable[str]) -> Iterator[Any]:
    return (parse_json_at(line.strip(), number) for number, line in enumerate(lines, 1) if line.strip())


def _read_json(text: str, interrupt: Interrupt) -> Iterator[tuple[str, StreamedTable]]:
    value = parse_json_at(text, 1)
    lists = [("", value)] if isinstance(value, list) else []
    if isinstance(value, dict):
        lists = [(key, each) for key, each in value.items() if _is_list_of_objects(each)]
    if not lists:
        raise BadDocument(detail="it has no list of objects, so it is no table")
    for key, items in lists:
        yield key if len(lists) > 1 else "", flatten_objects(partial(iter, items), interrupt)


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _identifier(title: str) -> str:
    """Return a table's name that needs no quotation marks."""
    name = re.sub(r"\W+", "_", title, flags=re.ASCII).strip("_").lower() or "data"
    return f"t_{name}" if name[0].isdigit() else name


def find_text_tables(document: Document, interrupt: Interrupt) -> list[Table] | None:
    """Return the tables in a report; None for a document that is itself a table.

    Standard input is a table if it has none between bars, and begins as JSON or with a header. Numbers of reports may
    have separators of thousands and a percent sign.
    """
    if is_table(document):
        return None
    used: set[str] = set()
    title = PurePath(document.name).stem if document.path is not None else "table"
    tables = [make_table(title, rows, used, interrupt) for rows in _table_rows(document.text)]
    return None if not tables and document.path is None and _begins_as_table(document.text) else tables


def _begins_as_table(text: str) -> bool:
    first = text.lstrip().partition("\n")[0]
    return first[:1] in {"[", "{"} or any(delimiter in first for delimiter in DELIMITERS)


def _table_rows(text: str) -> Iterator[list[list[str]]]:
    """Yield the cells of each table that has a header and a row."""
    lines = (line for line in text.splitlines() if not _SEPARATOR.fullmatch(line))
    for is_row, group in groupby(lines, key=lambda line: _ROW.fullmatch(line) is not None):
        rows = [_split_cells(line) for line in group] if is_row else []
        if len(rows) > 1:
            yield rows


def _find_rows(text: str) -> list[list[str]]:
    return [_split_cells(line) for line in text.splitlines() if _ROW.fullmatch(line)]


def _split_cells(line: str) -> list[str]:
    match = _ROW.fullmatch(line)
    cells = _CELL_BORDER.split(match[1]) if match else []
    return [_plain_number(cell.replace("\\|", "|").strip()) for cell in cells]


def _plain_number(cell: str) -> str:
    number = _REPORTED_NUMBER.fullmatch(cell)
    return cell if number is None else number[1].replace(",", "")
