"""Gemini's generateContent: what is sent, and what the parts of an answer mean."""

from __future__ import annotations

import json
import math

import pytest
from fake_server import send_content
from hosted_servers import send_blocks

from llmcli.backends.remote.protocols.gemini_content import GeminiContent, parse_status
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.error_mapping import map_error_status
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import TemporaryFailure, Unauthorized, UnavailableError
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.types import FinishReason, Message, ReasoningDelta, Request, Role, Sampling, Usage

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "additionalProperties": False}


@pytest.fixture
def served(serve):
    """Return the server and the function that asks it."""
    return serve("gemini")


def refuse(field, message):
    """Refuse a setting as the server does."""
    violation = {"field": f"generation_config.{field}", "description": message}
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    error = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": details}}
    return lambda handler, _body: handler.give(400, error)


def test_a_request_has_parts_and_settings(served):
    """Instructions have a field of their own, and the assistant is the model."""
    server, ask = served
    sampling = Sampling(temperature=0.5, top_p=0.5, top_k=9, seed=3, frequency_penalty=0.25, min_p=0.5)
    assert ask(max_tokens=9, stop=("END",), sampling=sampling)[0] == "two"
    (body,) = server.chats()
    assert body["systemInstruction"] == {"parts": [{"text": "Be short."}]}
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert body["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.5,
        "topK": 9,
        "seed": 3,
        "frequencyPenalty": 0.25,
        "stopSequences": ["END"],
        "maxOutputTokens": 9,
        "thinkingConfig": {"thinkingBudget": 0},
    }
    assert server.asked[-1].path == "/v1beta/models/big:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("big", "/models/big:generateContent"),
        ("models/big", "/models/big:generateContent"),
        ("tunedModels/mine", "/tunedModels/mine:generateContent"),
        ("a b?key=c#d", "/models/a%20b%3Fkey%3Dc%23d:generateContent"),
    ],
)
def test_the_model_is_part_of_the_path(model, path):
    """And can be nothing else there."""
    request = Request("a", (Message(Role.USER, "one"),))
    assert GeminiContent().build_request(request, model, frozenset(), stream=False).path == path


def test_thoughts_are_shown_or_kept_short(served):
    """In the ways that models know; those that think in any case get room for it."""
    server, ask = served
    server.usual = server.say("Yes.", reasoning="Let me think")
    text, events, _ = ask(reasoning=True)
    assert text == "Yes." and "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == "Let me think"
    assert server.chats()[-1]["generationConfig"]["thinkingConfig"] == {"includeThoughts": True}
    server.script = [
        refuse("thinking_config", "Budget 0 is invalid. This model only works in thinking mode."),
        refuse("thinking_config", "Thinking level is not supported for this model."),
    ]
    ask(max_tokens=50)
    settings = [body["generationConfig"] for body in server.chats()[1:]]
    ways = [{"thinkingBudget": 0}, {"thinkingLevel": "low"}, {"thinkingBudget": 128}]
    assert [each["thinkingConfig"] for each in settings] == ways
    assert [each["maxOutputTokens"] for each in settings] == [50, 4146, 4146]
    server.script = [refuse("thinking_config", "Thinking is not enabled for models/big")]
    ask(max_tokens=50)
    assert "thinkingConfig" not in server.chats()[-1]["generationConfig"]
    assert server.chats()[-1]["generationConfig"]["maxOutputTokens"] == 50


def test_a_schema_has_two_fields(served):
    """For JSON Schema and for the keywords of OpenAPI; where both are refused, the prompt says it."""
    server, ask = served
    server.usual = server.say('{"age": 3}')
    message = "Invalid JSON payload received. Unknown name \"{}\" at 'generation_config': Cannot find field."
    server.script = [refuse("x", message.format("responseJsonSchema"))]
    assert ask(schema=PERSON)[0] == '{"age": 3}'
    first, second = (body["generationConfig"] for body in server.chats())
    assert first["responseJsonSchema"] == PERSON and first["responseMimeType"] == "application/json"
    assert second["responseSchema"] == {"type": "object", "properties": {"age": {"type": "integer"}}}
    server.script = [refuse("x", message.format("responseSchema"))]
    assert ask(schema=PERSON)[0] == '{"age": 3}'
    assert "JSON schema" in server.chats()[-1]["systemInstruction"]["parts"][0]["text"]


