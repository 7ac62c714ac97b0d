"""``summarize`` and ``ask`` with documents of many formats, from the command line to the model."""

from __future__ import annotations

import functools
import json
import threading

import pytest
from package_files import make_odf
from scripted import all_messages, last_message
from source_files import make_email, make_epub, make_pdf, make_pptx, make_report_docx, make_xlsx, make_zip

from llmcli.documents.reading import reader_process

DOCUMENTS = {
    "page.html": (b"<!DOCTYPE html><nav>menu</nav><p>the <b>wanted</b> words</p>", "the wanted words"),
    "report.pdf": (functools.partial(make_pdf, "the wanted words"), "the wanted words"),
    "report.docx": (make_report_docx, "Costs rose by 12 percent."),
    "slides.pptx": (make_pptx, "Step one"),
    "book.xlsx": (functools.partial(make_xlsx, S=[["a", "b"], [1, 2]]), "| 1 | 2 |"),
    "novel.epub": (functools.partial(make_epub, "<p>the wanted words</p>"), "the wanted words"),
    "letter.eml": (make_email, "the roof leaks."),
    "small.csv": (b"a,b\n1,2\n", "a,b\n1,2\n"),
    "data.json": (b'{"a": 1}\n', '{"a": 1}'),
}
"""The bytes of documents, or what makes them, and words of their texts."""


