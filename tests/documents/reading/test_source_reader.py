"""The reader that an input gets, and the inputs that no reader accepts."""

from __future__ import annotations

import random
import sys

import pytest
from grid import grid
from source_files import (
    make_docx,
    make_email,
    make_epub,
    make_pdf,
    make_pptx,
    make_report_docx,
    make_xlsx,
    make_zip,
)

from llmcli.documents.reading.document import is_plain_start
from llmcli.documents.reading.source_reader import find_source_format, passages_of, read_source, refuse_unknown
from llmcli.errors import BadDocument, BinaryInput, LlmError, MissingExtra, NotUtf8

MAKERS = {
    "html": lambda: b"<!-- x -->\n<!DOCTYPE html><p>Hello",
    "pdf": lambda: make_pdf("Hello"),
    "docx": lambda: make_docx(lambda document: document.add_paragraph("Hello")),
    "pptx": make_pptx,
    "xlsx": lambda: make_xlsx(S=[["Hello"]]),
    "epub": lambda: make_epub("<p>Hello</p>"),
    "eml": make_email,
}


def problem(data, name):
    """Return the reason for which an input is refused."""
    with pytest.raises(BadDocument) as caught:
        read_source(data, name)
    assert caught.value.subject == name and caught.value.exit_code == 65
    return caught.value.detail


@pytest.mark.parametrize("name", MAKERS)
def test_standard_input_is_recognized_by_its_content(name):
    """Each format has a content that needs no suffix, and is not taken for plain text."""
    data = MAKERS[name]()
    assert find_source_format(data, "-").name == name
    assert not is_plain_start(data)
    refuse_unknown(data, "-")


@pytest.mark.parametrize(
    "text",
    [
        "Hello\n",
        "Note: this is no email\n\nText",
        "From: me\nSubject: a draft without a program's fields\n\nText",
        '{"a": 1}',
        "a,b\n1,2\n",
        "# Heading\n\n<html> is a tag\n",
        "",
    ],
)
def test_text_is_read_as_it_is(text):
    """Whatever is not certainly of another format is a text, as before, without its own passages."""
    for name in ("-", "a.txt", "noted", "a.py"):
        document = read_source(text.encode(), name)
        assert (document.text, document.source) == (text, None)


def test_source_code_with_markup_is_source_code():
    """A suffix that no reader has keeps a text from being read as HTML."""
    data = b"<html><body>{{ title }}</body></html>"
    assert read_source(data, "page.jinja").text == data.decode()
    assert read_source(data, "page.html").text == "{{ title }}"


@pytest.mark.parametrize(
    ("maker", "name", "reason"),
    [
        ("html", "report.pdf", "it is not a PDF document, but an HTML page"),
        ("docx", "report.pdf", "it is not a PDF document, but a Word document"),
        ("pdf", "report.docx", "it is not a Word document, but a PDF document"),
        ("pdf", "page.html", "it is not an HTML page, but a PDF document"),
        ("pdf", "notes.txt", "it is a PDF document, not what its name says; rename it"),
        ("xlsx", "table.csv", "it is a spreadsheet, not what its name says; rename it"),
    ],
)
def test_content_has_to_be_what_the_name_says(maker, name, reason):
    """A page that was saved in the place of a report is not summarized as the report."""
    assert problem(MAKERS[maker](), name) == reason


def test_a_text_that_is_called_a_document_is_refused():
    """The file may be the error message of a download."""
    assert problem(b"404 not found", "book.epub") == "it is not an EPUB book"
    assert problem(make_zip({"a": "b"}), "book.docx") == "it is not a Word document"


def test_unknown_binary_formats_are_refused_as_before():
    """An archive, an image and NUL bytes are no documents; other encodings are named."""
    for data in (make_zip({"a": "b"}), b"\x89PNG\r\n\x1a\n\0", b"a\0b"):
        for name in ("-", "thing", "thing.zip"):
            with pytest.raises(BinaryInput):
                read_source(data, name)
    with pytest.raises(NotUtf8):
        read_source("hello".encode("utf-16"), "-")
    with pytest.raises(BinaryInput):
        refuse_unknown(b"GGUF\x03\0\0\0", "-")


@pytest.mark.parametrize(
    ("suffix", "data"), [("docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), ("xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")]
)
def test_encrypted_office_documents_are_named_as_such(suffix, data):
    """Word and Excel wrap an encrypted document in an old container."""
    data += bytes(500) + "EncryptedPackage".encode("utf-16-le")
    assert problem(data, f"secret.{suffix}") == "it is encrypted; save it without a password"


@pytest.mark.parametrize(
    ("module", "package", "maker"),
    [
        ("pypdfium2", "pypdfium2", "pdf"),
        ("mammoth", "mammoth", "docx"),
        ("python_calamine", "python-calamine", "xlsx"),
    ],
)
def test_a_missing_library_is_an_error_that_names_the_extra(monkeypatch, readers_in_process, module, package, maker):
    """69, and the message says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra) as caught:
        read_source(MAKERS[maker](), "-")
    assert (caught.value.subject, caught.value.detail, caught.value.exit_code) == (package, "documents", 69)


def test_a_document_may_not_be_larger_than_memory_allows(monkeypatch):
    """The limit is in the message; texts have none."""
    monkeypatch.setattr("llmcli.documents.reading.source_reader.MAX_BINARY_BYTES", 1 << 20)
    assert problem(b"%PDF-1.7" + bytes(1 << 20), "big.pdf") == "it is larger than 1 MiB"
    assert len(read_source(b"a" * (2 << 20), "big.txt").text) == 2 << 20


@grid("seed", range(5), rows=1)
def test_damaged_files_are_errors_of_the_input(seed):
    """Whatever bytes change: the text is read, or the error is one of ours."""
    chance = random.Random(seed)
    for name, make in MAKERS.items():
        data = bytearray(make_report_docx() if name == "docx" else make())
        for _ in range(20):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
            try:
                read_source(bytes(data), f"x.{name}")
            except LlmError as error:
                assert error.exit_code == 65  # noqa: PT017 (it may be read as well)


def test_passages_of_a_text_file_have_its_lines_and_headings():
    """Of Markdown the sections; a number sign in code is no heading."""
    text = "Intro\n\n# One\n\nText.\n```\n# no heading\n```\n## Two\nmore\n\n\n# Three\nend\n"
    found = passages_of(read_source(text.encode(), "a.md")).passages
    assert [(each.first_line, each.last_line, each.headings) for each in found] == [
        (1, 1, ()),
        (3, 8, ("One",)),
        (9, 10, ("One", "Two")),
        (13, 14, ("Three",)),
    ]
    lines = text.splitlines()
    assert all(each.text == "\n".join(lines[each.first_line - 1 : each.last_line]) for each in found)


def test_passages_of_plain_text_are_its_paragraphs():
    """Blank lines separate them."""
    found = passages_of(read_source(b"one\ntwo\n\n\n# three\n", "a.txt")).passages
    assert [(each.text, each.first_line, each.last_line) for each in found] == [("one\ntwo", 1, 2), ("# three", 5, 5)]


def test_passages_stand_at_their_lines_in_the_text():
    """The text of a document is its passages with an empty line between them."""
    document = read_source(make_report_docx(), "r.docx")
    lines = document.text.split("\n")
    for each in document.source.passages:
        assert "\n".join(lines[each.first_line - 1 : each.last_line]) == each.text
