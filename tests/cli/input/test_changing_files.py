"""Files that change while a command reads them or works on them: it processes all of the old or the new content, or says so."""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path

import pytest
from scripted import last_message

from llmcli.cli.input import document_inputs
from llmcli.documents.reading import file_reader

ROWS = 700
"""Of more than 100 bytes: a file of this many is read in two parts."""
SCHEMA = "name, amount (number)"


def truncate(file):
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[: len(lines) // 3]))


def append(file):
    with file.open("ab") as stream:
        stream.write(file.read_bytes().splitlines(keepends=True)[-1])


def overwrite(file):
    """Write other content of the same length into the same file."""
    data = file.read_bytes()
    with file.open("r+b") as stream:
        stream.write(data.replace(b"old", b"new"))


def lengthen(file):
    """Write other, longer content into the same file."""
    file.write_bytes(file.read_bytes().replace(b"old", b"newer"))


def replace(file):
    """Let the name mean another file."""
    other = file.with_name("other")
    other.write_bytes(file.read_bytes().replace(b"old", b"new"))
    other.replace(file)


CHANGES = {each.__name__: each for each in (truncate, append, overwrite, lengthen, replace)}
every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@pytest.fixture
def after_first_read(monkeypatch):
    """Return a function that lets a file change once, when its first part has been read."""

    def arrange(file, change):
        waiting = [file]

        def after(function):
            def call(fd, *given):
                found = function(fd, *given)
                if waiting and found and Path(f"/proc/self/fd/{fd}").readlink() == file:
                    waiting.clear()
                    change(file)
                return found

            return call

        for name in ("read", "readv"):
            monkeypatch.setattr(os, name, after(getattr(os, name)))
        return waiting

    return arrange


def scores(request):
    """Return scores that depend on the text."""
    number = zlib.crc32(last_message(request).encode())
    return {label: -1.0 - (number >> 4 * place) % 16 / 8 for place, label in enumerate(request.candidates)}


def extracted(request):
    """Return the first word and the first number of the text."""
    text = re.search(r'Text:\n("{3,})\n(.*)\n\1\n', last_message(request), re.DOTALL)[2]
    return json.dumps({"name": text.split()[0], "amount": float(re.search(r"\d+\.\d+", text)[0])})


def check(run, out, whole, changed):
    """Check that an output is that of the old or the new content, or that an error says what happened."""
    if run.code == 0:
        assert out in {whole, changed}
    else:
        assert run.code in {3, 65} and "changed while it was read" in run.err, run.err


@every_change
@pytest.mark.parametrize("options", [(), pytest.param(("--limit", "690"), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["in.csv", pytest.param("in.jsonl", marks=pytest.mark.slow)])
def test_records(llm, tmp_path, after_first_read, change, name, options):
    """Rows of two versions are never mixed."""
    rows = [f"{number},old text {number % 7}{' of the records' * 7}" for number in range(ROWS)]
    if name == "in.csv":
        content = "id,text\n" + "".join(f"{row}\n" for row in rows)
    else:
        content = "".join(json.dumps({"text": row}) + "\n" for row in rows)
    file, out = tmp_path / name, tmp_path / "out.csv"
    argv = ("sentiment", "--dedupe", *options, str(file), "-o", str(out))
    outputs = []
    for prepare in (lambda _: None, change):
        file.write_text(content)
        prepare(file)
        assert llm(*argv, answer=scores).code == 0
        outputs.append(out.read_bytes())
        out.unlink()
    file.write_text(content)
    waiting = after_first_read(file, change)
    run = llm(*argv, answer=scores)
    assert not waiting
    check(run, out.read_bytes() if out.exists() else b"", *outputs)
    assert run.code == (3 if change in {truncate, overwrite, lengthen} else 0)


@every_change
def test_a_text(llm, tmp_path, after_first_read, change):
    """One that is read as a whole."""
    file = tmp_path / "a.txt"
    content = "".join(f"This is old line {number}.\n" for number in range(100))
    file.write_text(content)
    whole = llm("ask", "-f", str(file), "What?").out
    change(file)
    changed = llm("ask", "-f", str(file), "What?").out
    file.write_text(content)
    waiting = after_first_read(file, change)
    run = llm("ask", "-f", str(file), "What?")
    assert not waiting
    check(run, run.out, whole, changed)
    assert run.code == (65 if change in {truncate, overwrite, lengthen} else 0)


def test_standard_input_from_a_file(llm, tmp_path, after_first_read):
    """It is checked like a file that is named; what is appended meanwhile is read."""
    for change, code in ((overwrite, 65), (append, 0)):
        waiting = after_first_read(tmp_path / "io" / "stdin", change)
        run = llm("ask", "What?", "-f", "-", stdin=b"This is old.\n")
        assert not waiting and run.code == code and (code or run.out.count("This is old.") == 2)
        assert code == 0 or "changed while it was read" in run.err


@every_change
def test_a_document_of_an_index(llm, tmp_path, monkeypatch, after_first_read, change):
    """The index has no passage of a text that is a mixture, small or read in blocks."""
    file = tmp_path / "docs" / "a.txt"
    file.parent.mkdir()
    content = "".join(f"This is old line {number}.\n\n" for number in range(20_000))
    for least in (file_reader.MIN_LARGE_BYTES, 1000):
        monkeypatch.setattr(file_reader, "MIN_LARGE_BYTES", least)
        file.write_text(content)
        waiting = after_first_read(file, change)
        run = llm("index", "add", str(file.parent))
        assert not waiting
        found = llm("index", "search", "--json", "--limit", "1000", "line").out
        text = "".join(json.loads(line)["text"] for line in found.splitlines())
        assert ("old" in text) + ("new" in text) <= 1
        if run.code:
            assert run.code in {3, 65} and "changed" in run.err and not text
        llm("index", "rm", "--yes", str(file.parent))


@every_change
def test_a_document_that_is_translated(llm, tmp_path, change):
    """It was read before the first request."""
    file, outs = tmp_path / "a.md", [tmp_path / "out1.md", tmp_path / "out2.md"]
    file.write_text("".join(f"This is old line {number}.\n\n" for number in range(50)))
    content, codes, waiting = file.read_bytes(), [], []

    def changing(request):
        if waiting:
            change(waiting.pop())
        return last_message(request)

    for out in outs:
        codes.append(llm("translate", "--to", "fr", "--no-tm", str(file), "-o", str(out), answer=changing).code)
        waiting += [file] * (out is outs[0])
    assert codes == [codes[0]] * 2 and outs[0].read_bytes() == outs[1].read_bytes() and file.read_bytes() != content


def test_an_edit_of_a_translation_that_is_updated_stays(llm, tmp_path):
    """A person saved it while the model worked: it is not replaced."""
    file, out = tmp_path / "a.md", tmp_path / "a.fr.md"
    file.write_text("One.\n")
    argv = ("translate", "--to", "fr", str(file))
    assert llm(*argv, "-o", str(out), answer=lambda _: "Un.").code == 0
    file.write_text("One.\n\nTwo.\n")

    def answer(_request):
        out.write_text("Une seule.\n")
        return "Deux."

    run = llm(*argv, "--update", str(out), answer=answer)
    assert run.code == 73 and "edited while this command ran" in run.err and out.read_text() == "Une seule.\n"
    assert llm(*argv, "--update", str(out), answer=lambda _: "Deux.").code == 0
    assert out.read_text() == "Une seule.\n\nDeux.\n"


@every_change
@pytest.mark.parametrize("large", [False, True])
def test_a_document_whose_values_are_extracted(llm, tmp_path, monkeypatch, change, large):
    """One that is read again when its turn comes, and one that is read in blocks, must be what they were."""
    monkeypatch.setattr(document_inputs, "MAX_KEPT_CHARACTERS", 0)
    if large:
        monkeypatch.setattr(file_reader, "MIN_LARGE_BYTES", 1)
    files = [tmp_path / f"{number}.txt" for number in range(20)]
    for number, file in enumerate(files):
        file.write_text(f"Bolt{number} old owes {number}.50 EUR.\n")

    def changing(request):
        if waiting:
            change(waiting.pop())
        return extracted(request)

    argv = ("extract", "--schema", SCHEMA, "--format", "jsonl", *map(str, files))
    waiting = []
    whole = llm(*argv, answer=changing, context=200)
    waiting = [files[-1]]
    run = llm(*argv, answer=changing, context=200)
    assert not waiting and whole.code == 0
    if run.code == 0:
        assert run.out == whole.out
    else:
        assert run.code == 3 and f"{files[-1]}: the file changed while" in run.err, run.err


def test_a_job_whose_input_changes_is_not_complete_for_the_new_one(llm, tmp_path):
    """--resume after that processes the new records."""
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    file.write_text("text\n" + "".join(f"old {number}\n" for number in range(5)))
    argv = ("sentiment", str(file), "-o", str(out))

    def changing(request):
        if "old 4" in last_message(request):
            replace(file)
        return scores(request)

    assert llm(*argv, answer=changing).code == 0 and "old 4" in out.read_text()
    run = llm(*argv, "--resume", answer=scores)
    assert run.code == 0 and "new 4" in out.read_text() and "old" not in out.read_text()