@functools.cache
def read_document(name):
    """Return the bytes of a document."""
    data = DOCUMENTS[name][0]
    return data if isinstance(data, bytes) else data()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Create the documents in a directory; work in it."""
    (tmp_path / "docs").mkdir()
    for name in DOCUMENTS:
        (tmp_path / "docs" / name).write_bytes(read_document(name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_text_of_a_document_reaches_the_model(llm, folder, name):
    """Not its markup or bytes; by ``summarize`` and ``ask``, named and piped."""
    data, wanted = read_document(name), DOCUMENTS[name][1]
    for argv, stdin in (
        (["summarize", f"docs/{name}"], b""),
        (["ask", "Q", "-f", f"docs/{name}"], b""),
        (["summarize"], data),
        (["ask", "Q"], data),
    ):
        run = llm(*argv, stdin=stdin, answer=lambda _: "S")
        assert (run.code, run.out, run.err) == (0, "S\n", "")
        sent = all_messages(run.backend.requests[0])
        assert wanted in sent and "<b>" not in sent and "PK\x03" not in sent and "menu" not in sent


def test_a_piped_question_is_a_text(llm):
    """Without an argument, markup in standard input is part of the question."""
    run = llm("ask", stdin=b"<html> is what?", answer=last_message)
    assert "<html> is what?" in run.out


def test_a_directory_is_summarized_file_by_file(llm, folder):
    """Each file with its header, in order."""
    run = llm("summarize", "docs", answer=lambda _: "S")
    headers = [line for line in run.out.splitlines() if line.startswith("==> ")]
    assert headers == [f"==> docs/{name} <==" for name in sorted(DOCUMENTS)]
    assert run.code == 0


def test_a_bad_document_leaves_the_others_whole(llm, folder):
    """65 alone, 3 among others, with one line on standard error."""
    (folder / "scan.pdf").write_bytes(make_pdf("", ""))
    alone = llm("summarize", "scan.pdf")
    assert (alone.code, alone.out) == (65, "") and "scan.pdf" in alone.err and "no text" in alone.err
    run = llm("summarize", "docs/page.html", "scan.pdf", answer=lambda _: "S")
    assert run.code == 3 and "S\n" in run.out and "scan.pdf" in run.err and "Traceback" not in run.err


def test_a_question_about_a_directory_survives_a_bad_file_in_it(llm, folder):
    """The answer says nothing of it, so standard error, the warnings and the exit code do."""
    (folder / "docs" / "scan.pdf").write_bytes(make_pdf("", ""))
    run = llm("ask", "Q", "-f", "docs", answer=lambda _: "A")
    assert (run.code, run.out) == (3, "A\n") and "scan.pdf" in run.err
    assert "Step one" in all_messages(run.backend.requests[0])
    run = llm("ask", "Q", "-f", "docs", "--json", answer=lambda _: "A")
    (warning,) = json.loads(run.out)["warnings"]
    assert run.code == 3 and warning.startswith("not read: ") and "docs/scan.pdf" in warning


@pytest.mark.parametrize("verb", [("ask", "Q"), ("ask", "-p", "own.yaml", "Q"), ("ask", "--session", "s", "Q")])
def test_a_question_about_several_files_survives_those_that_cannot_be_read(llm, folder, verb):
    """Each is named, with 3: a damaged one, a binary one, one that is not there. Without any text left it fails."""
    (folder / "own.yaml").write_text(
        "description: d\nuser: '{{ text }} {{ question }}'\nvariables: {text: {}, question: {}}\n"
    )
    (folder / "docs" / "scan.pdf").write_bytes(b"%PDF-1.4 damaged")
    (folder / "docs" / "data.bin").write_bytes(bytes(range(256)))
    unread = ["docs/scan.pdf", "docs/data.bin", "none.txt"]
    argv = [word for name in unread for word in ("-f", name)]
    run = llm(*verb, "--json", "-f", "docs/page.html", *argv, answer=lambda _: "A")
    found = json.loads(run.out)
    assert (run.code, found["text"]) == (3, "A") and len(run.err.splitlines()) == 3
    assert all(name in warning for name, warning in zip(unread, found["warnings"], strict=True))
    run = llm(*verb, *argv, answer=lambda _: "A")
    assert (run.code, run.out, run.backend) == (65, "", None)


def test_other_results_of_several_documents_name_those_that_were_not_read(llm, folder):
    """A check and one summary of all, in their warnings."""
    (folder / "docs" / "scan.pdf").write_bytes(b"%PDF-1.4 damaged")
    (folder / "answer.txt").write_text("The key is red.\n")

    def respond(request):
        return dict.fromkeys(request.candidates, -1.0) if request.candidates else "A summary of the words."

    for verb in (("check", "answer.txt", "--against", "docs"), ("summarize", "--combine", "docs")):
        run = llm(*verb, "--json", answer=respond)
        assert run.code == 3 and any("docs/scan.pdf" in each for each in json.loads(run.out)["warnings"]), run.err


def test_a_text_in_another_encoding_is_not_left_out_of_a_directory(llm, folder):
    """PowerShell writes UTF-16: such a text is named, as one in Latin-1 is; a picture is left out."""
    (folder / "docs" / "notes.txt").write_text("The key is under the mat.", encoding="utf-16")
    (folder / "docs" / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    for verb in (("summarize", "docs"), ("ask", "Q", "-f", "docs"), ("tokens", "docs")):
        run = llm(*verb, answer=lambda _: "A")
        assert run.code == 3 and "docs/notes.txt is not UTF-8 (byte 0): UTF-16" in run.err and "photo" not in run.err


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.rtf", b"{\\rtf1\\ansi Good day.}", "it is Rich Text Format; save it as .docx"),
        (
            "a.fodt",
            b'<?xml version="1.0"?><office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0">',
            "a flat OpenDocument",
        ),
        (
            "a.odt",
            make_zip({"mimetype": b"application/vnd.oasis.opendocument.text"}),
            "the file is damaged: content.xml is missing",
        ),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old office document"),
    ],
)
def test_documents_that_are_not_read_are_named(llm, folder, name, data, what):
    """Their marks are no words, and a directory does not leave them out without a word; the lock files of Word it does."""
    (folder / "docs" / name).write_bytes(data)
    (folder / "docs" / "~$letter.docx").write_bytes(b"Ann" + bytes(160))
    run = llm("summarize", f"docs/{name}")
    assert (run.code, run.out) == (65, "") and what in run.err
    for verb in (("summarize", "docs"), ("ask", "Q", "-f", "docs"), ("tokens", "docs")):
        run = llm(*verb, answer=lambda _: "A")
        assert run.code == 3 and f"docs/{name}" in run.err and what in run.err and "~$" not in run.err


def test_opendocument_and_notebooks_are_read(llm, folder):
    """By name and from a directory: their words reach the model, without marks."""
    slide = "<office:presentation><draw:page><text:p>The key is blue.</text:p></draw:page></office:presentation>"
    cell = {"cell_type": "markdown", "source": "The key is green."}
    files = {
        "a.odt": (make_odf("<office:text><text:p>The key is red.</text:p></office:text>"), "red"),
        "a.odp": (make_odf(slide, "presentation"), "blue"),
        "a.ipynb": (json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}).encode(), "green"),
    }
    asked = []

    def answer(request):
        asked.append(last_message(request))
        return "A"

    for name, (data, color) in files.items():
        (folder / "docs" / name).write_bytes(data)
        for verb in (("summarize", f"docs/{name}"), ("ask", "Q", "-f", f"docs/{name}")):
            asked.clear()
            run = llm(*verb, answer=answer)
            assert run.code == 0 and f"The key is {color}." in asked[0], run.err
            assert "cell_type" not in asked[0] and "content.xml" not in asked[0]
        assert llm("tokens", f"docs/{name}").code == 0
    asked.clear()
    assert llm("ask", "Q", "-f", "docs", answer=answer).code == 0
    assert all(f"The key is {color}." in "".join(asked) for _, color in files.values())


def test_a_missing_library_names_the_extra(llm, folder, monkeypatch):
    """69, and the command that installs it."""
    monkeypatch.setattr(reader_process, "_idle_processes", [])
    (folder / "pypdfium2.py").write_text("raise ModuleNotFoundError")
    monkeypatch.syspath_prepend(folder)
    run = llm("summarize", "docs/report.pdf")
    assert (run.code, run.out) == (69, "") and 'pip install "llmcli[documents]"' in run.err


def test_what_was_left_out_is_a_warning(llm, folder):
    """In the results of --json, and on standard error of a terminal or with -v."""
    rows = "".join(f"{i},x{i % 3}\n" for i in range(5000))
    (folder / "big.csv").write_text("id,name\n" + rows)
    (folder / "half.pdf").write_bytes(make_pdf("text", ""))
    run = llm("summarize", "--json", "docs/page.html", "big.csv", "half.pdf", answer=lambda _: "S")
    found = [json.loads(line)["warnings"] for line in run.out.splitlines()]
    assert found[0] == [] and "big.csv: a table with 5,000 rows" in found[1][0] and "1 of 2 pages" in found[2][0]
    shown = llm("summarize", "-v", "big.csv", "half.pdf", answer=lambda _: "S").err
    assert "big.csv: a table" in shown and "half.pdf: 1 of 2" in shown
    run = llm("ask", "Q", "-f", "big.csv", "-f", "half.pdf", "--json", answer=lambda _: "A")
    assert len(json.loads(run.out)["warnings"]) == 2


def test_a_slow_reader_can_be_stopped(llm, folder, monkeypatch):
    """--timeout ends a reader that is in the middle of a document."""
    stopped = threading.Event()
    monkeypatch.setattr(reader_process, "read_in_child", lambda *_: stopped.wait(60) or ())
    run = llm("summarize", "--timeout", "0.2", "docs/report.pdf")
    stopped.set()
    assert (run.code, run.out) == (124, "")


def test_translate_reads_its_own_formats_only(llm, folder):
    """A translation keeps the document; of a PDF there would be nothing to keep."""
    run = llm("translate", "--to", "fr", "docs/report.pdf", answer=last_message)
    assert run.code == 65 and "is not text" in run.err
    run = llm("translate", "--to", "fr", "docs/page.html", answer=last_message)
    assert "<nav>" in run.out


def test_an_empty_directory_is_bad_input(llm, folder):
    """65, as an empty document."""
    (folder / "none").mkdir()
    run = llm("summarize", "none")
    assert (run.code, run.out) == (65, "") and "none: no file in this directory" in run.err
    run = llm("summarize", "none", "docs/page.html", answer=lambda _: "S")
    assert run.code == 3 and "S\n" in run.out
