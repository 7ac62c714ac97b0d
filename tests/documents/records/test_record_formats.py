"""Lines, JSON Lines and Parquet, and how a format is recognized."""

from __future__ import annotations

import io
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmcli.documents.format_registry import (
    FormatEntry,
    load_record_format,
    register_format,
    sniff_record_format,
    unregister_format,
)
from llmcli.documents.records.formats import parquet
from llmcli.documents.records.formats.json_lines import FORMAT as JSONL
from llmcli.documents.records.formats.parquet import FORMAT as PARQUET
from llmcli.documents.records.formats.plain_lines import FORMAT as LINES
from llmcli.documents.records.formats.record_format import LINE_COLUMN, OutputColumns, ReadOptions
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.errors import BadDocument, BinaryInput, MissingExtra, NotUtf8, OutputError, UsageError


def stream(data):
    return io.BufferedReader(io.BytesIO(data))


def read(form, data):
    reader = form.open_reader(stream(data), "f", ReadOptions())
    return reader.schema, list(reader)


def test_a_line_is_a_record():
    """Line ends are not part of a record, blank lines count, the last line may lack its end; only LF ends a line."""
    _, records = read(LINES, "a\r\n\n b \nc\u2028d\x0b\x85".encode())
    assert [(record.text, record.line) for record in records] == [
        ("a", 1),
        ("", 2),
        (" b ", 3),
        ("c\u2028d\x0b\x85", 4),
    ]
    assert read(LINES, b"")[1] == [] and read(LINES, b"\n")[1][0].text == ""


def test_an_output_line_has_no_line_break():
    """One record is one line."""
    writer = LINES.open_writer(OutputColumns(RecordSchema("lines", ("text",)), {}, has_error=True))
    assert writer.row(Record(0, "", 1), {LINE_COLUMN: "a\nb\r\nc"}, "") == b"a b c\n"
    assert writer.row(Record(0, "", 1), {}, "failed") == b"\n"


def test_bad_bytes_in_lines():
    """A bad line is a malformed record; an input that begins as a binary file is refused."""
    _, records = read(LINES, b"good\nbad\xff\nlast")
    assert isinstance(records[1].error, NotUtf8) and records[1].error.offset == 8
    assert [record.error is None for record in records] == [True, False, True]
    with pytest.raises(BinaryInput):
        read(LINES, b"a\0b\n")
    with pytest.raises(NotUtf8):
        read(LINES, "text".encode("utf-16"))


