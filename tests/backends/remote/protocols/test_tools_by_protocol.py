"""Tools at servers elsewhere: what is sent in each protocol, and which calls come back."""

from __future__ import annotations

import json

import pytest
from fake_server import error_answer
from hosted_servers import SERVERS, rechunk, send_blocks

from llmcli.backends.remote.remote_backend import find_protocol
from llmcli.errors import RemoteError, RequestRejected, TemporaryFailure, Unsupported
from llmcli.types import FinishReason, Message, Request, Role, ToolCall

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
TURNS = (
    Message(Role.SYSTEM, "Be short."),
    Message(Role.USER, "How is it in Rome and Żywiec?"),
    Message(
        Role.ASSISTANT,
        "",
        (ToolCall("call_1", "weather", {"city": "Rome"}), ToolCall("call_2", "weather", {"city": "Żywiec"})),
    ),
    Message(Role.TOOL, "sunny", tool_call_id="call_1"),
    Message(Role.TOOL, '{"sky": "grey"}', tool_call_id="call_2"),
)

pytestmark = pytest.mark.parametrize("protocol", sorted(SERVERS))


def body_of(protocol, **fields):
    """Return the body that is sent."""
    request = Request("a", **({"messages": TURNS, "tools": (WEATHER, CLOCK)} | fields))
    return find_protocol(protocol).build_request(request, "big", frozenset()).body


def test_tools_are_sent_as_the_protocol_has_them(protocol):
    """With name, description and schema; one without a schema takes an empty object."""
    sent = body_of(protocol)["tools"]
    named = {"name": "weather", "description": "The weather."}
    assert (
        sent[0]
        == {
            "openai": WEATHER,
            "openai-responses": {"type": "function", "strict": False, **named, "parameters": SCHEMA},
            "anthropic": {**named, "input_schema": SCHEMA},
            "gemini": {
                "functionDeclarations": [
                    {**named, "parametersJsonSchema": SCHEMA},
                    {"name": "clock", "description": "clock"},
                ]
            },
        }[protocol]
    )
    if protocol == "anthropic":
        assert sent[1] == {"name": "clock", "input_schema": {"type": "object"}}


