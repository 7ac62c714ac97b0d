"""Paragraphs, sentences and documents as records of plain text."""

import io

import pytest

from llmcli.documents.format_registry import load_record_format
from llmcli.documents.records.formats.record_format import OutputColumns, ReadOptions
from llmcli.errors import BadDocument, BinaryInput, NotUtf8, UsageError

TEXT = b'\n\nOne two.\r\nThree\nfour. Five!\n\n \nSix.\n\nSeven? "Eight." Nine'


def read(unit, data):
    stream = io.BufferedReader(io.BytesIO(data))
    return list(load_record_format(unit).open_reader(stream, "x.txt", ReadOptions()))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("paragraphs", [(3, "One two.\r\nThree\nfour. Five!"), (8, "Six."), (10, 'Seven? "Eight." Nine')]),
        (
            "sentences",
            [
                (3, "One two."),
                (4, "Three\nfour."),
                (5, "Five!"),
                (8, "Six."),
                (10, "Seven?"),
                (10, '"Eight."'),
                (10, "Nine"),
            ],
        ),
    ],
)
def test_units(unit, expected):
    """Each has its text without the white space around it, and the line where it begins."""
    found = read(unit, TEXT)
    assert [(record.line, record.text) for record in found] == expected
    assert [record.index for record in found] == list(range(len(expected)))


def test_a_document_is_one_record():
    """Also one of blank lines, and an empty one, so that each file has its record."""
    (record,) = read("document", TEXT)
    assert record.text == TEXT.decode().strip() and record.raw == TEXT
    assert read("document", b"\n\n")[0].text == "" and read("document", b"")[0].text == ""
    assert read("paragraphs", b"\n \n") == []


def test_bytes_that_are_no_text():
    """They make their paragraph an error record; the others are read."""
    good, bad, last = read("sentences", b"One. Two\n\nThr\xffee. Four\n\nFive".replace(b" Two", b""))
    assert (good.error, last.error) == (None, None) and isinstance(bad.error, NotUtf8)
    with pytest.raises(BinaryInput):
        read("paragraphs", b"a\0b\n")


def test_a_unit_without_an_end(monkeypatch):
    """A document of many lines has a limit, too; it fails as one record."""
    monkeypatch.setattr("llmcli.documents.records.formats.text_units.MAX_RECORD_BYTES", 100)
    (record,) = read("document", b"text\n" * 100)
    assert isinstance(record.error, BadDocument) and "64 MiB" in str(record.error) and record.text == ""


def test_results_are_lines():
    """The units are formats of inputs only."""
    with pytest.raises(UsageError):
        load_record_format("paragraphs").open_writer(OutputColumns(None, {}, has_error=False))
