"""The line below an answer of the starter."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmcli.cli.first_run import starter_notice
from llmcli.models.library.defaults import STARTER_MODEL
from llmcli.models.memory_estimate import FitPolicy, MachineResources
from llmcli.runtime.runtime import Runtime

NOTICE = "smollm2-135m is a toy and often wrong; better here: llm models pull qwen3-8b && llm models default qwen3-8b"


@pytest.fixture
def ask(llm, terminal, monkeypatch, tiny):
    """Ask a model with the name of the starter on a terminal; return what is shown."""
    policy = FitPolicy(lambda: MachineResources(8 * 10**9, (), 60.0 * 10**9))
    monkeypatch.setattr(Runtime, "fit_policy", lambda _self, **_: policy)

    def run(*argv, model=STARTER_MODEL, on_terminal=True):
        monkeypatch.setattr(Runtime, "responder_name", property(lambda _: model, lambda _self, _: None), raising=False)
        screen = terminal(columns=200)
        run = llm(
            "ask",
            "Q",
            *argv,
            answer=lambda _: "A.",
            env={"LLMCLI_MODEL": str(tiny("chatml"))},
            err=screen.slave if on_terminal else None,
        )
        return screen.close() if on_terminal else run.err

    return run


def test_the_notice_is_shown_once_a_day(ask):
    """And again after a day; a clock that was set back does not silence it."""
    marker = Path(os.environ["LLMCLI_CACHE_DIR"], starter_notice.NOTICE_FILE)
    assert ask() == f"llm: {NOTICE}" and ask() == ""
    shown = marker.stat().st_mtime
    for other in (shown - 86_500, shown + 86_500):
        os.utime(marker, (other, other))
        assert NOTICE in ask() and ask() == ""


def test_it_is_for_people_and_for_the_starter_only(ask):
    """Not with -q or --json, in a pipe, or for other models; none of these counts as shown."""
    assert ask("-q") == ask("--json") == ask(on_terminal=False) == ask(model="qwen3-4b") == ""
    assert NOTICE in ask()


def test_a_read_only_home_is_fine(ask, monkeypatch):
    """Without a place to record the notice it is not shown, and the answer is as usual."""
    monkeypatch.setenv("LLMCLI_CACHE_DIR", "/proc/none")
    assert ask() == ""
