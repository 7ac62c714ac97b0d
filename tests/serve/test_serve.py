"""``llm serve`` as a process: what it answers, what it refuses, how it behaves under load, and how it ends."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import math
import os
import select
import signal
import socket
import struct
from pathlib import Path

import pytest
from waiting import wait_until

from .conftest import TOKEN, serving

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def test_a_conversation_whole_and_streamed(served):
    """The same text; the first request loads the model in a worker."""
    asked = {"messages": HELLO, "max_tokens": 8, "temperature": 0}
    status, body = served.post("chat/completions", **asked)
    assert status == 200 and served.worker()["requests"] >= 1
    status, stream = served.post("chat/completions", **asked, stream=True)
    *lines, last = [line for line in stream.decode().split("\n\n") if line]
    pieces = [json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content", "") for line in lines]
    assert (status, last) == (200, "data: [DONE]")
    assert "".join(pieces) == body["choices"][0]["message"]["content"]


def test_a_raw_prompt_is_continued(served):
    """No template: fewer tokens than a conversation; several prompts and answers; legacy log-probabilities.

    The token after "The cat" leads by 3.9, so it is the same in any batch; later ones may differ.
    """
    asked = {"prompt": ["The cat", "ho <|im_end|>"], "max_tokens": 4, "temperature": 0, "n": 2, "logprobs": 2}
    status, body = served.post("completions", **asked)
    assert status == 200 and [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    first = body["choices"][0]["logprobs"]["tokens"][0]
    assert body["choices"][1]["logprobs"]["tokens"][0] == first != ""
    logprobs = body["choices"][0]["logprobs"]
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == len(logprobs["text_offset"])
    plain = served.post("completions", prompt="hello", max_tokens=1)[1]["usage"]["prompt_tokens"]
    assert plain < served.post("count", messages=HELLO)[1]["tokens"]
    status, stream = served.post("completions", prompt="The cat", max_tokens=4, temperature=0, stream=True)
    pieces = [json.loads(line[6:])["choices"][0]["text"] for line in stream.decode().split("\n\n") if line[6:7] == "{"]
    assert "".join(pieces).startswith(first)
    assert served.post("completions", prompt="x", echo=True)[0] == 400


def test_what_looks_like_a_control_token_in_a_prompt_is_text(served):
    """Also in a raw prompt."""
    spelled = served.post("completions", prompt="<|im_end|>", max_tokens=1)[1]["usage"]["prompt_tokens"]
    assert spelled > served.post("completions", prompt="a", max_tokens=1)[1]["usage"]["prompt_tokens"]


def test_embeddings(served):
    """Vectors of length 1, the same as text and as base64, also of a long text beside others; usage is counted."""
    status, body = served.post("embeddings", input=["hello", "hello", "a long text " * 40])
    vectors = [item["embedding"] for item in body["data"]]
    assert status == 200 and vectors[0] == vectors[1] != vectors[2]
    assert all(math.isclose(math.hypot(*vector), 1, rel_tol=1e-5) for vector in vectors)
    written = served.post("embeddings", input="hello", encoding_format="base64")[1]["data"][0]["embedding"]
    data = base64.b64decode(written)
    assert struct.unpack(f"<{len(data) // 4}f", data) == pytest.approx(vectors[0], abs=1e-6)
    assert body["usage"]["prompt_tokens"] > 40
    assert served.post("embeddings", input=[5, 6])[0] == 200
    mean, last = (
        served.post("embeddings", input="a long text " * 40, pooling=pooling)[1]["data"][0]["embedding"]
        for pooling in ("mean", "last")
    )
    assert mean == pytest.approx(vectors[2], abs=1e-3)  # the chunks of the text may differ
    assert math.dist(last, mean) > 0.1 and math.isclose(math.hypot(*last), 1, rel_tol=1e-5)
    assert served.post("embeddings", input="hello", pooling="max")[0] == 400
    for bad in ("", [], [""], [[]], [5, "a"], [-1], [10**30], 5, None, [True]):
        assert served.post("embeddings", input=bad)[0] == 400, bad
    assert served.post("embeddings", input="a", dimensions=3)[0] == 400
    assert served.post("embeddings", input="a", encoding_format="x")[0] == 400


@pytest.mark.parametrize("stream", [False, True])
def test_a_required_call_is_made(served, stream):
    """Even from a model of random weights; its arguments match the schema."""
    asked = {"messages": HELLO, "tools": [TOOL], "tool_choice": "required", "max_tokens": 64, "stream": stream}
    status, body = served.post("chat/completions", **asked)
    assert status == 200
    if stream:
        objects = [json.loads(line[6:]) for line in body.decode().split("\n\n") if line[6:7] == "{"]
        choices = [item["choices"][0] for item in objects]
        calls = [call for choice in choices for call in choice["delta"].get("tool_calls", ())]
        reason = choices[-1]["finish_reason"]
    else:
        calls, reason = body["choices"][0]["message"]["tool_calls"], body["choices"][0]["finish_reason"]
    (call,) = calls
    assert reason == "tool_calls" and call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"])["city"] in {"Paris", "Oslo"}
    told = [*HELLO, {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": call["id"], "content": "rain"}]  # fmt: skip
    assert served.post("chat/completions", messages=told, tools=[TOOL], max_tokens=4)[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_truncated_call_is_not_text(served, stream):
    """Its beginning is not shown; the finish reason says what happened."""
    asked = {"messages": HELLO, "tools": [TOOL], "tool_choice": "required", "max_tokens": 2, "stream": stream}
    _, body = served.post("chat/completions", **asked)
    if stream:
        objects = [json.loads(line[6:]) for line in body.decode().split("\n\n") if line[6:7] == "{"]
        assert not any(item["choices"][0]["delta"].get("content") for item in objects)
        assert objects[-1]["choices"][0]["finish_reason"] == "length"
    else:
        assert body["choices"][0]["message"]["content"] is None and body["choices"][0]["finish_reason"] == "length"


UNIQUE = {"type": "array", "uniqueItems": True}


@pytest.mark.parametrize(
    ("path", "asked", "param"),
    [
        ("embeddings", {"input": "word " * 5000}, "input"),
        ("embeddings", {"input": [10**9]}, "input"),
        ("completions", {"prompt": "word " * 5000}, "prompt"),
        ("chat/completions", {"messages": [{"role": "user", "content": "word " * 5000}]}, "messages"),
        (
            "chat/completions",
            {"messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {"schema": UNIQUE}}},
            "response_format",
        ),
        (
            "chat/completions",
            {"messages": HELLO, "tool_choice": "required",
             "tools": [{"type": "function", "function": {"name": "f", "parameters": UNIQUE}}]},
            "tools",
        ),
    ],
)  # fmt: skip
def test_an_error_names_the_field(served, path, asked, param):
    """Also if the engine detects it."""
    status, body = served.post(path, **asked)
    assert (status, body["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    "sent",
    [b"GET /health HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"\0\r\n\r\n"],
)
def test_invalid_http_gets_an_openai_error(served, sent):
    """And not written to the server's terminal, which it would flood."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(sent)
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert b" 400 " in head and json.loads(body)["error"]["type"] == "invalid_request_error"
    assert not select.select([served.process.stderr], [], [], 0)[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_tokens", -1), ("max_tokens", 10**30), ("temperature", -1e308), ("temperature", 1e308), ("n", 10**18),
     ("top_k", -5), ("seed", -1), ("seed", 2**64), ("top_logprobs", 10**9)],
)  # fmt: skip
def test_negative_and_huge_numbers_are_refused(served, field, value):
    """By name."""
    status, body = served.post("chat/completions", messages=HELLO, logprobs=True, **{field: value})
    assert status == 400 and body["error"]["param"] == field


