"""OpenAI's Responses API of the worker's application, on the real engine and a tiny model."""

from __future__ import annotations

import json

import pytest

TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris", "Oslo"]}}, "required": ["city"]},
    "strict": True,
}


def create(client, **fields):
    return client.post("/v1/responses", json={"input": "hello", "max_output_tokens": 8, "temperature": 0, **fields})


def test_a_whole_response(client):
    """In OpenAI's shape, with usage and the fields of the request; nothing is stored."""
    answer = create(client, metadata={"a": "b"})
    assert answer.status_code == 200
    body = answer.json()
    (item,) = body["output"]
    assert body["object"] == "response" and body["model"] == "tiny" and body["id"].startswith("resp_")
    assert item["type"] == "message" and item["role"] == "assistant" and item["status"] == body["status"]
    assert body["store"] is False and body["metadata"] == {"a": "b"} and body["max_output_tokens"] == 8
    asked = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "temperature": 0}
    chat = client.post("/v1/chat/completions", json=asked).json()
    assert item["content"][0]["text"] == chat["choices"][0]["message"]["content"]
    usage = create(client).json()["usage"]
    assert usage["input_tokens"] == chat["usage"]["prompt_tokens"]
    assert usage["input_tokens_details"]["cached_tokens"] > 0  # the same prompt came before
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_a_cut_response_is_incomplete(client):
    """With the reason."""
    body = create(client, max_output_tokens=2, ignore_eos=True).json()
    assert body["status"] == "incomplete" and body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["output"][0]["status"] == "incomplete"


def test_a_stream_says_the_same(client, events_of):
    """The documented events in their order, numbered without a gap; the last one has the whole response."""
    whole = create(client).json()
    events = events_of(create(client, stream=True))
    deltas = len(events) - 8
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        f"response.{whole['status']}",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["response"]["output"] == [] and events[0]["response"]["status"] == "in_progress"
    assert events[2]["item"]["content"] == [] and events[3]["part"]["text"] == ""
    text = "".join(event["delta"] for event in events[4 : 4 + deltas])
    assert text == events[-4]["text"] == whole["output"][0]["content"][0]["text"] and deltas
    last = events[-1]["response"]
    assert last["output"] == [events[-2]["item"]] and last["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "weather"}])
def test_a_required_call_comes(client, events_of, choice):
    """Whole and streamed; its result may come back, and so may the items as they were."""
    asked = {"tools": [TOOL], "tool_choice": choice, "max_output_tokens": 64}
    body = create(client, **asked).json()
    (call,) = body["output"]
    assert call["type"] == "function_call" and json.loads(call["arguments"])["city"] in {"Paris", "Oslo"}
    events = events_of(create(client, **asked, stream=True))
    kinds = [event["type"].removeprefix("response.") for event in events]
    arguments = ["function_call_arguments.delta", "function_call_arguments.done"]
    assert kinds[2:-1] == ["output_item.added", *arguments, "output_item.done"]
    assert events[3]["delta"] == events[4]["arguments"] == events[5]["item"]["arguments"]
    said = {"role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
    assert create(client, input=[said, *body["output"], result], tools=[TOOL]).status_code == 200


def test_a_schema_is_kept(client):
    """As text.format has it."""
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    text = {"format": {"type": "json_schema", "name": "s", "schema": schema, "strict": True}}
    body = create(client, text=text, max_output_tokens=64, temperature=1, seed=1).json()
    assert json.loads(body["output"][0]["content"][0]["text"])["a"] in {"x", "y"}
    assert body["text"] == text


@pytest.mark.parametrize("stream", [False, True])
def test_errors_name_the_field(client, stream):
    """In OpenAI's shape, before anything is streamed."""
    bad = {"type": "object", "properties": {"p": {"$ref": "#/nowhere"}}}
    cases = [
        ({"text": {"format": {"type": "json_schema", "name": "s", "schema": bad}}}, 400, "text.format"),
        ({"tools": [{**TOOL, "parameters": bad}], "tool_choice": "required"}, 400, "tools"),
        ({"previous_response_id": "resp_1"}, 400, "previous_response_id"),
        ({"store": True}, 400, "store"),
        ({"max_tool_calls": 3}, 400, "max_tool_calls"),
        ({"model": "gpt-4"}, 404, "model"),
        ({"input": "hello " * 5000}, 400, "input"),
        ({"input": []}, 400, "input"),
    ]
    for fields, status, param in cases:
        answer = create(client, **fields, stream=stream)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), fields
