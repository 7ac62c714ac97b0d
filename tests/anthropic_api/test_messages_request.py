"""Requests in Anthropic's format: what they become, and which field is refused."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.anthropic_api.messages_request import parse_count_request, parse_message_request
from llmcli.openai_api.fields import FieldError
from llmcli.types import Message, Priority, Role, ToolCall

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "b"}}]}


def text(words, **more):
    return {"type": "text", "text": words, **more}


def parse(**fields):
    return parse_message_request({"max_tokens": 9, "messages": HELLO, **fields})


def messages(*turns, **fields):
    return parse(messages=list(turns), **fields).base_request.messages


def test_a_request_with_all_that_is_supported():
    """Becomes one of the engine's; what changes no answer is accepted."""
    parsed = parse(
        model="tiny",
        system="Be brief.",
        stream=True,
        stop_sequences=["X"],
        temperature=0.5,
        top_p=0.5,
        top_k=5,
        metadata={"user_id": "u"},
        service_tier="auto",
        cache_control={"type": "ephemeral"},
        thinking={"type": "adaptive"},
        output_config={"effort": "low"},
        container=None,
    )
    request = parsed.base_request
    assert (parsed.model, parsed.stream, request.max_tokens, request.stop) == ("tiny", True, 9, ("X",))
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.top_k) == (0.5, 0.5, 5)
    assert request.reasoning and request.priority is Priority.INTERACTIVE and request.progress
    assert request.messages == (Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "hello"))


def test_usual_values():
    """Those of the protocol, and no reasoning unless it is asked for."""
    request = parse().base_request
    assert request.sampling.temperature == 1.0 and not request.reasoning and not request.tools


def test_blocks_are_one_text():
    """Of the system prompt and of the user with empty lines; of the assistant as they stood, without its reasoning."""
    cached = {"cache_control": {"type": "ephemeral"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": ""}
    hidden = {"type": "redacted_thinking", "data": "x"}
    assert messages(
        {"role": "user", "content": [text("a", **cached), text("b")]},
        {"role": "assistant", "content": [thought, hidden, text("c", citations=None), text("d")]},
        {"role": "user", "content": "e"},
        {"role": "user", "content": [text("f")]},
        system=[text("s"), text("t", **cached)],
    ) == (
        Message(Role.SYSTEM, "s\n\nt"),
        Message(Role.USER, "a\n\nb"),
        Message(Role.ASSISTANT, "cd"),
        Message(Role.USER, "e\n\nf"),
    )


def test_calls_and_their_results():
    """A result is a turn of its own, before what else the user says; an error says so."""
    wrong = {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}
    right = {"type": "tool_result", "tool_use_id": "t1", "content": [text("ye"), text("s")]}
    said = messages(*HELLO, USE, {"role": "user", "content": [text("so?"), right, wrong]})
    assert said[1:] == (
        Message(Role.ASSISTANT, "", (ToolCall("t1", "f", {"a": "b"}),)),
        Message(Role.TOOL, "ye\n\ns", (), "t1"),
        Message(Role.TOOL, "Error: no", (), "t1"),
        Message(Role.USER, "so?"),
    )


@pytest.mark.parametrize(
    ("choice", "required"),
    [(None, ()), ({"type": "auto"}, ()), ({"type": "any"}, ("f",)), ({"type": "tool", "name": "f"}, ("f",))],
)
def test_tools(choice, required):
    """As chat completions have them; a required one gives the schema of the answer."""
    parsed = parse(tools=[TOOL], tool_choice=choice)
    function = {"name": "f", "description": "d", "parameters": TOOL["input_schema"]}
    assert parsed.base_request.tools == ({"type": "function", "function": function},)
    assert parsed.tool_choice.required_names == required
    assert (parsed.base_request.schema is not None) == bool(required)


def test_no_tool_may_be_used():
    """Then the model is shown none, and a schema may be given."""
    output = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    parsed = parse(tools=[TOOL], tool_choice={"type": "none"}, output_config=output)
    assert parsed.base_request.tools == () and parsed.base_request.schema == {"type": "object"}


def test_the_tokens_of_the_same_prompt_are_counted():
    """With system prompt and tools; other fields are not accepted."""
    asked = {"messages": HELLO, "system": "s", "tools": [TOOL]}
    counted, sent = parse_count_request(asked).base_request, parse(**asked).base_request
    assert (counted.messages, counted.tools) == (sent.messages, sent.tools)
    with pytest.raises(FieldError, match="max_tokens is not supported"):
        parse_count_request({**asked, "max_tokens": 3})


IMAGE = {"type": "image", "source": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1"}


@all_rows(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "The answer is"}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [text("a", x=1)]}]}, "messages[0].content[0].x"),
        ({"messages": [{"role": "user", "content": USE["content"]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [RESULT]}]}, "messages"),
        ({"messages": [*HELLO, {"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}]}, "messages[1].content[0].name"),
        ({"system": 5}, "system"),
        ({"system": [IMAGE]}, "system[0].type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{**TOOL, "name": "a b"}]}, "tools[0].name"),
        ({"tools": [{**TOOL, "input_examples": [{}]}]}, "tools[0].input_examples"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"tools": [TOOL], "output_config": {"format": {"type": "json_schema", "schema": {}}}}, "output_config.format"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, "thinking.display"),
        ({"stop_sequences": "X"}, "stop_sequences"),
        ({"temperature": 3}, "temperature"),
        ({"top_k": "x"}, "top_k"),
        ({"metadata": {"x": 1}}, "metadata.x"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"stop": ["X"]}, "stop"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(fields, param):
    """By its place in the body, in the message too."""
    with pytest.raises(FieldError) as caught:
        parse(**fields)
    assert caught.value.param == param and param in caught.value.message
