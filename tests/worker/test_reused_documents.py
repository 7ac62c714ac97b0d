"""Documents that a warm worker has evaluated: the next command about them evaluates only its own words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llmcli.cli import main
from llmcli.cli.console.environment import Environment
from llmcli.tasks.ask import document_question

from .conftest import ROOT

TOPICS = ("rivers", "bridges", "harbours", "markets", "gardens", "schools", "museums", "stations", "towers", "mills")
SECTIONS = [
    f"# Part {number}\n\nThe {topic} of the town are {100 + 7 * number} years old, and people like to walk there "
    f"on day {number} of each month with friends."
    for number, topic in enumerate(TOPICS)
]
PROMPT_TOKENS = 130
"""The tokens of a question or claim with the words of the prompt after the passage, at most: a token is a character."""


@pytest.fixture
def llm(runtime, tiny, tried, tmp_path):
    """Return a function that runs ``main`` with a worker, and returns the usage in its JSON."""
    model = tmp_path / "tiny.gguf"
    model.write_bytes(tiny("llama").read_bytes())
    tried(model)
    own = {"LLMCLI_WORKER": "on", "LLMCLI_RUNTIME_DIR": str(runtime), "LLMCLI_MODEL": str(model)}

    def run(*argv: str, env=None) -> dict[str, int]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **own, **(env or {})}
        out = tmp_path / "out"
        with Path(os.devnull).open("rb") as source, out.open("wb") as shown, (tmp_path / "err").open("wb") as said:
            main.main([*argv, "--json"], Environment(source.fileno(), shown.fileno(), said.fileno(), environ))
        usage = json.loads(out.read_text())["usage"]
        return usage | {"evaluated": usage["prompt_tokens"] - usage["cached_tokens"]}

    return run


@pytest.fixture
def document(tmp_path):
    """Return a file with text of several times the context that the questions allow."""
    file = tmp_path / "town.md"
    file.write_text("\n\n".join(SECTIONS))
    return str(file)


@pytest.mark.slow
def test_a_second_question_ranks_passages_without_evaluating_them(llm, document, monkeypatch):
    """Retrieval: all passages are ranked and quoted for both questions, which differ from their first word on."""
    monkeypatch.setattr(document_question, "MIN_RANKING_PARAMETERS", 0)  # the model of the test has few

    def ask(question, **how):
        return llm("ask", question, "-f", document, "--ctx", "512", "--max-tokens", "2", "--temperature", "0", **how)

    passages = sum(map(len, SECTIONS))
    first = ask("How old is the town?")
    assert first["evaluated"] > passages
    second = ask("Which day of the town is it?")
    longer = 2 * len(SECTIONS) * 8  # the second question is longer by so many characters, behind each passage
    assert second["evaluated"] < first["evaluated"] - passages + longer
    assert second["cached_tokens"] > 2 * passages
    off = {"LLMCLI_PREFIX_CACHE": "0"}
    assert ask("How old is the town?", env=off)["evaluated"] > passages
    assert ask("Which day of the town is it?", env=off)["evaluated"] > passages


def test_a_second_check_evaluates_no_source_again(llm, document, tmp_path):
    """Other claims about the same passages."""
    usages = []
    for number, words in enumerate(("are old", "are new and large")):
        answer = tmp_path / f"answer{number}.txt"
        answer.write_text("".join(f"The {topic} of the town {words}.\n\n" for topic in TOPICS))
        usages.append(llm("check", str(answer), "--against", document, "--threshold", "0", "--passages", "1"))
    first, second = usages
    # four requests for each claim: two about its passage, and two about none
    assert first["evaluated"] > second["evaluated"] + sum(map(len, SECTIONS)) // 2
    assert second["evaluated"] < 4 * len(TOPICS) * PROMPT_TOKENS
