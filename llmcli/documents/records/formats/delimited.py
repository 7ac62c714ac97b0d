"""CSV and TSV: a header, then rows of fields, by RFC 4180; fields may hold delimiters and line breaks in quotes.

The delimiter is the one of ``, ; tab |`` that the header contains most often outside of quotes. A first line
``sep=;``, as Excel writes it, names the delimiter.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from typing import Any

from llmcli.documents.records.byte_lines import MAX_RECORD_BYTES, ByteLines
from llmcli.documents.records.formats.record_format import (
    ERROR_COLUMN,
    OutputColumns,
    ReadOptions,
    merge_row,
    new_fields,
)
from llmcli.documents.records.record import Record, RecordSchema, value_as_text
from llmcli.errors import BadDocument, LlmError
from llmcli.frozen_dataclass import frozen

_DELIMITERS = ",\t;|"
"""The candidates; the first one wins a tie."""
_SEPARATOR_LINE = "sep="


class _RowLines:
    """Passes the lines of one row after the other to ``csv.reader``, and remembers those of the current row."""

    def __init__(self, lines: ByteLines) -> None:
        self.raw: list[bytes] = []
        self.first_line = 1
        self.error: LlmError | None = None
        self.unfinished = False
        """The input ended inside of a row."""
        self._lines = lines
        self._size = 0

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self.raw, self._size, self.error = [], 0, None
        self.first_line = self._lines.number + 1

    def __iter__(self) -> _RowLines:
        return self

    def __next__(self) -> str:
        raw = self._lines.read()
        if not raw:
            self.unfinished = bool(self.raw)
            raise StopIteration
        self.raw.append(raw)
        self._size += len(raw)
        if self._size > MAX_RECORD_BYTES:
            detail = "the row is longer than 64 MiB: is a quote not closed?"
            raise BadDocument(self._lines.name, line=self.first_line, detail=detail)
        text, error = self._lines.decode(raw)
        self.error = self.error or error
        return text


class DelimitedReader:
    """Reads rows; one that has more or fewer fields than the header is malformed. Blank lines are no rows.

    In a table of one column, a blank line is a row with an empty field. An empty input has no columns.
    """

    def __init__(self, stream: BufferedReader, name: str, form: DelimitedFormat, options: ReadOptions) -> None:
        csv.field_size_limit(MAX_RECORD_BYTES)  # a global setting, since the module offers no other
        self._lines = ByteLines(stream, name)
        self._name = name
        first = self._read_first()
        text, _ = self._lines.decode(first)
        delimiter = options.delimiter
        if text.lower().startswith(_SEPARATOR_LINE) and len(text.strip("\r\n")) == len(_SEPARATOR_LINE) + 1:
            delimiter = delimiter or text[len(_SEPARATOR_LINE)]
            first = self._read_first()
            text, _ = self._lines.decode(first)
        self._lines.push_back(first)
        delimiter = delimiter or sniff_delimiter(text, form.delimiter)
        self._rows = _RowLines(self._lines)
        self._rows.begin_row()
        self._reader = csv.reader(self._rows, delimiter=delimiter)
        header = next(self._reader, []) if first else []
        if self._rows.error is not None:
            raise self._rows.error
        columns, renamed = unique_names(header)
        line_end = "\r\n" if first.endswith(b"\r\n") else "\n"
        self.schema = RecordSchema(form.name, columns, delimiter, line_end, renamed=renamed)

    def _read_first(self) -> bytes:
        """Return the next line that is not blank; b"" if there is none."""
        line = self._lines.read()
        while line and not line.strip() and not self._lines.is_too_long:
            line = self._lines.read()
        return line

    @property
    def position(self) -> int:
        return self._lines.end

    def __iter__(self) -> Iterator[Record]:
        columns, rows, index = self.schema.columns, self._rows, 0
        while True:
            rows.begin_row()
            problem: LlmError | None
            try:
                values = next(self._reader, None)
            except csv.Error as error:
                values, problem = [], self._error(_explain(error))
            else:
                if values is None:
                    return
                problem = self._find_problem(values)
            if not values and problem is None:  # a blank line
                if len(columns) != 1:
                    continue
                values = [""]
            fields = dict(zip(columns, values, strict=False))
            raw = rows.raw[0] if len(rows.raw) == 1 else b"".join(rows.raw)
            yield Record(index, "", rows.first_line, fields=fields, raw=raw, error=problem)
            index += 1

    def _find_problem(self, values: Sequence[str]) -> LlmError | None:
        rows, count = self._rows, len(self.schema.columns)
        if rows.error is not None:
            return rows.error
        if rows.unfinished:
            return self._error("a quote is not closed, so the row extends to the end of the file")
        if values and len(values) != count:
            fields = "1 field" if len(values) == 1 else f"{len(values)} fields"
            return self._error(f"the row has {fields}, and the header has {count}")
        return None

    def _error(self, detail: str) -> BadDocument:
        return BadDocument(self._name, line=self._rows.first_line, detail=detail)


def _explain(error: csv.Error) -> str:
    if "new-line character" in str(error):
        return "a carriage return is not followed by a line feed; convert the line ends first"
    return str(error)


def sniff_delimiter(header: str, default: str) -> str:
    """Return the delimiter that a header contains most often outside of quotes, ``default`` if it has none."""
    unquoted = "".join(header.split('"')[::2])
    counts = {delimiter: unquoted.count(delimiter) for delimiter in dict.fromkeys([default, *_DELIMITERS])}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return best if counts[best] else default


def unique_names(header: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a name for each column, and those that differ from the header: ``b_2`` for a second ``b``, ``column_3``."""
    names: list[str] = []
    renamed = []
    for number, title in enumerate(header, 1):
        name, copy = title or f"column_{number}", 2
        while name in names or (name != title and name in header):
            name, copy = f"{title or f'column_{number}'}_{copy}", copy + 1
        names.append(name)
        if name != title:
            renamed.append(name)
    return tuple(names), tuple(renamed)


