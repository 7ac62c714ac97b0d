"""The engines of a worker: a failed load is retried, and neither loading nor closing blocks others."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time

import pytest

from llmcli.app_paths import DERIVED_DIRECTORY
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.derivation import DerivationSource, derive_copy
from llmcli.engine.engine import Engine
from llmcli.engine.llama import hardware, model
from llmcli.errors import InternalError, OutOfMemory, TemporaryFailure
from llmcli.interrupt import Interrupt
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.state_layers import save_layers
from llmcli.types import StateLayers
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


# ---- weights in other types ------------------------------------------------------------------------------------------


@pytest.fixture
def derived(tiny, tmp_path):
    """Return a function that makes a copy of the model in a type and returns the options that use it."""
    path = tiny("chatml")
    source = DerivationSource(path, "tiny", "ab" * 32)
    store = DerivedWeightsStore(tmp_path / DERIVED_DIRECTORY, 1 << 30)

    def options(weights="bf16"):
        derive_copy(source, weights, store, Interrupt())
        return EngineOptions(weights=weights, cache=tmp_path)

    return options


@pytest.fixture
def pool(tiny):
    """Return a function that makes a pool whose model has the hash of the copies."""
    made = []

    def engines(**given):
        made.append(EnginePool(tiny("chatml"), "tiny", "ab" * 32, None, **given))
        return made[-1]

    yield engines
    for each in made:
        each.close()


def loaded(engines):
    """Return the types of the weights in memory."""
    return {source.weights for source, each in engines._weights.items() if each.model.is_loaded}


def test_several_forms_of_the_weights_are_loaded_on_demand(pool, derived):
    """Each once for all engines that use it."""
    engines, options = pool(), derived()
    with engines.hold_engine(EngineOptions()) as original, engines.hold_engine(options) as copy:
        assert original.info() == dataclasses.replace(copy.info(), weights="original")
        assert (original.stats().weights, copy.stats().weights) == ("original", "bf16")
        with engines.hold_engine(dataclasses.replace(options, ctx=256)) as other:
            other.info()
            assert other._setup.model is copy._setup.model is not original._setup.model
    assert loaded(engines) == {"original", "bf16"}


def test_a_worker_loads_the_weights_of_its_first_command(pool, derived):
    """The original is then not loaded at all."""
    options = derived()
    engines = pool(preload=options)
    with engines.hold_engine(options) as engine:
        engine.info()
        assert loaded(engines) == {"bf16"}


def test_unused_weights_make_room_for_others(pool, derived, monkeypatch):
    """The least recently used ones, with the engines on them."""
    engines, first, second = pool(), derived("bf16"), derived("f16")
    for options in (EngineOptions(), first):
        with engines.hold_engine(options) as engine:
            engine.info()
    monkeypatch.setattr(hardware, "available_memory", lambda: 1 << 40 if "original" not in loaded(engines) else 0)
    with engines.hold_engine(second) as engine:
        assert engine.info().model == "tiny"
        assert loaded(engines) == {"bf16", "f16"}
        assert {options.weights for options in engines._engines} == {"bf16", "f16"}


def test_weights_in_use_are_not_freed(pool, derived, monkeypatch):
    """The command that needs others is told the figures; the one that runs goes on."""
    engines, options = pool(), derived()
    with engines.hold_engine(EngineOptions()) as original:
        original.info()
        monkeypatch.setattr(hardware, "available_memory", lambda: 1000)
        with engines.hold_engine(options) as copy, pytest.raises(OutOfMemory) as caught:
            copy.info()
        assert caught.value.available == 1000 < caught.value.needed
        assert "bf16" in caught.value.subject and original.info().model == "tiny"
    monkeypatch.undo()
    with engines.hold_engine(options) as copy:
        assert copy.info().model == "tiny"


def test_embeddings_use_the_weights_of_their_options(pool, derived):
    """Their vectors differ slightly, and weights with embeddings in progress stay."""
    engines, options = pool(), derived()
    vectors = [
        engines.submit_embedding(["hello world"], lambda: False, None, each).result(HANG)[0][0]
        for each in (EngineOptions(), options)
    ]
    assert vectors[0] != vectors[1] and sum(a * b for a, b in zip(*vectors, strict=True)) > 0.99
    assert all(each.num_users == 0 for each in engines._weights.values())


def test_embeddings_are_read_after_the_layer_that_was_measured(tiny, tmp_path):
    """As ``llm embed`` reads them, from the next text on."""
    engines, options = EnginePool(tiny("gemma3"), "tiny", "id", None), EngineOptions(cache=tmp_path)
    with contextlib.closing(engines):

        def embed():
            vectors, _ = engines.submit_embedding(["hello world"], lambda: False, None, options).result(HANG)
            return vectors[0]

        assumed = embed()
        save_layers(tmp_path, "id", StateLayers((1,), 1))
        assert sum(a * b for a, b in zip(assumed, embed(), strict=True)) < 0.99
