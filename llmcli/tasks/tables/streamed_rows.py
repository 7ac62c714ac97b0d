"""Rows of tables that are read anew each time, so that memory does not grow with them.

A table is read once to find its columns, and which of them are numbers; then row by row, as often as its rows are
wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar, overload

from llmcli.errors import BadDocument
from llmcli.interrupt import Interrupt
from llmcli.tasks.tables.table_values import (
    NumberCounts,
    Value,
    check_width,
    column_names,
    flatten_value,
    number_spellings,
    poll_interrupt,
    to_value,
)

R = TypeVar("R")


class StreamedRows(Sequence[R]):
    """The rows that ``read`` yields from the first one on, ``count`` in all. Slices are read in order, without gaps.

    ``longer``: the number of the first one with more values than there are titles, 0 if there is none.
    """

    def __init__(self, read: Callable[[], Iterator[R]], count: int, longer: int = 0) -> None:
        self.longer = longer
        self._read = read
        self._count = count
        self._rows = read()
        self._at = 0

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> list[R]: ...

    def __getitem__(self, index: int | slice) -> R | list[R]:
        """Return a row, or consecutive rows. Reading from where the last slice ended is quick."""
        start, stop, _ = (slice(index, index + 1) if isinstance(index, int) else index).indices(self._count)
        if start != self._at:
            self._rows, self._at = self._read(), 0
        found = list(islice(self._rows, start - self._at, max(start, stop) - self._at))
        self._at = max(start, stop)
        return found[0] if isinstance(index, int) else found


StreamedTable = tuple[tuple[str, ...], StreamedRows[list[Value]]]
"""The names of the columns, and the rows."""


def type_cells(
    header: Sequence[str], read: Callable[[], Iterable[Sequence[str]]], interrupt: Interrupt, *, delimiter: str = ","
) -> StreamedTable:
    """Return the columns of cells, with the numbers in columns of numbers; ``read`` begins with the first row.

    Most cells of such a column are numbers, and none is a code such as 007, which would lose its zeros. Numbers may
    have separators (``number_spellings``); ``delimiter`` is what separates the columns. Raises ``BadDocument`` for too
    many columns, and what ``read`` raises.
    """
    counts = [NumberCounts() for _ in header]
    check_width(len(counts))
    rows = longer = 0
    for row in poll_interrupt(read(), interrupt):
        rows += 1
        longer = longer or (rows if any(row[len(header) :]) else 0)
        for _ in range(len(counts), len(row)):
            counts.append(NumberCounts())
            check_width(len(counts))
        for count, cell in zip(counts, row, strict=False):
            count.add(cell)
    spellings = number_spellings(counts, delimiter)
    numeric = [count.is_numeric(spelling) for count, spelling in zip(counts, spellings, strict=True)]

    def read_values() -> Iterator[list[Value]]:
        for row in poll_interrupt(read(), interrupt):
            padded = chain(row, [""] * (len(numeric) - len(row)))
            yield [
                to_value(cell, spelling) if number else cell or None
                for cell, spelling, number in zip(padded, spellings, numeric, strict=True)
            ]

    return column_names(header, len(numeric)), StreamedRows(read_values, rows, longer)


def flatten_objects(read: Callable[[], Iterable[Any]], interrupt: Interrupt) -> StreamedTable:
    """Return JSON values as rows: the paths in objects are columns ("a.b"), lists stay JSON.

    Raises as ``type_cells``.
    """
    paths: dict[str, None] = {}
    rows = 0
    for item in poll_interrupt(read(), interrupt):
        paths.update(dict.fromkeys(path for path, _ in flatten_value(item, "")))
        check_width(len(paths))
        rows += 1
    if not paths:
        raise BadDocument(detail="it has no columns")
    keys = list(paths)

    def read_values() -> Iterator[list[Value]]:
        flat = (dict(flatten_value(item, "")) for item in poll_interrupt(read(), interrupt))
        return ([row.get(key) for key in keys] for row in flat)

    return column_names(keys, len(keys)), StreamedRows(read_values, rows)
