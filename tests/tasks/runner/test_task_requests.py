import pytest
from scripted import ScriptedBackend

from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.ask import ask
from llmcli.tasks.chat.conversation import Conversation
from llmcli.tasks.runner.task_requests import GenerationOptions, count_common_chars, make_request
from llmcli.types import Message, Priority, Role

USER = (Message(Role.USER, "hello"),)


def public(requests):
    return [request.public_prefix for request in requests]


@pytest.fixture
def prompt(prompts):
    return prompts.get("translate")


def test_user_options_override(prompt):
    """The user's options override the prompt file."""
    request = make_request("a", USER, prompt, GenerationOptions(temperature=0.9, seed=7))
    assert (request.sampling.temperature, request.sampling.seed) == (0.9, 7)


def test_temperature_zero_counts_as_given(prompt):
    """A prompt file's temperature of 0 is not mistaken for a missing one."""
    assert make_request("a", USER, prompt, GenerationOptions()).sampling.temperature == 0


def test_defaults_fill_the_rest(prompts):
    """If neither the user nor the prompt file sets an option, the default applies."""
    assert make_request("a", USER, prompts.get("ask"), GenerationOptions()).sampling.temperature == 0.7


def test_priority_of_the_user_overrides(prompt):
    """The user's priority wins over the verb's."""
    options = GenerationOptions(priority=Priority.BULK)
    assert make_request("a", USER, prompt, options, priority=Priority.INTERACTIVE).priority is Priority.BULK


@pytest.mark.parametrize(("name", "kept"), [("translate", True), ("ask", True), ("summarize", False)])
def test_only_a_prompt_files_own_text_is_public(prompts, name, kept):
    """The text before the user's turn is public if only the file determines it, not if it has variables."""
    prompt = prompts.get(name)
    assert prompt.public_prefix is kept
    assert make_request("a", USER, prompt, GenerationOptions()).public_prefix is kept


def test_a_conversation_is_never_public(prompts):
    """Earlier turns precede the last message, whatever the prompt file."""
    assert not make_request("a", USER, prompts.get("translate"), GenerationOptions(), conversation=True).public_prefix


def test_chat_prefixes_are_never_public(tmp_path):
    """Not even if the prompt file has no variable at all: the conversation is private."""
    (tmp_path / "chat.yaml").write_text('description: d\nsystem: be kind\nuser: "{{ message }}"\n')
    backend = ScriptedBackend()
    prompts = PromptLibrary(tmp_path)
    assert prompts.get("chat").public_prefix
    talk = Conversation(backend, prompts, GenerationOptions())
    for text in ("one", "two"):
        list(talk.send(text))
    assert len(backend.requests[-1].messages) == 4 and public(backend.requests) == [False, False]


def test_the_prefix_of_a_question_is_public(prompts):
    """Question and documents are in the last message."""
    backend = ScriptedBackend()
    list(ask(backend, prompts, "why", [], GenerationOptions()))
    assert public(backend.requests) == [True]


def test_prefixes_of_built_in_prompts(tmp_path):
    """All built-in files except the conversation's have a public prefix."""
    prompts = PromptLibrary(tmp_path / "none")
    assert {name for name in prompts.names() if not prompts.get(name).public_prefix} == {"chat"}


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ([("user", "abc")], [("user", "abd")], 2),
        ([("user", "abc")], [("user", "abc")], 3),
        ([("system", "s"), ("user", "abc")], [("system", "s"), ("user", "ab")], 2),
        ([("system", "s"), ("user", "abc")], [("system", "t"), ("user", "abc")], 0),
        ([("user", "abc")], [("assistant", "abc")], 0),
        ([], [], 0),
    ],
)
def test_what_two_prompts_begin_with(one, other, count):
    """Characters of the last message, if all before it are equal."""
    made = [tuple(Message(Role(role), content) for role, content in each) for each in (one, other)]
    assert count_common_chars(*made) == count
