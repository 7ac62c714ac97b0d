"""A worker's application on the real engine and a tiny model, for all protocols."""

from __future__ import annotations

import contextlib
import json

import pytest
from starlette.testclient import TestClient

from llmcli.worker.runtime_dir import WorkerConfig
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.worker_server import WorkerApp


@contextlib.contextmanager
def run_app(path):
    """Yield a client of a worker's application, its engines and the worker."""
    engines = EnginePool(path, "tiny", "abc", None)
    worker = WorkerApp(WorkerConfig(str(path), "tiny", "abc", None, 60.0, "log"), engines, lambda: True)
    with TestClient(worker.app) as client:
        yield client, engines, worker
    engines.close()


@pytest.fixture(scope="module")
def served(tiny):
    """Return what ``run_app`` yields, for all tests of a module."""
    with run_app(tiny("chatml")) as app:
        yield app


@pytest.fixture
def client(served):
    return served[0]


@pytest.fixture
def events_of():
    """Return a function from a streamed answer to its named events, each of which is named in its data, too."""

    def read(answer):
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = []
        for block in filter(None, answer.text.split("\n\n")):
            name, data = block.split("\n")
            events.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {events[-1]['type']}"
        return events

    return read
