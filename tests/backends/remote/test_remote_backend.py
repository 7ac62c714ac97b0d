"""A remote backend: connections, token counts, and what it learns about the server."""

from __future__ import annotations

import json
import time

import pytest
from fake_server import error_answer
from hosted_servers import SERVERS

from llmcli.backends.base import run_requests
from llmcli.backends.remote import remote_backend as remote
from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.config.backend_config import ServerConfig
from llmcli.interrupt import Interrupt
from llmcli.types import (
    FinishReason,
    Message,
    Request,
    Role,
)


def request(name="a", **fields):
    return Request(name, (Message(Role.USER, f"text {name}"),), **fields)


def long_request(words=2000, **fields):
    return Request("long", (Message(Role.USER, "word " * words),), **fields)


def test_connections_are_reused(server, backend, monkeypatch):
    """Consecutive requests use one connection, also for streams."""
    made = []
    connect = backend._client._network.connect_tcp
    monkeypatch.setattr(
        backend._client._network, "connect_tcp", lambda *args, **how: made.append(1) or connect(*args, **how)
    )
    for name in "abc":
        assert list(run_requests(backend, [request(name)]))[-1].reason is FinishReason.STOP
    assert len(made) == 1


def test_requests_name_another_model_only_once_it_is_accepted(server, backend):
    """A server that was restarted may have one whose answers would be taken for those of the one before."""
    list(run_requests(backend, [request("a")]))
    server.models = [{"id": "small"}]
    found = backend.identify(RemoteCall())
    list(run_requests(backend, [request("b")]))
    backend.use_model(found)
    list(run_requests(backend, [request("c")]))
    assert [body["model"] for body in server.chats()] == ["big", "big", "small"]


def test_a_prompt_close_to_the_context_is_counted_by_our_server(server, backend):
    """All other counts are estimated, so that counting a hundred texts does not take a hundred requests."""
    server.models[0]["owned_by"] = "llmcli"
    server.paths["/v1/count"] = lambda handler, _body: handler.give(200, {"tokens": 1234})
    (small, large), exact = backend.count([request(), long_request()])
    assert not exact and small < 64 and large == 1234
    assert [asked.path for asked in server.asked] == ["/v1/models", "/v1/info", "/v1/count"]


@pytest.mark.parametrize(
    ("protocol", "owner", "path", "answer", "field"),
    [
        ("openai", "llmcli", "/v1/count", {"tokens": 1234}, "messages"),
        ("openai", "vllm", "/tokenize", {"count": 1234, "tokens": [1], "max_model_len": 4096}, "messages"),
        ("openai", "llamacpp", "/v1/messages/count_tokens", {"input_tokens": 1234}, "messages"),
        ("anthropic", "", "/v1/messages/count_tokens", {"input_tokens": 1234}, "messages"),
        ("openai-responses", "", "/v1/responses/input_tokens", {"input_tokens": 1234}, "input"),
        ("gemini", "", "/v1beta/models/big:countTokens", {"totalTokens": 1234}, "generateContentRequest"),
    ],
)
def test_servers_that_count_are_asked_near_the_context(protocol, owner, path, answer, field):
    """Each in its own way; the count is exact. Short and far too long prompts cost no request."""
    server = SERVERS[protocol]()
    server.models[0]["owned_by"] = owner
    server.paths[path] = lambda handler, _body: handler.give(200, answer)
    backend = RemoteBackend(ServerConfig(server.url, type=protocol, model="big"), ApiKey(), Interrupt())
    try:
        assert backend.count([long_request()]) == ([1234], True)
        (count,) = [asked for asked in server.asked if asked.path == path]
        assert "word word" in json.dumps(count.body[field])
        assert not {"stream", "max_tokens", "generationConfig", "cache_control"} & set(count.body)
        asked = len(server.asked)
        assert not backend.count([request(), long_request(50_000)])[1]
        assert not backend.count([long_request(schema={"type": "object"})])[
            1
        ]  # a schema may become a part of the prompt
        assert [each.path for each in server.asked[asked:]] == [path]
    finally:
        backend.close()
        server.close()


