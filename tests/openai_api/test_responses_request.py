"""Requests of the Responses API: what they become, and which field is refused."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.openai_api.fields import FieldError, parse_body
from llmcli.openai_api.responses_request import parse_response_request
from llmcli.types import Message, Priority, Role, ToolCall

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a": 1}', "status": None}


def parse(**fields):
    return parse_body(parse_response_request, {"input": "hello", **fields})


def messages(*items, **fields):
    return parse(input=list(items), **fields).base_request.messages


def test_a_request_with_all_that_is_supported():
    """Becomes one of the engine's; what changes no answer is accepted."""
    parsed = parse(
        model="tiny",
        instructions="Be brief.",
        stream=True,
        stream_options={"include_obfuscation": False},
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.5,
        reasoning={"effort": "low", "summary": "auto"},
        store=False,
        include=["reasoning.encrypted_content"],
        truncation="disabled",
        background=False,
        text={"format": {"type": "text"}, "verbosity": "medium"},
        metadata={"a": "b"},
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        service_tier="auto",
        previous_response_id=None,
        conversation=None,
    )
    request = parsed.base_request
    assert (parsed.model, parsed.stream, request.max_tokens) == ("tiny", True, 9)
    assert (request.sampling.temperature, request.sampling.top_p) == (0.5, 0.5)
    assert request.reasoning and request.priority is Priority.INTERACTIVE and request.schema is None
    assert request.messages == (Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "hello"))


def test_log_probabilities_are_included_on_request():
    """With as many alternatives as are asked for; a client that repeats the field of a response asks for none."""
    included = {"include": ["message.output_text.logprobs"]}
    assert parse(**included).base_request.logprobs == 0
    parsed = parse(**included, top_logprobs=3)
    assert parsed.base_request.logprobs == parsed.repeated_fields["top_logprobs"] == 3
    assert parse(top_logprobs=0).base_request.logprobs is None and parse().repeated_fields["top_logprobs"] == 0


def test_items_are_messages():
    """Texts as they stand, with roles; calls belong to the turn before them; reasoning is not shown again."""
    said = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "phase": None}
    part = {"type": "output_text", "text": "So:", "annotations": [], "logprobs": []}
    result = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "rain"}]}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [], "encrypted_content": None}
    call = ToolCall("c1", "f", {"a": 1})
    assert messages(
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        thought,
        {**said, "content": [part]},
        CALL,
        {**CALL, "call_id": "c2"},
        result,
        {**CALL, "call_id": "c3"},
    ) == (
        Message(Role.SYSTEM, "d"),
        Message(Role.USER, "ab"),
        Message(Role.ASSISTANT, "So:", (call, ToolCall("c2", "f", {"a": 1}))),
        Message(Role.TOOL, "rain", (), "c1"),
        Message(Role.ASSISTANT, "", (ToolCall("c3", "f", {"a": 1}),)),
    )


@pytest.mark.parametrize(
    ("choice", "required"),
    [(None, ()), ("auto", ()), ("required", ("f",)), ({"type": "function", "name": "f"}, ("f",))],
)
def test_tools(choice, required):
    """As chat completions have them; a required one gives the schema of the answer."""
    parsed = parse(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)
    function = {"name": "f", "description": "", "parameters": {"type": "object"}}
    assert parsed.base_request.tools == ({"type": "function", "function": function},)
    assert parsed.tool_choice.required_names == required and not parsed.tool_choice.allow_parallel
    assert (parsed.base_request.schema is not None) == bool(required)


def test_no_tool_may_be_called():
    """Then the model is shown none, and a schema may be given."""
    text = {"format": {"type": "json_schema", "name": "s", "schema": {"type": "array"}}}
    parsed = parse(tools=[TOOL], tool_choice="none", text=text)
    assert parsed.base_request.tools == () and parsed.base_request.schema == {"type": "array"}
    assert parse(text={"format": {"type": "json_object"}}).base_request.schema == {"type": "object"}


OUTPUT = {"type": "function_call_output", "output": "x"}
IMAGE = {"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}


@all_rows(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [IMAGE]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": "x", "name": "y"}]}, "input[0].name"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id"),
        ({"input": [{**CALL, "arguments": "["}]}, "input[0].arguments"),
        ({"input": [OUTPUT]}, "input[0].call_id"),
        ({"input": [CALL, {**OUTPUT, "call_id": "c2"}]}, "input[1].call_id"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["message.output_text.logprobs", "file_search_call.results"]}, "include[1]"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 21}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"stop": ["x"]}, "stop"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tools": [{**TOOL, "function": {}}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "f", "mode": "auto"}}, "tool_choice.mode"),
        ({"metadata": {"a": {}}}, "metadata.a"),
        ({"tools": [TOOL], "text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "s"}}}, "text.format.schema"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"prompt": {"id": "p"}}, "prompt"),
    ],
)
def test_what_is_wrong_is_named(fields, param):
    """By its place in the body, in the message too."""
    with pytest.raises(FieldError) as caught:
        parse(**fields)
    assert caught.value.param == param and param in caught.value.message


def test_what_needs_stored_responses_is_refused_with_advice():
    """The items themselves may be sent."""
    with pytest.raises(FieldError, match="send the earlier items in input"):
        parse(previous_response_id="resp_1")
