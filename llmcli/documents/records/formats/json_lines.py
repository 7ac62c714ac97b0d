"""JSON Lines: each line is a JSON object (jsonlines.org)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from io import BufferedReader
from typing import Any

from llmcli.documents.records.byte_lines import ByteLines
from llmcli.documents.records.formats.record_format import OutputColumns, ReadOptions, merge_row
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
        self.schema = RecordSchema("jsonl", tuple(self._parse(first, 0).fields) if first.strip() else ())

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
            value = json.loads(text)
        except (ValueError, RecursionError) as problem:
            record.error = BadDocument(self._name, line=line, detail=_explain(problem))
            return record
        if isinstance(value, dict):
            record.fields = value
        else:
            hint = "; Try: jq -c '.[]' FILE" if isinstance(value, list) else ""
            record.error = BadDocument(self._name, line=line, detail=f"the line holds no JSON object{hint}")
        return record


def _explain(problem: Exception) -> str:
    if isinstance(problem, json.JSONDecodeError):
        return f"the line is not valid JSON: {problem.msg} at character {problem.colno}"
    return "the line holds JSON that is nested too deeply, or a number that is too large"


class JsonLineWriter:
    """Writes an object for each record; a malformed line becomes ``{"raw": ..., "error": ...}``."""

    resumable = True

    def __init__(self, columns: OutputColumns) -> None:
        self._columns = columns

    def head(self) -> bytes:
        return b""

    def row(self, record: Record, added: Mapping[str, Any], error: str) -> bytes:
        row = merge_row(record, added, error, has_error=self._columns.has_error)
        if record.error is not None and not record.fields:
            row = {RAW_FIELD: record.raw.decode(errors="backslashreplace").rstrip("\r\n"), **row}
        return dump_object(row)

    def tail(self) -> bytes:
        return b""


def dump_object(row: Mapping[str, Any]) -> bytes:
    """Return an object as a line; a lone surrogate stays escaped."""
    text = json.dumps(row, ensure_ascii=False, default=str)
    try:
        return (text + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(row, default=str) + "\n").encode()


class JsonLineFormat:
    """The format of JSON Lines."""

    def open_reader(self, stream: BufferedReader, name: str, options: ReadOptions) -> JsonLineReader:
        del options
        return JsonLineReader(stream, name)

    def open_writer(self, columns: OutputColumns) -> JsonLineWriter:
        return JsonLineWriter(columns)


FORMAT = JsonLineFormat()
