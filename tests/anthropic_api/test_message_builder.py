"""Messages in Anthropic's format, from scripted events."""

from __future__ import annotations

from llmcli.anthropic_api.message_builder import MessageBuilder
from llmcli.anthropic_api.messages_request import parse_message_request
from llmcli.errors import TemporaryFailure
from llmcli.types import Finished, FinishReason, Phase, ReasoningDelta, RequestProgress, TextDelta, Usage

ASKED = {"max_tokens": 9, "messages": [{"role": "user", "content": "a"}]}
TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]
STOP = Finished("0", FinishReason.STOP, Usage(10, 4, 5))


def build(*events, **fields):
    """Return the events of the stream, and the message at its end."""
    builder = MessageBuilder(parse_message_request({**ASKED, **fields}), "tiny")
    return [said for event in events for said in builder.feed(event)], builder.dump()


def names(said):
    return [event["type"].removeprefix("content_block_") for event in said]


def test_reasoning_is_a_block_before_the_text():
    """Each with its index; the block of reasoning ends with a signature, as the protocol has it."""
    said, message = build(ReasoningDelta("0", "hm"), ReasoningDelta("0", "m"), TextDelta("0", "ok"), STOP)
    assert message["content"] == [
        {"type": "thinking", "thinking": "hmm", "signature": ""},
        {"type": "text", "text": "ok"},
    ]
    assert names(said[1:-2]) == ["start", "delta", "delta", "delta", "stop", "start", "delta", "stop"]
    assert [event["delta"]["type"] for event in said if event["type"] == "content_block_delta"] == [
        "thinking_delta",
        "thinking_delta",
        "signature_delta",
        "text_delta",
    ]
    assert [event["index"] for event in said[1:-2]] == [0, 0, 0, 0, 0, 1, 1, 1]


def test_text_and_calls_are_blocks_in_their_order():
    """A call comes in one piece of JSON."""
    call = '<tool_call>{"name": "f", "arguments": {"a": "é"}}</tool_call>'
    said, message = build(TextDelta("0", "So: "), TextDelta("0", call), TextDelta("0", call), STOP, tools=TOOLS)
    assert [block["type"] for block in message["content"]] == ["text", "tool_use", "tool_use"]
    assert message["content"][1]["input"] == {"a": "é"} and message["stop_reason"] == "tool_use"
    assert len({block["id"] for block in message["content"][1:]}) == 2
    assert [event["delta"]["partial_json"] for event in said if "partial_json" in event.get("delta", ())] == [
        '{"a": "é"}',
        '{"a": "é"}',
    ]


def test_one_call_at_most_where_parallel_ones_are_disabled():
    """As tool_choice says."""
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    _, message = build(TextDelta("0", call + call), STOP, tools=TOOLS, tool_choice=choice)
    assert [block["type"] for block in message["content"]] == ["tool_use"]


def test_progress_begins_a_stream_and_keeps_it_alive():
    """With the tokens of the prompt, those in the cache apart; later reports are pings."""
    reading = [RequestProgress("0", Phase.READING, done, 10) for done in (4, 8)]
    said, _ = build(*reading, RequestProgress("0", Phase.WRITING, 1), TextDelta("0", "a"), STOP)
    assert [event["type"] for event in said[:3]] == ["message_start", "ping", "content_block_start"]
    usage = said[0]["message"]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (6, 4, 0)
    assert said[-2]["usage"]["input_tokens"] == 6 and said[-2]["usage"]["output_tokens"] == 5


def test_the_reason_of_the_end():
    """Each of the engine's has a name of the protocol's."""
    ends = {
        "end_turn": STOP,
        "stop_sequence": Finished("0", FinishReason.STOP, stop_string="X"),
        "max_tokens": Finished("0", FinishReason.LENGTH, limit="max_tokens"),
        "model_context_window_exceeded": Finished("0", FinishReason.LENGTH, limit="context"),
    }
    for reason, end in ends.items():
        said, message = build(end)
        assert message["stop_reason"] == said[-2]["delta"]["stop_reason"] == reason
        assert message["stop_sequence"] == end.stop_string and message["content"] == []


def test_reasoning_tokens_are_told_where_there_are_some():
    """As part of the output's."""
    end = Finished("0", FinishReason.STOP, Usage(1, 0, 5), reasoning_tokens=3)
    assert build(end)[1]["usage"]["output_tokens_details"] == {"thinking_tokens": 3}
    assert "output_tokens_details" not in build(STOP)[1]["usage"]


def test_an_error_in_the_middle_is_an_event():
    """Of the same shape as an error response."""
    builder = MessageBuilder(parse_message_request(ASKED), "tiny")
    (event,) = builder.fail(TemporaryFailure("the worker", detail="it ends"))
    assert event == {"type": "error", "error": {"type": "overloaded_error", "message": "the worker: it ends"}}