def test_an_object_is_a_record():
    """Values keep their types, and the columns are those of the first object."""
    schema, records = read(JSONL, b'{"a": 1, "b": {"c": [2.5, null, true]}}\n\n{"z": "x"}')
    assert schema.columns == ("a", "b")
    assert [record.fields for record in records] == [{"a": 1, "b": {"c": [2.5, None, True]}}, {}, {"z": "x"}]
    assert [record.line for record in records] == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"{bad}", "not valid JSON"),
        (b"[1]", "no JSON object"),
        (b"1", "no JSON object"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_a_malformed_line_keeps_its_text(line, detail):
    """It is written as it was, with its error; the lines around it are read."""
    schema, records = read(JSONL, b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    assert [record.error is None for record in records] == [True, False, True]
    assert isinstance(records[1].error, BadDocument)
    assert detail in records[1].error.detail and records[1].error.line == 2
    writer = JSONL.open_writer(OutputColumns(schema, {"x": str}, has_error=True))
    assert writer.row(records[1], {}, "bad").startswith(b'{"raw": ')


def test_an_object_is_written_with_its_fields_in_order():
    """New fields come last; an error only if there is one; a lone surrogate stays escaped."""
    writer = JSONL.open_writer(OutputColumns(RecordSchema("jsonl", ("b", "a")), {"x": str}, has_error=True))
    assert (
        writer.row(Record(0, "", 1, fields={"b": 1, "a": "é"}), {"x": None}, "")
        == '{"b": 1, "a": "é", "x": null}\n'.encode()
    )
    assert b'"error": "no"' in writer.row(Record(0, "", 1), {}, "no")
    assert rb"\ud800" in writer.row(Record(0, "", 1, fields={"a": "\ud800"}), {}, "")


class PipeLike(io.BytesIO):
    """Bytes without positions."""

    def seekable(self):
        return False


def parquet_bytes(table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def write(form, columns, records, added=None):
    writer = form.open_writer(columns)
    return writer.head() + b"".join(writer.row(record, added or {}, "") for record in records) + writer.tail()


def test_parquet_keeps_types():
    """Rows, their types and those of new columns."""
    table = pa.table({"id": pa.array([1, 2], pa.int16()), "tags": [["a"], []], "text": ["x", None]})
    schema, records = read(PARQUET, parquet_bytes(table))
    assert records[0].fields == {"id": 1, "tags": ["a"], "text": "x"} and records[1].line == 2
    data = write(PARQUET, OutputColumns(schema, {"p": float, "label": str}, has_error=False), records, {"p": 0.5})
    written = pq.read_table(io.BytesIO(data))
    assert written.schema.field("id").type == pa.int16() and written.schema.field("label").type == pa.string()
    assert written.drop_columns(["p", "label"]).equals(table)


def test_the_position_in_parquet_outlives_its_file():
    """A thread that shows the progress asks for it while another one closes the file."""
    source = stream(parquet_bytes(pa.table({"id": [1, 2]})))
    reader = PARQUET.open_reader(source, "f", ReadOptions())
    assert len(list(reader)) == 2
    source.close()
    assert reader.position > 0


def test_parquet_of_other_formats(monkeypatch):
    """Types are those of the values in the first row group; a record with a value of another type is refused."""
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 2)
    columns = OutputColumns(RecordSchema("jsonl", ("a",)), {}, has_error=True)
    records = [Record(n, "", n + 1, fields={"a": value}) for n, value in enumerate([1, 2, 3])]
    assert pq.read_table(io.BytesIO(write(PARQUET, columns, records)))["a"].to_pylist() == [1, 2, 3]
    records[2].fields = {"a": "text"}
    with pytest.raises(BadDocument) as raised:
        write(PARQUET, columns, records)
    assert raised.value.line == 3 and "column a holds int64" in raised.value.detail
    with pytest.raises(BadDocument):
        write(PARQUET, columns, [Record(0, "", 1, fields={"new": 1})])
    with pytest.raises(OutputError):
        PARQUET.open_writer(OutputColumns(RecordSchema("jsonl", ("\ud800",)), {}, has_error=True))


@pytest.mark.parametrize(
    ("values", "held"),
    [
        (["a", "\ud800", "b"], ["a", None, "b"]),
        (["\ud800", "b"], [None, "b"]),
        ([1, 2**63, -(2**63)], [1, None, -(2**63)]),
        ([2**70, "b"], [None, "b"]),
        ([1, "b", True, [1], {"x": 1}], [1, None, None, None, None]),
        ([1, 2.5, "b"], [1.0, 2.5, None]),
        ([2**60 + 1, 0.5], [2**60 + 1, None]),
        ([0.5, 2**60 + 1, 3], [0.5, None, 3.0]),
        ([None, [], [1], ["b"]], [None, [], [1], None]),
        ([[1, "b"], [1]], [None, [1]]),
        (
            [{"x": 1}, {"y": "b"}, {"x": "c"}, {}],
            [{"x": 1, "y": None}, {"x": None, "y": "b"}, None, {"x": None, "y": None}],
        ),
        ([{}, {"x": 1}], [None, {"x": 1}]),
        ([{"x": "\ud800"}, {"\ud800": 1}, {"x": "b"}], [None, None, {"x": "b"}]),
        ([None, None], [None, None]),
    ],
)
def test_a_value_that_parquet_cannot_hold_fails_its_record_alone(values, held):
    """The record is refused, and kept with its error and without the value; the others are written."""
    writer = PARQUET.open_writer(OutputColumns(RecordSchema("jsonl", ("a",)), {"p": float}, has_error=True))
    data, refused = b"", []
    for index, value in enumerate(values):
        record = Record(index, "", index + 1, fields={"a": value})
        try:
            data += writer.row(record, {"p": 0.5}, "")
        except BadDocument as error:
            refused.append(index)
            data += writer.row(record, {"p": None}, f"\ud800 {error.detail}")
    table = pq.read_table(io.BytesIO(data + writer.tail())).to_pylist()
    assert [row["a"] for row in table] == held
    assert [index for index, row in enumerate(table) if row["error"]] == refused
    lost = [index for index, value in enumerate(values) if value is not None and held[index] is None]
    assert refused == lost


def test_many_columns_of_parquet_are_written_in_linear_time():
    """A row looks each of its columns up once, not through all of them."""
    row = {f"c{number}": "x" for number in range(20_000)}
    columns = OutputColumns(RecordSchema("jsonl", tuple(row)), {"p": float}, has_error=True)
    begun = time.process_time()
    table = pq.read_table(io.BytesIO(write(PARQUET, columns, [Record(0, "", 1, fields=row)], {"p": 0.5})))
    assert table.num_columns == 20_002 and time.process_time() - begun < 8


def test_parquet_that_cannot_be_read(monkeypatch):
    """Damaged files, pipes, and a missing library say so."""
    with pytest.raises(BadDocument):
        read(PARQUET, b"PAR1 and no more")
    with pytest.raises(UsageError):
        PARQUET.open_reader(io.BufferedReader(PipeLike(b"PAR1")), "f", ReadOptions())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra) as raised:
        read(PARQUET, b"")
    assert (raised.value.subject, raised.value.detail) == ("pyarrow", "parquet")


@pytest.mark.parametrize(
    ("name", "beginning", "is_table", "expected"),
    [
        ("a.csv", b"{", False, "csv"),
        ("a.TSV", b"", False, "tsv"),
        ("a.ndjson", b"", False, "jsonl"),
        ("a.parquet", b"", False, "parquet"),
        ("a.txt", b'{"a": 1}', False, "lines"),
        ("a.txt", b"a,b", True, "csv"),
        ("-", b"\xef\xbb\xbf{", False, "jsonl"),
        ("-", b"I like it, really", False, "lines"),
        ("-", b"a,b", True, "csv"),
        ("data", b"PAR1", False, "parquet"),
    ],
)
def test_the_format_of_an_input(name, beginning, is_table, expected):
    """The name decides, then the content; prose with commas is no table unless a column is named."""
    assert sniff_record_format(name, beginning, is_table=is_table) == expected


def test_formats_are_registered():
    """A format is a module and one registration."""
    register_format(FormatEntry("mine", records="llmcli.documents.records.formats.json_lines:FORMAT"))
    try:
        assert sniff_record_format("a.mine", b"", is_table=False) == "mine"
        assert load_record_format("mine") is JSONL
        with pytest.raises(ValueError, match="mine"):
            register_format(FormatEntry("mine"))
    finally:
        unregister_format("mine")
    with pytest.raises(UsageError):
        load_record_format("mine")
