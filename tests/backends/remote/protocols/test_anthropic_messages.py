"""Anthropic's Messages: what is sent, and what the events of an answer mean."""

from __future__ import annotations

import json

import pytest
from fake_server import error_answer, send_content
from hosted_servers import send_blocks

from llmcli.backends.remote.protocols.anthropic_messages import API_VERSION, AnthropicMessages
from llmcli.errors import TemporaryFailure
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.types import CandidateScores, FinishReason, Message, ReasoningDelta, Request, Role, Sampling, Usage

PERSON = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 1}}, "required": ["age"]}
TURNS = (Message(Role.SYSTEM, "Be short."), Message(Role.USER, "one"))
MARK = {"type": "ephemeral"}


@pytest.fixture
def served(serve):
    """Return the server and the function that asks it."""
    return serve("anthropic")


def build(refused=(), *, schema=None, **fields):
    """Return the body of a request."""
    request = Request("a", **({"messages": TURNS} | fields))
    return AnthropicMessages().build_request(request, "big", frozenset(refused), schema=schema).body


def test_a_request_has_blocks_and_a_limit(served):
    """Instructions are system blocks; the limit, which is required, is that of the request."""
    server, ask = served
    assert ask(max_tokens=9, stop=("END",), sampling=Sampling(temperature=0.5))[0] == "two"
    (body,) = server.chats()
    assert body["system"] == [{"type": "text", "text": "Be short."}]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][0]["content"] == [{"type": "text", "text": "one"}]
    assert (body["max_tokens"], body["stop_sequences"], body["temperature"], body["stream"]) == (9, ["END"], 0.5, True)
    assert server.asked[-1].headers["anthropic-version"] == API_VERSION


def test_a_temperature_that_is_too_high_is_no_unknown_field(served):
    """The error about its range is told; one about the field itself leaves it out."""
    server, ask = served
    server.script = [error_answer(400, "temperature: range: 0..1")]
    assert "range" in ask(sampling=Sampling(temperature=1.5))[2].error.detail
    server.script = [error_answer(400, "temperature: Extra inputs are not permitted")]
    assert ask(sampling=Sampling(temperature=1.5))[0] == "two" and "temperature" not in server.chats()[-1]


def test_blank_texts_are_left_out():
    """The server refuses them; a turn may be blank where an earlier answer was stopped at once."""
    turns = (
        Message(Role.SYSTEM, " "),
        Message(Role.USER, "one"),
        Message(Role.ASSISTANT, "\n"),
        Message(Role.USER, "2"),
    )
    body = build(messages=turns)
    assert "system" not in body and [turn["content"][0]["text"] for turn in body["messages"]] == ["one", "2"]


def test_what_later_requests_repeat_is_marked_for_the_cache():
    """Instructions, the last example, or the whole of a conversation; never the question after public examples."""
    assert build()["system"][-1]["cache_control"] == MARK
    turns = (*TURNS, Message(Role.ASSISTANT, "1"), Message(Role.USER, "two"))
    public = build(messages=turns, public_prefix=True)["messages"]
    assert ["cache_control" in turn["content"][0] for turn in public] == [False, True, False]
    talk = build(messages=turns)["messages"]
    assert ["cache_control" in turn["content"][0] for turn in talk] == [False, False, True]
    assert "cache_control" not in json.dumps(build(["cache_control"]))


def test_thinking_is_asked_for_or_switched_off(served):
    """In the ways that models know, one after the other; without thinking the temperature is sent."""
    server, ask = served
    server.usual = server.say("Yes.", reasoning="Let me think")
    text, events, _ = ask(reasoning=True)
    assert text == "Yes." and "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == "Let me think"
    assert server.chats()[-1]["thinking"]["type"] == "adaptive" and "temperature" not in server.chats()[-1]
    server.script = [error_answer(400, "adaptive thinking is not supported on this model")]
    ask(reasoning=True, max_tokens=8192)
    assert server.chats()[-1]["thinking"] == {"type": "enabled", "budget_tokens": 4096}
    ask(reasoning=True, max_tokens=500)
    assert "thinking" not in server.chats()[-1] and server.chats()[-1]["temperature"] == 0.7
    ask()
    assert server.chats()[-1]["thinking"] == {"type": "disabled"}


def test_a_model_that_always_thinks_gets_room_for_it():
    """Since its limit counts thinking too."""
    assert build(max_tokens=50)["max_tokens"] == 50
    assert build(["thinking.disabled"], max_tokens=50)["max_tokens"] == 50 + 4096


def test_without_a_limit_there_is_a_high_one(served):
    """Lower where the model refuses it; an answer that ends there is cut by no limit of the user."""
    server, ask = served
    server.script = [error_answer(400, "max_tokens: 32000 > 8192, which is the maximum allowed number for big")]
    server.usual = server.say("Once", end="length")
    _, _, finished = ask()
    assert [body["max_tokens"] for body in server.chats()] == [32_000, 4096]
    assert (finished.reason, finished.limit) == (FinishReason.LENGTH, "max_tokens")
    server.script = [error_answer(400, "max_tokens: 90000 > 8192, which is the maximum allowed number for big")]
    assert "90000" in ask(max_tokens=90_000)[2].error.detail


def test_a_schema_is_the_format_of_the_output(served):
    """With the keywords that are accepted; the answer is checked for the others."""
    server, ask = served
    server.script = [server.say('{"age": 0}')]
    server.usual = server.say('{"age": 3}')
    assert ask(schema=PERSON)[0] == '{"age": 3}'
    sent = server.chats()[0]["output_config"]["format"]
    assert sent["type"] == "json_schema" and sent["schema"]["additionalProperties"] is False
    assert sent["schema"]["properties"] == {"age": {"type": "integer"}} and "tools" not in server.chats()[0]
    assert "minimum of 1" in server.last_message(server.chats()[1])


