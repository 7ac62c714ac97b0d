"""A verb in a module outside of the package: its task, its prompt file and the contract between them."""

import importlib

import pytest
from scripted import ScriptedBackend, last_message

from llmcli.prompts import contracts
from llmcli.prompts.contracts import Contract, register_contract
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Result

TASK = """
from llmcli.tasks.runner.task_requests import make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import run_task
from llmcli.tasks.runner.text_answers import write_text
from llmcli.types import Priority


def rhyme(backend, prompts, word, options):
    prompt = prompts.get("rhyme")
    limit = max_answer_tokens(prompt, options, 20)
    messages = prompt.render({"word": word})
    request = make_request("rhyme", messages, prompt, options, max_tokens=limit, priority=Priority.INTERACTIVE)
    yield from run_task(backend, lambda run: write_text(run, request, options, prompt=prompt.name), name=word)
"""


@pytest.fixture
def rhyme(tmp_path, monkeypatch):
    """Add the verb; return its task."""
    (tmp_path / "rhyme_task.py").write_text(TASK)
    (tmp_path / "rhyme.yaml").write_text("description: d\nuser: What rhymes with {{ word }}?\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(contracts, "_CONTRACTS", dict(contracts._CONTRACTS))
    register_contract("rhyme", Contract({"word": "a word"}, required=("word",)))
    return importlib.import_module("rhyme_task").rhyme


def test_a_verb_is_a_task_a_prompt_file_and_a_contract(rhyme, tmp_path):
    """The task yields its events through the shared helpers, and ``llm prompts check`` knows its file."""
    prompts = PromptLibrary(tmp_path)
    assert prompts.check("rhyme") == []
    events = list(rhyme(ScriptedBackend(last_message), prompts, "house", GenerationOptions()))
    assert isinstance(events[-1], Result)
    assert (events[-1].text, events[-1].prompt) == ("What rhymes with house?", "rhyme")
