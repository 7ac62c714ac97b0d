import pytest
from scripted import ScriptedBackend

from llmcli.errors import InternalError, TimedOut
from llmcli.prompts import PromptLibrary
from llmcli.tasks.ask import ask
from llmcli.tasks.chat import Conversation
from llmcli.tasks.execution.task_requests import (
    GenerationOptions,
    UsageTally,
    is_truncated,
    make_request,
    request_error,
)
from llmcli.types import Finished, FinishReason, Message, Priority, Role, Timings, Usage

USER = (Message(Role.USER, "hello"),)


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


@pytest.mark.parametrize(
    ("limit", "max_tokens", "cut"), [("max_tokens", 9, False), ("max_tokens", None, True), ("context", 9, True)]
)
def test_only_the_users_limit_leaves_an_answer_whole(limit, max_tokens, cut):
    """An answer is cut when the context or an automatic limit ended it, not when the user's own did."""
    finished = Finished("a", FinishReason.LENGTH, limit=limit)
    assert is_truncated(finished, GenerationOptions(max_tokens=max_tokens)) is cut


def test_a_foreign_error_is_a_bug():
    """An error that is none of ours becomes an internal one that keeps its cause."""
    cause = ValueError("odd")
    error = request_error(Finished("a", FinishReason.ERROR, error=cause))
    assert isinstance(error, InternalError) and error.__cause__ is cause


def test_a_timeout_is_a_failure():
    """A request that ran out of time fails with TimedOut."""
    assert isinstance(request_error(Finished("a", FinishReason.TIMEOUT)), TimedOut)


def test_usage_is_summed():
    """The usage of an item is the sum over its calls."""
    tally = UsageTally()
    tally.add(Finished("a", FinishReason.STOP, Usage(10, 4, 3)))
    tally.add(Finished("b", FinishReason.STOP, Usage(20, 8, 5)))
    assert tally.usage == Usage(30, 12, 8)


def test_timings_of_one_call_are_its_own():
    """The timings of an item of one call are those of the call."""
    tally = UsageTally()
    tally.add(Finished("a", FinishReason.STOP, timings=Timings(0.5, 2.0, 33.0)))
    assert tally.timings == Timings(0.5, 2.0, 33.0)


def test_first_token_of_many_calls_is_the_earliest():
    """The time to the first token of many calls is the shortest of them."""
    tally = UsageTally()
    for seconds in (0.5, 0.2, None):
        tally.add(Finished("a", FinishReason.STOP, timings=Timings(seconds)))
    assert tally.timings.first_token_s == 0.2


# ---- what may be kept on disk ----------------------------------------------------------------------------------------


def public(requests):
    return [request.public_prefix for request in requests]


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
