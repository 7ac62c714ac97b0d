"""Each verb on a tiny model: what --deterministic has written is written again, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmcli.cli import main
from llmcli.cli.console.environment import Environment
from llmcli.engine.llama import hardware

RUNS = 20
TEXT = "The workshop opens at nine. Bicycles are repaired on Mondays.\n"
SHORT = ["--max-tokens", "12"]
# llm command needs a model that writes one: tests/test_real.py
VERBS = {
    "ask": ["ask", "-f", "notes.txt", *SHORT, "When does it open?"],
    "ask with a seed": ["ask", "--seed", "7", "--temperature", "1", *SHORT, "When does it open?"],
    "translate": ["translate", "--to", "fr", "--from", "en", "notes.txt", *SHORT],
    "summarize": ["summarize", "--style", "paragraph", "notes.txt", *SHORT],
    "summarize by key sentences": ["summarize", "--style", "key-sentences", "notes.txt"],
    "extract": ["extract", "--schema", "day, opens", "notes.txt"],
    "generate": ["generate", "poem", "--var", "topic=rain", *SHORT],
    "check": ["check", "answer.txt", "--against", "notes.txt"],
    "proofread": ["proofread", "notes.txt", "--top", "3"],
    "sentiment": ["sentiment", "notes.txt"],
    "classify": ["classify", "--labels", "good,bad", "--json", "notes.txt"],
    "filter": ["filter", "it is about a workshop", "--threshold", "0", "notes.txt"],
    "embed": ["embed", "notes.txt"],
    "similar": ["similar", "a workshop", "notes.txt"],
    "quiz make": ["quiz", "make", "--kind", "order", "--kind", "cloze", "steps.md"],
    "audit sentiment": ["audit", "sentiment", "--swap", "names", "people.txt", "--seed", "3"],
    "audit sentiment as JSON": [
        "audit",
        "sentiment",
        "--swap",
        "@people.yaml",
        "--reference",
        "a",
        "people.txt",
        "--json",
    ],
    "audit classify": [
        "audit",
        "classify",
        "--labels",
        "good,bad",
        "--swap",
        "pronouns",
        "people.txt",
        "--fail-above",
        "0",
    ],
    "audit filter": ["audit", "filter", "it is about a workshop", "--swap", "ages", "people.txt"],
    "audit ask": ["audit", "ask", "When does it open?", "-f", "people.txt", "--swap", "pronouns", *SHORT],
}
TEXTS = {
    "ask": ["When does it open?"],
    "ask with a seed": ["When does it open?"],
    "extract": ["day, opens"],
    "generate": ["topic=rain"],
    "classify": ["good,bad"],
    "filter": ["it is about a workshop"],
    "similar": ["a workshop"],
    "audit classify": ["good,bad"],
    "audit filter": ["it is about a workshop"],
    "audit ask": ["When does it open?"],
}


@pytest.fixture
def run(tiny, tried, tmp_path, monkeypatch):
    """Return a function that runs ``main`` on a tiny model in this process; it returns the exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hardware, "measure_bandwidth", lambda _threads: 1e10)
    monkeypatch.setenv("LLMCLI_MODEL", str(tiny("llama")))
    tried(tiny("llama"))
    (tmp_path / "notes.txt").write_text(TEXT * 2)
    (tmp_path / "steps.md").write_text(f"# How to open a workshop\n\n1. Unlock it.\n2. Switch on.\n3. Wait.\n\n{TEXT}")
    (tmp_path / "people.txt").write_text("{person} called the workshop.\n{person} repaired {their} bicycles.\n")
    (tmp_path / "people.yaml").write_text(
        "groups:\n  a: {words: {person: [Emily]}}\n  b: {words: {person: [Lakisha]}}\n"
    )
    (tmp_path / "answer.txt").write_text("The workshop opens at ten.\n")

    def call(*argv):
        with Path(os.devnull).open("rb") as source, Path("io").open("wb") as shown:
            environment = Environment(source.fileno(), shown.fileno(), shown.fileno())
            return main.main(list(argv), environment), Path("io").read_text()

    return call


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_has_written_is_written_again(run, verb):
    """Twenty times, from the statement and the texts that it does not hold."""
    code, said = run(*VERBS[verb], "--deterministic", "--provenance", "-o", "out.txt")
    assert code in {0, 1, 3} and Path("out.txt.provenance.json").exists(), said
    statement = Path("out.txt.provenance.json").read_text()
    assert [text for text in (*TEXTS.get(verb, ()), "workshop", "Bicycles") if text in statement] == []
    texts = [word for text in TEXTS.get(verb, ()) for word in ("--text", text)]
    for _ in range(RUNS):
        code, said = run("verify", "out.txt", "--repeat", *texts)
        assert code == 0 and "ok\trepeated\tout.txt" in said, said
