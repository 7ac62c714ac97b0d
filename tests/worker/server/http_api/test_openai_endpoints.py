"""OpenAI's paths of the worker's application, on the real engine and a tiny model."""

from __future__ import annotations

import json

import pytest

from llmcli.config.engine_options import EngineOptions
from llmcli.types import Message, Request, Role
from llmcli.worker.server import endpoints

HELLO = [{"role": "user", "content": "hello"}]


def chat(client, **fields):
    body = {"messages": HELLO, "max_tokens": 8, "temperature": 0, **fields}
    return client.post("/v1/chat/completions", json=body)


def stream(client, **fields):
    """Return the objects of a stream, which must end correctly."""
    answer = chat(client, stream=True, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    *lines, last = [line for line in answer.text.split("\n\n") if line]
    assert last == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_a_whole_answer(client):
    """In OpenAI's shape, with usage."""
    answer = chat(client)
    assert answer.status_code == 200
    body = answer.json()
    (choice,) = body["choices"]
    assert body["object"] == "chat.completion" and body["model"] == "tiny" and body["id"].startswith("chatcmpl-")
    assert choice["message"]["role"] == "assistant" and isinstance(choice["message"]["content"], str)
    assert choice["finish_reason"] in {"stop", "length"} and choice["logprobs"] is None
    usage = body["usage"]
    assert (
        usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] and usage["completion_tokens"] <= 8
    )


