"""Impossible file names, wherever a file can be named: the right code, one line and a next step, and no wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from document_texts import greek
from scripted import last_message

TEXT = "hello there\n"
TMX = (
    '<tmx version="1.4"><header srclang="en"/><body><tu><tuv xml:lang="en"><seg>one</seg></tuv>'
    '<tuv xml:lang="fr"><seg>un</seg></tuv></tu></body></tmx>'
)
LONG = "x" * 300
KINDS = {
    "missing": "./none.txt",
    "in no directory": "./none/none.txt",
    "a directory": "./directory",
    "long": f"./{LONG}",
    "below a long one": f"./{LONG}/y",
    "of a long path": "./" + ("d" * 99 + "/") * 50 + "y",
    "below a file": "./good.txt/below",
    "a loop": "./loop",
    "a pipe": "./pipe",
    "in a directory that takes no file": "/proc/none",
    "full": "/dev/full",
}
NO_INPUT = {"missing", "in no directory", "long", "below a long one", "of a long path", "below a file", "a loop"}
"""Kinds of names at which no input can be."""
NO_OUTPUT = NO_INPUT - {"missing"} | {"in a directory that takes no file", "a directory"}
"""Kinds of names at which no output can be."""

INPUTS = (
    "ask Q -f {}",
    "summarize {}",
    "sentiment {}",
    "translate --to fr {}",
    "translate --to fr {} -o out.txt",
    "translate --to fr {} -o out/",
    "translate --to fr --dry-run {}",
    "translate --to fr good.txt --glossary {}",
    "translate --to fr good.txt --context @{}",
    "translate --to fr good.txt --eval {}",
    "tm import {}",
    "tm import m.tmx {}",
    "tm list --tm {}",
    "tm export --tm {}",
    "tm rm --all --yes --tm {}",
    "ask Q -m {}",
    "models import {}",
    "models pull {}",
    "models verify {}",
    "models alias small {}",
    "serve --port 0 --token-file {}",
)
SEVERAL = (
    "summarize good.txt {}",
    "sentiment good.txt {}",
    "translate --to fr good.txt {} -o out/",
    "translate --to fr good.txt {} -o made/{{name}}.{{lang}}",
)
OUTPUTS = (
    "ask Q -o {}",
    "summarize good.txt -o {}",
    "sentiment good.txt -o {}",
    "generate poem --var topic=x -o {}",
    "translate --to fr good.txt -o {}",
    "translate --to fr good.txt other.txt -o {}/below",
    "translate --to fr good.txt other.txt -o {}/{{name}}.{{lang}}",
    "translate --to fr good.txt --update {}",
    "translate --to fr good.txt -o out.txt --report {}",
    "translate --to fr good.txt --tm {}",
    "tm import m.tmx --tm {}",
    "tm export -o {}",
    "sessions export work -o {}",
    "serve --socket {}",
)
MAY_BE_DIRECTORIES = {"translate --to fr good.txt -o {}", "translate --to fr good.txt --update {}"} | {
    each for each in OUTPUTS if "{}/" in each
}
MADE = {each for each in OUTPUTS if "{}/" in each}
"""Directories that are made where they are not there."""


def answer(request):
    """Answer every verb."""
    if request.candidates:
        return dict.fromkeys(request.candidates, -1.0)
    return greek(last_message(request).rpartition(":\n\n")[2])


@pytest.fixture
def at(llm, tmp_path, monkeypatch):
    """Return a function that runs a command with a name of each kind and yields the kind and the run."""
    monkeypatch.chdir(tmp_path)
    for name in ("good.txt", "other.txt"):
        Path(name).write_text(TEXT)
    Path("m.tmx").write_text(TMX)
    Path("directory").mkdir()
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")

    def run(command, kinds):
        if "sessions" in command:
            assert llm("chat", "--session", "work", stdin=b"hello\n").code == 0
        for kind in kinds:
            argv = [word.format(KINDS[kind]) for word in command.split()]
            env = {"LLMCLI_TIMEOUT": "0.05" if kind == "a pipe" else "20", "HF_HUB_OFFLINE": "1"}
            yield kind, llm(*argv, env=env, answer=answer)

    return run


def said(run, errors=1):
    """Return whether stderr has the form of an error: one line, and perhaps a next step."""
    lines = run.err.splitlines()
    return 1 <= len(lines) <= 2 * errors and lines[0].startswith("llm: ") and "Traceback" not in run.err


@pytest.mark.parametrize("command", INPUTS)
def test_an_impossible_input(at, command):
    """66 for a missing file, 65 for a file that is not text, and a pipe is read within the timeout."""
    for kind, run in at(command, KINDS):
        if kind in NO_INPUT:
            assert run.code == 66, (kind, run.code, run.err)
        assert run.code in {65, 66, 124}, (kind, run.code, run.err)
        assert said(run), (kind, run.err)


@pytest.mark.parametrize("command", SEVERAL)
def test_one_impossible_input_of_several(at, command):
    """3, since the other is done; also if the output of the missing one already exists."""
    for kind, run in at(command, NO_INPUT):
        assert run.code == 3 and said(run), (kind, run.code, run.err)
    if "out/" in command:
        Path("out/none.txt").write_text("an earlier one")
        ((_, run),) = at(command, ["missing"])
        assert run.code == 3 and "none.txt: No such file" in run.err
        assert Path("out/none.txt").read_text() == "an earlier one"


@pytest.mark.parametrize("command", OUTPUTS)
def test_an_impossible_output(at, command):
    """73 for an impossible name, 74 for a full disk, and a pipe is opened within the timeout."""
    for kind, run in at(command, [each for each in KINDS if each != "missing"]):
        if (kind == "a directory" and command in MAY_BE_DIRECTORIES) or (kind == "in no directory" and command in MADE):
            assert run.code in {0, 2}, (kind, run.code, run.err)
            continue
        if kind in NO_OUTPUT:
            assert run.code == 73, (kind, run.code, run.err)
        assert run.code in {65, 73, 74, 124}, (kind, run.code, run.err)
        assert said(run, errors=2 if command in MADE and "takes no file" in kind else 1), (kind, run.err)


def test_a_missing_source_with_an_existing_translation(at, llm):
    """Only 66: the existing translation stays and does not replace the source."""
    Path("out").mkdir()
    Path("out/none.txt").write_text("an earlier one")
    run = llm("translate", "--to", "fr", "none.txt", "-o", "out/", answer=answer)
    assert (run.code, Path("out/none.txt").read_text()) == (66, "an earlier one") and said(run)


def test_an_update_of_a_pipe_can_be_stopped(at, llm):
    """The name may be a mistake; no process writes to it."""
    run = llm("translate", "--to", "fr", "good.txt", "--update", "pipe", "--timeout", "0.05", answer=answer)
    assert run.code == 124 and said(run)


def test_a_memory_is_imported_from_a_pipe(at, llm, tmp_path):
    """A shell's <(command) is a pipe."""
    reading, writing = os.pipe()
    os.write(writing, TMX.encode())
    os.close(writing)
    assert llm("tm", "import", f"/dev/fd/{reading}").code == 0
    os.close(reading)
    assert llm("tm", "list").out == "en\tfr\t1\t1\n"


def test_an_argument_with_nul(llm):
    """A program that calls ``main`` may pass a NUL character."""
    run = llm("summarize", "a\0b")
    assert run.code == 2 and said(run)


def test_a_removed_current_directory(llm, tmp_path, monkeypatch):
    """Names that are not relative can be read from it; for others, one line says what is the matter."""
    text, gone = tmp_path / "a.txt", tmp_path / "gone"
    text.write_text(TEXT)
    gone.mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(gone)
        gone.rmdir()
        works = llm("ask", "-f", str(text), "Q")
        runs = [llm(*words) for words in (("summarize", "a.txt"), ("ask", "-f", ".", "Q"))]
        runs += [llm(*words, str(text), "-o", "b.txt") for words in (("sentiment",), ("translate", "--to", "fr"))]
    assert works.code == 0
    assert [run.code for run in runs] == [66] * 4
    assert runs[0].err.startswith("llm: cannot read a.txt: No such file or directory\n")
    for run in runs[1:]:
        assert run.err.startswith("llm: cannot read the current directory: No such file or directory\nIt was removed.")
