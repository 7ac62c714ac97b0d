"""Plain text: a line is a record. An output line holds one text, its line breaks as blanks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BufferedReader
from typing import Any

from llmcli.documents.records.byte_lines import ByteLines
from llmcli.documents.records.formats.record_format import LINE_COLUMN, OutputColumns, ReadOptions
from llmcli.documents.records.record import TEXT_COLUMN, Record, RecordSchema, value_as_text


class PlainLineReader:
    """Reads lines; each ends with LF or CRLF, the last one may lack its end."""

    def __init__(self, stream: BufferedReader, name: str) -> None:
        self.schema = RecordSchema("lines", (TEXT_COLUMN,))
        self._lines = ByteLines(stream, name)

    @property
    def position(self) -> int:
        return self._lines.end

    def __iter__(self) -> Iterator[Record]:
        lines = self._lines
        while raw := lines.read():
            text, error = lines.decode(raw)
            text = text.removesuffix("\n").removesuffix("\r")
            yield Record(lines.number - 1, text, lines.number, fields={TEXT_COLUMN: text}, raw=raw, error=error)


class PlainLineWriter:
    """Writes a line for each record, the value of ``LINE_COLUMN``; an empty one for a record that failed."""

    resumable = True

    def head(self) -> bytes:
        return b""

    def row(self, record: Record, added: Mapping[str, Any], error: str) -> bytes:
        del record, error
        lines = value_as_text(added.get(LINE_COLUMN)).splitlines()
        return (" ".join(lines) + "\n").encode("utf-8", "backslashreplace")

    def tail(self) -> bytes:
        return b""


class PlainLineFormat:
    """The format of plain lines."""

    def open_reader(self, stream: BufferedReader, name: str, options: ReadOptions) -> PlainLineReader:
        del options
        return PlainLineReader(stream, name)

    def open_writer(self, columns: OutputColumns) -> PlainLineWriter:
        del columns
        return PlainLineWriter()


FORMAT = PlainLineFormat()