def test_a_server_that_does_not_count_is_asked_once(server):
    """Then the estimate has to do; a server of an unknown kind is not asked at all."""
    for owner, asked in (("vllm", 1), ("another", 0)):
        server.asked.clear()
        server.models[0]["owned_by"] = owner
        backend = RemoteBackend(ServerConfig(server.url), ApiKey(), Interrupt())
        for _ in range(2):
            (tokens,), exact = backend.count([long_request()])
            assert tokens > 2000 and not exact
        assert len([each for each in server.asked if each.path == "/tokenize"]) == asked
        backend.close()


def test_the_context_of_llama_server(server, backend):
    """In /props, for one slot; Ollama does not report it, and drops what exceeds its own default."""
    server.models = [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx_train": 8192}}]
    server.paths["/props"] = lambda handler, _body: handler.give(200, {"default_generation_settings": {"n_ctx": 512}})
    assert backend.info().context == 512
    server.models = [{"id": "m", "owned_by": "library"}]
    assert RemoteBackend(ServerConfig(server.url), ApiKey(), Interrupt()).info().context == remote.OLLAMA_CONTEXT_TOKENS


def test_a_server_without_a_list_of_models_is_used_by_name(server):
    """Some servers show the list only to other keys."""
    server.paths["/v1/models"] = error_answer(403)
    backend = RemoteBackend(ServerConfig(server.url, model="m"), ApiKey(), Interrupt())
    assert backend.info().model == "m" and list(run_requests(backend, [request()]))[-1].reason is FinishReason.STOP


def test_refused_fields_are_remembered_for_a_while(tmp_path, server):
    """In the cache; broken or old entries are learnt again."""
    server.fields_refused = {"temperature"}
    for expected in (2, 3):
        backend = RemoteBackend(ServerConfig(server.url, model="m"), ApiKey(), Interrupt(), cache=tmp_path)
        assert list(run_requests(backend, [request()]))[-1].reason is FinishReason.STOP
        assert len(server.chats()) == expected
    (kept,) = (tmp_path / "servers").glob("*.json")
    for text in ("{", json.dumps({"time": 0, "refused": ["temperature"]}), json.dumps({"time": time.time()})):
        kept.write_text(text)
        before = len(server.chats())
        list(
            run_requests(
                RemoteBackend(ServerConfig(server.url, model="m"), ApiKey(), Interrupt(), cache=tmp_path), [request()]
            )
        )
        assert len(server.chats()) == before + 2


@pytest.mark.parametrize("answers", [True, False])
def test_refused_paths_are_remembered_if_the_server_answers(tmp_path, server, answers):
    """Lists of models, counts and scores that a server does not have; one that is down refuses everything."""
    server.models[0]["owned_by"] = "vllm"
    server.usual = server.usual if answers else error_answer(404)
    for number in range(2):
        server.asked.clear()
        config = ServerConfig(server.url, model="big")
        backend = RemoteBackend(config, ApiKey(), Interrupt(), cache=tmp_path)
        backend.count([long_request()])
        finished = list(run_requests(backend, [request()]))[-1]
        assert (finished.reason is FinishReason.STOP) is answers
        asked = [each.path for each in server.asked if each.path == "/tokenize"]
        assert len(asked) == (0 if answers and number else 1)
        backend.close()


@pytest.mark.parametrize("protocol", SERVERS)
def test_a_missing_list_of_models_is_asked_for_once(tmp_path, protocol):
    """The next command uses the named model at once."""
    server = SERVERS[protocol]()
    server.list_models = dict
    paths = []
    for _ in range(2):
        server.asked.clear()
        config = ServerConfig(server.url, type=protocol, model="big")
        backend = RemoteBackend(config, ApiKey(), Interrupt(), cache=tmp_path)
        server.paths[f"{server.prefix}{backend._protocol.models_path}"] = error_answer(404, "no such path")
        assert backend.info().model == "big" and list(run_requests(backend, [request()]))[-1].error is None
        paths.append([each.method for each in server.asked])
        backend.close()
    server.close()
    assert paths == [["GET", "POST"], ["POST"]]
