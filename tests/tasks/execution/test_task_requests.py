import pytest
from scripted import ScriptedBackend

from llmcli.prompts import PromptLibrary
from llmcli.tasks.ask import ask
from llmcli.tasks.chat import Conversation
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request
from llmcli.types import Message, Priority, Role

USER = (Message(Role.USER, "hello"),)


def public(requests):
    return [request.public_prefix for request in requests]


@pytest.fixture
def prompt(prompts):
    return prompts.get("translate")


def test_user_options_win(prompt):
    """What the user asks for wins over the prompt file."""
    request = make_request("a", USER, prompt, GenerationOptions(temperature=0.9, seed=7))
    assert (request.sampling.temperature, request.sampling.seed) == (0.9, 7)


def test_temperature_zero_counts_as_given(prompt):
    """A prompt file's temperature of 0 is not mistaken for none."""
    assert make_request("a", USER, prompt, GenerationOptions()).sampling.temperature == 0


def test_defaults_fill_the_rest(prompts):
    """Where neither the user nor the prompt file says anything, the defaults hold."""
    assert make_request("a", USER, prompts.get("ask"), GenerationOptions()).sampling.temperature == 0.7


def test_priority_of_the_user_wins(prompt):
    """The user's priority wins over the verb's."""
    options = GenerationOptions(priority=Priority.BULK)
    assert make_request("a", USER, prompt, options, priority=Priority.INTERACTIVE).priority is Priority.BULK


@pytest.mark.parametrize(("name", "kept"), [("translate", True), ("ask", True), ("summarize", False)])
def test_only_a_prompt_files_own_beginning_is_public(prompts, name, kept):
    """What stands before the user's turn may be kept where the file alone says it, not where it holds variables."""
    prompt = prompts.get(name)
    assert prompt.public_prefix is kept
    assert make_request("a", USER, prompt, GenerationOptions()).public_prefix is kept


def test_a_conversation_is_never_public(prompts):
    """Earlier turns stand before the last message, whatever the prompt file."""
    assert not make_request("a", USER, prompts.get("translate"), GenerationOptions(), conversation=True).public_prefix


def test_chat_never_lets_its_beginning_be_kept(tmp_path):
    """Not even where the prompt file has no variable at all: the conversation is private."""
    (tmp_path / "chat.yaml").write_text('description: d\nsystem: be kind\nuser: "{{ message }}"\n')
    backend = ScriptedBackend()
    prompts = PromptLibrary(tmp_path)
    assert prompts.get("chat").public_prefix
    talk = Conversation(backend, prompts, GenerationOptions())
    for text in ("one", "two"):
        list(talk.send(text))
    assert len(backend.requests[-1].messages) == 4 and public(backend.requests) == [False, False]


def test_a_question_lets_the_files_beginning_be_kept(prompts):
    """Question and documents stand in the last message."""
    backend = ScriptedBackend()
    list(ask(backend, prompts, "why", [], GenerationOptions()))
    assert public(backend.requests) == [True]


def test_built_in_prompts_begin_alike(tmp_path):
    """Of the built-in files all but the conversation's have a beginning that may be kept."""
    prompts = PromptLibrary(tmp_path / "none")
    assert {name for name in prompts.names() if not prompts.get(name).public_prefix} == {"chat"}
