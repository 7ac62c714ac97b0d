"""Readers in a child process: what they read arrives, and a file that kills its reader is an error of the input."""

from __future__ import annotations

import collections
import itertools
import os
import subprocess
import sys

import pytest
from hostile_files import docx_of_paragraphs, pdf_of_many_texts, xlsx_of_long_strings
from package_files import make_odf
from source_files import make_epub, make_pdf, make_pptx, make_report_docx, make_zip
from terminal import ROOT

from llmcli.documents.reading import reader_process, round_trip
from llmcli.documents.reading.source_reader import read_source
from llmcli.documents.reading.translatable import open_translatable
from llmcli.errors import BadDocument

TEXTS, ROWS, CHARACTERS, ELEMENTS = 250_000, 200, 2_000_000, 5_000_000
"""Of files that take more than 300 MB."""


@pytest.fixture(autouse=True)
def _own_children(monkeypatch):
    """Start each test without a child, and end those that it started."""
    monkeypatch.setattr(reader_process, "_idle_processes", [])
    yield
    for child in reader_process._idle_processes:
        child.close()


def problem(data, name):
    """Return why a document cannot be read."""
    with pytest.raises(BadDocument) as caught:
        read_source(data, name)
    assert caught.value.subject == name
    return caught.value.detail


def test_one_child_reads_all_files():
    """Also after one that is damaged."""
    assert "Hello" in read_source(make_pdf("Hello"), "a.pdf").text
    (child,) = reader_process._idle_processes
    assert "damaged" in problem(b"%PDF-1.7\nno more", "b.pdf")
    assert "Costs rose" in read_source(make_report_docx(), "c.docx").text
    assert reader_process._idle_processes == [child]


def test_books_and_presentations_are_read_in_the_child():
    """They are archives, of which a small one can unpack to much."""
    assert "Hello" in read_source(make_epub("<p>Hello</p>"), "a.epub").text
    (child,) = reader_process._idle_processes
    assert read_source(make_pptx(), "b.pptx").text
    assert reader_process._idle_processes == [child]


@pytest.mark.slow
def test_a_book_that_takes_all_memory_is_refused(monkeypatch):
    """Its page has more elements than memory has room for."""
    monkeypatch.setattr(reader_process, "MAX_MEMORY_BYTES", 300 << 20)
    assert "memory" in problem(make_epub("<p>a</p>" * ELEMENTS), "bomb.epub")


@pytest.mark.slow
def test_a_file_that_takes_all_memory_is_refused_and_the_next_one_is_read(monkeypatch):
    """PDFium and calamine abort; their child is replaced."""
    monkeypatch.setattr(reader_process, "MAX_MEMORY_BYTES", 300 << 20)
    assert "memory" in problem(pdf_of_many_texts(TEXTS), "texts.pdf")
    assert "memory" in problem(xlsx_of_long_strings(ROWS, CHARACTERS), "strings.xlsx")
    assert "Hello" in read_source(make_pdf("Hello"), "a.pdf").text


@pytest.mark.slow
def test_a_file_that_takes_too_long_is_refused(monkeypatch, tmp_path):
    """The limit is one of processor time, so a busy machine changes nothing."""
    monkeypatch.setattr(reader_process, "MAX_CPU_S", 0)
    (tmp_path / "endless_reader.py").write_text("def read(data, name):\n    while True:\n        pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadDocument) as caught:
        list(reader_process.read_in_child("endless_reader:read", b""))
    assert caught.value.detail == "reading it takes more than 0 seconds"


def test_a_document_of_too_many_elements_is_refused_at_once(monkeypatch, readers_in_process):
    """Mammoth would read a million of them for half a minute."""
    monkeypatch.setattr("llmcli.documents.reading.sources.docx_source.MAX_DOCX_ELEMENTS", 1_000)
    assert "elements; split the document" in problem(docx_of_paragraphs(400), "long.docx")


def test_a_child_ends_with_its_parent_in_the_middle_of_a_file(tmp_path):
    """A command that was killed leaves no process behind: the child, which waits for a file, has closed its output."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "slow_reader.py").write_text(
        f"def read(data, name):\n    yield 'begun'\n    open({str(fifo)!r}).read()\n"
    )
    code = (
        "from llmcli.documents.reading.reader_process import read_in_child\n"
        "sections = read_in_child('slow_reader:read', b'')\n"
        "import sys; print(sections.gi_frame is not None, flush=True); next(sections)\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env)
    assert parent.stdout.readline() == b"True\n"
    with fifo.open("wb", buffering=0) as stream:  # opens when the child reads
        parent.kill()
        parent.wait()
        with pytest.raises(BrokenPipeError):
            collections.deque(map(stream.write, itertools.repeat(bytes(65536))), 0)
    parent.stdout.close()


def test_what_an_archive_says_of_itself_is_unpacked_in_the_child(monkeypatch):
    """It can be as large as anything else in it."""
    monkeypatch.setattr(reader_process, "MAX_MEMORY_BYTES", 60 << 20)
    assert "memory" in problem(make_zip({"mimetype": bytes(100 << 20)}), "bomb.odt")


def test_the_text_of_a_document_is_bounded_before_it_leaves_the_child(monkeypatch):
    """A long text would take the memory of this process."""
    monkeypatch.setattr(reader_process, "MAX_CHARACTERS", 10)
    assert "its text is longer than 10 characters" in problem(make_epub("<p>a long text</p>"), "long.epub")


def test_a_document_of_too_many_sections_is_refused():
    """Each takes memory, however short it is."""
    assert "sections" in problem(make_epub("<h1>a</h1><p>b</p>" * 200_001), "sections.epub")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.odt", make_odf(f"<office:text>{'<text:p>a</text:p>' * 20_000}</office:text>")),
        ("a.docx", docx_of_paragraphs(20_000)),
        ("a.epub", make_epub("<p>a b</p>" * 60_000)),
        (
            "a.ipynb",
            b'{"cells":[' + b",".join([b'{"cell_type":"markdown","source":["a b"]}'] * 20_000) + b'],"nbformat":4}',
        ),
    ],
)
def test_a_document_is_tried_in_the_child_before_it_is_translated(monkeypatch, name, data):
    """One that takes too much memory there never takes it here."""
    monkeypatch.setattr(round_trip, "MAX_MEMORY_BYTES", 24 << 20)
    with pytest.raises(BadDocument) as caught:
        open_translatable(data, name)
    assert caught.value.subject == name and "memory" in caught.value.detail
