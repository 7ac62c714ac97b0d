"""Texts that are read in blocks."""

from __future__ import annotations

import hashlib

import pytest

from llmcli.documents.reading import file_reader, streamed_file
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import iter_text_blocks, open_streamed_file
from llmcli.errors import BadDocument, BinaryInput, NotUtf8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Read files of a hundred bytes in blocks of two hundred characters."""
    monkeypatch.setattr(file_reader, "MIN_LARGE_BYTES", 100)
    monkeypatch.setattr(streamed_file, "BLOCK_CHARS", 200)
    monkeypatch.setattr(streamed_file, "_READ_BYTES", 37)  # less than a block, and in the middle of characters


@pytest.fixture
def large(tmp_path):
    """Return a function that writes a file and opens it."""

    def open_file(data: str | bytes, name: str = "a.txt"):
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return open_streamed_file(str(tmp_path / name))

    return open_file


TEXTS = {
    "paragraphs": "".join(f"Para \u00e9\U0001f600 {n}\nof two lines.\n\n" for n in range(60)),
    "crlf": "".join(f"Paragraph {n}\r\nof two lines.\r\n\r\n" for n in range(60)),
    "cr": "".join(f"Paragraph {n}\rof two lines.\r\r" for n in range(60)),
    "lines": "".join(f"line {n}\n" for n in range(300)),
    "words": "word " * 500,
    "one word": "x" * 2000,
    "blank": "\n \n" * 400,
    "fence": "Text.\n\n```\n" + "code\n\n" * 20 + "```\n\n" + "Text again.\n\n" * 60,
    "open fence": "```\n" + "code\n\n" * 200,
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_blocks_are_the_text(large, name):
    """Each knows its offset and line, and none is longer than twice the size."""
    text, at = TEXTS[name], 0
    for block in large(text).blocks():
        assert (block.start, block.text) == (at, text[at : at + len(block.text)])
        before = text[:at]
        assert block.first_line == 1 + before.count("\n") + before.count("\r") - before.count("\r\n")
        assert 0 < len(block.text) <= 400
        at += len(block.text)
    assert at == len(text)


@pytest.mark.parametrize("name", ["paragraphs", "crlf", "cr"])
def test_blocks_end_between_paragraphs(large, name):
    """No paragraph is torn apart."""
    assert all(block.text.startswith("Para") for block in large(TEXTS[name]).blocks())


def test_code_is_not_cut_where_it_fits(large):
    """A blank line inside fenced code is no border."""
    assert next(large(TEXTS["fence"]).blocks()).text.count("```") == 2


def test_size_and_digest_are_those_of_the_text(large):
    """A byte order mark is not part of it."""
    text = TEXTS["paragraphs"]
    found = large(b"\xef\xbb\xbf" + text.encode())
    assert (found.characters, found.sha256) == (len(text), hashlib.sha256(text.encode()).hexdigest())
    assert "".join(block.text for block in found.blocks()) == text == found.read_whole().text


def test_lines_have_their_ends(large):
    """They are those of the file, also where a read ends inside of one."""
    for name in ("paragraphs", "crlf", "lines"):
        assert [*large(TEXTS[name]).lines()] == TEXTS[name].splitlines(keepends=True)


def test_small_files_and_other_formats_are_not_read_in_blocks(large, tmp_path):
    """They have readers of their own."""
    assert large("small") is None
    assert large("<!DOCTYPE html><p>" + "text " * 100, "a.html") is None
    assert large(b"%PDF-1.4 " + b"x" * 200, "a.pdf") is None
    assert open_streamed_file(str(tmp_path)) is None and open_streamed_file("none") is None


def test_what_is_no_text_is_refused_with_its_place(large):
    """The error has the offset in the file."""
    with pytest.raises(NotUtf8) as caught:
        large("\u00e9".encode() * 100 + b"\xff" + b"x" * 100)
    assert caught.value.offset == 200
    with pytest.raises(BinaryInput):
        large(b"x" * 150_000 + b"\0")
    with pytest.raises(NotUtf8):
        large(b"x" * 200 + b"\xc3")


def test_a_text_that_is_too_large_to_be_kept_is_refused(large, monkeypatch):
    """One line says so, before it is read."""
    monkeypatch.setattr(streamed_file, "MAX_TEXT_BYTES", 1000)
    found = large(TEXTS["lines"])
    with pytest.raises(BadDocument, match="larger than"):
        found.read_whole()


def test_a_table_is_read_as_its_overview(large):
    """Rows are counted without keeping them."""
    rows = "".join(f"{n},name {n}\n" for n in range(5000))
    document = large("number,name\n" + rows, "a.csv").read_overview()
    assert "5,000 rows and 2 columns" in document.text and document.source.notes
    lines = "".join(f'{{"number": {n}}}\n' for n in range(5000))
    assert "Overview of 5,000 JSON values" in large(lines, "a.jsonl").read_overview().text
    with pytest.raises(BadDocument) as caught:
        large(lines + "{", "b.jsonl").read_overview()
    assert caught.value.line == 5001


def test_a_document_is_one_block():
    """So both can be read in the same way."""
    (block,) = iter_text_blocks(Document("a", "text\n"))
    assert (block.text, block.start, block.first_line) == ("text\n", 0, 1)


READINGS = {
    "blocks": lambda found: "".join(block.text for block in found.blocks()),
    "lines": lambda found: "".join(found.lines()),
    "whole": lambda found: found.read_whole().text,
}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_a_file_that_grows_is_read_as_it_was(large, reading):
    """Such as a log: what is appended meanwhile belongs to the next command."""
    found = large("\ufeff" + TEXTS["paragraphs"])
    with found.path.open("a") as file:
        file.write("More \u00e9.\n" * 50)
    assert reading(found) == TEXTS["paragraphs"]


@pytest.mark.parametrize("change", ["truncated", "emptied", "replaced", "overwritten"])
@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_a_file_that_changes_is_an_error(large, reading, change):
    """Its passages would be of two texts."""
    found = large(TEXTS["lines"])
    data = found.path.read_bytes()
    if change == "replaced":
        other = found.path.with_name("other")
        other.write_bytes(data[::-1])
        other.replace(found.path)
    else:
        changed = {"truncated": data[:-10], "emptied": b"", "overwritten": data.replace(b"line 9\n", b"LINE 9\n")}
        found.path.write_bytes(changed[change])
    with pytest.raises(BadDocument, match="changed while it was read"):
        reading(found)