def test_calls_and_results_are_turns(protocol):
    """The results of parallel calls are where the protocol wants them."""
    body = body_of(protocol)
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    if protocol == "openai":
        assert body["messages"][2]["content"] is None and body["messages"][2]["tool_calls"][0] == {
            "id": "call_1",
            **call,
        }
        assert body["messages"][3] == {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    elif protocol == "openai-responses":
        items = body["input"]
        flat = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Rome"}'}
        assert items[1] == flat and len(items) == 5
        assert items[3] == {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    elif protocol == "anthropic":
        user, assistant, results = body["messages"]
        assert [block["type"] for block in assistant["content"]] == ["tool_use", "tool_use"]
        assert assistant["content"][0] == {
            "type": "tool_use",
            "id": "call_1",
            "name": "weather",
            "input": {"city": "Rome"},
        }
        assert [(block["tool_use_id"], block["content"]) for block in results["content"]] == [
            ("call_1", "sunny"),
            ("call_2", '{"sky": "grey"}'),
        ]
        assert user["role"] == results["role"] == "user"
    else:
        _, model, results = body["contents"]
        first, second = model["parts"]
        assert first["functionCall"] == {"name": "weather", "args": {"city": "Rome"}} and first["thoughtSignature"]
        assert "thoughtSignature" not in second and results["role"] == "user"
        assert [part["functionResponse"] for part in results["parts"]] == [
            {"name": "weather", "response": {"output": "sunny"}},
            {"name": "weather", "response": {"output": '{"sky": "grey"}'}},
        ]


def test_a_result_without_a_call_is_a_turn_of_the_user(protocol):
    """No protocol takes it otherwise."""
    said = json.dumps(body_of(protocol, messages=(*TURNS[:2], Message(Role.TOOL, "lost"))))
    assert '"lost"' in said and "tool_call_id" not in said and "tool_result" not in said and "_output" not in said


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_calls_come_back(serve, protocol, size):
    """Parallel ones in order, also when arguments, events and characters are split."""
    server, ask = serve(protocol)
    calls = ("weather", '{"city": "Żywiec \\"old\\" 東京", "days": 3}'), ("clock", "{}")
    server.usual = send_blocks(rechunk(server.call_events(*calls), size))
    text, _, finished = ask(tools=(WEATHER, CLOCK))
    first, second = finished.tool_calls
    assert (first.name, first.arguments) == ("weather", {"city": 'Żywiec "old" 東京', "days": 3})
    assert (second.name, second.arguments) == ("clock", {}) and first.id and first.id != second.id
    assert text == "" and finished.reason is FinishReason.STOP and finished.error is None
    assert finished.usage.prompt_tokens == 7 and finished.usage.completion_tokens == 5
    if protocol == "gemini":
        assert (first.signature, second.signature) == ("c2lnbg==", "")


def test_a_call_of_an_unknown_tool_is_an_error(serve, protocol):
    """Such a call could not be answered."""
    server, ask = serve(protocol)
    server.usual = send_blocks(server.call_events(("shell", "{}")))
    finished = ask(tools=(WEATHER,))[2]
    assert isinstance(finished.error, RemoteError) and "'shell'" in finished.error.detail and finished.tool_calls == ()


@pytest.mark.parametrize("arguments", ['{"city": ', "[1]", '"Rome"', '{"city": NaN}', "[" * 5000])
def test_arguments_that_are_no_object_are_an_error(serve, protocol, arguments):
    """Gemini sends them parsed, so there only another type can come."""
    server, ask = serve(protocol)
    arguments = "[1]" if protocol == "gemini" else arguments
    server.usual = send_blocks(server.call_events(("weather", arguments)))
    finished = ask(tools=(WEATHER,))[2]
    assert isinstance(finished.error, RemoteError) and "arguments" in finished.error.detail
    assert finished.tool_calls == ()


def test_a_cut_call_is_left_out(serve, protocol):
    """The answer says that it was cut; calls before it are complete."""
    server, ask = serve(protocol)
    calls = [("clock", "{}"), ("weather", '{"city": "Ro')]
    server.usual = send_blocks(server.call_events(*(calls if protocol != "gemini" else calls[:1]), end="length"))
    finished = ask(tools=(WEATHER, CLOCK))[2]
    assert [call.name for call in finished.tool_calls] == ["clock"] and finished.reason is FinishReason.LENGTH


def test_a_call_that_breaks_off_is_requested_again(serve, protocol):
    """Nothing of it was delivered."""
    server, ask = serve(protocol)
    blocks = server.call_events(("weather", '{"city": "Rome"}'), ("weather", '{"city": "Oslo"}'))
    server.script = [send_blocks(blocks[:1], ends=False)]
    server.usual = send_blocks(blocks)
    finished = ask(tools=(WEATHER,))[2]
    assert len(finished.tool_calls) == 2 and len(server.chats()) == 2 and finished.error is None
    server.usual = send_blocks(blocks[:1], ends=False)
    assert isinstance(ask(tools=(WEATHER,))[2].error, TemporaryFailure)


def test_a_server_that_refuses_tools_says_so(serve, protocol):
    """They are never left out without a word."""
    server, ask = serve(protocol)
    server.usual = error_answer(400, "big does not support tools", param="tools")
    finished = ask(tools=(WEATHER,))[2]
    assert isinstance(finished.error, RequestRejected) and "tools" in finished.error.detail


def test_calls_that_were_not_asked_for_are_ignored(serve, protocol):
    """Without tools an answer is its text."""
    server, ask = serve(protocol)
    server.usual = send_blocks(server.call_events(("clock", "{}")))
    finished = ask()[2]
    assert finished.tool_calls == () and finished.error is None


@pytest.mark.parametrize("more", [{"schema": SCHEMA}, {"labels": ("a", "b")}, {"candidates": ("a", "b")}])
def test_tools_with_a_constrained_answer_are_refused(serve, protocol, more):
    """By name, before anything is sent."""
    server, ask = serve(protocol)
    finished = ask(tools=(WEATHER,), **more)[2]
    assert isinstance(finished.error, Unsupported) and finished.error.subject == "tools" and server.chats() == []
