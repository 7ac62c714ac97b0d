"""A worker that is killed while a command runs costs no record, document or answer, whatever the command."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from terminal import ROOT

from llmcli import child_processes
from llmcli.cli import main
from llmcli.cli.console.environment import Environment

from .killed_worker import VARIABLE

SEED = int(os.environ.get("LLMCLI_STRESS_SEED", "53"))
SENTENCES = [f"The bridge near market {number} was closed in {1900 + number} by Anna Berg." for number in range(24)]
GREEDY = ("--temperature", "0", "--max-tokens", "12")
EXTRACT = ("extract", "--schema", "year int, name")  # its exit code depends on the very tokens
NAMES = ("embed", "similar", "classify", "extract", "summarize", "translate", "ask -f", "check", "quiz make")
QUICK = {"embed", "similar", "ask -f"}


@pytest.fixture
def command(runtime, tiny, tried, tmp_path, monkeypatch):
    """Run a command with a worker that is killed after so many events; return its code, texts, and whether it was."""
    kill, deck = tmp_path / "kill", tmp_path / "deck.jsonl"
    model = tmp_path / "tiny.gguf"
    model.write_bytes(tiny("llama").read_bytes())
    tried(model)
    own = {"LLMCLI_WORKER": "on", "LLMCLI_RUNTIME_DIR": str(runtime), "LLMCLI_MODEL": str(model), VARIABLE: str(kill)}
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    usual = child_processes.module_command
    monkeypatch.setattr(child_processes, "module_command", lambda _module, *words: usual("killed_worker", *words))

    def run(argv, events=None):
        if events is not None:
            kill.write_text(str(events))
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **own}
        paths = [tmp_path / "out", tmp_path / "err"]
        with Path(os.devnull).open("rb") as source, paths[0].open("wb") as shown, paths[1].open("wb") as said:
            code = main.main(list(argv), Environment(source.fileno(), shown.fileno(), said.fileno(), environ))
        was_killed = events is not None and not kill.exists()
        kill.unlink(missing_ok=True)
        written = deck.read_text() if deck.exists() else ""
        return code, paths[0].read_text() + written, paths[1].read_text(), was_killed

    return run


@pytest.fixture
def commands(tmp_path):
    """Return the commands by name."""

    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    records = write("records.txt", "\n".join(SENTENCES) + "\n")
    document = write("document.md", "\n\n".join(SENTENCES[:12]) + "\n")
    answer = write("answer.txt", "\n".join(SENTENCES[4:7]) + "\n")
    return {
        "embed": ("embed", records),
        "similar": ("similar", "closed bridges", records),
        "classify": ("classify", "--labels", "good,bad", records),
        "extract": (*EXTRACT, document, answer, "--max-tokens", "60", "--deterministic"),
        "summarize": ("summarize", document, *GREEDY),
        "translate": ("translate", "--to", "fr", document, "-o", "-", *GREEDY),
        "ask -f": ("ask", "--json", "Who closed it?", "-f", document, *GREEDY),
        "check": ("check", answer, "--against", document),
        "quiz make": ("quiz", "make", document, "-o", str(tmp_path / "deck.jsonl")),
    }


def check_kills(command, argv, kills):
    """Run a command as it is, then with a kill after each of these numbers of events: it ends as if nothing happened."""
    code, out, err, _ = command(argv)
    assert out, err
    num_killed = 0
    for events in kills:
        again = command(argv, events)
        num_killed += again[3]
        assert again[0] == code and again[2] == err, events
        assert len(again[1].splitlines()) == len(out.splitlines())
    assert num_killed


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_a_kill_of_the_worker_is_not_noticed(command, commands, name):
    """At the first event, and at a random one."""
    rng = random.Random(f"{SEED}{name}")
    check_kills(command, commands[name], [0, rng.randrange(1, 12)])


@pytest.mark.stress
@pytest.mark.parametrize("name", NAMES)
def test_kills_of_the_worker_at_random_moments_are_not_noticed(command, commands, name):
    """Anywhere in the work of a command."""
    rng = random.Random(f"{SEED}{name}")
    check_kills(command, commands[name], [int(rng.expovariate(1 / 20)) for _ in range(12)])