def test_older_models_call_a_tool_instead(served):
    """That they have to call; where that is refused too, the prompt says it."""
    server, ask = served
    server.fields_refused = {"output_config"}
    server.usual = server.say('{"age": 3}', tool=True)
    text, _, finished = ask(schema=PERSON, reasoning=True)
    assert (text, finished.reason) == ('{"age": 3}', FinishReason.STOP)
    body = server.chats()[-1]
    assert body["tool_choice"] == {"type": "tool", "name": "answer"} and body["tools"][0]["input_schema"] == PERSON
    assert body["thinking"]["type"] == "disabled"  # a forced tool and thinking exclude each other
    server.fields_refused |= {"tool_choice"}
    server.usual = server.say('{"age": 3}')
    assert ask(schema=PERSON)[0] == '{"age": 3}' and "JSON schema" in server.chats()[-1]["system"][0]["text"]


def test_labels_are_sampled(served):
    """The protocol has no log-probabilities; none are asked for."""
    server, ask = served
    server.usual = server.say("positive")
    _, (scores,), _ = ask(candidates=("positive", "negative"))
    assert isinstance(scores, CandidateScores) and scores.method == "samples" and len(server.chats()) == 5
    assert "logprobs" not in json.dumps(server.chats())


def test_usage_counts_the_cache(served):
    """What was read from it is cached; what was written to it was part of the prompt too. Later counts are sums."""
    server, ask = served
    start, end = server.events("x")[0], server.events("x")[-1]
    usage = {"input_tokens": 50, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 20, "output_tokens": 8}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    server.usual = send_blocks([start, f"event: message_delta\ndata: {json.dumps(delta)}\n\n".encode(), end])
    assert ask()[2].usage == Usage(100, 30, 8)


@pytest.mark.parametrize(
    ("end", "reason", "limit"),
    [
        ("end_turn", FinishReason.STOP, None),
        ("stop_sequence", FinishReason.STOP, None),
        ("tool_use", FinishReason.STOP, None),
        ("max_tokens", FinishReason.LENGTH, "max_tokens"),
        ("model_context_window_exceeded", FinishReason.LENGTH, "context"),
    ],
)
def test_stop_reasons(served, end, reason, limit):
    """An answer ended by itself, or at a limit."""
    server, ask = served
    server.usual = server.say("Once upon a time", end=end)
    text, _, finished = ask(max_tokens=4)
    assert (text, finished.reason, finished.limit) == ("Once upon a time", reason, limit)


def test_a_paused_turn_is_no_answer(served):
    """Nor is a reason that is not known."""
    server, ask = served
    for reason in ("pause_turn", "something_new"):
        server.usual = server.say("Once", end=reason)
        error = ask()[2].error
        assert isinstance(error, TemporaryFailure) and reason in error.detail


def test_a_refusal_gives_its_category_and_explanation(served):
    """If there are any."""
    server, ask = served
    server.usual = server.say("It could enable harm.", end="refusal")
    error = ask()[2].error
    assert isinstance(error, AnswerRefused) and error.detail == "cyber: It could enable harm."
    delta = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": None}, "usage": {}}
    server.usual = send_blocks([f"data: {json.dumps(delta)}\n\n".encode(), b'data: {"type": "message_stop"}\n\n'])
    assert ask()[2].error.detail == "it gives no reason"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded_error", 75),
        ("rate_limit_error", 75),
        ("api_error", 75),
        ("timeout_error", 75),
        ("authentication_error", 77),
        ("permission_error", 77),
        ("billing_error", 69),
        ("invalid_request_error", 76),
    ],
)
def test_errors_in_the_stream(served, kind, code):
    """Have the codes of the statuses that they stand for."""
    server, ask = served
    event = {"type": "error", "error": {"type": kind, "message": "so it is"}}
    server.usual = send_blocks([f"event: error\ndata: {json.dumps(event)}\n\n".encode()])
    error = ask()[2].error
    assert (error.exit_code, error.detail) == (code, "so it is")


def test_an_answer_that_comes_whole(served):
    """Of a server that does not stream: blocks of thinking, of text and of a tool."""
    server, ask = served
    blocks = [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Yes."}]
    answer = {"content": blocks, "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 2}}
    server.usual = send_content("application/json", json.dumps(answer).encode())
    text, events, finished = ask()
    assert (text, events[0].text, finished.usage) == ("Yes.", "Hm", Usage(3, 0, 2))
    answer["content"] = [{"type": "tool_use", "name": "answer", "input": {"age": 3}}]
    server.usual = send_content("application/json", json.dumps(answer).encode())
    assert ask(schema=PERSON)[0] == '{"age": 3}'


def test_a_stop_string_of_blanks_is_looked_for_here(served):
    """Since the server refuses it; also where it comes in two pieces."""
    server, ask = served
    server.usual = server.say("One line\n\nAnd another")
    text, _, finished = ask(stop=("\n\n", "END"))
    assert (text, finished.reason) == ("One line", FinishReason.STOP)
    assert server.chats()[-1]["stop_sequences"] == ["END"]


def test_models_and_their_context():
    """As they are listed."""
    listed = {"data": [{"type": "model", "id": "big", "max_input_tokens": 200_000}, {"id": "old"}, "x"]}
    found = AnthropicMessages().parse_models(listed)
    assert [(model.name, model.context) for model in found] == [("big", 200_000), ("old", None)]