def test_models(served):
    """The configured one; a missing model is a 404, and so is a path, even to an existing file."""
    status, body = served.ask("GET", "/v1/models")
    (model,) = body["data"]
    assert model["id"] == Path(served.environ["LLMCLI_MODEL"]).name
    assert status == 200 and served.ask("GET", f"/v1/models/{model['id']}")[1] == model
    assert served.post("chat/completions", messages=HELLO, max_tokens=1, model=model["id"])[0] == 200
    for name in ("gpt-4", "/etc/passwd", "../x.gguf", "qwen3-4b"):
        status, body = served.post("chat/completions", messages=HELLO, model=name)
        assert (status, body["error"]["code"]) == (404, "model_not_found"), name
        assert body["error"]["message"].endswith(f"; served: {model['id']}")
    assert served.post("chat/completions", messages=HELLO, model=served.environ["LLMCLI_MODEL"])[0] == 404


PLACES = {
    "chat/completions": {"messages": HELLO, "max_tokens": 1},
    "completions": {"prompt": "x", "max_tokens": 1},
    "responses": {"input": "x", "max_output_tokens": 1},
    "messages": {"messages": HELLO, "max_tokens": 1},
    "embeddings": {"input": "x"},
    "score": {"messages": HELLO, "candidates": ["x"]},
    "count": {"messages": HELLO},
    "info": {},
}


