"""Signals and --timeout while no model works: parsing, masking, joining, comparing, planning, importing."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from package_files import make_word, run

from llmcli import interrupt
from llmcli.documents import text_cutting
from llmcli.documents.formats import plain_text
from llmcli.documents.formats.markup import markdown_format
from llmcli.documents.formats.message_files import json_messages
from llmcli.documents.formats.packages.package_format import PackageFormat
from llmcli.store.database import Database
from llmcli.store.translation_memory import TranslationMemory
from llmcli.tasks.translate import document_plan, masking, segment_requests, target_file
from llmcli.tasks.translate.document_output import DocumentOutput
from llmcli.tasks.translate.glossary import Glossary

PSEUDO = ("translate", "--no-tm", "--pseudo", "accents")
STEPS = {
    "splitting": (plain_text.PlainTextFormat, "split", (*PSEUDO, "in.txt", "-o", "out")),
    "splitting Markdown": (markdown_format.MarkdownFormat, "split", (*PSEUDO, "in.md", "-o", "out")),
    "masking": (segment_requests, "mask_spans", (*PSEUDO, "in.txt", "-o", "out")),
    "pseudo-localisation": (masking.MaskedText, "transform_unmasked", (*PSEUDO, "in.txt", "-o", "out")),
    "joining": (DocumentOutput, "_assemble", (*PSEUDO, "in.json", "-o", "out")),
    "checking": (json_messages.JsonFormat, "check", (*PSEUDO, "in.json", "-o", "out")),
    "unpacking": (PackageFormat, "extract_text", (*PSEUDO, "in.docx", "-o", "out")),
    "packing": (PackageFormat, "pack", (*PSEUDO, "in.docx", "-o", "out")),
    "comparing": (target_file, "align_by_key", (*PSEUDO, "in.json", "--update", "out.json")),
    "language detection": (
        document_plan,
        "detect_language",
        ("translate", "--no-tm", "--to", "fr", "in.txt", "-o", "out"),
    ),
    "dry run": (segment_requests, "mask_spans", ("translate", "--no-tm", "--to", "fr", "--dry-run", "in.txt")),
    "glossary": (Glossary, "parse", (*PSEUDO, "--glossary", "in.csv", "in.txt", "-o", "out")),
    "report": (
        "llmcli.cli.commands.translate.result_stream",
        "format_report",
        (*PSEUDO, "in.txt", "-o", "/dev/null", "--report", "out"),
    ),
    "scores": (
        "llmcli.tasks.translate.quality",
        "score_translations",
        (*PSEUDO, "in.txt", "--eval", "in.txt", "-o", "out"),
    ),
    "planning": (text_cutting, "_FINDERS", ("summarize", "in.txt", "-o", "out")),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Change to a directory with an input of each kind and earlier outputs; return its contents."""
    directory = tmp_path / "files"
    directory.mkdir()
    monkeypatch.chdir(directory)
    for name, text in {
        "in.txt": "some words\n\nmore words\n\n" * 50,
        "in.md": "# words\n\nmore words\n",
        "in.json": '{"key": "some words"}\n',
        "in.csv": "term,translation\nwords,mots\n",
        "out": "before\n",
        "out.json": '{"key": "before"}\n',
    }.items():
        (directory / name).write_text(text)
    (directory / "in.docx").write_bytes(make_word(f"<w:p>{run('some words')}</w:p>"))
    return lambda: {path.name: path.read_bytes() for path in directory.iterdir()}


def end_time_limit():
    """Let the time limit of the command end now."""
    current = interrupt._CurrentCommand.interrupt
    current.deadline = 0.0
    for wake in current.wakers:
        wake()


