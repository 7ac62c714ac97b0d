"""Tables in CSV and JSON Lines files that are too large to be kept: read once to find the columns, then row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from llmcli.documents.delimited_table import DelimitedTable, default_delimiter
from llmcli.documents.reading.large_text import LargeText
from llmcli.errors import BadDocument
from llmcli.interrupt import Interrupt
from llmcli.tasks.tables.file_rows import FileRows
from llmcli.tasks.tables.table_values import (
    NumberCounts,
    Value,
    check_width,
    column_names,
    flatten_value,
    parse_json,
    poll_interrupt,
    to_value,
)

LargeTable = tuple[tuple[str, ...], Sequence[Sequence[Value]]]
"""The names of the columns, and the rows."""


def read_large_csv(large: LargeText, interrupt: Interrupt) -> LargeTable:
    """Return the columns that the first row names, and the other rows. Raises ``BadDocument`` and as ``large`` does."""
    table = _open_csv(large)
    if not table.header:
        raise BadDocument(detail="it has no header")
    numbers: list[NumberCounts] = []
    count = 0
    for row in poll_interrupt(table, interrupt):
        count += 1
        for _ in range(len(numbers), len(row)):
            numbers.append(NumberCounts())
            check_width(len(numbers))
        for column, cell in zip(numbers, row, strict=False):
            column.add(cell)
    width = max(len(numbers), len(table.header))
    check_width(width)
    numeric = [*(each.is_numeric for each in numbers), *[False] * (width - len(numbers))]

    def rows() -> Iterator[list[Value]]:
        for row in poll_interrupt(_open_csv(large), interrupt):
            padded = chain(row, [""] * (len(numeric) - len(row)))
            yield [to_value(cell) if number else cell or None for cell, number in zip(padded, numeric, strict=True)]

    return column_names(table.header, width), FileRows(rows, count)


def _open_csv(large: LargeText) -> DelimitedTable:
    return DelimitedTable(large.lines(), large.name, default=default_delimiter(large.name))


def read_large_lines(large: LargeText, interrupt: Interrupt) -> LargeTable:
    """Return the paths in the objects of all lines as columns, and the rows. Raises as ``read_large_csv`` does."""
    paths: dict[str, None] = {}
    count = 0
    for row in _flat_values(large, interrupt):
        paths.update(dict.fromkeys(row))
        check_width(len(paths))
        count += 1
    if not paths:
        raise BadDocument(detail="it has no columns")
    keys = list(paths)

    def rows() -> Iterator[list[Value]]:
        return ([row.get(key) for key in keys] for row in _flat_values(large, interrupt))

    return column_names(keys, len(keys)), FileRows(rows, count)


def _flat_values(large: LargeText, interrupt: Interrupt) -> Iterator[dict[str, Value]]:
    for number, line in poll_interrupt(enumerate(large.lines(), 1), interrupt):
        if line.strip():
            yield dict(flatten_value(parse_json(line.strip(), number), ""))
