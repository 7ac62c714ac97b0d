"""A format from an external package, added by its registration alone."""

import json

import pytest
from scripted import all_messages

from llmcli.cli import completers
from llmcli.documents.format_registry import (
    FormatEntry,
    find_format,
    format_names,
    listed_suffixes,
    load_format,
    register_format,
    require_name,
    unregister_format,
)

SEMICOLONS = """
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.segments import Segment


class SemicolonFormat(DocumentFormat):
    name = "semicolons"
    is_keyed = True
    can_interleave = False

    def split(self, text, target):
        found, at = [], 0
        for field in text.split(";"):
            key, _, words = field.partition("=")
            start = at + len(key) + 1
            if words:
                found.append(Segment(start, start + len(words), words, str, kind="message", path=(key,)))
            at += len(field) + 1
        return found

    def check(self, text):
        return "" if text.count("=") else "line 1: no field"

    def replace_language(self, text, segments, source, target):
        return text.replace(f"lang={source}", f"lang={target}")


FORMAT = SemicolonFormat()
"""


@pytest.fixture
def semicolons(tmp_path, monkeypatch):
    """Register a format from a module outside of the package."""
    (tmp_path / "semicolon_module.py").write_text(SEMICOLONS)
    monkeypatch.syspath_prepend(tmp_path)
    entry = FormatEntry(
        "semicolons",
        "semicolon_module:FORMAT",
        aliases=("semi", "semi-old"),
        unlisted=frozenset({"semicolons", "semi-old"}),
        sniff_patterns=((5, r"\A\w+=[^;]*;\w+="),),
    )
    register_format(entry)
    yield
    unregister_format("semicolons")
    assert find_format("a.semi", "a=b;c=d").name == "plain"


@pytest.mark.usefixtures("semicolons")
def test_a_format_is_one_module_and_one_registration():
    """It is found by each of its names, by suffix and by content; other formats are not affected."""
    assert format_names()[-1] == "semicolons"
    assert [suffix for suffix in listed_suffixes() if "semi" in suffix] == [".semi"]
    assert require_name(".SEMI") == "semicolons"
    for found in [find_format("a.semi", ""), find_format("-", "a=b;c=d"), find_format("a.md", "", "semicolons")]:
        assert found is load_format("semicolons")
    assert find_format("a.properties", "a=b;c=d").name == "properties"
    with pytest.raises(ValueError, match="semi"):
        register_format(FormatEntry("other", "x:FORMAT", aliases=("semi",)))


@pytest.mark.usefixtures("semicolons")
def test_a_registered_format_is_translated(tmp_path, monkeypatch, llm):
    """The command line treats it like its own: suffixes, completion, --bilingual, --update."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.semi").write_text("one=alpha;two=beta")
    pseudo = ("translate", "--no-tm", "--pseudo", "accents")
    assert llm(*pseudo, "in", "-o", "out/").code == 0
    out = tmp_path / "out" / "a.semi"
    assert out.read_text().startswith("one=") and "alpha" not in out.read_text()
    assert completers.formats()[-1] == "semicolons"
    run = llm(*pseudo, "--bilingual", "interleaved", "in/a.semi", "-o", "b.semi")
    assert "a semicolons file cannot hold two languages" in run.err
    out.write_text("two=kept;one=gone")
    assert llm(*pseudo, "in/a.semi", "--update", str(out)).code == 0
    assert out.read_text() == "one=gone;two=kept"


SCRAMBLED = """
from llmcli.documents.formats.plain_text import PlainTextFormat


class ScrambledFormat(PlainTextFormat):
    name = "scrambled"
    streams = False

    def extract_text(self, data):
        return bytes(255 - byte for byte in data[5:]).decode()


FORMAT = ScrambledFormat()
"""


@pytest.fixture
def scrambled(tmp_path, monkeypatch):
    """Register a format of bytes; return a document in it."""
    (tmp_path / "scrambled_module.py").write_text(SCRAMBLED)
    monkeypatch.syspath_prepend(tmp_path)
    register_format(FormatEntry("scrambled", "scrambled_module:FORMAT", signatures=(b"\0SCR\n",)))
    yield b"\0SCR\n" + bytes(255 - byte for byte in b"A secret word.\n")
    unregister_format("scrambled")


@pytest.mark.parametrize("argv", [("ask", "What is it?"), ("summarize",), ("translate", "--to", "fr", "--no-tm")])
def test_the_verbs_read_the_text_of_bytes(llm, tmp_path, scrambled, argv):
    """The model gets the extracted text of a binary document, from a file and from standard input."""
    path = tmp_path / "a.scr"
    path.write_bytes(scrambled)
    named = ("-f", str(path)) if argv[0] == "ask" else (str(path),)
    for run in (llm(*argv, *named, answer=all_messages), llm(*argv, stdin=scrambled, answer=all_messages)):
        assert "A secret word." in "".join(
            message.content for request in run.backend.requests for message in request.messages
        )
    unknown = llm(*argv, stdin=b"\0" + scrambled)
    assert (unknown.code, unknown.out) == (65, "")


def test_a_binary_document_is_in_its_own_format(llm, tmp_path, scrambled):
    """A format with a signature needs no suffix, and the result names it."""
    run = llm("translate", "--no-tm", "--pseudo", "accents", "--json", stdin=scrambled)
    assert json.loads(run.out)["format"] == "scrambled"
