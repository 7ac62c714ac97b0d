"""If nothing can be stored (a full disk, a read-only home or none), the work is still done."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
from document_texts import greek
from fake_server import stream_answer
from scripted import last_message
from terminal import PROMPT, ended

from llmcli.errors import OutputError
from llmcli.runtime import consent
from llmcli.store.translation_memory import TranslationMemory

TEXT = "The house stands on a hill by the sea.\n"
FRENCH = "La maison se trouve sur une colline au bord de la mer."


def answer(request):
    """Answer every verb."""
    if request.candidates:
        return dict.fromkeys(request.candidates, -1.0)
    return greek(last_message(request).rpartition(":\n\n")[2])


@pytest.fixture(params=["", "/below"], ids=["a file", "below a file"])
def home(request, tmp_path, monkeypatch):
    """Put configuration, data and caches where no directory can be created."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(TEXT)
    Path("file").touch()
    for kind in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"LLMCLI_{kind}_DIR", str(tmp_path / "file") + request.param)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "ask Q",
        "summarize a.txt",
        "sentiment a.txt",
        "generate poem --var topic=rain",
        "translate --to el a.txt --no-tm",
        "translate --to el a.txt --dry-run",
        "models list",
        "models show",
        "models prune --yes",
        "sessions list",
        "sessions rm --all --yes",
        "tm list",
        "tm export",
        "tm rm --all --yes",
        "prompts list",
        "config show",
    ],
)
def test_a_command_does_without_what_it_would_keep(llm, home, monkeypatch, command):
    """No message is needed, since the result is complete."""
    monkeypatch.setattr("llmcli.engine.llama.hardware.measure_bandwidth", lambda _threads: 1e10)
    run = llm(*command.split(), answer=answer)
    assert (run.code, run.err) == (0, "")
    assert Path("file").read_bytes() == b""


def test_a_translation_says_that_it_is_not_remembered(llm, home):
    """One line names the option with the same effect."""
    run = llm("translate", "--to", "el", "a.txt", answer=answer)
    assert (run.code, run.out) == (0, greek(TEXT))
    assert run.err.count("\n") == 1 and "--no-tm" in run.err and "translations.sqlite" in run.err
    assert llm("translate", "--to", "el", "a.txt", "-q", answer=answer).err == ""
    line = llm("translate", "--to", "el", "a.txt", "--json", answer=answer).err
    assert "--no-tm" in json.loads(line)["warning"]


def test_an_update_without_a_memory_guesses_nothing(llm, home):
    """People's edits are unknown then."""
    Path("b.txt").write_text("theirs\n")
    run = llm("translate", "--to", "el", "a.txt", "--update", "b.txt", answer=answer)
    assert (run.code, Path("b.txt").read_text()) == (73, "theirs\n")


def test_a_named_memory_must_be_usable(llm, home):
    """The user requires that one."""
    run = llm("translate", "--to", "el", "a.txt", "--tm", "file/tm.sqlite", answer=answer)
    assert (run.code, run.backend) == (73, None)


def test_a_memory_that_can_be_read_is_asked(llm, tmp_path, monkeypatch):
    """On a full disk, stored translations are still used."""
    source = tmp_path / "a.txt"
    source.write_text(TEXT)
    assert llm("translate", "--to", "el", str(source), answer=answer).code == 0
    opened = os.open

    def read_only(path, flags, *more, **how):
        if str(path).endswith(".sqlite") and flags & os.O_RDWR:
            raise OSError(30, "Read-only file system", str(path))
        return opened(path, flags, *more, **how)

    monkeypatch.setattr(os, "open", read_only)
    run = llm("translate", "--to", "el", str(source), answer=answer)
    assert (run.code, run.out, run.backend) == (0, greek(TEXT), None)
    assert run.err.count("\n") == 1 and "--no-tm" in run.err and "Read-only file system" in run.err
    source.write_text(TEXT + "\nOne more.\n")
    run = llm("translate", "--to", "el", str(source), answer=answer)
    assert run.code == 0 and len(run.backend.requests) == 1 and run.err.count("\n") == 1


@pytest.mark.slow
def test_a_full_disk_ends_no_translation(process, server, tmp_path):
    """No file of this process may hold a byte: one line reports what is not stored, and the translation is printed."""
    (tmp_path / "a.txt").write_text(TEXT)
    server.usual = stream_answer(FRENCH)
    child = process(
        *("translate", "--to", "fr", "a.txt", "--base-url", server.url),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, f"{FRENCH}\n".encode()), err
    assert err.count(b"\n") == 1 and b"--no-tm" in err


@pytest.mark.parametrize("method", ["add_units", "find_translation"])
def test_a_memory_that_fails_later_is_told_once(llm, tmp_path, monkeypatch, method):
    """Writing fails on a full disk, reading on one with bad sectors; the job continues in both cases."""

    def fails(*_):
        raise OutputError("translations.sqlite", detail="Input/output error")

    monkeypatch.setattr(TranslationMemory, method, fails)
    source = tmp_path / "a.txt"
    source.write_text(TEXT + "\nOne more.\n")
    run = llm("translate", "--to", "el", str(source), answer=answer)
    assert (run.code, run.out) == (0, greek(TEXT + "\nOne more.\n"))
    assert run.err.count("\n") == 1 and "--no-tm: Input/output error" in run.err


def test_consent_that_cannot_be_stored_is_reported(home):
    """It applies to this run; the next one asks again."""
    said = []
    paths = SimpleNamespace(data=Path(os.environ["LLMCLI_DATA_DIR"]))
    consent._store_consents(SimpleNamespace(paths=paths, observer=SimpleNamespace(warn=said.append)), ["https://host"])
    (line,) = said
    assert "consents.json cannot be written" in line and "ask you again" in line


def test_a_chat_that_cannot_be_saved_goes_on(person, home):
    """The answer is shown, and a line says that it is not saved."""
    child = person("chat", "--max-tokens", "2")
    child.expect(PROMPT)
    child.sendline("hello")
    child.expect("this conversation is not saved")
    child.expect(PROMPT)
    child.sendeof()
    assert ended(child) == 0 and "Saved as" not in child.before
