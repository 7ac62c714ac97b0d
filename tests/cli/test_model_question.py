"""A command without a model: on a terminal it asks which one to download."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import scripted

from llmcli.cli import main
from llmcli.cli.console.environment import Environment
from llmcli.cli.model_question import recommended_model
from llmcli.models.catalogue import load_catalogue
from llmcli.models.files.model_file import ModelFile
from llmcli.models.library.model_library import RATE_FILE
from llmcli.models.library.resolver import STARTER_MODEL
from llmcli.models.memory_estimate import FitPolicy, MachineResources
from llmcli.runtime import backend_factory
from llmcli.runtime.runtime import Runtime

GB = 10**9


@pytest.fixture
def machine(monkeypatch):
    """Set the free memory and the memory bandwidth of this machine, in bytes and bytes a second."""

    def make(memory=8 * GB, bandwidth=60 * GB):
        policy = FitPolicy(lambda: MachineResources(memory, (), bandwidth))
        monkeypatch.setattr(Runtime, "fit_policy", lambda _self, **_: policy)
        return policy

    return make


@pytest.fixture
def first_run(monkeypatch, tiny, terminal):
    """Run ``llm ARGV`` on a terminal without any model, with typed replies; return code, screen and pulled names."""

    def run(*argv, typed, columns=80, env=None, here=()):
        screen, pulled = terminal(columns=columns), []

        def pull(_self, name):
            pulled.append(name)
            return ModelFile(name, tiny("llama"), 1, sha256="0" * 64, catalogue=name, parts=(tiny("llama"),))

        monkeypatch.setattr(Runtime, "pull_model", pull)
        monkeypatch.setattr(
            backend_factory,
            "open_local_backend",
            lambda *_, name, **__: scripted.ScriptedBackend(lambda _: "Yes.", model=name),
        )
        os.write(screen.master, typed)
        environ = {**os.environ, "TERM": "xterm-256color", **(env or {})}
        code = main.main(list(argv), Environment(screen.slave, screen.slave, screen.slave, environ))
        return code, screen.close(), pulled

    return run


def test_the_recommended_model_comes_first_and_becomes_the_default(first_run, machine, llm):
    """Enter chooses it; each choice has its size, its speed here and the time of its download."""
    machine()
    code, shown, pulled = first_run("ask", "Q", typed=b"\n")
    assert code == 0 and pulled == ["qwen3-8b"] and shown.endswith("Yes.")
    text = " ".join(shown.split())
    assert "no model is chosen yet. Which one should llm download? 1 qwen3-8b: recommended; clearly better" in text
    assert "5.1 GB, about 11 tokens/s here, about 14 min to download at 50 Mbit/s (assumed)" in text
    toy = r"2 smollm2-135m: a toy for a quick look at llm ask 98.4 MB, about \d+ tokens/s here, about 15 s to download"
    assert re.search(toy, text)
    assert "qwen3-8b becomes the default model" in text
    assert llm("models", "default", env={"LLMCLI_MODEL": None}).out == "qwen3-8b\n"


@pytest.mark.parametrize(
    ("rate", "shown"), [("25000000", "about 3 min to download at 200"), ("50000", "at 0.4 Mbit/s")]
)
def test_the_rate_of_the_last_download_replaces_the_assumed_one(first_run, machine, rate, shown):
    """It is named as such."""
    machine()
    file = Path(os.environ["LLMCLI_CACHE_DIR"], RATE_FILE)
    file.parent.mkdir(parents=True)
    file.write_text(rate)
    text = " ".join(first_run("ask", "Q", typed=b"n\n")[1].split())
    assert shown in text and "Mbit/s (as last time)" in text and "assumed" not in text


def test_the_starter_is_the_second_choice_and_stays_the_default(first_run, machine):
    """By its number or its name; other answers are asked again."""
    machine()
    for typed in (b"3\n2\n", b"smollm2-135m\n"):
        code, shown, pulled = first_run("ask", "Q", typed=typed)
        assert (code, pulled) == (0, [STARTER_MODEL]) and "becomes the default" not in shown


@pytest.mark.parametrize("typed", [b"n\n", b"\x04"])
def test_none_of_them_is_the_error_of_a_missing_model(first_run, machine, typed):
    """Code 69, and the command that downloads the starter."""
    machine()
    code, shown, pulled = first_run("ask", "Q", typed=typed)
    assert (code, pulled) == (69, []) and "Try: llm models pull smollm2-135m" in shown
    assert typed == b"n\n" or "\nllm: the model smollm2-135m" in shown.replace("\r", "")


def test_the_question_fits_a_narrow_terminal(first_run, machine):
    """No line of it is broken by the terminal."""
    machine()
    _, shown, _ = first_run("chat", typed=b"n\n", columns=40)
    _, *lines = shown.splitlines()
    asked = lines[: next(n for n, line in enumerate(lines) if line.startswith("Type 1 or 2"))]
    assert max(map(len, asked)) < 40 and {line[:3] for line in asked[2:]} == {"1  ", "2  ", "   "}


@pytest.mark.parametrize(
    ("env", "argv"),
    [({"LLMCLI_OFFLINE": "1"}, ()), ({"LLMCLI_MODEL": "qwen3-4b"}, ()), ({}, ("-m", "qwen3-4b")), ({}, ("--pull",))],
)
def test_it_is_asked_only_where_the_user_chose_no_model(first_run, machine, env, argv):
    """Not offline, not with --pull, which downloads the starter, and not for a model that was named."""
    machine()
    code, shown, pulled = first_run("ask", "Q", *argv, typed=b"n\n", env=env)
    assert "no model is chosen yet" not in shown
    assert (code, pulled) == ((0, [STARTER_MODEL]) if "--pull" in argv else (69, []))


def test_without_a_terminal_the_missing_model_is_the_error(llm):
    """Its name, and the command that downloads it; nothing is asked."""
    run = llm("ask", "Q", env={"LLMCLI_MODEL": None})
    assert run.code == 69 and run.out == ""
    assert run.err.startswith("llm: the model smollm2-135m") and "Which one" not in run.err


def test_a_toy_is_never_recommended(machine, monkeypatch):
    """Where only the starter fits, it is the only choice; where another one fits it is that, however slow."""

    class Library:
        @staticmethod
        def catalogue_entries():
            return list(load_catalogue().values())

    assert recommended_model(Library, machine(memory=GB // 2), "ask") is None
    slow = recommended_model(Library, machine(bandwidth=GB // 10), "summarize")
    assert slow.entry.name == "llama-3.2-3b" and slow.is_slow
    no_toy = [replace(entry, tasks=()) for entry in load_catalogue().values()]
    monkeypatch.setattr(Library, "catalogue_entries", staticmethod(lambda: no_toy))
    assert recommended_model(Library, machine(), "ask") is None
