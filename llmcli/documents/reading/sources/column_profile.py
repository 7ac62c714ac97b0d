"""Profiles of columns: the types, range, distinct values and examples of their values, collected one by one."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from llmcli.documents.reading.sources.section_builder import format_row

T = TypeVar("T")

MAX_DISTINCT = 1_000
"""Distinct values that are counted; of more only that there are more is said."""
MAX_EXAMPLES = 5
MAX_VALUE_CHARS = 60
"""The characters that are shown of a value."""
_EDGE_ROWS = 5
_SAMPLED_ROWS = 10
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_MAX_NUMBER_CHARS = 40


def shorten(value: str, limit: int = MAX_VALUE_CHARS) -> str:
    """Return a value on one line, cut to ``limit`` characters."""
    line = " ".join(value.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


class ColumnProfile:
    """The profile of one column. ``kind`` of a value: number, date or text, by its form, unless given."""

    def __init__(self) -> None:
        self.count = self.empty = 0
        self.kinds: dict[str, int] = {}
        self._numbers: tuple[float, float] | None = None
        self._shown_numbers: tuple[str, str] = ("", "")
        self._dates: tuple[str, str] | None = None
        self._distinct: dict[str, int] = {}
        self._more_distinct = False

    def add(self, value: str, kind: str = "") -> None:
        """Count a value; a blank one is empty."""
        self.count += 1
        value = value.strip()
        if not value:
            self.empty += 1
            return
        kind = kind or _value_kind(value)
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if kind == "number":
            self._add_number(value)
        elif kind == "date":
            low, high = self._dates or (value, value)
            self._dates = min(low, value), max(high, value)
        shown = shorten(value)
        if shown in self._distinct or len(self._distinct) < MAX_DISTINCT:
            self._distinct[shown] = self._distinct.get(shown, 0) + 1
        else:
            self._more_distinct = True

    def _add_number(self, value: str) -> None:
        number = float(value)
        low, high = self._numbers or (number, number)
        shown_low, shown_high = self._shown_numbers if self._numbers else (value, value)
        if number < low:
            low, shown_low = number, value
        if number > high:
            high, shown_high = number, value
        self._numbers, self._shown_numbers = (low, high), (shown_low, shown_high)

    @property
    def type_names(self) -> str:
        """The types of the values, the most frequent first."""
        return ", ".join(sorted(self.kinds, key=lambda kind: -self.kinds[kind])) or "empty"

    @property
    def value_range(self) -> str:
        """The smallest and the largest value if most are numbers or dates."""
        most = max(self.kinds, key=self.kinds.__getitem__, default="")
        bounds = self._shown_numbers if most == "number" else self._dates if most == "date" else None
        return f"{bounds[0]} to {bounds[1]}" if bounds else ""

    @property
    def distinct(self) -> str:
        """How many different values there are."""
        return f"over {MAX_DISTINCT:,}" if self._more_distinct else f"{len(self._distinct):,}"

    @property
    def examples(self) -> str:
        """The most frequent values, with their counts if they repeat; the first ones if they do not."""
        frequent = sorted(self._distinct.items(), key=lambda item: -item[1])[:MAX_EXAMPLES]
        return "; ".join(f"{value} ({count:,})" if count > 1 else value for value, count in frequent)


class RowSample(Generic[T]):
    """The first rows of a stream, evenly spaced ones, and the last; memory is bounded."""

    def __init__(self) -> None:
        self._first: list[tuple[int, T]] = []
        self._spaced: list[tuple[int, T]] = []
        self._last: deque[tuple[int, T]] = deque(maxlen=_EDGE_ROWS)
        self._stride = 1

    def add(self, number: int, row: T) -> None:
        """Offer a row; ``number`` counts from 1."""
        if len(self._first) < _EDGE_ROWS:
            self._first.append((number, row))
        self._last.append((number, row))
        if number % self._stride == 0:
            self._spaced.append((number, row))
            if len(self._spaced) > 2 * _SAMPLED_ROWS:
                self._stride *= 2
                self._spaced = [each for each in self._spaced if each[0] % self._stride == 0]

    @property
    def rows(self) -> list[tuple[int, T]]:
        """The chosen rows in their order, each with its number."""
        chosen = dict([*self._first, *self._spaced, *self._last])
        return sorted(chosen.items())


def describe_columns(profiles: Iterable[tuple[str, ColumnProfile]]) -> Iterator[str]:
    """Yield the lines of a Markdown table of columns."""
    yield format_row(["column", "type", "values", "empty", "distinct", "range", "examples"])
    yield format_row(["---"] * 7)
    for name, each in profiles:
        filled = f"{each.count - each.empty:,}"
        yield format_row(
            [name, each.type_names, filled, f"{each.empty:,}", each.distinct, each.value_range, each.examples]
        )


def describe_sample(header: Sequence[str], sample: RowSample[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table of sampled rows, with their numbers."""
    yield format_row(["row", *map(shorten, header)])
    yield format_row(["---"] * (len(header) + 1))
    for number, row in sample.rows:
        yield format_row([str(number), *map(shorten, row)])


def _value_kind(value: str) -> str:
    if len(value) <= _MAX_NUMBER_CHARS:
        if _NUMBER.fullmatch(value):
            return "number"
        if _DATE.fullmatch(value):
            return "date"
    return "text"
