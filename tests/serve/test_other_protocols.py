"""``llm serve`` in Anthropic's protocol and by the Responses API: access, errors, breaks and clients that leave."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal

import pytest
from waiting import wait_until

from .conftest import TOKEN
from .test_serve import HELLO

VERSION = {"anthropic-version": "2023-06-01"}
ENDLESS = {
    "messages": {"messages": HELLO, "max_tokens": 100_000, "stream": True, "ignore_eos": True},
    "responses": {"input": "hello", "stream": True, "ignore_eos": True},
}


@contextlib.contextmanager
def streaming(served, path):
    """Yield a connection, and the answer that streams on it."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("POST", f"/v1/{path}", json.dumps(ENDLESS[path]), {"x-api-key": TOKEN})
    try:
        yield connection, connection.getresponse()
    finally:
        connection.close()


def read_event(answer):
    """Return the data of the next event."""
    lines = [answer.readline() for _ in range(3)]
    assert lines[0].startswith(b"event: ") and lines[2] == b"\n", lines
    return json.loads(lines[1].removeprefix(b"data: "))


def test_a_message(served):
    """By the token in the header of Anthropic's clients; an alias or another name is looked up as for other paths."""
    asked = {"messages": HELLO, "max_tokens": 4, "temperature": 0, "model": served.models()[0]}
    key = {"x-api-key": TOKEN, **VERSION}
    status, body = served.ask("POST", "/v1/messages", asked, token=None, **key)
    assert (status, body["type"], body["model"]) == (200, "message", asked["model"])
    status, body = served.ask("POST", "/v1/messages", {**asked, "model": "claude-opus"}, token=None, **key)
    assert (status, body["error"]["type"]) == (404, "not_found_error")
    counted = served.post("messages/count_tokens", messages=HELLO)[1]["input_tokens"]
    assert counted == served.post("count", messages=HELLO)[1]["tokens"]


def test_a_response(served):
    """The same text as a chat completion's."""
    status, body = served.post("responses", input="hello", max_output_tokens=8, temperature=0)
    chat = served.post("chat/completions", messages=HELLO, max_tokens=8, temperature=0)[1]
    assert status == 200
    assert body["output"][0]["content"][0]["text"] == chat["choices"][0]["message"]["content"]


def test_a_response_with_log_probabilities(served):
    """Of each token, in the shape of a chat completion's; streamed with the text."""
    limits = {"temperature": 0, "top_logprobs": 2}
    asked = {"input": "hello", "max_output_tokens": 4, "include": ["message.output_text.logprobs"], **limits}
    (part,) = served.post("responses", **asked)[1]["output"][0]["content"]
    chat = served.post("chat/completions", messages=HELLO, max_tokens=4, logprobs=True, **limits)[1]["choices"][0]
    first, expected = part["logprobs"][0], chat["logprobs"]["content"][0]
    assert len(part["logprobs"]) == len(chat["logprobs"]["content"]) and first.keys() == expected.keys()
    assert first["token"] == expected["token"] and len(first["top_logprobs"]) == 2
    lines = served.post("responses", **asked, stream=True)[1].decode().split("\n\n")
    events = [json.loads(each.partition("data: ")[2]) for each in lines if each]
    deltas = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    (done,) = [event for event in events if event["type"] == "response.output_text.done"]
    assert [each for delta in deltas for each in delta] == done["logprobs"] and len(done["logprobs"]) == len(
        part["logprobs"]
    )


@pytest.mark.parametrize(
    ("asked", "how", "kind"),
    [
        ("POST /v1/messages", {"token": None}, "authentication_error"),
        ("POST /v1/messages", {"token": None, "x-api-key": "x"}, "authentication_error"),
        ("POST /v1/messages", {"Host": "evil.example"}, "permission_error"),
        ("GET /v1/messages", {}, "invalid_request_error"),
        ("POST /v1/messages/batches", {}, "not_found_error"),
        ("GET /v1/models/claude-opus", VERSION, "not_found_error"),
        ("GET /v1/models", {"token": "x", **VERSION}, "authentication_error"),
        ("POST /v1/messages", {}, "invalid_request_error"),
    ],
)
def test_errors_of_the_server_are_anthropic_s(served, asked, how, kind):
    """For its paths, and for its clients on the paths that both protocols have."""
    method, _, path = asked.partition(" ")
    status, error = served.ask(method, path, [] if method == "POST" else None, **how)
    statuses = {"authentication_error": {401}, "permission_error": {403}, "not_found_error": {404}}
    assert status in statuses.get(kind, {400, 405}) and (error["type"], error["error"]["type"]) == ("error", kind)


def test_a_body_that_is_no_json_is_anthropic_s_error(served):
    """The gateway reads it before the worker does."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection:
        connection.request("POST", "/v1/messages", b"{", {"x-api-key": TOKEN})
        answer = connection.getresponse()
        error = json.loads(answer.read())["error"]
    assert answer.status == 400 and error["type"] == "invalid_request_error" and "JSON" in error["message"]


def test_models_are_listed_in_anthropic_s_format(served):
    """For its clients; the same names."""
    page = served.ask("GET", "/v1/models", **VERSION)[1]
    assert [model["id"] for model in page["data"]] == served.models() and page["has_more"] is False
    one = served.ask("GET", f"/v1/models/{served.models()[0]}", **VERSION)[1]
    assert one == page["data"][0] and one["type"] == "model" and one["created_at"].endswith("Z")


@pytest.mark.parametrize("path", ENDLESS)
def test_a_client_that_goes_takes_its_request_along(served, path):
    """The worker has nothing to do soon after."""
    with streaming(served, path) as (connection, answer):
        read_event(answer)
        assert served.worker()["active"] == 1
        connection.sock = None
        answer.close()
    wait_until(lambda: served.worker()["active"] == 0)


@pytest.mark.parametrize("path", ENDLESS)
def test_a_worker_that_ends_in_the_middle_is_an_event(served, path):
    """An error in the protocol's own shape; the events that end a good answer are missing."""
    with streaming(served, path) as (_, answer):
        events = [read_event(answer) for _ in range(5)]
        os.kill(served.worker()["pid"], signal.SIGKILL)
        while events[-1]["type"] != "error":
            events.append(read_event(answer))
        assert answer.read() == b""
    error = events[-1]
    if path == "messages":
        assert error["error"]["type"] == "api_error" and error["error"]["message"]
    else:
        assert error["sequence_number"] == len(events) - 1 and error["code"] == "server_error" and error["message"]
    assert wait_until(lambda: served.post("chat/completions", messages=HELLO, max_tokens=1)[0] == 200)
