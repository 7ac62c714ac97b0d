"""JSON Lines: each line is a JSON object (jsonlines.org)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from io import BufferedReader
from typing import Any

from llmcli.documents.format_registry import JSON_LINES
from llmcli.documents.json_values import add_fields, as_json_value, dump_text, parse_json
from llmcli.documents.records.byte_lines import ByteLines
from llmcli.documents.records.formats.record_format import ERROR_COLUMN, OutputColumns, ReadOptions, new_fields
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.errors import BadDocument

RAW_FIELD = "raw"
"""The field with the text of a malformed line."""


class JsonLineReader:
    """Reads objects; anything else in a line is malformed. A blank line is a record without fields."""

    def __init__(self, stream: BufferedReader, name: str) -> None:
        self._lines = ByteLines(stream, name)
        self._name = name
        first = self._lines.read()
        self._lines.push_back(first)
        self.schema = RecordSchema(JSON_LINES, tuple(self._parse(first, 0).fields) if first.strip() else ())

    @property
    def position(self) -> int:
        return self._lines.end

    def __iter__(self) -> Iterator[Record]:
        index = 0
        while raw := self._lines.read():
            yield self._parse(raw, index)
            index += 1

    def _parse(self, raw: bytes, index: int) -> Record:
        line = self._lines.number
        text, error = self._lines.decode(raw)
        record = Record(index, "", line, raw=raw, error=error)
        if error is not None or not text.strip():
            return record
        try:
            value, repeated = parse_json(text)
        except (json.JSONDecodeError, RecursionError) as problem:
            record.error = BadDocument(self._name, line=line, detail=_explain(problem))
            return record
        if isinstance(value, dict):
            record.fields, record.repeated_names = value, tuple(repeated)
        else:
            hint = "; Try: jq -c '.[]' FILE" if isinstance(value, list) else ""
            record.error = BadDocument(self._name, line=line, detail=f"the line holds no JSON object{hint}")
        return record


def _explain(problem: Exception) -> str:
    if isinstance(problem, json.JSONDecodeError):
        return f"the line is not valid JSON: {problem.msg} at character {problem.colno}"
    return "the line holds JSON that is nested too deeply"


class JsonLineWriter:
    """Writes an object for each record: an object of the input with its own bytes, and new fields at its end.

    A malformed line becomes ``{"raw": ..., "error": ...}``.
    """

    resumable = True

    def __init__(self, columns: OutputColumns) -> None:
        self._columns = columns

    def head(self) -> bytes:
        return b""

    def row(self, record: Record, added: Mapping[str, Any], error: str) -> bytes:
        new = new_fields(record, added, error, self._columns)
        has_own_error = ERROR_COLUMN in record.fields and not self._columns.overwrites
        if error and (has_own_error or not record.fields):
            raw = record.raw.decode(errors="backslashreplace").rstrip("\r\n")
            return dump_object({**({RAW_FIELD: raw} if raw.strip() else {}), **new})
        if self._columns.source.format == JSON_LINES and record.fields and record.raw:
            return (add_fields(record.raw.decode(), new) + "\n").encode()
        is_typed = self._columns.source.arrow_schema is not None
        return dump_object({**(as_json_value(record.fields) if is_typed else record.fields), **new})

    def tail(self) -> bytes:
        return b""


def dump_object(row: Mapping[str, Any]) -> bytes:
    """Return an object as a line; a lone surrogate stays escaped."""
    return (dump_text(row) + "\n").encode()


class JsonLineFormat:
    """The format of JSON Lines."""

    def open_reader(self, stream: BufferedReader, name: str, options: ReadOptions) -> JsonLineReader:
        del options
        return JsonLineReader(stream, name)

    def open_writer(self, columns: OutputColumns) -> JsonLineWriter:
        return JsonLineWriter(columns)


FORMAT = JsonLineFormat()
