"""Responses of the Responses API, from scripted events."""

from __future__ import annotations

import copy

from llmcli.errors import TemporaryFailure
from llmcli.openai_api.fields import parse_body
from llmcli.openai_api.response_builder import ResponseBuilder
from llmcli.openai_api.responses_request import parse_response_request
from llmcli.types import Finished, FinishReason, ReasoningDelta, TextDelta, TokenLogprobs, Usage

STOP = Finished("0", FinishReason.STOP, Usage(10, 4, 5), reasoning_tokens=2)
TOOLS = [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}]


def builder_of(**fields):
    return ResponseBuilder(parse_body(parse_response_request, {"input": "a", **fields}), "tiny")


def build(*events, **fields):
    """Return the events of the stream as they were when they were sent, and the response at its end."""
    builder = builder_of(**fields)
    return [copy.deepcopy(said) for event in events for said in builder.feed(event)], builder.dump()


def names(said):
    return [event["type"].removeprefix("response.") for event in said]


def test_reasoning_is_an_item_before_the_message():
    """With its text, and its tokens among those of the output."""
    said, response = build(ReasoningDelta("0", "h"), ReasoningDelta("0", "m"), TextDelta("0", "ok"), STOP)
    reasoning, message = response["output"]
    assert reasoning["type"] == "reasoning" and reasoning["summary"] == []
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert message["content"] == [{"type": "output_text", "text": "ok", "annotations": [], "logprobs": []}]
    item = ["output_item.added", "content_part.added"], ["content_part.done", "output_item.done"]
    reasons = ["reasoning_text.delta", "reasoning_text.delta", "reasoning_text.done"]
    texts = ["output_text.delta", "output_text.done"]
    assert names(said[2:-1]) == [*item[0], *reasons, *item[1], *item[0], *texts, *item[1]]
    assert [event["output_index"] for event in said[2:-1]] == [0] * 7 + [1] * 6
    assert len({event["item_id"] for event in said if "item_id" in event}) == 2
    assert response["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}
    assert response["status"] == reasoning["status"] == message["status"] == "completed"


def test_text_and_calls_are_items_in_their_order():
    """An item is added without its text or arguments, and done with them."""
    call = '<tool_call>{"name": "f", "arguments": {"a": "é"}}</tool_call>'
    said, response = build(TextDelta("0", "So: "), TextDelta("0", call + call), STOP, tools=TOOLS)
    assert [item["type"] for item in response["output"]] == ["message", "function_call", "function_call"]
    assert response["output"][1]["arguments"] == '{"a": "é"}'
    assert len({item["call_id"] for item in response["output"][1:]}) == 2
    added = [event["item"] for event in said if event["type"] == "response.output_item.added"]
    assert added[0]["content"] == [] and added[1]["arguments"] == ""
    done = [event["item"] for event in said if event["type"] == "response.output_item.done"]
    assert done == response["output"] == said[-1]["response"]["output"]


def test_a_cut_message_is_incomplete_and_what_precedes_it_is_not():
    """The response says by what it was cut."""
    cut = Finished("0", FinishReason.LENGTH, limit="max_tokens")
    said, response = build(ReasoningDelta("0", "hm"), TextDelta("0", "o"), cut)
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]
    assert said[-1]["type"] == "response.incomplete" and response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"} and response["completed_at"] is None


def test_an_error_in_the_middle_is_a_failed_response():
    """With what was there, and why."""
    builder = builder_of()
    begun = list(builder.feed(TextDelta("0", "o")))
    (failed,) = builder.fail(TemporaryFailure("the worker", detail="it ends"))
    assert failed["type"] == "response.failed" and failed["sequence_number"] == len(begun)
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": "the worker: it ends"}


def test_the_fields_of_the_request_are_repeated():
    """With the values that were used."""
    text = {"format": {"type": "json_schema", "name": "s", "schema": {}}}
    asked = {"instructions": "i", "temperature": 0.5, "metadata": {"k": "v"}, "reasoning": {"effort": "low"}}
    _, response = build(STOP, **asked, tools=TOOLS, tool_choice="none", text=text)
    assert response["instructions"] == "i" and response["temperature"] == 0.5
    assert response["metadata"] == {"k": "v"} and response["reasoning"] == {"effort": "low", "summary": None}
    assert response["text"] == text and response["tool_choice"] == "none"
    assert response["tools"] == [{**TOOLS[0], "description": None}] and response["output"] == []
    _, usual = build(STOP)
    assert usual["tool_choice"] == "auto" and usual["text"] == {"format": {"type": "text"}} and usual["tools"] == []


def test_log_probabilities_are_in_the_text_of_the_message():
    """Each with the piece of text that it belongs to; those of a call are in none."""
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    first, held, last = (TokenLogprobs("0", token, -0.5, ((token, -0.5),)) for token in (b"So", b": ", b"call"))
    said, response = build(
        first, TextDelta("0", "So"), held, TextDelta("0", ": "), last, TextDelta("0", call), STOP, tools=TOOLS
    )
    message, called = response["output"]
    assert [each["token"] for each in message["content"][0]["logprobs"]] == ["So", ": "] and "content" not in called
    deltas = [event["logprobs"] for event in said if event["type"] == "response.output_text.delta"]
    assert deltas == [[each] for each in message["content"][0]["logprobs"]]
    (done,) = [event for event in said if event["type"] == "response.output_text.done"]
    assert done["logprobs"] == message["content"][0]["logprobs"]
    assert deltas[0][0] | {"top_logprobs": []} == {
        "token": "So",
        "logprob": -0.5,
        "bytes": [83, 111],
        "top_logprobs": [],
    }
    (added,) = [event["part"] for event in said if event["type"] == "response.content_part.added"]
    assert added["logprobs"] == []


def test_a_token_without_text_belongs_to_the_open_message():
    """Its text was held back as the beginning of a stop string."""
    tokens = [TokenLogprobs("0", token, -0.5) for token in (b"a", b"b")]
    _, response = build(tokens[0], TextDelta("0", "a"), tokens[1], STOP)
    assert [each["token"] for each in response["output"][0]["content"][0]["logprobs"]] == ["a", "b"]
    assert build(tokens[0], STOP)[1]["output"] == []
