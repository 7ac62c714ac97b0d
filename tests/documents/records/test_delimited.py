"""CSV and TSV: what is read, what is malformed, what is written."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.documents import delimited_table
from llmcli.documents.delimited_table import sniff_delimiter, unique_names
from llmcli.documents.records import byte_lines
from llmcli.documents.records.formats.delimited import CSV, TSV
from llmcli.documents.records.formats.record_format import OutputColumns, ReadOptions
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.errors import BadDocument, BinaryInput, NotUtf8


def stream(data):
    return io.BufferedReader(io.BytesIO(data.encode() if isinstance(data, str) else data))


def read(data, form=CSV, **options):
    reader = form.open_reader(stream(data), "f", ReadOptions(**options))
    return reader.schema, list(reader)


def rows(data, form=CSV, **options):
    return [dict(record.fields) for record in read(data, form, **options)[1]]


def test_a_row_is_a_record():
    """Its fields have the names of the header, in order; its line is where it begins."""
    schema, records = read("a,b\r\n1,x\r\n2,y\r\n")
    assert (schema.columns, schema.line_end) == (("a", "b"), "\r\n")
    assert [(list(record.fields.items()), record.line, record.index) for record in records] == [
        ([("a", "1"), ("b", "x")], 2, 0),
        ([("a", "2"), ("b", "y")], 3, 1),
    ]


def test_quotes_protect_delimiters_and_line_breaks():
    """A field may contain what would otherwise end it; the next row counts the lines inside."""
    schema, records = read('a,b\n"1,5","x\ny ""z"""\n2,w\n')
    assert records[0].fields == {"a": "1,5", "b": 'x\ny "z"'}
    assert (records[1].line, records[0].raw) == (4, b'"1,5","x\ny ""z"""\n')
    assert schema.delimiter == ","


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected(delimiter):
    """It is the one that the header contains most often, outside of quotes."""
    header = delimiter.join(["id", '"a,;|b"', "text"])
    schema, records = read(f"{header}\n{delimiter.join('123')}\n")
    assert (schema.delimiter, len(records[0].fields)) == (delimiter, 3)


def test_a_delimiter_may_be_given():
    """--delimiter and a line of Excel override the detection."""
    assert rows("a:b\n1:2\n", delimiter=":") == [{"a": "1", "b": "2"}]
    assert rows("sep=:\na:b,c\n1:2\n") == [{"a": "1", "b,c": "2"}]
    assert sniff_delimiter("text", "\t") == "\t"
    assert sniff_delimiter('12" disc,"a;b;c"', ",") == ","
    assert rows("a\tb,c\n1\t2\n", TSV) == [{"a": "1", "b,c": "2"}]


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    """Excel writes one."""
    assert read(b"\xef\xbb\xbftext\nx\n")[0].columns == ("text",)


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ("1\n", "the row has 1 field, and the header has 2"),
        ("1,2,3\n", 'the row has 3 fields, and the header has 2; beyond it: "3"'),
        ('1,"x\n', "a quote is not closed"),
        ("1,x\ry\n", "a carriage return"),
    ],
)
def test_a_malformed_row_says_what_is_wrong(row, detail):
    """The rows before it are read, and so are those after it, unless a quote swallows them."""
    _, records = read(f"a,b\n0,ok\n{row}9,ok\n")
    assert [record.error is None for record in records][:2] == [True, False]
    assert isinstance(records[1].error, BadDocument)
    assert detail in records[1].error.detail and records[1].error.line == 3
    assert '"' in row or records[2].fields == {"a": "9", "b": "ok"}


def test_invalid_bytes_spoil_only_their_row():
    """The offset counts from the beginning of the file."""
    _, records = read(b"a,b\n1,x\n2,\xff\n3,z\n")
    assert [type(record.error) for record in records] == [type(None), NotUtf8, type(None)]
    assert records[1].error.offset == 10
    assert isinstance(read(b"a\nx\0y\n")[1][0].error, BinaryInput)


def test_blank_lines():
    """They are no rows of a table; in a single column they are empty fields, which keep their place."""
    assert rows("a,b\n\n1,2\n\n") == [{"a": "1", "b": "2"}]
    assert rows("a\nx\n\ny\n") == [{"a": "x"}, {"a": ""}, {"a": "y"}]


