"""Anthropic's paths of the worker's application, on the real engine and a tiny model."""

from __future__ import annotations

import json

import pytest

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"enum": ["Paris", "Oslo"]}}, "required": ["city"]},
}


def create(client, path="/v1/messages", **fields):
    body = {"max_tokens": 8, "temperature": 0, "messages": HELLO, **fields}
    return client.post(path, json={name: value for name, value in body.items() if value is not None})


def test_a_whole_message(client):
    """In Anthropic's shape, with usage: the prompt is what was cached and what was not."""
    answer = create(client)
    assert answer.status_code == 200
    body = answer.json()
    (block,) = body["content"]
    assert body["type"] == "message" and body["role"] == "assistant" and body["model"] == "tiny"
    assert body["id"].startswith("msg_") and block["type"] == "text" and block["text"]
    assert body["stop_reason"] in {"end_turn", "max_tokens"} and body["stop_sequence"] is None
    chat = client.post("/v1/chat/completions", json={"messages": HELLO, "max_tokens": 8, "temperature": 0}).json()
    assert block["text"] == chat["choices"][0]["message"]["content"]
    usage = create(client).json()["usage"]
    assert usage["cache_read_input_tokens"] > 0  # the same prompt came before
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == chat["usage"]["prompt_tokens"]
    assert usage["output_tokens"] == chat["usage"]["completion_tokens"]


def test_a_stream_says_the_same(client, events_of):
    """The documented events in their order; the beginning already tells the tokens of the prompt."""
    whole = create(client).json()
    events = events_of(create(client, stream=True))
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    deltas = len(kinds) - 5
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start, end = events[0]["message"], events[-2]
    assert start["content"] == [] and start["stop_reason"] is None and start["usage"]["output_tokens"] == 0
    text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    assert text == whole["content"][0]["text"] and deltas
    assert end["delta"] == {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    total = [use["input_tokens"] + use["cache_read_input_tokens"] for use in (start["usage"], end["usage"])]
    assert total[0] == total[1] > 0 and end["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


def test_the_stop_sequence_is_named(client):
    """It is no part of the text."""
    text = create(client, max_tokens=16).json()["content"][0]["text"]
    body = create(client, max_tokens=16, stop_sequences=["never in it", text[2:4]]).json()
    assert body["stop_reason"] == "stop_sequence" and body["stop_sequence"] == text[2:4]
    assert body["content"][0]["text"] == text[: text.index(text[2:4])]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_a_required_tool_is_used(client, events_of, choice):
    """Whole and streamed; its result may come back, and so may the block as it was."""
    asked = {"tools": [TOOL], "tool_choice": choice, "max_tokens": 64}
    body = create(client, **asked).json()
    (block,) = body["content"]
    assert body["stop_reason"] == "tool_use" and block["type"] == "tool_use" and block["name"] == "weather"
    assert block["input"]["city"] in {"Paris", "Oslo"}
    events = events_of(create(client, **asked, stream=True))
    started = next(event["content_block"] for event in events if event["type"] == "content_block_start")
    assert started["input"] == {} and started["id"].startswith("toolu_")
    written = "".join(e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta")
    assert json.loads(written)["city"] in {"Paris", "Oslo"}
    result = {"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": "rain"}]}
    told = [*HELLO, {"role": "assistant", "content": body["content"]}, {"role": "user", "content": [result]}]
    assert create(client, messages=told, tools=[TOOL]).status_code == 200


def test_a_schema_is_kept(client):
    """As output_config has it."""
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    output = {"format": {"type": "json_schema", "schema": schema}}
    body = create(client, output_config=output, max_tokens=64, temperature=1, seed=1).json()
    assert json.loads(body["content"][0]["text"])["a"] in {"x", "y"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_cannot_be_enforced_is_named(client, stream):
    """Before anything is streamed; that of the answer, or that of a tool."""
    bad = {"type": "object", "properties": {"p": {"$ref": "#/nowhere"}}}
    answer = create(client, output_config={"format": {"type": "json_schema", "schema": bad}}, stream=stream)
    assert answer.status_code == 400 and "output_config.format" in answer.json()["error"]["message"]
    tools = [{"name": "a", "input_schema": bad}]
    answer = create(client, tools=tools, tool_choice={"type": "any"}, stream=stream)
    assert answer.status_code == 400 and "the schema of a tool" in answer.json()["error"]["message"]


def test_counts_are_those_of_usage(client):
    """With the chat template, system prompt and tools."""
    asked = {"system": [{"type": "text", "text": "Be brief."}], "tools": [TOOL]}
    counted = create(client, "/v1/messages/count_tokens", **asked, max_tokens=None, temperature=None)
    usage = create(client, **asked).json()["usage"]
    assert counted.json() == {"input_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"]}


def test_the_end_of_the_context_is_a_reason_of_its_own(client):
    """Not that of max_tokens, which allowed more."""
    nearly_all = [{"role": "user", "content": "hello " * 4050}]  # 8,112 of 8,192 tokens
    answer = create(client, max_tokens=100_000, ignore_eos=True, messages=nearly_all).json()
    assert answer["stop_reason"] == "model_context_window_exceeded" and answer["usage"]["output_tokens"] < 100


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"messages": 5, "max_tokens": 1}', b"[" * 100_000])
def test_bad_bodies_are_400_in_anthropic_s_shape(client, path, body):
    """Never a traceback, never a 500."""
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "invalid_request_error" and answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"model": "claude-opus"}, "not_found_error", "claude-opus"),
        ({"max_tokens": None}, "invalid_request_error", "max_tokens"),
        ({"container": "x"}, "invalid_request_error", "container is not supported"),
        ({"messages": [{"role": "user", "content": "hello " * 5000}]}, "invalid_request_error", "context"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_anthropic_s(client, fields, kind, words, stream):
    """Before anything is streamed."""
    answer = create(client, **fields, stream=stream)
    error = answer.json()["error"]
    status = {"not_found_error": 404}.get(kind, 400)
    assert (answer.status_code, error["type"]) == (status, kind) and words in error["message"]


def test_other_paths_are_told_in_openai_s_shape(client):
    """The worker's own; the server in front of it translates."""
    assert client.get("/v1/messages").status_code == 405
