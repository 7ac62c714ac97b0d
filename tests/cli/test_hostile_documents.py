"""Commands with 2 GB of memory on small files that are made to use much more: each is read, or refused with one line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile

import hostile_files as files
import pytest
from package_files import make_odf
from source_files import make_epub, make_report_docx, make_zip
from terminal import ROOT

MEMORY_KB = 2 << 20
TIMEOUT_S = 120
"""A document of Word with 200,000 paragraphs takes 24 seconds, all others less than 7."""
FILES = {
    "texts.pdf": lambda: files.pdf_of_many_texts(3_000_000),
    "objects.pdf": lambda: files.pdf_of_many_texts(1_000_000),
    "blanks.pdf": lambda: files.pdf_of_blanks(640),
    "strings.xlsx": lambda: files.xlsx_of_long_strings(3_000, 8_000_000),
    "paragraphs.docx": lambda: files.docx_of_paragraphs(800_000),
    "many.docx": lambda: files.docx_of_paragraphs(200_000),
    "runs.docx": lambda: files.docx_of_runs(50_000),
    "attributes.html": lambda: files.html_of_attributes(40_000),
    "recipients.eml": lambda: files.mail_of_recipients(40_000),
    "mail.eml": lambda: files.mail_in_mails(1),
    "mails.eml": lambda: files.mail_in_mails(2_000),
    "entities.xlf": lambda: files.xliff_of_entities(12),
    "units.xlf": lambda: files.xliff_of_units(100_000),
    "digits.json": lambda: files.json_of_digits(100_000, 20),
    "digits.jsonl": lambda: files.json_of_digits(100_000, 1)[1:-1] + b"\n",
}
VERBS = {
    "index": ("index", "add"),
    "extract": ("extract", "--dry-run", "--schema", "name"),
    "translate": ("translate", "--to", "fr", "--pseudo", "accents", "-o", "out/", "--force"),
}


@pytest.fixture
def run(tiny, tried, tmp_path):
    """Return a function that runs ``llm`` with little memory: its exit code and the lines of standard error."""
    tried(tiny("llama"))
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "LLMCLI_MODEL": str(tiny("llama"))}
    shell = ["bash", "-c", f'ulimit -c 0 -v {MEMORY_KB}; exec "$@"', "sh", sys.executable, "-m", "llmcli"]

    def start(*argv):
        done = subprocess.run(
            [*shell, *argv], capture_output=True, check=False, text=True, env=environ, cwd=tmp_path, timeout=TIMEOUT_S
        )
        return done.returncode, done.stderr.splitlines()

    return start


@pytest.mark.stress
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", FILES)
def test_a_command_with_two_gigabytes_survives_each_file(run, tmp_path, name, verb):
    """Alone, it is read (0) or refused with one line, an advice and 65; among others, these are read (3)."""
    (tmp_path / name).write_bytes(FILES[name]())
    code, lines = run(*VERBS[verb], name)
    if code == 0:
        assert lines == []
    else:
        assert code == 65 and name in lines[0] and len(lines) <= 2, lines
    (tmp_path / "good.txt").write_text("The workshop opens on Monday.\n")
    together = [str(tmp_path)] if verb == "index" else [name, "good.txt"]
    both, _ = run(*VERBS[verb], *together)
    assert both == (0 if code == 0 else 3)


@pytest.mark.parametrize("verb", VERBS)
def test_numbers_of_any_length_are_read(llm, tmp_path, monkeypatch, verb):
    """Python converts no integer of more than 4,300 digits."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_bytes(files.json_of_digits(5_000, 10))
    assert llm(*VERBS[verb], "a.json").code == 0


def test_a_mail_that_is_a_mail_thousands_of_times_is_refused(llm, tmp_path):
    """In our words."""
    (tmp_path / "a.eml").write_bytes(files.mail_in_mails(2_000))
    run = llm("index", "add", str(tmp_path / "a.eml"))
    assert run.code == 65 and "nested too deeply" in run.err


