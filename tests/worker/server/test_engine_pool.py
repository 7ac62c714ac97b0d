"""The engines of a worker: a failed load is retried, and neither loading nor closing blocks others."""

from __future__ import annotations

import threading
import time

import pytest

from llmcli.engine.engine import Engine
from llmcli.engine.llama import model
from llmcli.errors import InternalError, OutOfMemory, TemporaryFailure
from llmcli.types import EngineOptions
from llmcli.worker.server import engine_pool as module
from llmcli.worker.server.engine_pool import EnginePool

HANG = 60.0
"""Seconds after which what should come at once is said never to come."""


@pytest.fixture
def make(tiny):
    """Return a function that makes engines, which end with the test."""
    made = []

    def engines():
        made.append(EnginePool(tiny("chatml"), "tiny", "id", None))
        return made[-1]

    yield engines
    for each in made:
        each.close()


def test_a_failed_load_is_retried(make, monkeypatch):
    """For example without memory: the next request uses what is available then, with the same options."""
    real, failing = model.Model, True

    def load(path, **how):
        if failing:
            raise OutOfMemory(str(path))
        return real(path, **how)

    monkeypatch.setattr(model, "Model", load)
    engines = make()
    for _ in range(2):
        engine = engines.acquire(EngineOptions())
        with pytest.raises(OutOfMemory):
            engine.info()
        engines.release(EngineOptions())
    failing = False
    assert engines.acquire(EngineOptions()).info().model == "tiny"
    assert engines.acquire(EngineOptions()) is engines.acquire(EngineOptions())


def test_loading_ends_when_the_process_must(make, monkeypatch):
    """However large the model: waiting clients are asked to retry, and closing does not wait."""
    loading = threading.Event()

    def load(path, *, keep_going, **_):
        loading.set()
        while keep_going():
            time.sleep(0.001)
        raise InternalError(str(path), detail="cancelled")

    monkeypatch.setattr(model, "Model", load)
    engines, told = make(), []
    engine = engines.acquire(EngineOptions())

    def wait():
        with pytest.raises(TemporaryFailure) as caught:
            engine.info()
        told.append(caught.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert loading.wait(HANG)
    engines.stop_loading()
    closing = threading.Thread(target=engines.close)
    closing.start()
    for thread in (waiting, closing):
        thread.join(HANG)
        assert not thread.is_alive()
    assert told[0].exit_code == 75


def test_starting_an_engine_does_not_wait_for_a_closing_one(make, monkeypatch):
    """A closing engine may be in the middle of a step: its end is awaited when all end."""
    monkeypatch.setattr(module, "_MAX_ENGINES", 1)
    may_close, closed, real = threading.Event(), [], Engine.close

    def close(engine):
        assert may_close.wait(HANG)
        real(engine)
        closed.append(engine)

    monkeypatch.setattr(Engine, "close", close)
    engines = make()
    first = engines.acquire(EngineOptions())
    assert first.info().context
    engines.release(EngineOptions())
    second = engines.acquire(EngineOptions(ctx=256))  # otherwise this would wait for the thread that calls it
    assert second.info().context == 256 and not closed
    may_close.set()
    engines.close()
    assert set(closed) == {first, second}


def test_an_engine_is_released_after_the_block(make):
    """Then it may be evicted."""
    engines = make()
    with engines.hold_engine(EngineOptions()):
        assert list(engines._num_users.values()) == [1]
    assert list(engines._num_users.values()) == [0]