def test_names_of_columns_are_unique():
    """Duplicates and empty names get a name of their own, which the schema reports."""
    assert unique_names(["a", "", "a", "a_2"]) == ("a", "column_2", "a_3", "a_2")
    assert unique_names(["a", "A", "a_2"], str.lower) == ("a", "A_3", "a_2")
    assert read("a,a\n1,2\n")[0].renamed == ("a_2",)


def test_an_input_without_rows():
    """A header alone has no records; nothing at all has no columns."""
    assert read("a,b\n") == (RecordSchema("csv", ("a", "b")), [])
    assert read("")[0].columns == ()


def test_a_field_may_have_ten_megabytes():
    """It is read and written unchanged."""
    text = ("x," * 50 + "\n") * ((10 << 20) // 100)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([["text"], [text]])
    schema, (record,) = read(buffer.getvalue())
    assert record.fields == {"text": text}
    writer = CSV.open_writer(OutputColumns(schema, {}, has_error=False))
    assert writer.head() + writer.row(record, {}, "") == buffer.getvalue().encode()


def test_a_row_without_end_is_refused(monkeypatch):
    """A quote that is never closed must not fill the memory; the message names the row."""
    monkeypatch.setattr(delimited_table, "MAX_ROW_CHARS", 100)
    reader = CSV.open_reader(stream('a,b\n1,"x\n' + "y\n" * 100), "f", ReadOptions())
    with pytest.raises(BadDocument) as raised:
        list(reader)
    assert raised.value.line == 2 and "quote" in raised.value.detail


def test_a_row_that_is_too_long_fails(monkeypatch):
    """The rows around it are read; a header that is too long is refused."""
    monkeypatch.setattr(byte_lines, "MAX_RECORD_BYTES", 100)
    _, records = read("a\n1\n" + "y" * 200 + "\n2")
    assert [record.fields for record in records] == [{"a": "1"}, {}, {"a": "2"}]
    assert [record.error and record.error.line for record in records] == [None, 3, None]
    with pytest.raises(BadDocument):
        read("a" * 200 + "\n1\n")


def test_a_row_is_written_with_its_new_columns():
    """Other values keep their place; structures are JSON; the dialect is that of the input."""
    schema = RecordSchema("csv", ("a", "b"), delimiter=";", line_end="\r\n")
    writer = CSV.open_writer(OutputColumns(schema, {"label": str, "p": float}, has_error=True))
    record = Record(0, "", 2, fields={"a": "1;2", "b": [1, None]})
    assert writer.head() == b"a;b;label;p;error\r\n"
    assert writer.row(record, {"label": "x", "p": 0.5}, "") == b'"1;2";[1, null];x;0.5;\r\n'
    assert writer.row(record, {"label": None}, "bad") == b'"1;2";[1, null];;;bad\r\n'
    assert TSV.open_writer(OutputColumns(schema, {}, has_error=False)).head() == b"a\tb\r\n"


def test_a_field_without_a_column_is_an_error():
    """Nothing is dropped silently."""
    writer = CSV.open_writer(OutputColumns(RecordSchema("jsonl", ("a",)), {}, has_error=True))
    with pytest.raises(BadDocument) as raised:
        writer.row(Record(0, "", 7, fields={"a": 1, "new": 2}), {}, "")
    assert raised.value.line == 7 and "new" in raised.value.detail


TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1), st.sampled_from([",", ";", "\t", "|"]))
def test_what_is_written_is_read(pairs, delimiter):
    """Any text survives, in any dialect, and the raw bytes of the rows are the file."""
    schema = RecordSchema("csv", ("id", "text"), delimiter=delimiter)
    writer = CSV.open_writer(OutputColumns(schema, {}, has_error=False))
    given_rows = [{"id": a, "text": b} for a, b in pairs]
    data = writer.head() + b"".join(writer.row(Record(0, "", 1, fields=row), {}, "") for row in given_rows)
    _, records = read(data)
    assert [record.fields for record in records] == given_rows
    assert [record.error for record in records] == [None] * len(pairs)
    assert writer.head() + b"".join(record.raw for record in records) == data
