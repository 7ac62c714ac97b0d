"""Messages with -q, -v and --json, for a terminal and for a program."""

from __future__ import annotations

import json

import pytest

from llmcli.cli.command_context import TerminalObserver
from llmcli.cli.console.console import Console
from llmcli.cli.console.environment import Environment
from llmcli.errors import ModelNotDownloaded, TemporaryFailure
from llmcli.interrupt import Interrupt


@pytest.fixture
def console(tmp_path):
    """Return a function that makes a console on files, and one that returns what was written to them."""
    files = [(tmp_path / name).open("w+b") for name in ("out", "err")]
    null = (tmp_path / "in").open("w+b")

    def make(**how):
        environment = Environment(stdin=null.fileno(), stdout=files[0].fileno(), stderr=files[1].fileno())
        return Console(environment, Interrupt(), **how)

    def written():
        for file in files:
            file.seek(0)
        return tuple(file.read().decode() for file in files)

    make.written = written
    yield make
    for file in (*files, null):
        file.close()


def test_warnings_are_shown_unless_quiet(console):
    """A line, with --json an object; control sequences are removed."""
    console().warn("a\x1b[2Jb\nc")
    console(as_json=True).warn("x")
    console(quiet=True).warn("y")
    first, second = console.written()[1].splitlines()
    assert first.startswith("llm: warning: a") and "\x1b" not in first and json.loads(second) == {"warning": "x"}


def test_explanations_are_shown_on_request(console):
    """Only once for the same text."""
    console().explain("nothing")
    verbose = console(verbose=True)
    verbose.explain_once(["a", "b"])
    verbose.explain_once(["b", "c"])
    console(verbose=True, as_json=True).explain("d")
    assert console.written()[1] == 'llm: a\nllm: b\nllm: c\n{"explanation": "d"}\n'


def test_notes_are_for_people(console):
    """Without a terminal they are shown with -v only, and a table is for programs."""
    assert not console().shows_notes and console(verbose=True).shows_notes and not console().writes_for_people
    console().write_note("hidden")
    console(verbose=True).write_note("shown")
    console().write_table([{"a": 1, "b": "x"}])
    console(as_json=True).write_record({"a": 1})
    assert console.written() == ('1\tx\n{"a": 1}\n', "llm: shown\n")


def test_on_a_terminal_notes_are_shown_unless_quiet(terminal):
    """A person reads them."""
    screen = terminal()
    environment = Environment(stdin=screen.slave, stdout=screen.slave, stderr=screen.slave)
    assert Console(environment, Interrupt()).shows_notes and Console(environment, Interrupt()).writes_for_people
    assert not Console(environment, Interrupt(), quiet=True).shows_notes
    assert not Console(environment, Interrupt(), as_json=True).writes_for_people
    screen.close()


def test_an_observer_without_a_terminal_asks_nothing(console):
    """It answers no, shows no progress, and explains with -v why there is no worker."""
    observer = TerminalObserver(console(verbose=True))
    assert not observer.confirm_download(ModelNotDownloaded("m"))
    assert not observer.confirm_consent(["https://host"])
    assert observer.choose_first_model(None, None, "ask") is None
    assert not (observer.wants_progress or observer.is_watched) and observer.shows_variants
    observer.worker_unavailable(TemporaryFailure("the worker", detail="it is busy"))
    assert console.written()[1] == "llm: no worker, so the model runs in this process: the worker: it is busy\n"