@pytest.fixture
def stuck(monkeypatch):
    """Make a function never return; the first call sends ``signum`` to the process, or ends the time limit if it is 0."""
    held = threading.Event()

    def install(owner, name, signum):
        def function(*_args, **_kwargs):
            if signum:
                os.kill(os.getpid(), signum)
            else:
                end_time_limit()
            held.wait()

        where = f"{owner}.{name}" if isinstance(owner, str) else owner
        replaced = (function,) if name == "_FINDERS" else function
        monkeypatch.setattr(*((where, replaced) if isinstance(owner, str) else (where, name, replaced)))

    yield install
    held.set()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_long_operations(llm, files, stuck, step, signum):
    """Wherever it comes: silent death by the signal, and unchanged files."""
    before = files()
    owner, name, argv = STEPS[step]
    stuck(owner, name, signum)
    run = llm(*argv, context=100)
    assert (run.code, run.out, run.err) == (128 + signum, "", "")
    assert files() == before


@pytest.mark.parametrize("step", STEPS)
def test_the_timeout_ends_long_operations(llm, files, stuck, step):
    """--timeout applies there too: 124, one line and a next step, and unchanged files."""
    before = files()
    owner, name, argv = STEPS[step]
    stuck(owner, name, 0)
    run = llm(*argv, "--timeout", "60", context=100)
    assert (run.code, run.out) == (124, "")
    assert run.err.splitlines() == ["llm: the time limit ran out", "Give it more time: --timeout SECONDS"]
    assert files() == before


def test_a_signal_is_no_failure_of_one_document(llm, files, stuck):
    """No document is reported as failed, and no later one is started."""
    stuck(markdown_format.MarkdownFormat, "split", signal.SIGINT)
    run = llm(*PSEUDO, "in.md", "in.txt", "-o", "new/")
    assert (run.code, run.out, run.err) == (130, "", "")
    assert "new" not in files()


def test_an_interrupted_import_stores_nothing(llm, files, monkeypatch):
    """A signal between two translations leaves the memory unchanged."""
    units = "".join(
        f'<tu><tuv xml:lang="en"><seg>{number}</seg></tuv><tuv xml:lang="fr"><seg>x</seg></tuv></tu>'
        for number in range(9)
    )
    Path("in.tmx").write_text(f'<tmx version="1.4"><header srclang="en"/><body>{units}</body></tmx>')
    add = TranslationMemory.add_units

    def interrupted(memory, entries):
        def read():
            for number, each in enumerate(entries):
                if number == 5:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield each

        return add(memory, read())

    monkeypatch.setattr(TranslationMemory, "add_units", interrupted)
    run = llm("tm", "import", "--tm", "tm.sqlite", "in.tmx")
    assert (run.code, run.err) == (143, "")
    monkeypatch.setattr(TranslationMemory, "add_units", add)
    assert llm("tm", "list", "--tm", "tm.sqlite").out == ""
    assert llm("tm", "import", "--tm", "tm.sqlite", "in.tmx").code == 0
    assert llm("tm", "list", "--tm", "tm.sqlite").out == "en\tfr\t9\t9\n"


def test_a_signal_ends_the_wait_for_another_process_that_writes(llm, files, monkeypatch):
    """A signal ends the wait for a memory that another process holds."""
    TranslationMemory(Path("tm.sqlite")).__exit__()
    begin = Database._begin_immediate

    def interrupted(database):
        os.kill(os.getpid(), signal.SIGINT)
        begin(database)

    with closing(sqlite3.connect("tm.sqlite", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(Database, "_begin_immediate", interrupted)
        run = llm("tm", "rm", "--all", "--yes", "--tm", "tm.sqlite")
    assert (run.code, run.out, run.err) == (130, "", "")


def test_a_signal_ends_a_long_query(llm, files, monkeypatch):
    """SQLite calls back while it works: here after its first steps."""
    TranslationMemory(Path("tm.sqlite")).__exit__()
    monkeypatch.setattr("llmcli.store.database._PROGRESS_STEPS", 1)
    monkeypatch.setattr("llmcli.store.database.stop_requested", lambda: os.kill(os.getpid(), signal.SIGTERM) or True)
    run = llm("tm", "list", "--tm", "tm.sqlite")
    assert (run.code, run.out, run.err) == (143, "", "")
