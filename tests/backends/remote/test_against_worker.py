"""The remote backend against the worker's own application: the same protocol in both directions."""

from __future__ import annotations

import json
import threading

import pytest
import uvicorn
from waiting import wait_until

from llmcli.backends.base import run_requests
from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.config.backend_config import ServerConfig
from llmcli.interrupt import Interrupt
from llmcli.types import CandidateScores, FinishReason, Message, Request, Role, Sampling, TextDelta
from llmcli.worker.runtime_dir import WorkerConfig
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.worker_server import WorkerApp

HELLO = (Message(Role.USER, "hello"),)


@pytest.fixture(scope="module")
def there(tiny):
    """Return a backend on a worker's application that listens on TCP."""
    path = tiny("chatml")
    engines = EnginePool(path, "tiny", "abc", None)
    worker = WorkerApp(WorkerConfig(str(path), "tiny", "abc", None, 60.0, "log"), engines, lambda: True)
    server = uvicorn.Server(uvicorn.Config(worker.app, port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started and server.servers)
    port = server.servers[0].sockets[0].getsockname()[1]
    backend = RemoteBackend(ServerConfig(f"http://127.0.0.1:{port}/v1"), ApiKey(), Interrupt())
    yield backend
    backend.close()
    server.should_exit = True
    thread.join(10)
    engines.close()


def test_it_answers(there):
    """An unknown field is omitted; pieces, reason and counts equal those of the worker's own client."""
    *pieces, ended = run_requests(there, [Request("a", HELLO, max_tokens=8, sampling=Sampling(temperature=0, top_k=3))])
    assert all(isinstance(piece, TextDelta) for piece in pieces)
    assert ended.reason in {FinishReason.STOP, FinishReason.LENGTH} and 0 < ended.usage.completion_tokens <= 8
    assert there.info().model == "tiny"


def test_it_scores_and_counts(there):
    """With our own paths: whole candidates, exact tokens."""
    scores, ended = run_requests(there, [Request("a", HELLO, candidates=("yes", "no"))])
    assert isinstance(scores, CandidateScores) and scores.method == "score" and ended.reason is FinishReason.STOP
    assert [score.candidate for score in scores.scores] == ["yes", "no"]
    long = Request("long", (Message(Role.USER, "hello " * 3000),))
    (counted,), exact = there.count([long])
    assert counted > 3000 and exact


def test_it_answers_in_json(there):
    """Its grammar constrains the answer to the schema."""
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    *pieces, ended = run_requests(
        there, [Request("a", HELLO, schema=schema, max_tokens=64, sampling=Sampling(temperature=0))]
    )
    text = "".join(piece.text for piece in pieces)
    assert ended.reason is FinishReason.LENGTH or isinstance(json.loads(text)["ok"], bool)
