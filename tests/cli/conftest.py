"""Fixtures of the command line's tests."""

from __future__ import annotations

import os
import sys

import pytest
from fake_hub import REPO, FakeHub
from forked_processes import TerminalProcess
from llm_fixtures import llm, process, terminal, write
from terminal import ROOT

from llmcli.cli.console import status_line

__all__ = ["at_once", "here", "hub", "llm", "mine", "models", "person", "process", "terminal", "write"]


@pytest.fixture
def at_once(monkeypatch):
    """Show each wait from its first moment on, and each change of it."""
    monkeypatch.setattr(status_line, "DELAY_S", 0.0)
    monkeypatch.setattr(status_line, "_REPAINT_S", 0.0)


@pytest.fixture
def hub(tiny, monkeypatch):
    """Return a Hub on loopback that has two quantizations of a tiny model; retries do not wait."""
    server = FakeHub()
    larger = tiny("chatml").read_bytes() + bytes(200_000)
    server.repos[REPO] = {"tiny.Q4_0.gguf": tiny("llama").read_bytes(), "tiny.Q8_0.gguf": larger}
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("llmcli.network.transfers.sleep_interruptibly", lambda _seconds, interrupt: interrupt.check())
    yield server
    server.close()


@pytest.fixture
def here(llm, hub):
    """Return the name of a pulled model."""
    assert llm("models", "pull", f"{REPO}:Q4_0").code == 0
    return f"{REPO}:Q4_0"


@pytest.fixture
def models(llm):
    """Run ``llm models`` with no model configured."""
    return lambda *argv, env=None, **how: llm("models", *argv, env={"LLMCLI_MODEL": None, **(env or {})}, **how)


@pytest.fixture
def mine(tiny, tmp_path):
    """Return a model file of the user."""
    file = tmp_path / "mine.gguf"
    file.write_bytes(tiny("llama").read_bytes())
    return file


@pytest.fixture
def person(tiny, tmp_path):
    """Start ``llm ARGV`` on its own pseudo-terminal, with a tiny model of random weights; ``code`` runs before."""
    children = []

    def start(*argv, env=None, code=None):
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LLMCLI_MODEL": str(tiny("llama")),
            "TERM": "xterm-256color",
            **(env or {}),
        }
        child = TerminalProcess(
            sys.executable,
            [*(("-c", f"{code}; from llmcli.cli.main import run; run()") if code else ("-m", "llmcli")), *argv],
            env=environ,
            cwd=str(tmp_path),
            encoding="utf-8",
            codec_errors="replace",
            timeout=20,
            dimensions=(24, 80),
        )
        child.ptyproc.delayafterclose = 0
        child.ptyproc.delayafterterminate = 0.01
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)
