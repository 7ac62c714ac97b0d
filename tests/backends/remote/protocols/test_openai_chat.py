"""OpenAI's chat completions: what is sent, and what the chunks of an answer mean."""

from __future__ import annotations

import json
import math

import pytest
from fake_server import error_answer, send_content
from hosted_servers import send_blocks

from llmcli.backends.remote.protocols.openai_chat import OpenAIChat
from llmcli.errors import TemporaryFailure
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.types import FinishReason, ReasoningDelta, Request, Sampling, Usage

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.fixture
def served(serve):
    """Return the server and the function that asks it."""
    return serve("openai")


def chunk(**fields):
    """Return the bytes of one event."""
    return f"data: {json.dumps(fields)}\n\n".encode()


def choice(delta, reason=None):
    """Return the bytes of an event with one choice."""
    return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": reason}])


def test_a_request_has_messages_and_settings(served):
    """Instructions are a message; only settings that differ from the defaults are sent, and the temperature."""
    server, ask = served
    assert ask(max_tokens=9, stop=("END",), sampling=Sampling(temperature=0.5, top_k=7, seed=3))[0] == "two"
    (body,) = server.chats()
    assert [turn["role"] for turn in body["messages"]] == ["system", "user", "assistant", "user"]
    assert (body["max_tokens"], body["stop"], body["temperature"], body["top_k"], body["seed"]) == (
        9,
        ["END"],
        0.5,
        7,
        3,
    )
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True}) and "top_p" not in body


def test_without_a_limit_none_is_sent(served):
    """The server's own limit ends the answer; that is not a limit of the user."""
    server, ask = served
    server.usual = server.say("Once", end="length")
    _, _, finished = ask()
    assert "max_tokens" not in server.chats()[-1]
    assert (finished.reason, finished.limit) == (FinishReason.LENGTH, "context")


def test_a_limit_has_a_new_name_where_the_old_one_is_refused(served):
    """A limit that is too large is no unknown field."""
    server, ask = served
    server.script = [error_answer(400, "Unsupported parameter: 'max_tokens'", param="max_tokens")]
    ask(max_tokens=9)
    assert "max_tokens" not in server.chats()[-1] and server.chats()[-1]["max_completion_tokens"] == 9
    server.script = [error_answer(400, "max_completion_tokens is too large: 90000", param="max_completion_tokens")]
    assert "too large" in ask(max_tokens=90_000)[2].error.detail
    assert server.chats()[-1]["max_completion_tokens"] == 90_000


def test_a_prompt_goes_to_completions():
    """Without what belongs to messages. The limit and log-probabilities are needed, whatever chats refuse."""
    request = Request("a", (), prompt="Once", max_tokens=9, logprobs=2, sampling=Sampling(temperature=1.0, seed=3))
    made = OpenAIChat().build_request(request, "big", frozenset({"max_tokens", "logprobs", "seed"}))
    assert made.path == "/completions"
    assert made.body == {
        "model": "big",
        "prompt": "Once",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 1.0,
        "logprobs": 2,
    }
    assert {field.name for field in made.optional} == {"stream_options", "temperature"}


def test_a_temperature_that_is_too_high_is_no_unknown_field(served):
    """The error about its range is told."""
    server, ask = served
    server.script = [error_answer(400, "temperature must be at most 2", param="temperature")]
    assert "at most 2" in ask(sampling=Sampling(temperature=2.5))[2].error.detail
    server.script = [error_answer(400, "Unsupported value: temperature", param="temperature")]
    assert ask(sampling=Sampling(temperature=0.5))[0] == "two" and "temperature" not in server.chats()[-1]


def test_thinking_is_asked_for_or_switched_off(served):
    """By an argument of the template; where that is refused, nothing is said about it."""
    server, ask = served
    server.usual = server.say("Yes.", reasoning="Let me think")
    text, events, _ = ask(reasoning=True)
    assert text == "Yes." and "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == "Let me think"
    assert server.chats()[-1]["chat_template_kwargs"] == {"enable_thinking": True}
    ask()
    assert server.chats()[-1]["chat_template_kwargs"] == {"enable_thinking": False}
    server.script = [error_answer(400, "Unrecognized request argument supplied: chat_template_kwargs")]
    assert ask()[0] == "Yes." and "chat_template_kwargs" not in server.chats()[-1]


def test_tags_enclose_reasoning_where_a_server_does_not_split_it_off(served):
    """Also where they come in pieces."""
    server, ask = served
    server.usual = server.say("<think>Hm, two</think>\n\nYes.")
    text, events, _ = ask(reasoning=True)
    assert text.strip() == "Yes." and "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == "Hm, two"