class _TextBuffer:
    """Receives a row from ``csv.writer``."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text = text


class DelimitedWriter:
    """Writes rows with the columns of the header alone; structures in a field are written as JSON.

    A row of an input with the same delimiter keeps its bytes, quotes included, if new columns only follow it.
    """

    resumable = True

    def __init__(self, columns: OutputColumns, delimiter: str, *, keeps_rows: bool) -> None:
        """``keeps_rows``: the input has this format, with this delimiter."""
        self._columns = columns
        self._names = columns.names
        self._new = self._names[len(columns.source.columns) :]
        is_suffix = not {*columns.added, *([ERROR_COLUMN] if columns.has_error else [])} & {*columns.source.columns}
        self._keeps_rows = keeps_rows and is_suffix
        self._buffer = _TextBuffer()
        # with this line end, both of its characters are quoted inside a field, by all versions of Python
        self._writer = csv.writer(self._buffer, delimiter=delimiter, lineterminator="\r\n")

    def head(self) -> bytes:
        source = self._columns.source
        is_empty = source.format in {CSV.name, TSV.name} and not source.columns
        return b"" if is_empty else self._format(self._names)

    def row(self, record: Record, added: Mapping[str, Any], error: str) -> bytes:
        if self._keeps_rows and record.raw and record.error is None:
            new = new_fields(record, added, error, self._columns)
            kept = record.raw.removesuffix(b"\n").removesuffix(b"\r")
            if not self._new:
                return kept + self._columns.source.line_end.encode()
            # the first field is empty, since a row of one empty field is written with quotes
            return kept + self._format(["", *(value_as_text(new.get(name)) for name in self._new)])
        row = merge_row(record, added, error, self._columns)
        return self._format([value_as_text(row.get(name)) for name in self._names])

    def tail(self) -> bytes:
        return b""

    def _format(self, values: Sequence[str]) -> bytes:
        self._writer.writerow(values)
        row = self._buffer.text.removesuffix("\r\n") + self._columns.source.line_end
        return row.encode("utf-8", "backslashreplace")


@frozen
class DelimitedFormat:
    """A format of delimited fields; ``delimiter`` is the default."""

    name: str
    delimiter: str

    def open_reader(self, stream: BufferedReader, name: str, options: ReadOptions) -> DelimitedReader:
        return DelimitedReader(stream, name, self, options)

    def open_writer(self, columns: OutputColumns) -> DelimitedWriter:
        keeps = columns.source.format == self.name
        return DelimitedWriter(columns, columns.source.delimiter if keeps else self.delimiter, keeps_rows=keeps)


CSV = DelimitedFormat("csv", ",")
TSV = DelimitedFormat("tsv", "\t")