@pytest.mark.parametrize(
    ("name", "make", "problem"),
    [
        ("a.xlf", lambda: files.xliff_of_entities(12), "it defines an entity by other entities"),
        ("strings.xml", lambda: files.android_of_nested_tags(5_000), "nested deeper than 200 levels"),
        (
            "a.stringsdict",
            lambda: b"<plist>" + b"<dict><key>a</key>" * 5_000 + b"</dict>" * 5_000 + b"</plist>",
            "nested deeper",
        ),
        ("a.xcstrings", lambda: files.catalog_of_nested_variations(5_000), "nested too deeply"),
        ("a.ftl", lambda: b"a = " + b"{ $n -> *[a] " * 5_000, "nested deeper than 50 levels"),
        ("a.strings", lambda: b'"' * 100_001, "unexpected"),
    ],
)
def test_a_file_of_messages_that_grows_or_nests_is_refused(llm, tmp_path, monkeypatch, name, make, problem):
    """With its line, in one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(make())
    run = llm(*VERBS["translate"], name)
    assert run.code == 65
    assert f"{name}: line 1: " in run.err.splitlines()[0] and problem in run.err.splitlines()[0]


def test_a_paragraph_of_any_length_is_not_translated(llm, tmp_path, monkeypatch):
    """What is found in it takes many times its length."""
    monkeypatch.chdir(tmp_path)
    words = "words " * 170_000
    (tmp_path / "a.odt").write_bytes(make_odf(f"<office:text><text:p>{words}</text:p></office:text>"))
    run = llm("translate", "--to", "fr", "--pseudo", "accents", "-o", "b.odt", "a.odt")
    assert run.code == 65 and "a paragraph has more than 1,000,000 characters" in run.err
    assert not (tmp_path / "b.odt").exists()


@pytest.mark.parametrize(
    ("name", "removed", "problem"),
    [
        ("a.odt", "content.xml", "content.xml is missing"),
        ("a.docx", "word/document.xml", "the text of the document is missing"),
    ],
)
def test_an_archive_without_its_text_is_not_translated(llm, tmp_path, monkeypatch, name, removed, problem):
    """A copy would look like a translation."""
    monkeypatch.chdir(tmp_path)
    whole = make_odf("<office:text/>") if name == "a.odt" else make_report_docx()
    with zipfile.ZipFile(io.BytesIO(whole)) as package:
        kept = {each: package.read(each) for each in package.namelist() if each != removed}
    (tmp_path / name).write_bytes(make_zip(kept))
    run = llm("translate", "--to", "fr", "--pseudo", "accents", "-o", f"out-{name}", name)
    assert run.code == 65 and problem in run.err
    assert not (tmp_path / f"out-{name}").exists()


def test_a_missing_chapter_is_named_beside_the_translation(llm, tmp_path, monkeypatch):
    """The others are translated."""
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(io.BytesIO(make_epub("<p>one</p>", "<p>two</p>"))) as package:
        pages = [each for each in package.namelist() if each.endswith("html")]
        kept = {each: package.read(each) for each in package.namelist() if each != pages[-1]}
    (tmp_path / "a.epub").write_bytes(make_zip(kept))
    run = llm("translate", "-v", "--to", "fr", "--pseudo", "accents", "-o", "b.epub", "a.epub")
    assert run.code == 0 and f"chapters are missing from the file: {pages[-1]}" in run.err


def test_a_document_with_entities_of_its_own_is_not_translated(llm, tmp_path, monkeypatch):
    """A reference to one would become text."""
    monkeypatch.chdir(tmp_path)
    whole = make_odf("<office:text><text:p>hello &amp;z; there</text:p></office:text>")
    with zipfile.ZipFile(io.BytesIO(whole)) as package:
        parts = {each: package.read(each) for each in package.namelist()}
    head, _, rest = parts["content.xml"].rpartition(b"?>")
    declared = b"<!DOCTYPE a [<!ENTITY z 'zed'>]>"
    parts["content.xml"] = (head + b"?>" if head else b"") + declared + rest.replace(b"&amp;z;", b"&z;")
    (tmp_path / "a.odt").write_bytes(make_zip(parts))
    run = llm("translate", "--to", "fr", "--pseudo", "accents", "-o", "b.odt", "a.odt")
    assert run.code == 65 and "declares entities of its own" in run.err
