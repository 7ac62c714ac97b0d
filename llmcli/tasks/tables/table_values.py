"""The values of tables: which cells are numbers, the values in JSON, and the names of columns."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from llmcli.documents.delimited_table import unique_names
from llmcli.documents.json_values import SpelledNumber, dump_value
from llmcli.errors import BadDocument
from llmcli.interrupt import Interrupt

T = TypeVar("T")

MAX_COLUMNS = 500
"""Columns of a table; one with more is refused."""
_ROWS_PER_CHECK = 10_000
# not "007", which is a code
_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})?(?:\.\d{1,40})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3}){1,5}(?:\.\d{1,18})?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d{1,18}|[1-9]\d{0,2}(?:\.\d{3}){1,5}),\d{1,18}", re.ASCII)
_GROUPED_BY_DOTS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3}){1,5}", re.ASCII)
_MISSING = frozenset({"na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "–", "?", "."})  # noqa: RUF001 (a dash)
"""What stands in a column of numbers where a number is missing."""
NumberSpelling = Literal["plain", "grouped", "comma"]
"""How numbers are written: 1234.5, "1,234.5" or "1.234,5"."""
Value = int | float | str | None


def poll_interrupt(rows: Iterable[T], interrupt: Interrupt) -> Iterator[T]:
    """Yield ``rows``, and poll ``interrupt`` now and then."""
    for number, row in enumerate(rows):
        if number % _ROWS_PER_CHECK == 0:
            interrupt.check()
        yield row


def check_width(columns: int) -> None:
    """Raise ``BadDocument`` for a table that is too wide."""
    if columns > MAX_COLUMNS:
        raise BadDocument(detail=f"it has more than {MAX_COLUMNS} columns")


class NumberCounts:
    """Counts the cells of a column that are numbers, and those that are numbers with separators ("1,234", "1,5")."""

    def __init__(self) -> None:
        self._filled = self._numbers = self._grouped = self._decimal = self._both = self._other = 0
        self._has_codes = False

    def add(self, cell: str) -> None:
        """Count a cell."""
        cell = cell.strip()
        if not cell or cell.lower() in _MISSING:
            return
        self._filled += 1
        if _is_number(cell):
            self._numbers += 1
            return
        self._has_codes = self._has_codes or cell.isdigit()
        is_grouped, is_decimal = _GROUPED.fullmatch(cell) is not None, _DECIMAL_COMMA.fullmatch(cell) is not None
        self._grouped += is_grouped
        self._decimal += is_decimal
        self._both += is_grouped and is_decimal
        self._other += not (is_grouped or is_decimal) and any(map(str.isdigit, cell))

    @property
    def is_grouped(self) -> bool:
        """Whether commas stand between groups of digits, as in "3,600,000"."""
        return self._grouped > 0 and self._decimal == self._both and not self._other

    def shows_groups(self, delimiter: str) -> bool:
        """Whether commas cannot be decimal: in a table with commas, or if some number has two, a point, or none."""
        return delimiter == "," or self._grouped > self._both or self._numbers > 0

    @property
    def is_decimal_comma(self) -> bool:
        """Whether commas precede decimals, as in "1,50": at least one does not stand before three digits."""
        return self._decimal > self._both == self._grouped and not self._other

    def is_numeric(self, spelling: NumberSpelling) -> bool:
        """Whether most cells are numbers in a spelling, and none is a code such as 007, which would lose its zeros."""
        others = {"plain": 0, "grouped": self._grouped, "comma": self._decimal}[spelling]
        return 2 * (self._numbers + others) > self._filled and not self._has_codes


def number_spellings(counts: Sequence[NumberCounts], delimiter: str) -> list[NumberSpelling]:
    """Return how the numbers of each column are written.

    Where commas separate the columns, those within numbers separate thousands. Elsewhere "1,234" may be a little more
    than one: a column, or another one of the table, has to show which it is.
    """
    if delimiter != "," and any(count.is_decimal_comma for count in counts):
        return ["comma" for _ in counts]
    return ["grouped" if count.is_grouped and count.shows_groups(delimiter) else "plain" for count in counts]


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None and any(map(str.isdigit, cell))


def to_value(cell: str, spelling: NumberSpelling) -> Value:
    """Return a cell of a column of numbers: a number, the text of another cell, None for an empty one or "NA"."""
    cell = cell.strip()
    if not cell or cell.lower() in _MISSING:
        return None
    plain = cell
    if spelling == "grouped" and _GROUPED.fullmatch(cell):
        plain = cell.replace(",", "")
    elif spelling == "comma" and (_DECIMAL_COMMA.fullmatch(cell) or _GROUPED_BY_DOTS.fullmatch(cell)):
        plain = cell.replace(".", "").replace(",", ".")
    if not _is_number(plain):
        return cell
    return int(plain) if _INTEGER.fullmatch(plain) else float(plain)


def flatten_value(value: Any, path: str) -> Iterator[tuple[str, Value]]:
    """Yield the values in an object with their paths, which begin with ``path``; lists stay JSON."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from flatten_value(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, dict | list):
        yield path or "value", dump_value(value)
    elif isinstance(value, SpelledNumber):
        yield path or "value", float(value) if math.isfinite(value) else value.spelling
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield path or "value", float(value) if abs(value) < 10**300 else str(value)
    else:
        yield path or "value", value


def column_names(header: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the names of ``count`` columns, each on one line; case does not count, as in SQLite."""
    titles = [" ".join(each.replace("\0", " ").split()) for each in header]
    return unique_names([*titles, *[""] * (count - len(titles))], str.lower)


def unique_name(name: str, used: set[str]) -> str:
    """Return ``name``, with a number if it was used before; case does not count, as in SQLite."""
    found, number = name, 1
    while found.lower() in used:
        number += 1
        found = f"{name}_{number}"
    used.add(found.lower())
    return found
