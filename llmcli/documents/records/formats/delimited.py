"""CSV and TSV: a header, then rows of fields; ``delimited_table`` says how they are read."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from typing import Any

from llmcli.documents.delimited_table import DelimitedTable, unique_names
from llmcli.documents.records.byte_lines import ByteLines
from llmcli.documents.records.formats.record_format import (
    ERROR_COLUMN,
    OutputColumns,
    ReadOptions,
    merge_row,
    new_fields,
)
from llmcli.documents.records.record import Record, RecordSchema, value_as_text
from llmcli.errors import BadDocument, LlmError
from llmcli.fast_dataclass import frozen


class DelimitedReader:
    """Reads rows; one that has more or fewer fields than the header is malformed. An empty input has no columns."""

    def __init__(self, stream: BufferedReader, name: str, form: DelimitedFormat, options: ReadOptions) -> None:
        self._lines = ByteLines(stream, name)
        self._name = name
        self._raw: list[bytes] = []  # of the current row
        self._error: LlmError | None = None
        self._table = DelimitedTable(self._read_lines(), name, delimiter=options.delimiter, default=form.delimiter)
        if self._error is not None:
            raise self._error
        header = self._table.header
        columns = unique_names(header)
        renamed = tuple(name for name, title in zip(columns, header, strict=True) if name != title)
        self.schema = RecordSchema(form.name, columns, self._table.delimiter, self._table.line_end, renamed=renamed)

    def _read_lines(self) -> Iterator[str]:
        while raw := self._lines.read():
            self._raw.append(raw)
            text, error = self._lines.decode(raw)
            self._error = self._error or error
            yield text

    @property
    def position(self) -> int:
        return self._lines.end

    def __iter__(self) -> Iterator[Record]:
        columns, table, index = self.schema.columns, self._table, 0
        while True:
            self._raw, self._error = [], None
            values = table.read_row()
            if values is None:
                return
            problem = self._find_problem(values)
            if not values and problem is None:
                values = table.blank_row
                if not values:
                    continue
            fields = dict(zip(columns, values, strict=False))
            raw = self._raw[0] if len(self._raw) == 1 else b"".join(self._raw)
            yield Record(index, "", table.line, fields=fields, raw=raw, error=problem)
            index += 1

    def _find_problem(self, values: Sequence[str]) -> LlmError | None:
        if self._error is not None:
            return self._error
        detail, count = self._table.problem, len(self.schema.columns)
        if not detail and values and len(values) != count:
            fields = "1 field" if len(values) == 1 else f"{len(values)} fields"
            detail = f"the row has {fields}, and the header has {count}"
            if len(values) > count:
                from llmcli.documents.json_values import dump_text

                detail += f"; beyond it: {dump_text(values[count:])[1:-1]}"
        return BadDocument(self._name, line=self._table.line, detail=detail) if detail else None


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