def test_labels_come_from_log_probabilities(served):
    """Of an answer that comes whole."""
    server, ask = served
    top = [
        {"token": token, "tokenId": number, "logProbability": math.log(chance)}
        for number, (token, chance) in enumerate((("pos", 0.7), ("neg", 0.3)))
    ]
    candidate = {
        "content": {"parts": [{"text": "pos"}]},
        "finishReason": "STOP",
        "logprobsResult": {"chosenCandidates": top[:1], "topCandidates": [{"candidates": top}]},
    }
    server.usual = send_content("application/json", json.dumps({"candidates": [candidate]}).encode())
    _, (scores,), _ = ask(candidates=("positive", "negative"))
    assert scores.method == "logprobs"
    assert [math.exp(score.logprob) for score in scores.scores] == pytest.approx([0.7, 0.3])
    settings = server.chats()[0]["generationConfig"]
    assert (settings["responseLogprobs"], settings["logprobs"]) == (True, 20)
    assert server.asked[-1].path.endswith(":generateContent")


def test_usage_counts_thoughts(served):
    """They are generated tokens."""
    server, ask = served
    usage = {
        "promptTokenCount": 9,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 16,
    }
    event = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage}
    server.usual = send_blocks([f"data: {json.dumps(event)}\n\n".encode()])
    assert ask()[2].usage == Usage(9, 4, 7)


@pytest.mark.parametrize(
    ("end", "reason"),
    [("STOP", FinishReason.STOP), ("MAX_TOKENS", FinishReason.LENGTH), ("CONTINUATION", FinishReason.LENGTH)],
)
def test_finish_reasons(served, end, reason):
    """An answer ended by itself, or at a limit."""
    server, ask = served
    server.usual = server.say("Once", end=end)
    assert ask()[2].reason is reason


@pytest.mark.parametrize(
    "end", ["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "A_NEW_FILTER"]
)
def test_an_answer_that_a_filter_stopped(served, end):
    """Is a refusal with the reason, whatever came before."""
    server, ask = served
    server.usual = server.say("Once", end=end)
    error = ask()[2].error
    assert isinstance(error, AnswerRefused) and end in error.detail


@pytest.mark.parametrize("end", ["OTHER", "MALFORMED_RESPONSE", "FINISH_REASON_UNSPECIFIED"])
def test_an_answer_that_broke_off(served, end):
    """May be whole the next time."""
    server, ask = served
    server.usual = server.say("Once", end=end)
    error = ask()[2].error
    assert isinstance(error, TemporaryFailure) and end in error.detail


def test_a_prompt_that_is_blocked(served):
    """Has no candidates, but a reason."""
    server, ask = served
    ratings = [
        {"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "HIGH", "blocked": True},
        {"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"},
    ]
    event = {"promptFeedback": {"blockReason": "SAFETY", "safetyRatings": ratings}}
    server.usual = send_blocks([f"data: {json.dumps(event)}\n\n".encode()])
    error = ask()[2].error
    assert isinstance(error, AnswerRefused)
    assert error.detail == "the prompt was blocked: SAFETY (HARM_CATEGORY_HATE_SPEECH)"


def status(number, code, *details):
    """Return the error for a status with such a body."""
    body = json.dumps([{"error": {"code": number, "message": "so it is", "status": code, "details": list(details)}}])
    server = ServerConfig("http://127.0.0.1:9/v1beta", type="gemini")
    return map_error_status(
        server, ApiKey("k", "THE_KEY"), "big", number, headers={}, body=body.encode(), parse=parse_status
    )


def test_errors_say_more_in_their_details():
    """A wrong key has the status of a bad request; a quota for a minute has a pause, one for a day is used up."""
    wrong = status(400, "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"})
    assert isinstance(wrong, Unauthorized) and wrong.key == "THE_KEY"
    busy = status(429, "RESOURCE_EXHAUSTED", {"retryDelay": "34.5s"})
    assert isinstance(busy, TemporaryFailure) and busy.retry_after == 34.5
    spent = status(429, "RESOURCE_EXHAUSTED", {"violations": [{"quotaId": "RequestsPerDayPerProject-FreeTier"}]})
    assert isinstance(spent, UnavailableError)
    for odd in ("x", {"error": "x"}, {"error": {"details": ["x", {"violations": ["x"], "fieldViolations": ["x"]}]}}):
        assert parse_status(odd).retry_after is None


def test_models_that_generate_content():
    """Under the names that requests use, with what they read."""
    listed = {
        "models": [
            {"name": "models/big", "inputTokenLimit": 1_048_576, "supportedGenerationMethods": ["generateContent"]},
            {"name": "models/embedding", "supportedGenerationMethods": ["embedContent"]},
            {"name": "models/old"},
        ]
    }
    found = GeminiContent().parse_models(listed)
    assert [(model.name, model.context) for model in found] == [("big", 1_048_576), ("old", None)]
