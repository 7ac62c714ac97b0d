"""Which names in a server's answers are those of another model than was asked for."""

from __future__ import annotations

import pytest

from llmcli.backends.remote.answering_model import AnsweringModelCheck, is_same_model
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.config.backend_config import ServerConfig

SECRET = "sk-1234567890abcdef"


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("gpt-4o", "openai/gpt-4o-2024-08-06"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219"),
        ("gemini-x", "models/gemini-x-001"),
        ("llama3", "llama3:latest"),
        ("llama3:latest", "llama3:8b-instruct"),
        ("deepseek/deepseek-r1:free", "deepseek/deepseek-r1"),
        ("Qwen/Qwen3-4B", "qwen3-4b"),
        ("accounts/fireworks/models/llama-v3p1-8b", "LLAMA-V3P1-8B"),
        ("qwen3-4b-q4_k_m", "/models/Qwen3-4B-Q4_K_M.gguf"),
        ("qwen3-4b-q4_k_m", "C:\\models\\Qwen3-4B-Q4_K_M.GGUF"),
        ("qwen3-4b", "qwen3-4b.Q4_K_M.gguf"),
        ("grok-4", "grok-4-0709"),
        ("big", "big/"),
    ],
)
def test_names_of_one_model(requested, answered):
    """Providers, directories, file endings, case, aliases and versions make no other model, in either direction."""
    assert is_same_model(requested, answered) and is_same_model(answered, requested)


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("gpt-4", "gpt-4.1"),
        ("gpt-4", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-05-13"),
        ("gpt-4o-mini", "gpt-4o-2024-08-06"),
        ("llama3:8b", "llama3:70b"),
        ("qwen2", "qwen2.5-7b"),
        ("meta/llama3", "meta/codellama"),
        ("openai/a", "openai/b"),
        ("big", "latest"),
        ("big", "/"),
    ],
)
def test_names_of_other_models(requested, answered):
    """A common beginning within a word, another date or size, or the same provider is not enough."""
    assert not is_same_model(requested, answered) and not is_same_model(answered, requested)


def check_of(*listed):
    check = AnsweringModelCheck(ServerConfig("http://gpu1.lab:8000/v1", "lab"), ApiKey(SECRET))
    check.set_listed(listed)
    return check


def test_the_warning_names_server_and_models():
    """Each call with such an answer has it once; the first one is that of the server."""
    check, calls = check_of("big"), [RemoteCall(), RemoteCall()]
    for call, answered in zip(calls, ["small", "tiny"], strict=True):
        for _ in range(2):
            check.check(call, "big", answered)
    said = "lab (http://gpu1.lab:8000) was asked for big, but its answers name the model {}, which it does not list"
    assert [call.warnings for call in calls] == [(said.format("small"),), (said.format("tiny"),)]
    assert check.warning == said.format("small")


@pytest.mark.parametrize("answered", ["small", "SMALL-2025", "small.gguf", "", None, 7, ["small"]])
def test_listed_models_and_malformed_names_are_no_other_model(answered):
    """llama-server takes any name where it has one model, and lists that; what is no name says nothing."""
    check, call = check_of("big", "org/small"), RemoteCall()
    check.check(call, "big", answered)
    assert call.warnings == () and check.warning == ""


def test_the_list_is_asked_for_only_if_it_decides():
    """Once, after the answer; without a list, the name that was asked for decides."""
    check, call, asked = AnsweringModelCheck(ServerConfig("http://a/v1"), ApiKey()), RemoteCall(), []

    def list_names():
        asked.append(1)
        return []

    for answered in ("big-2025", "small", "small"):
        check.check(call, "big", answered)
        check.check_last(call, "big", list_names)
    assert call.warnings == ("http://a was asked for big, but its answers name the model small",)
    assert len(asked) == 1


def test_a_name_is_shown_on_one_short_line_without_the_key():
    """It is what a server sends."""
    check, call = check_of("big"), RemoteCall()
    check.check(call, "big", f"evil\n{SECRET} " + 5000 * "x")
    (said,) = call.warnings
    assert "\n" not in said and SECRET not in said and len(said) < 1000