def test_info_says_what_the_model_can_do(served):
    """Its context, its layers, and which file and weights answer, as scores and the list of models say."""
    status, info = served.post("info", labels=True)
    scores = served.post("score", messages=HELLO, candidates=["x"], labels=True)[1]
    digest = hashlib.sha256(Path(served.environ["LLMCLI_MODEL"]).read_bytes()).hexdigest()
    assert status == 200 and info["context"] > 0 and info["layers"] > 1 and info["model"] == served.models()[0]
    assert (info["digest"], info["weights"]) == (scores["digest"], scores["weights"]) == (digest, "original")


def test_hidden_states_come_alone_or_with_scores(served):
    """After the layers of the request, as 32-bit floats; the same bits in both cases and in each request."""
    (vector,) = served.post("embeddings", input="x")[1]["data"]
    wide = len(vector["embedding"])
    asked = {"messages": HELLO, "hidden_states": True, "state_layers": [1]}
    alone, again = (served.post("score", **asked, labels=True)[1] for _ in range(2))
    both = served.post("score", **asked, candidates=["x", "yes"], labels=True)[1]
    assert alone["hidden_states"] == again["hidden_states"] and not alone["scores"]
    assert [score["candidate"] for score in both["scores"]] == ["x", "yes"]
    for states in (alone["hidden_states"], both["hidden_states"]):
        assert states["layers"] == [1] and len(base64.b64decode(states["mean"])) == 4 * wide
    assert len(served.post("score", messages=HELLO, hidden_states=True)[1]["hidden_states"]["layers"]) == 0


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("score", {"hidden_states": True, "state_layers": [99]}, "state_layers"),
        ("score", {"hidden_states": True, "state_layers": [2, 1]}, "state_layers"),
        ("score", {"hidden_states": True, "state_layers": [0]}, "state_layers"),
        ("score", {"hidden_states": True, "state_layers": [True]}, "state_layers"),
        ("score", {"hidden_states": True, "state_layers": "1"}, "state_layers"),
        ("score", {"hidden_states": True, "state_layers": [*range(1, 40)]}, "state_layers"),
        ("score", {"candidates": ["x"], "state_layers": [1]}, "state_layers"),
        ("score", {"candidates": ["x"], "hidden_states": "yes"}, "hidden_states"),
        ("score", {"candidates": ["x"], "labels": 1}, "labels"),
        ("score", {}, "candidates"),
        ("count", {"labels": "x"}, "labels"),
        ("chat/completions", {"labels": True}, "labels"),
    ],
)
def test_a_wrong_field_for_labels_is_named(served, path, body, param):
    """400, as every other field; no context is made for it."""
    status, answer = served.post(path, messages=HELLO, **body)
    assert (status, answer["error"]["param"]) == (400, param)


