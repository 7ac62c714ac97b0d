"""OpenAI's Responses: what is sent, and what the events of an answer mean."""

from __future__ import annotations

import json
import math
import threading

import pytest
from fake_server import error_answer, send_content
from hosted_servers import send_blocks

from llmcli.errors import RequestRejected, TemporaryFailure
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.types import FinishReason, ReasoningDelta, Sampling, Usage

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.fixture
def served(serve):
    """Return the server and the function that asks it."""
    return serve("openai-responses")


def event(**fields):
    """Return the bytes of one event."""
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


def test_a_request_stores_nothing(served):
    """Instructions have a field of their own; a limit below the least one is raised to it."""
    server, ask = served
    assert ask(max_tokens=4, sampling=Sampling(temperature=0.5, top_p=0.5))[0] == "two"
    (body,) = server.chats()
    assert (body["instructions"], body["store"], body["stream"]) == ("Be short.", False, True)
    assert body["input"][-1] == {"role": "user", "content": "two"} and len(body["input"]) == 3
    assert (body["max_output_tokens"], body["temperature"], body["top_p"]) == (16, 0.5, 0.5)


def test_reasoning_is_kept_short_or_summarized(served):
    """In the ways that models know; those that reason in any case get room for it, others refuse the field."""
    server, ask = served
    ask()
    assert server.chats()[-1]["reasoning"] == {"effort": "none"}
    server.script = [error_answer(400, "Unsupported value: 'none'", param="reasoning.effort")]
    ask(max_tokens=50)
    assert server.chats()[-1]["reasoning"] == {"effort": "low"}
    assert server.chats()[-1]["max_output_tokens"] == 50 + 4096
    server.script = [error_answer(400, "Unsupported parameter: 'reasoning.effort'", param="reasoning.effort")]
    ask(max_tokens=50)
    assert "reasoning" not in server.chats()[-1] and server.chats()[-1]["max_output_tokens"] == 50
    server.usual = server.say("Yes.", reasoning="Let me think")
    _, events, _ = ask(reasoning=True)
    assert server.chats()[-1]["reasoning"] == {"summary": "auto"}
    assert "".join(each.text for each in events if isinstance(each, ReasoningDelta)) == "Let me think"


def test_a_schema_is_the_format_of_the_text(served):
    """Where that is refused, the prompt says it."""
    server, ask = served
    server.usual = server.say('{"age": 3}')
    assert ask(schema=PERSON)[0] == '{"age": 3}'
    sent = server.chats()[-1]["text"]["format"]
    assert (sent["type"], sent["name"], sent["schema"]) == ("json_schema", "answer", PERSON)
    server.script = [error_answer(400, "Unsupported", param="text.format")]
    assert ask(schema=PERSON)[0] == '{"age": 3}'
    assert "text" not in server.chats()[-1] and "JSON schema" in server.chats()[-1]["instructions"]


def test_labels_come_from_log_probabilities(served):
    """Of the first tokens of an answer that comes whole."""
    server, ask = served
    top = [
        {"token": token, "logprob": math.log(chance), "bytes": list(token.encode())}
        for token, chance in (("pos", 0.7), ("neg", 0.3))
    ]
    part = {"type": "output_text", "text": "pos", "logprobs": [{**top[0], "top_logprobs": top}]}
    usage = {"input_tokens": 7, "output_tokens": 1}
    answer = {"status": "completed", "output": [{"type": "message", "content": [part]}], "usage": usage}
    server.usual = send_content("application/json", json.dumps(answer).encode())
    _, (scores,), finished = ask(candidates=("positive", "negative"))
    assert scores.method == "logprobs" and finished.usage.prompt_tokens == 7
    assert [math.exp(score.logprob) for score in scores.scores] == pytest.approx([0.7, 0.3])
    (body,) = server.chats()
    assert (body["include"], body["top_logprobs"]) == (["message.output_text.logprobs"], 20) and "stream" not in body


def test_stop_strings_are_looked_for_here(served):
    """The protocol has none; what may be the beginning of one is held back, and comes when it is none."""
    server, ask = served
    server.usual = server.say("One, two, END three")
    text, _, finished = ask(stop=("END", "nothing"))
    assert (text, finished.reason) == ("One, two, ", FinishReason.STOP)
    server.usual = server.say("The EN")
    assert ask(stop=("END",))[0] == "The EN"


def test_a_server_that_goes_on_after_a_stop_string_is_left(served):
    """The client disconnects at once, so that the server stops generating."""
    server, ask = served

    def go_on(handler, _body):
        def blocks():
            yield from server.events("One END")[:-1]
            while not server.over.wait(0.01):
                yield event(type="response.output_text.delta", output_index=1, delta=" and on")

        try:
            handler.stream_blocks(blocks())
        finally:
            left.set()

    left = threading.Event()
    server.usual = go_on
    text, _, finished = ask(stop=("END",))
    assert (text, finished.reason) == ("One ", FinishReason.STOP)
    assert left.wait(20)  # otherwise it would go on until the test ends


def test_commentary_is_no_part_of_the_answer(served):
    """It is what a model says on its way."""
    server, ask = served
    added = event(type="response.output_item.added", output_index=0, item={"type": "message", "phase": "commentary"})
    said = event(type="response.output_text.delta", output_index=0, delta="I will look.")
    server.usual = send_blocks([added, said, *server.events("Yes.")])
    text, events, _ = ask()
    assert text == "Yes." and [each.text for each in events] == ["I will look."]


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "hiccup"}}, TemporaryFailure, "hiccup"),
        ({"status": "failed", "error": {"code": "bio_policy", "message": "no"}}, AnswerRefused, "no"),
        ({"status": "failed", "error": {"code": "invalid_image", "message": "odd"}}, RequestRejected, "odd"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, AnswerRefused, "filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_messages"}}, TemporaryFailure, "max_messages"),
        ({"status": "cancelled"}, TemporaryFailure, "cancelled"),
    ],
)
def test_ends_that_are_none(served, response, kind, words):
    """Each with what the server says."""
    server, ask = served
    server.usual = send_blocks([event(type=f"response.{response['status']}", response=response)])
    error = ask()[2].error
    assert isinstance(error, kind) and words in error.detail


def test_an_answer_that_comes_whole(served):
    """Reasoning, text and refusals are parts of items."""
    server, ask = served
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"type": "web_search_call", "content": [{"text": "no part of it"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "Yes."}]},
    ]
    usage = {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 2}
    answer = {"status": "completed", "output": output, "usage": usage}
    server.usual = send_content("application/json", json.dumps(answer).encode())
    text, events, finished = ask()
    assert (text, events[0].text, finished.usage) == ("Yes.", "Hm", Usage(3, 1, 2))
    output[-1]["content"] = [{"type": "refusal", "refusal": "I cannot"}]
    server.usual = send_content("application/json", json.dumps(answer).encode())
    assert isinstance(ask()[2].error, AnswerRefused)
