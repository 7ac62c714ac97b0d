"""Delimited tables (CSV, TSV): one rule for delimiter, quotes, limits, malformed rows and the names of columns.

RFC 4180: a field may hold delimiters and line breaks in quotes. The delimiter is the one of ``, ; tab |`` that the
header contains most often outside of quotes. A first line ``sep=;``, as Excel writes it, names the delimiter.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from llmcli.documents.format_registry import find_reader_by_name
from llmcli.errors import BadDocument

DELIMITERS = ",\t;|"
"""The candidates; the first one wins a tie."""
MAX_ROW_CHARS = 64 << 20
"""The longest row: a longer one is most likely a quote that is never closed."""
_QUOTED_FIELD = re.compile(rf'(?<![^{DELIMITERS}])"(?:[^"]|"")*"?')
_SEPARATOR_LINE = "sep="


class DelimitedTable:
    """The header and the rows of a table, whose lines come one at a time, with their ends.

    A blank line is no row, unless the table has one column: there it is a row with an empty field. Rows may have more
    or fewer fields than the header. Raises ``BadDocument`` for a malformed header, and while it reads, for a row that
    is too long.
    """

    def __init__(self, lines: Iterable[str], name: str, *, delimiter: str | None = None, default: str = ",") -> None:
        """``default`` is the delimiter if the header contains none; ``name`` is that of the file."""
        csv.field_size_limit(MAX_ROW_CHARS)  # a global setting, since the module offers no other
        self.line = 1
        """The line in which the last row begins."""
        self.problem = ""
        """What is wrong with the last row, "" if nothing."""
        self._name = name
        self._lines_read = self._row_chars = 0
        self._is_unfinished = False
        source = self._count_lines(lines)
        first = next((line for line in source if line.strip()), "")
        if first.lower().startswith(_SEPARATOR_LINE) and len(first.strip("\r\n")) == len(_SEPARATOR_LINE) + 1:
            delimiter = delimiter or first[len(_SEPARATOR_LINE)]
            first = next((line for line in source if line.strip()), "")
        self.delimiter = delimiter or sniff_delimiter(first, default)
        self.line_end = "\r\n" if first.endswith("\r\n") else "\n"
        self._reader = csv.reader(chain([first] if first else [], source), delimiter=self.delimiter)
        self.line = max(1, self._lines_read)
        self.header = self._parse_row() or []
        """The titles of the columns as they are in the file; none if the file is empty."""
        self.blank_row = [""] if len(self.header) == 1 else []
        """The row of a blank line."""
        if self.problem:
            raise BadDocument(name, line=self.line, detail=self.problem)

    def _count_lines(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._lines_read += 1
            self._row_chars += len(line)
            if self._row_chars > MAX_ROW_CHARS:
                detail = "the row is longer than 64 MiB: is a quote not closed?"
                raise BadDocument(self._name, line=self.line, detail=detail)
            yield line
        self._is_unfinished = self._row_chars > 0

    def read_row(self) -> list[str] | None:
        """Return the fields of the next row, [] if blank, None at the end; ``line`` and ``problem`` describe it."""
        self.line, self._row_chars = self._lines_read + 1, 0
        return self._parse_row()

    def _parse_row(self) -> list[str] | None:
        self.problem = ""
        try:
            row = next(self._reader, None)
        except csv.Error as error:
            self.problem = _explain(error)
            return []
        if row is not None and self._is_unfinished:
            self.problem = "a quote is not closed, so the row extends to the end of the file"
        return row

    def __iter__(self) -> Iterator[list[str]]:
        """Yield the rows. Raises ``BadDocument`` for one that is malformed."""
        while (row := self.read_row()) is not None:
            if self.problem:
                raise BadDocument(self._name, line=self.line, detail=self.problem)
            if filled := row or self.blank_row:
                yield filled


def _explain(error: csv.Error) -> str:
    if "new-line character" in str(error):
        return "a carriage return is not followed by a line feed; convert the line ends first"
    return str(error)


def default_delimiter(name: str) -> str:
    """Return the delimiter that the name of a file suggests."""
    found = find_reader_by_name(name)
    return "\t" if found is not None and found.name == "tsv" else ","


def sniff_delimiter(header: str, default: str) -> str:
    """Return the delimiter that a header contains most often outside of quotes, ``default`` if it has none."""
    unquoted = without_quoted_fields(header)
    counts = {delimiter: unquoted.count(delimiter) for delimiter in dict.fromkeys([default, *DELIMITERS])}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return best if counts[best] else default


def without_quoted_fields(line: str) -> str:
    """Return a line of a table without the fields in quotes."""
    return _QUOTED_FIELD.sub("", line)


def unique_names(titles: Sequence[str], key: Callable[[str], str] = str) -> tuple[str, ...]:
    """Return a name for each column: ``b_2`` for a second ``b``, ``column_3`` for a third one without a title.

    Names with equal ``key`` are the same name.
    """
    names: list[str] = []
    used, untouched = set[str](), {key(title) for title in titles}
    for number, title in enumerate(titles, 1):
        base = title or f"column_{number}"
        name, copy = base, 2
        while key(name) in used or (name != title and key(name) in untouched):
            name, copy = f"{base}_{copy}", copy + 1
        used.add(key(name))
        names.append(name)
    return tuple(names)
