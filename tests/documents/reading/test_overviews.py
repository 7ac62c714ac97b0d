"""CSV and JSON: small files as they are, large ones as an overview."""

from __future__ import annotations

import json

import pytest

from llmcli.documents.reading.source_reader import read_source
from llmcli.errors import BadDocument

ROWS = "".join(f"{i},item {i % 4},{i / 4},2026-01-{i % 28 + 1:02}\n" for i in range(3000))


def overview(text, name):
    """Return the text and the only note of a large file."""
    document = read_source(text.encode(), name)
    (note,) = document.source.notes
    return document.text, note


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", 'a,"b\nc"\r\n1,2\r\n'), ("a.json", '{"a": [1, 2]}\n'), ("a.json", "{broken")]
)
def test_small_files_are_read_as_they_are(name, text):
    """Byte for byte, valid or not."""
    document = read_source(text.encode(), name)
    assert (document.text, document.source) == (text, None)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_large_table_is_shape_columns_ranges_and_samples(delimiter):
    """Each column with its type, range and most frequent values; rows from the beginning to the end."""
    text, note = overview(("id,name,price,day\n" + ROWS).replace(",", delimiter), "sales.csv")
    assert text.startswith("Overview of a table with 3,000 rows and 4 columns.")
    assert "| id | number | 3,000 | 0 | over 1,000 | 0 to 2999 | 0; 1; 2; 3; 4 |" in text
    assert "| name | text | 3,000 | 0 | 4 |  | item 0 (750); item 1 (750); item 2 (750); item 3 (750) |" in text
    assert "| day | date | 3,000 | 0 | 28 | 2026-01-01 to 2026-01-28 |" in text
    assert "| 1 | 0 | item 0 | 0.0 | 2026-01-01 |" in text and "| 3000 | 2999 | item 3 |" in text
    assert "3,000 rows" in note and "overview" in note


def test_ragged_rows_and_empty_values_are_counted():
    """A row may have more values than the header; blank values are not counted as values."""
    text, _ = overview("a,b\n" + "1,\n2,x,more\n" * 4000, "t.csv")
    assert "| b | text | 4,000 | 4,000 | 1 |" in text and "| column_3 | text | 4,000 |" in text


def test_a_quote_without_end_is_bad_input():
    """It would swallow the rest of the file."""
    with pytest.raises(BadDocument) as caught:
        read_source(('a,b\n1,"' + "x\n" * 40_000).encode(), "t.csv")
    assert caught.value.subject == "t.csv"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_large_json_is_its_structure_and_samples(name):
    """Each path with its types; JSON Lines are the same as an array."""
    values = [{"id": i, "tags": ["x", "y"], "sub": {"on": i % 2 == 0, "note": None}} for i in range(2000)]
    text = json.dumps(values) if name == "a.json" else "\n".join(map(json.dumps, values))
    text, note = overview(text, name)
    assert text.startswith("Overview of 2,000 JSON values.")
    assert "| id | number | 2,000 | 0 | over 1,000 | 0 to 1999 |" in text
    assert "| tags[] | text | 4,000 | 0 | 2 |  | x (2,000); y (2,000) |" in text
    assert "| sub.on | boolean | 2,000 |" in text and "| sub.note | empty | 0 | 2,000 |" in text
    assert '2000: {"id": 1999' in text and "2,000 values" in note


def test_large_json_that_is_broken_is_bad_input():
    """With its line."""
    for name, line in (("a.json", 1), ("a.jsonl", 4001)):
        text = '{"a": 1}\n' * 4000 + "{"
        with pytest.raises(BadDocument) as caught:
            read_source((text.replace("\n", ",") if line == 1 else text).encode(), name)
        assert (caught.value.subject, caught.value.line) == (name, line)


def test_json_nested_without_end_is_bad_input():
    """The parser's own limit is reached, not the interpreter's stack."""
    with pytest.raises(BadDocument, match="nested too deeply"):
        read_source(b"[" * 100_000 + b"]" * 100_000, "a.json")


@pytest.mark.parametrize("depth", [300, 900])
def test_json_nested_as_deep_as_the_parser_allows_is_described(depth):
    """Samples are written without recursion."""
    text, _ = overview('{"a":' * depth + "1.50" + "}" * depth + " " * 40_000, "a.json")
    assert text.startswith("Overview of 1 JSON value") and "object" in text


def test_huge_integers_are_numbers():
    """Python refuses to convert integers of thousands of digits."""
    text, _ = overview(json.dumps([int("9" * 4000)] * 20), "a.json")
    assert "number" in text


def test_numbers_without_a_float_are_shown_as_they_stand():
    """They are not infinite."""
    text, _ = overview(f"[{', '.join(['9' * 5000, '1e999'] * 20)}]", "a.json")
    assert "number" in text and "1e999" in text and "inf" not in text.lower()