def test_a_stream_equals_the_whole_answer(client):
    """Role first, then pieces that form the whole answer, then the reason, then usage on request."""
    whole = chat(client).json()
    first, *pieces, end, usage = stream(client, stream_options={"include_usage": True})
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(piece["choices"][0]["delta"]["content"] for piece in pieces)
    assert text == whole["choices"][0]["message"]["content"]
    assert end["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert len({chunk["id"] for chunk in (first, *pieces, end, usage)}) == 1


def test_several_answers(client, monkeypatch):
    """Each has its own seed; the prompt counts once. In an exact engine, whatever shares a batch."""
    monkeypatch.setattr(endpoints, "EngineOptions", lambda: EngineOptions(deterministic=True))
    body = chat(client, n=3, temperature=2, seed=5).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert len(set(texts)) > 1
    assert body["usage"]["prompt_tokens"] == chat(client).json()["usage"]["prompt_tokens"]
    again = chat(client, n=3, temperature=2, seed=5).json()
    assert [choice["message"]["content"] for choice in again["choices"]] == texts
    assert {chunk["choices"][0]["index"] for chunk in stream(client, n=3, temperature=2, seed=5)} == {0, 1, 2}


def test_logprobs(client):
    """Each token with its own and those of the most likely ones, whose probabilities sum to at most one."""
    body = chat(client, logprobs=True, top_logprobs=3).json()
    content = body["choices"][0]["logprobs"]["content"]
    assert 0 < len(content) <= body["usage"]["completion_tokens"]
    for token in content:
        tops = token["top_logprobs"]
        assert len(tops) == 3 and tops[0]["logprob"] == pytest.approx(token["logprob"])  # greedy: the most likely
        assert [top["logprob"] for top in tops] == sorted((top["logprob"] for top in tops), reverse=True)
        assert token["logprob"] <= 0 and bytes(token["bytes"]).decode("utf-8", "replace") == token["token"]
    assert chat(client, logprobs=True).json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    streamed = [c["choices"][0]["logprobs"] for c in stream(client, logprobs=True) if c["choices"][0]["logprobs"]]
    assert [s["content"][0]["token"] for s in streamed] == [token["token"] for token in content]


def test_stop_strings_end_an_answer(client):
    """They are not part of it."""
    text = chat(client, max_tokens=16).json()["choices"][0]["message"]["content"]
    stop = text[2:4]
    body = chat(client, max_tokens=16, stop=[stop]).json()
    assert body["choices"][0]["message"]["content"] == text[: text.index(stop)]
    assert body["choices"][0]["finish_reason"] == "stop"


def test_a_schema_is_enforced(client):
    """Whatever a random model prefers."""
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    body = chat(client, response_format=wanted, max_tokens=64, temperature=1, seed=1).json()
    assert json.loads(body["choices"][0]["message"]["content"])["a"] in {"x", "y"}


def test_scores_are_the_engine_s(served):
    """The same as from the engine itself."""
    client, engines, _ = served
    body = client.post("/v1/score", json={"messages": HELLO, "candidates": ["yes", "no!"]}).json()
    options = EngineOptions()
    engine = engines.acquire(options)
    with engine.open() as job:
        job.submit(Request("x", (Message(Role.USER, "hello"),), candidates=("yes", "no!")))
        job.close_input()
        scores = next(iter(job)).scores
    engines.release(options)
    for mine, theirs in zip(body["scores"], scores, strict=True):
        assert mine["candidate"] == theirs.candidate and mine["tokens"] == theirs.tokens
        assert mine["logprob"] == pytest.approx(theirs.logprob, abs=1.5)


def test_counts_are_those_of_usage(client):
    """With the chat template."""
    count = client.post("/v1/count", json={"messages": HELLO}).json()
    assert count["tokens"] == chat(client).json()["usage"]["prompt_tokens"]
    asked = {"prompt": "once upon a time", "max_tokens": 1}
    whole = client.post("/v1/completions", json=asked).json()
    assert (
        client.post("/v1/count", json={"prompt": asked["prompt"]}).json()["tokens"] == whole["usage"]["prompt_tokens"]
    )
    for body, field in (({}, "messages"), ({"messages": HELLO, "prompt": "x"}, "prompt"), ({"input": "x"}, "messages")):
        assert client.post("/v1/count", json=body).json()["error"]["param"] == field


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/score", "/v1/count"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"messages": 5}', b"[" * 100_000])
def test_bad_bodies_are_400_in_openai_s_shape(client, path, body):
    """Never a traceback, never a 500."""
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error" and answer.json()["error"]["message"]


def test_errors_name_the_field(client):
    """As OpenAI's do."""
    error = chat(client, temperature=-3).json()["error"]
    assert error["param"] == "temperature" and "from 0 to 2" in error["message"]
    unknown = chat(client, model="gpt-4")
    assert unknown.status_code == 404 and unknown.json()["error"]["code"] == "model_not_found"
    assert chat(client, model="tiny").status_code == chat(client, model="abc").status_code == 200


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_that_is_too_long_is_400(client, streamed):
    """Before anything is streamed."""
    answer = chat(client, messages=[{"role": "user", "content": "hello " * 5000}], stream=streamed)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "context_length_exceeded"


def test_models_health_and_status(served):
    """The endpoints for monitoring a worker."""
    client, _, worker = served
    assert client.get("/health").json() == {"status": "ok"}
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["tiny"]
    before = client.get("/llm/status").json()
    chat(client)
    after = client.get("/llm/status").json()
    assert after["requests"] == before["requests"] + 1 and after["active"] == 0
    assert after["completion_tokens"] > before["completion_tokens"] and after["tokens_per_second"] > 0
    assert worker.metrics.idle_seconds >= 0


def test_other_methods_and_paths(client):
    """They are refused."""
    assert client.get("/v1/chat/completions").status_code == 405
    assert client.get("/nothing").status_code == 404
    assert client.post("/llm/stop", content=b"x").status_code == 400


def test_a_sampling_without_seed_is_another_each_time(client):
    """Without a seed, each request gets a random one."""
    texts = {chat(client, temperature=2, max_tokens=12).json()["choices"][0]["message"]["content"] for _ in range(3)}
    assert len(texts) > 1


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope", 404), ("GET", "/v1/chat/completions", 405)])
def test_an_unknown_path_gets_an_openai_error(client, method, path, status):
    """All clients can parse that."""
    answer = client.request(method, path)
    assert answer.status_code == status and answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_without_end_is_refused(client, monkeypatch):
    """Before all of it has arrived."""
    monkeypatch.setattr(endpoints, "MAX_BODY_BYTES", 1000)
    answer = client.post("/v1/chat/completions", content=(b"x" * 100 for _ in range(1000)))
    assert answer.status_code == 413 and "1000 bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 1_000_000},
        {"type": "array", "items": {"type": "string"}, "maxItems": 20_000},
        {"type": "string", "pattern": "^a{1,100000}$"},
        {"enum": []},
        {"type": "foo"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.org/schema.json"},
    ],
)
def test_schemas_without_a_grammar(client, schema, capfd):
    """400, without output from Python or of the schema on standard error."""
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": {"properties": {"p": schema}, "type": "object"}},
    }
    answer = chat(client, response_format=wanted)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert "Error" not in message and "--" not in message
    assert capfd.readouterr().err == ""


LOOP = {"const": "the same line over and over again " * 60}


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_repeats_itself_is_stopped_unless_the_client_sets_a_limit(client, streamed):
    """It ends with the reason length, after two rounds."""
    wanted = {"type": "json_schema", "json_schema": {"name": "loop", "schema": LOOP}}
    ends = {}
    for limit in (None, 4000):
        fields = {"response_format": wanted, "max_tokens": limit}
        if streamed:
            choices = [chunk["choices"][0] for chunk in stream(client, **fields)]
            text = "".join(choice["delta"].get("content", "") for choice in choices)
            ends[limit] = choices[-1]["finish_reason"], text
        else:
            (choice,) = chat(client, **fields).json()["choices"]
            ends[limit] = choice["finish_reason"], choice["message"]["content"]
    assert ends[4000] == ("stop", json.dumps("the same line over and over again " * 60))
    assert ends[None] == ("length", '"' + "the same line over and over again " * 2)