@pytest.mark.parametrize("path", ["info", "score"])
def test_labels_have_the_access_rules_of_answers(served, path):
    """A token (401), a model of this machine (404), and none by its path."""
    body = {"messages": HELLO, "candidates": ["x"]} if path == "score" else {}
    assert served.ask("POST", f"/v1/{path}", {**body, "labels": True}, token="wrong")[0] == 401
    for name in ("other", served.environ["LLMCLI_MODEL"]):
        status, answer = served.post(path, **body, labels=True, model=name)
        assert (status, answer["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PLACES)
def test_no_answer_shows_a_path(served, path, stream):
    """The model has the name of its file, whatever the client calls it, and no path of this machine."""
    directory = str(Path(served.environ["LLMCLI_MODEL"]).parent)
    streams = {"stream": True} if stream and path not in {"embeddings", "score", "count", "info"} else {}
    for model in ({}, {"model": served.models()[0]}):
        status, body = served.post(path, **PLACES[path], **model, **streams)
        text = body.decode() if isinstance(body, bytes) else json.dumps(body)
        assert status == 200 and directory not in text and served.models()[0] in text
    status, body = served.ask("GET", "/v1/models")
    assert directory not in json.dumps(body)


def test_a_model_that_answered_says_which_weights_it_has(served):
    """So that clients of several servers can compare them: the digest of its file, and the type that answers."""
    assert served.post("count", messages=HELLO)[0] == 200
    (model,) = served.ask("GET", "/v1/models")[1]["data"]
    digest = hashlib.sha256(Path(served.environ["LLMCLI_MODEL"]).read_bytes()).hexdigest()
    assert (model["digest"], model["weights"]) == (digest, "original")
    assert served.ask("GET", f"/v1/models/{model['id']}")[1] == model


def test_an_alias_is_the_name_of_a_model(tiny):
    """That is known by its path; the file's name still means it."""
    with serving(tiny("chatml")) as served:
        file = served.models()[0]
        assert served.llm("models", "alias", "mine", served.environ["LLMCLI_MODEL"]).returncode == 0
        assert served.models() == ["mine"]
        for name in ("mine", file):
            status, body = served.post("chat/completions", messages=HELLO, max_tokens=1, model=name)
            assert (status, body["model"]) == (200, "mine"), name


def test_the_tokens_of_an_input_are_counted(served):
    """As OpenAI's protocol has it: with instructions and tools, and as many as the response says."""
    asked = {"input": "hello there", "instructions": "Be short."}
    status, body = served.post("responses/input_tokens", **asked)
    assert status == 200 and body["object"] == "response.input_tokens"
    assert body["input_tokens"] == served.post("responses", **asked, max_output_tokens=1)[1]["usage"]["input_tokens"]
    tools = [{"type": "function", **TOOL["function"]}]
    assert served.post("responses/input_tokens", **asked, tools=tools)[1]["input_tokens"] > body["input_tokens"]
    status, body = served.post("responses/input_tokens", input="x", max_output_tokens=1)
    assert (status, body["error"]["param"]) == (400, "max_output_tokens")


def test_forged_and_bare_requests(served):
    """Host, Origin, token; paths that control workers do not exist."""
    assert served.ask("GET", "/v1/models", Host="evil.example")[0] == 403
    assert served.ask("GET", "/v1/models", Origin="http://evil.example")[0] == 403
    assert served.ask("GET", "/v1/models", token=None)[0] == served.ask("GET", "/v1/models", token="x")[0] == 401
    assert served.ask("GET", "/health", token=None)[0] == 200
    for method, path in (("GET", "/llm/status"), ("POST", "/llm/stop"), ("POST", "/llm/session"), ("GET", "/x")):
        assert served.ask(method, path, {} if method == "POST" else None)[0] == 404
    assert "/v1/chat/completions" in served.ask("POST", "/api/chat", {})[1]["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_bad_bodies(served, body):
    """400, never 500."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    message = json.loads(answer.read())["error"]["message"]
    assert answer.status == 400 and message and "sys." not in message
    connection.close()


def test_a_body_with_two_lengths_is_refused(served):
    """RFC 9112, section 6.1: a proxy in front may take another end of it, and the rest for a request."""
    lengths = "Content-Length: 5\r\nTransfer-Encoding: chunked"
    head = f"POST /v1/count HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{lengths}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(f"{head}0\r\n\r\n{head}".encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1") == 1 and b"ambiguous_length" in answer


def test_an_answer_has_each_header_once(served):
    """Those of the worker's connection are not those of the client's."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    fields = json.dumps({"messages": HELLO, "max_tokens": 2})
    connection.request("POST", "/v1/chat/completions", fields, {"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    names = [name.lower() for name, _ in answer.getheaders()]
    assert answer.status == 200 and len(names) == len(set(names)) and "date" in names
    connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_1_gb_is_refused_and_not_kept(served, chunked):
    """Announced or not; the server grows by no more than a few bodies of the maximum size."""
    before = served.memory()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {1 << 30}"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{length}\r\n\r\n"
    piece = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n" if chunked else b"x" * (1 << 20)
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(head.encode())
        heard, most = b"", before
        with contextlib.suppress(OSError):  # the server may end the connection, and need not read all of it
            for _ in range(1 << 10):
                connection.sendall(piece)
                most = max(most, served.memory())
                if not heard and select.select([connection], [], [], 0)[0]:
                    heard = connection.recv(100)
        assert b" 413 " in heard
    assert most - before < 100 << 20
    assert served.ask("GET", "/v1/models")[0] == 200


def test_half_open_connections_do_no_harm(served):
    """500 of them, with half a head, or with a head and no body: a good client is served."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    halves = [b"", b"GE", head, head + b"Content-Length: 100\r\n\r\n{"]
    opened = []
    try:
        for number in range(500):
            connection = socket.create_connection(("127.0.0.1", served.port), timeout=60)
            connection.sendall(halves[number % len(halves)])
            opened.append(connection)
        status, _ = served.post("chat/completions", messages=HELLO, max_tokens=2)
        assert status == 200
    finally:
        for connection in opened:
            connection.close()


def test_a_disconnected_client_cancels_its_request(served):
    """The worker is idle soon after."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    asked = {"messages": HELLO, "max_tokens": 100_000, "stream": True, "ignore_eos": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"Authorization": f"Bearer {TOKEN}"})
    connection.getresponse().read(10)
    assert served.worker()["active"] == 1
    connection.close()
    connection.sock = None
    wait_until(lambda: served.worker()["active"] == 0)


@pytest.mark.parametrize("stopped", [False, True], ids=["that works", "that stands still"])
@pytest.mark.parametrize("path", ["chat/completions", "completions", "embeddings", "score", "count"])
def test_clients_that_close_their_connections_leave_nothing_behind(served, path, stopped):
    """Each closes its connection to the worker, which starts nothing for it; a later request is answered."""
    served.post("chat/completions", messages=HELLO, max_tokens=1)
    status, sockets = served.worker(), served.sockets()
    asked = {"messages": HELLO, "max_tokens": 100_000, "ignore_eos": True}
    if path != "chat/completions":
        asked = {"completions": {"prompt": "hello", "max_tokens": 100_000, "ignore_eos": True},
                 "embeddings": {"input": "hello"}, "count": {"messages": HELLO},
                 "score": {"messages": HELLO, "candidates": ["yes", "no"]}}[path]  # fmt: skip
    if stopped:
        os.kill(status["pid"], signal.SIGSTOP)
    try:
        for _ in range(40):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection:
                connection.request("POST", f"/v1/{path}", json.dumps(asked), {"Authorization": f"Bearer {TOKEN}"})
        wait_until(lambda: served.sockets() <= sockets)
    finally:
        os.kill(status["pid"], signal.SIGCONT)
    wait_until(lambda: served.worker()["active"] == 0)
    assert served.worker()["completion_tokens"] - status["completion_tokens"] < 20_000
    assert served.post("chat/completions", messages=HELLO, max_tokens=1)[0] == 200
    assert served.worker()["pid"] == status["pid"]


def test_a_killed_worker_is_started_again(served):
    """By the next request."""
    served.post("chat/completions", messages=HELLO, max_tokens=1)
    os.kill(served.worker()["pid"], signal.SIGKILL)
    assert wait_until(lambda: served.post("chat/completions", messages=HELLO, max_tokens=1)[0] == 200)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_worker_that_stands_still_is_given_up(tiny, monkeypatch, stream):
    """503 after some silence; neither a long answer of a live worker nor its start counts as silence."""
    short = "import llmcli.serve.worker_router as s; s.SILENCE_S = 0.3; from llmcli.cli.main import main; raise SystemExit(main())"
    with serving(tiny("chatml"), code=short) as server:
        asked = {"messages": HELLO, "temperature": 0, "ignore_eos": True}
        assert server.post("chat/completions", **asked, max_tokens=400)[0] == 200
        pid = server.worker()["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            status, body = server.post("chat/completions", **asked, max_tokens=2, stream=stream)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert status == 503 and "hangs" in body["error"]["message"]


@pytest.mark.usefixtures("real_processes")
def test_the_token_is_not_visible(tiny):
    """Not in the arguments of the server or a worker, and not in a worker's environment or log."""
    with serving(tiny("chatml")) as served:
        served.post("chat/completions", messages=HELLO, max_tokens=1)
        worker = served.worker()
        for path in (f"/proc/{served.process.pid}/cmdline", f"/proc/{worker['pid']}/cmdline",
                     f"/proc/{worker['pid']}/environ", worker["log"]):  # fmt: skip
            with Path(path).open("rb") as file:
                assert TOKEN.encode() not in file.read()


@pytest.mark.slow
def test_it_ends_when_what_runs_has_ended(tiny):
    """At SIGTERM: the running answer finishes, new requests get a 503, and the process dies by the signal."""
    with serving(tiny("chatml")) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        asked = {"messages": HELLO, "max_tokens": 1500, "stream": True, "ignore_eos": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        start = answer.read(10)
        os.kill(served.process.pid, signal.SIGTERM)
        assert wait_until(lambda: served.ask("GET", "/health")[0] == 503)
        assert (start + answer.read()).endswith(b"data: [DONE]\n\n")
        connection.close()
        assert served.process.wait(20) == -signal.SIGTERM


def test_a_second_signal_ends_it_at_once(tiny):
    """However long the answers would still take."""
    with serving(tiny("chatml")) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        asked = {"messages": HELLO, "max_tokens": 100_000, "stream": True, "ignore_eos": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"Authorization": f"Bearer {TOKEN}"})
        connection.getresponse().read(10)
        os.kill(served.process.pid, signal.SIGTERM)
        wait_until(lambda: served.ask("GET", "/health")[0] == 503)
        os.kill(served.process.pid, signal.SIGTERM)
        assert served.process.wait(20) == -signal.SIGTERM
        connection.close()


def test_an_embedding_model_embeds_but_does_not_chat(tiny):
    """With its own pooling; a conversation is a 400 that says why. On a socket path, for this user only."""
    with serving(tiny("bert")) as served:
        status, body = served.post("embeddings", input=["hello", "world"])
        assert status == 200 and math.isclose(math.hypot(*body["data"][0]["embedding"]), 1, rel_tol=1e-5)
        status, body = served.post("chat/completions", messages=HELLO)
        assert status == 400 and "embedding model" in body["error"]["message"]