def test_a_schema_is_the_format_of_the_response(served):
    """Where that is refused, the prompt says it."""
    server, ask = served
    server.usual = server.say('{"age": 3}')
    assert ask(schema=PERSON)[0] == '{"age": 3}'
    sent = server.chats()[-1]["response_format"]
    assert (sent["type"], sent["json_schema"]["schema"]) == ("json_schema", PERSON)
    server.script = [error_answer(400, "response_format is not supported", param="response_format")]
    assert ask(schema=PERSON)[0] == '{"age": 3}'
    assert "response_format" not in server.chats()[-1]
    assert "JSON schema" in server.chats()[-1]["messages"][0]["content"]


def test_a_wrong_answer_is_sent_back_with_its_error(served):
    """Servers may ignore the field."""
    server, ask = served
    server.script = [server.say('{"age": "x"}')]
    server.usual = server.say('{"age": 3}')
    assert ask(schema=PERSON)[0] == '{"age": 3}' and "age" in server.last_message(server.chats()[1])


def test_labels_come_from_log_probabilities(served):
    """Of the first tokens of an answer that comes whole."""
    server, ask = served
    top = [{"token": token, "logprob": math.log(chance)} for token, chance in (("pos", 0.7), ("neg", 0.3))]
    message = {"role": "assistant", "content": "pos"}
    content = [{**top[0], "top_logprobs": top}]
    answer = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": content}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 1},
    }
    server.usual = send_content("application/json", json.dumps(answer).encode())
    _, (scores,), finished = ask(candidates=("positive", "negative"))
    assert scores.method == "logprobs" and finished.usage.prompt_tokens == 7
    assert [math.exp(score.logprob) for score in scores.scores] == pytest.approx([0.7, 0.3])
    (body,) = server.chats()
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20) and "stream" not in body


@pytest.mark.parametrize(
    ("end", "reason", "limit"),
    [
        ("stop", FinishReason.STOP, None),
        ("tool_calls", FinishReason.STOP, None),
        ("eos", FinishReason.STOP, None),
        ("length", FinishReason.LENGTH, "max_tokens"),
        ("max_tokens", FinishReason.LENGTH, "max_tokens"),
    ],
)
def test_finish_reasons(served, end, reason, limit):
    """An answer ended by itself, or at a limit."""
    server, ask = served
    usage = {"prompt_tokens": 7, "completion_tokens": 4}
    server.usual = send_blocks([choice({"content": "Once upon"}), choice({}, end), chunk(choices=[], usage=usage)])
    text, _, finished = ask(max_tokens=4)
    assert (text, finished.reason, finished.limit) == ("Once upon", reason, limit)


def test_an_answer_that_a_filter_stopped(served):
    """Is a refusal, whatever came before."""
    server, ask = served
    server.usual = send_blocks([choice({"content": "Once"}), choice({}, "content_filter")])
    error = ask()[2].error
    assert isinstance(error, AnswerRefused) and "filter" in error.detail


@pytest.mark.parametrize("end", ["error", "abort", "network_error"])
def test_an_answer_that_broke_off(served, end):
    """May be whole the next time."""
    server, ask = served
    server.usual = send_blocks([choice({"content": "Once"}), choice({}, end)])
    error = ask()[2].error
    assert isinstance(error, TemporaryFailure) and end in error.detail


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("server_error", 75),
        ("rate_limit_exceeded", 75),
        ("insufficient_quota", 69),
        ("content_filter", 65),
        ("invalid_request_error", 76),
        ("authentication_error", 77),
        ("context_length_exceeded", 65),
    ],
)
def test_errors_in_the_stream(served, code, expected):
    """Have the codes of the statuses that they stand for."""
    server, ask = served
    server.usual = send_blocks([chunk(error={"message": "so it is", "type": "error", "code": code})])
    error = ask()[2].error
    assert (error.exit_code, error.detail) == (expected, "so it is")


def test_an_answer_that_comes_whole(served):
    """Reasoning, text and refusals are fields of the message."""
    server, ask = served
    message = {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    server.usual = send_content("application/json", json.dumps(answer).encode())
    text, events, finished = ask()
    assert (text, events[0].text, finished.usage) == ("Yes.", "Hm", Usage(3, 1, 2))
    answer["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I cannot"}
    server.usual = send_content("application/json", json.dumps(answer).encode())
    error = ask()[2].error
    assert isinstance(error, AnswerRefused) and error.detail == "I cannot"


def test_other_choices_are_no_part_of_the_answer(served):
    """A server that sends several was asked for one."""
    server, ask = served
    other = chunk(choices=[{"index": 1, "delta": {"content": "No"}, "finish_reason": "stop"}])
    server.usual = send_blocks([other, choice({"content": "Yes."}), choice({}, "stop")])
    assert ask()[0] == "Yes."


def test_models_and_their_context():
    """Under the names that the servers have for it."""
    entries = [{"id": "a", "max_model_len": 4096}, {"id": "b", "context_length": True}, {"id": "c", "n_ctx": 9}, "x"]
    found = OpenAIChat().parse_models({"data": entries})
    assert [(model.name, model.context) for model in found] == [("a", 4096), ("b", None), ("c", None)]
