"""The tables in the text of a report: rows of cells between vertical bars, as Markdown and the readers write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePath

from llmcli.documents.delimited_table import DELIMITERS
from llmcli.documents.reading.document import Document
from llmcli.errors import BadDocument
from llmcli.interrupt import Interrupt
from llmcli.tasks.tables.table_loader import Table, is_table, make_table

_ROW = re.compile(r"[ \t>]*\|(.*)\|[ \t]*")
_SEPARATOR = re.compile(r"[ \t>]*\|(?:[ \t]*:?-+:?[ \t]*\|)+[ \t]*")
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_REPORTED_NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s?%?")
_SPREADSHEET = "xlsx"


def find_text_tables(document: Document, interrupt: Interrupt) -> list[Table] | None:
    """Return the tables in a report; None for a document that is itself a table.

    Standard input is a table if it has none between bars, and begins as JSON or with a header. Numbers of reports may
    have separators of thousands and a percent sign. Raises ``BadDocument`` for a spreadsheet that was too large to be
    read as a whole.
    """
    if is_table(document):
        return None
    source = document.source
    if source is not None and source.format_name == _SPREADSHEET and source.notes:
        raise BadDocument(document.name, detail="its sheets are too large; export them as CSV")
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


def _split_cells(line: str) -> list[str]:
    match = _ROW.fullmatch(line)
    cells = _CELL_BORDER.split(match[1]) if match else []
    return [_plain_number(cell.replace("\\|", "|").strip()) for cell in cells]


def _plain_number(cell: str) -> str:
    number = _REPORTED_NUMBER.fullmatch(cell)
    return cell if number is None else number[1].replace(",", "")
