"""Several inputs as one stream of records."""

from __future__ import annotations

import tracemalloc
from functools import partial

import pytest

from llmcli.documents.reading.file_reader import open_stream
from llmcli.documents.records.record import Row, find_field, value_as_text
from llmcli.documents.records.record_source import RecordInput, RecordSource, require_columns
from llmcli.errors import BadDocument, MissingError, UsageError
from llmcli.interrupt import Interrupt
from llmcli.prompts.jinja_template import Template, TemplateError


@pytest.fixture
def source(tmp_path):
    """Return the source of files with the given contents; None: the file does not exist."""

    def make(*contents, name="{}.csv", **options):
        inputs = []
        for number, content in enumerate(contents):
            path = tmp_path / name.format(number)
            if content is not None:
                path.write_bytes(content)
            size = None if content is None else len(content)
            inputs.append(RecordInput(str(path), partial(open_stream, str(path), Interrupt()), size))
        return RecordSource(inputs, **options)

    return make


def test_inputs_are_numbered_consecutively(source):
    """Each record names its input if there are several; the lines count in each."""
    found = list(source(b"a\nx\n", b"a\ny\nz\n"))
    assert [(record.index, record.line, record.file[-5:], record.fields["a"]) for record in found] == [
        (0, 2, "0.csv", "x"),
        (1, 2, "1.csv", "y"),
        (2, 3, "1.csv", "z"),
    ]
    assert next(iter(source(b"a\nx\n"))).file == ""


def test_inputs_have_the_same_columns(source):
    """Otherwise the rows would not fit one table."""
    with pytest.raises(UsageError):
        list(source(b"a\nx\n", b"b\ny\n"))


def test_an_input_that_is_missing(source):
    """Among several it is reported at the end; alone it is an error."""
    both = source(None, b"a\nx\n")
    assert [record.fields["a"] for record in both] == ["x"]
    assert [type(error) for _, error in both.failed] == [MissingError]
    for contents in ([None], [None, None]):
        with pytest.raises(MissingError):
            source(*contents, name="none{}.csv").open()


def test_the_position_counts_bytes(source):
    """It is what the remaining time is estimated from."""
    both = source(b"a\nx\n", b"a\ny\n")
    assert both.size == 8 and not both.is_stream
    records = iter(both)
    next(records)
    assert both.position == 4
    assert next(records) and both.position == 8


def test_a_json_array_is_refused(source):
    """Its records are not on lines; the message says how to convert it."""
    with pytest.raises(BadDocument) as raised:
        source(b'[{"a": 1}]', name="{}.json").open()
    assert "jq" in raised.value.detail


@pytest.mark.parametrize("is_table", [True, False])
def test_an_array_of_objects_is_found_by_its_content(source, is_table):
    """Without a name that shows a format, as in a pipe; lines that only begin with a bracket are lines."""
    for array in (b'[{"a": 1}]', b'\xef\xbb\xbf\n[\n  {"a": 1}\n]\n'):
        with pytest.raises(BadDocument) as raised:
            source(array, name="pipe{}", is_table=is_table).open()
        assert "jq" in raised.value.detail
    assert source(b"[    0.000000] Linux version\n", name="pipe{}").open().columns == ("text",)
    assert source(b'[{"a": 1}]\n', name="{}.txt").open().columns == ("text",)


def test_a_missing_column_names_a_few_of_many(source):
    """The rest is counted, and a long name is cut."""
    titles = ",".join([*(f"c{number}" for number in range(500)), "x" * 300])
    with pytest.raises(UsageError) as raised:
        require_columns(source(f"{'y' * 300},{titles}\n".encode(), name="{}.csv").open(), ["nope"], "--column", "a.csv")
    assert len(raised.value.detail) < 400 and raised.value.detail.endswith(" more")


def test_a_field_inside_a_field():
    """A column of that very name comes first; numbers are positions in lists."""
    fields = {"a": {"b": [{"c": 1}], "x.y": 2}, "a.b": "whole"}
    assert find_field(fields, "a.b") == "whole"
    assert find_field({"a": {"b": [{"c": 1}]}}, "a.b.0.c") == 1
    for path in ("a.z", "a.b.c", "b", "a.b.1"):
        with pytest.raises(KeyError):
            find_field({"a": {"b": [1]}}, path)


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (None, ""), (1.5, "1.5"), (True, "true"), (["é", None], '["é", null]')]
)
def test_values_as_texts(value, text):
    """Structures are JSON, and nothing is the empty text."""
    assert value_as_text(value) == text


def test_a_row_in_a_template():
    """Any name is a column, also those of a dictionary's methods; a missing one is an error."""
    values = {"row": Row({"title": "T", "items": 3, "a b": "x", "deep": {"n": 1}})}
    assert (
        Template.parse("{{ row.title }} {{ row.items }} {{ row['a b'] }} {{ row.deep.n }}").render(values) == "T 3 x 1"
    )
    assert Template.parse("{% for name in row %}{{ name }},{% endfor %}").render(values) == "title,items,a b,deep,"
    with pytest.raises(TemplateError, match="titel"):
        Template.parse("{{ row.titel }}").render(values)


def test_a_long_input_is_read_in_the_memory_of_a_short_one(source):
    """The buffer has one size."""

    def peak(rows):
        found = source(b"a\n" + rows * (b"x" * 999 + b"\n"))
        tracemalloc.start()
        for _ in found:
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)  # what is imported and compiled once
    assert peak(2_000) < peak(200) + 100_000
