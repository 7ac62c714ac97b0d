"""Loads CSV and JSON documents as tables of named columns."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from llmcli.documents.delimited_table import DelimitedTable, default_delimiter
from llmcli.documents.format_registry import DELIMITED, JSON_LINES, find_reader_by_name
from llmcli.documents.reading.document import Document, decode_utf8
from llmcli.documents.reading.file_reader import read_bytes
from llmcli.documents.reading.large_text import open_large_text
from llmcli.errors import BadDocument
from llmcli.frozen_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.tasks.tables.large_tables import read_large_csv, read_large_lines
from llmcli.tasks.tables.table_values import (
    NumberCounts,
    Value,
    check_width,
    column_names,
    flatten_value,
    parse_json,
    poll_interrupt,
    to_value,
    unique_name,
)


@frozen
class Table:
    """A table: the names of its columns, unique without regard to case, and its rows, each as long as these."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Value]]


def is_table(document: Document) -> bool:
    """Whether a document is a table or JSON by the suffix of its name."""
    return is_table_name(document.name)


def is_table_name(name: str) -> bool:
    """Whether a file is a table or JSON by the suffix of its name."""
    found = find_reader_by_name(name)
    return found is not None and found.is_text


def load_tables(documents: Sequence[Document], interrupt: Interrupt) -> list[Table]:
    """Return the tables of documents; a document of several lists of objects gives several.

    A file that was read as an overview is read again, as a whole. Raises ``BadDocument`` for one that is no table, and
    what ``read_bytes`` raises.
    """
    found: list[Table] = []
    names: set[str] = set()
    for document in documents:
        try:
            for title, columns, rows in _read_tables(document, interrupt):
                found.append(Table(unique_name(_identifier(title), names), columns, rows))
        except BadDocument as error:
            raise BadDocument(document.name, line=error.line, detail=error.detail) from error
    return found


def make_table(title: str, cells: Sequence[list[str]], used: set[str], interrupt: Interrupt) -> Table:
    """Return the table of cells whose first row names the columns; its name is added to the ``used`` ones.

    Raises ``BadDocument`` for too many columns.
    """
    columns, rows = _type_cells(cells, interrupt)
    return Table(unique_name(_identifier(title), used), columns, rows)


def _read_tables(
    document: Document, interrupt: Interrupt
) -> Iterator[tuple[str, tuple[str, ...], Sequence[Sequence[Value]]]]:
    found, stem = find_reader_by_name(document.name), PurePath(document.name).stem
    kind = "" if found is None or not found.is_text else found.name
    large = None if document.source is None or document.path is None else open_large_text(document.name)
    if large is not None and (kind in DELIMITED or kind == JSON_LINES):
        yield (stem, *(read_large_csv if kind in DELIMITED else read_large_lines)(large, interrupt))
        return
    text = document.text
    if document.source is not None and document.path is not None:
        text, _ = decode_utf8(read_bytes(document.name, interrupt), document.name)
    title = stem if document.path is not None else "data"
    if kind in {"json", JSON_LINES} or (not kind and text.lstrip()[:1] in {"[", "{"}):
        yield from _read_json(text, title, by_line=kind == JSON_LINES, interrupt=interrupt)
    else:
        yield (title, *_read_csv(text, document.name, interrupt))


def _read_csv(text: str, name: str, interrupt: Interrupt) -> tuple[tuple[str, ...], list[list[Value]]]:
    table = DelimitedTable(io.StringIO(text, newline=""), name, default=default_delimiter(name))
    if not table.header:
        raise BadDocument(detail="it has no header")
    return _type_cells([table.header, *poll_interrupt(table, interrupt)], interrupt)


def _type_cells(cells: Sequence[list[str]], interrupt: Interrupt) -> tuple[tuple[str, ...], list[list[Value]]]:
    """Return the columns that the first row names, and the other rows, with numbers in columns of numbers."""
    header, *rows = cells
    width = max(map(len, cells))
    check_width(width)
    columns = column_names(header, width)
    padded = [[*row, *[""] * (len(columns) - len(row))] for row in rows]
    numeric = [_is_numeric([row[at] for row in padded]) for at in range(len(columns))]
    values: list[list[Value]] = [
        [to_value(cell) if number else cell or None for cell, number in zip(row, numeric, strict=True)]
        for row in poll_interrupt(padded, interrupt)
    ]
    return columns, values


def _is_numeric(cells: Sequence[str]) -> bool:
    """Whether most cells of a column are numbers, and none is a code such as 007, which would lose its zeros."""
    counts = NumberCounts()
    for cell in cells:
        counts.add(cell)
    return counts.is_numeric


def _read_json(
    text: str, title: str, *, by_line: bool, interrupt: Interrupt
) -> Iterator[tuple[str, tuple[str, ...], list[list[Value]]]]:
    if by_line:
        lines = enumerate(io.StringIO(text), 1)
        yield (
            title,
            *_table_of([parse_json(line.strip(), number) for number, line in lines if line.strip()], interrupt),
        )
        return
    value = parse_json(text, 1)
    if isinstance(value, list):
        yield (title, *_table_of(value, interrupt))
        return
    lists = {key: each for key, each in value.items() if _is_list_of_objects(each)} if isinstance(value, dict) else {}
    if not lists:
        raise BadDocument(detail="it has no list of objects, so it is no table")
    for key, items in lists.items():
        yield (key if len(lists) > 1 else title, *_table_of(items, interrupt))


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _table_of(items: list[Any], interrupt: Interrupt) -> tuple[tuple[str, ...], list[list[Value]]]:
    """Return the columns and rows of values: the paths in objects are columns ("a.b"), lists stay JSON."""
    flat: list[dict[str, Value]] = []
    paths: dict[str, None] = {}
    for item in poll_interrupt(items, interrupt):
        flat.append(dict(flatten_value(item, "")))
        paths.update(dict.fromkeys(flat[-1]))
        check_width(len(paths))
    if not paths:
        raise BadDocument(detail="it has no columns")
    keys = list(paths)
    return column_names(keys, len(keys)), [[each.get(key) for key in keys] for each in flat]


def _identifier(title: str) -> str:
    """Return a table's name that needs no quotation marks."""
    name = re.sub(r"\W+", "_", title, flags=re.ASCII).strip("_").lower() or "data"
    return f"t_{name}" if name[0].isdigit() else name
