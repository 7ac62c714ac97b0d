"""A context, a model, or another worker is refused before a model is loaded."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from llmcli.engine.llama import hardware
from llmcli.errors import ConfigError, OutOfMemory, TemporaryFailure, UsageError
from llmcli.models.files.model_file import ModelFile
from llmcli.runtime import hardware_fit, preflight
from llmcli.settings import resolve_settings
from llmcli.worker.client import worker_status


@pytest.fixture
def model(tiny):
    """Return a tiny model."""
    path = tiny("llama")
    return ModelFile("tiny", path, path.stat().st_size, context=256, parts=(path,))


def settings(environ=None, **given):
    """Return settings, those of ``given`` as if by options."""
    return resolve_settings({name: (f"--{name}", value) for name, value in given.items()}, environ or {}, None)


def test_a_context_beyond_the_model_s_names_where_it_was_set(model):
    """By an option it is usage, by a variable configuration."""
    preflight.check_context(model, settings(ctx=256))
    preflight.check_context(model, settings())
    with pytest.raises(UsageError, match="--ctx 512 is larger"):
        preflight.check_context(model, settings(ctx=512))
    with pytest.raises(ConfigError) as raised:
        preflight.check_context(model, settings({"LLMCLI_CTX": "512"}))
    assert raised.value.origin == "LLMCLI_CTX"
    preflight.check_context(replace(model, context=None), settings(ctx=512))


@pytest.fixture
def memory(monkeypatch):
    """Set the bytes that are free; there are no GPUs."""

    def limit(free):
        monkeypatch.setattr(hardware, "available_memory", lambda: free)
        monkeypatch.setattr(hardware, "list_gpus", list)

    return limit


def test_too_little_memory_is_refused_with_a_suggestion(model, memory, monkeypatch):
    """A smaller context first, else the largest model of this machine that fits."""
    memory(1 << 40)
    models = SimpleNamespace(list=lambda: [replace(model, name=f"m{size}", size=size) for size in (50, 10, 90)])
    preflight.check_memory(model, settings(ctx=256), models)
    memory(80)
    with pytest.raises(OutOfMemory) as raised:
        preflight.check_memory(model, settings(ctx=256), models)
    assert raised.value.fits == "-m m50" and "256 tokens" in raised.value.subject
    fit = preflight.estimate_memory(model, settings(ctx=256))
    partly = SimpleNamespace(
        fits=False, max_context_tokens=128, available_bytes=80, needed_bytes=90, weight_bytes=1, kv_bytes_per_token=1
    )
    monkeypatch.setattr(preflight, "estimate_memory", lambda *_: fit)
    monkeypatch.setattr(preflight, "replace", lambda *_args, **_more: partly)
    with pytest.raises(OutOfMemory) as raised:
        preflight.check_memory(model, settings(), models)
    assert (raised.value.fits, raised.value.subject) == ("--ctx 128", "tiny")


def test_memory_of_gpus_counts_before_a_refusal(model, memory, monkeypatch):
    """They are queried only if the model does not fit the main memory."""
    asked = []
    room = hardware_fit.measure_machine(settings())

    def measure(_settings):
        asked.append(1)
        return replace(room, free_bytes=1 << 40)

    monkeypatch.setattr(hardware_fit, "measure_machine", measure)
    memory(1 << 40)
    preflight.check_memory(model, settings(), None)
    assert asked == []
    memory(80)
    preflight.check_memory(model, settings(), None)
    assert asked == [1]


@pytest.fixture
def workers(monkeypatch):
    """Return the running workers by their memory; idle ones are stopped while the caller lacks memory."""
    running = []

    def stop(_directory, lacks):
        while running and lacks(running):
            running.pop(0)
        return running

    monkeypatch.setattr(worker_status, "stop_idle_workers", stop)
    return running


def test_idle_workers_end_until_the_model_fits(model, memory, workers, tmp_path):
    """As many as necessary, and no more."""
    needed = preflight.estimate_memory(model, settings()).needed_bytes
    memory(1 << 40)
    workers += [{"memory": needed}, {"memory": needed}]
    preflight.evict_idle_workers(model, settings(), tmp_path)
    assert len(workers) == 2
    most = 2 * needed // (1 << 20) + 1
    preflight.evict_idle_workers(model, settings({"LLMCLI_WORKER_MEMORY": str(most)}), tmp_path)
    assert len(workers) == 1
    memory(80)
    preflight.evict_idle_workers(model, settings(), tmp_path)
    assert workers == []


def test_a_limit_for_workers_that_is_too_low_is_temporary(model, memory, workers, tmp_path, monkeypatch):
    """The caller then works without a worker. If the limit is below the need of the model, no worker is stopped."""
    memory(1 << 40)
    monkeypatch.setattr(preflight, "estimate_memory", lambda *_: SimpleNamespace(needed_bytes=5 << 20, fits=True))
    workers += [{"memory": 1 << 20}]
    with pytest.raises(TemporaryFailure, match="worker"):
        preflight.evict_idle_workers(model, settings({"LLMCLI_WORKER_MEMORY": "4"}), tmp_path)
    assert len(workers) == 1
    monkeypatch.setattr(worker_status, "stop_idle_workers", lambda *_: workers)  # it is busy
    workers[0]["memory"] = 3 << 20
    with pytest.raises(TemporaryFailure):
        preflight.evict_idle_workers(model, settings({"LLMCLI_WORKER_MEMORY": "6"}), tmp_path)
