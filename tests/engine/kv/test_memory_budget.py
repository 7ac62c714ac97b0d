"""Contexts within the memory budget of their model, and memory that is released at rest."""

from __future__ import annotations

import threading
from dataclasses import asdict, replace

import pytest
from engine.tools import Probe, answer, close, each_model, engine_of, equal, numbers, only_scheduler_thread, req
from grid import grid

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.kv import layouts, manager
from llmcli.engine.llama import bindings, hardware, memory_budget, state_files
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.memory_budget import MemoryBudget
from llmcli.engine.schedule import scheduler_thread
from llmcli.engine.tuning.planner import Planner
from llmcli.models.footprint import ContextShape, context_bytes, small_context_bytes
from llmcli.types import Finished, FinishReason, Priority

EXACT = {"unified": False, "kv_type": "q8_0"}
KINDS = [("llama", {}), ("gemma3", {}), ("llama", EXACT), ("mamba", {}), ("falcon-h1", {})]
each_kind = grid(("name", "config"), KINDS, ids=str, rows=3)


@pytest.fixture
def room_of(models, monkeypatch):
    """Return a function that limits the contexts of a model to the memory of one context shape."""

    def limit(name, shape):
        size = context_bytes(models(name).header, shape)
        monkeypatch.setattr(models(name).budget, "_limit_bytes", size + models(name).budget._small_context_bytes)
        return size

    return limit


@pytest.fixture
def made(monkeypatch):
    """Record the shapes of all contexts that are created from now on."""
    shapes: list[ContextShape] = []

    class Noted(Context):
        def __init__(self, model, config, *more, **named):
            super().__init__(model, config, *more, **named)
            shapes.append(self.config.shape)

    monkeypatch.setattr(manager, "Context", Noted)
    return shapes


def reasons(probe):
    return [event.reason for event in probe.sink.events if isinstance(event, Finished)]


# ---- the formula -----------------------------------------------------------------------------------------------------


@each_model
def test_the_estimate_matches_a_real_context(models, monkeypatch, name):
    """The estimate matches the sizes that llama.cpp logs, for one or more buffers, with and without flash attention."""
    lines: list[str] = []
    monkeypatch.setattr(bindings.log, "append", lambda _, text: lines.append(text.decode()))
    for cells in (512, 8192):
        for settings in ({}, {"flash_attention": False}, {"unified": False, "kv_type": "q8_0"}):
            lines.clear()
            context = Context(models(name), ContextConfig(cells, sequences=4, **settings), lambda: False)
            context.close()
            text = "".join(lines).splitlines()
            logged = sum(
                float(line.split("=")[1].split()[0]) for line in text if "buffer size =" in " ".join(line.split())
            )
            computed = context_bytes(models(name).header, context.config.shape) / (1 << 20)
            assert logged > 0
            assert 0.7 * logged - 1 < computed < 1.6 * logged + 1


class Owner:
    """An owner of a context."""

    def release_idle(self):
        """Release nothing."""


# ---- who may take what -----------------------------------------------------------------------------------------------


def test_each_context_leaves_room_for_others(models, monkeypatch):
    """A small one if there is none yet; memory of other owners counts, the owner's own counts as free."""
    monkeypatch.setattr(hardware, "available_memory", lambda: None)
    header = models("llama").header
    shared = MemoryBudget(header)
    whole, small = shared._limit_bytes, small_context_bytes(header)
    a, b = Owner(), Owner()
    assert shared.available_bytes(a) == whole - small
    shared.allocate(a, 5 * small)
    assert shared.available_bytes(a) == whole - small and shared.available_bytes(b) == whole - 5 * small
    shared.allocate(b, 2 * small)
    assert shared.available_bytes(a) == whole - 2 * small
    shared.free(a)
    shared.free(Owner())
    assert shared.available_bytes(b) == whole - small


def test_free_memory_limits_the_budget_too(models, monkeypatch):
    """Nine tenths of the free memory, plus what the present context will release."""
    monkeypatch.setattr(hardware, "available_memory", lambda: 1000)
    shared, a = MemoryBudget(models("llama").header), Owner()
    assert shared.available_bytes(a) == 900
    shared.allocate(a, 1000)
    assert shared.available_bytes(a) == 1800 and shared.available_bytes(Owner()) == 900
    assert MemoryBudget(models("llama").header, offloaded=True).available_bytes(a) > 10**6


@pytest.mark.parametrize(
    ("info", "types"),
    [
        ("CPU : AVX2 = 1 | AVX512 = 1 | REPACK = 1 |", {"Q4_0", "Q4_K", "IQ4_NL", "MXFP4", "Q2_K"}),
        ("CPU : AVX2 = 1 | AVX512 = 0 | REPACK = 1 |", {"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"}),
        ("CPU : AVX2 = 1 |", set()),
        ("CPU : SSE3 = 1 | REPACK = 1 |", set()),
    ],
)
def test_repacked_types_depend_on_the_build(monkeypatch, info, types):
    """It depends on the build features that llama.cpp reports."""
    monkeypatch.setattr(bindings, "system_info", lambda: info)
    assert memory_budget.list_repacked_types() == types


# ---- sequences within the budget -------------------------------------------------------------------------------------


@each_kind
def test_no_context_is_larger_than_its_budget(bench, room_of, made, name, config):
    """With twelve sequences and room for three, some wait, all are correct, and nothing is evaluated twice."""
    shape = ContextShape(512, 32, 128) if config == {} else ContextShape(256, 4, 128, **config)
    if name in {"mamba", "falcon-h1"}:
        shape = ContextShape(512, 5, 128)
    size = room_of(name, shape)
    scheduler = bench(name, **config)
    probes = [Probe(f"p{i}", numbers(60 + i, 10 + i), numbers(30, i)) for i in range(12)]
    scheduler.run(*probes, steps=3000)
    assert [reasons(probe) for probe in probes] == [[FinishReason.STOP]] * 12
    assert made and all(context_bytes(scheduler.kv_cache._model.header, each) <= size for each in made)
    assert scheduler.kv_cache.context.evaluated_tokens <= sum(len(probe.tokens) for probe in probes)
    for i in (0, 11):
        fresh = Probe("fresh", numbers(60 + i, 10 + i), numbers(30, i))
        bench(name, **config).run(fresh)
        (equal if config == EXACT else close)(probes[i].rows, fresh.rows)


def test_smaller_batches_come_before_fewer_sequences(bench, room_of, made):
    """All sixteen run at once, with a quarter of the compute buffer."""
    room_of("llama", ContextShape(2048, 32, 128))
    scheduler = bench("llama")
    scheduler.run(*[Probe(f"p{i}", numbers(60, 10 + i), numbers(40, i)) for i in range(16)])
    assert made == [ContextShape(1792, 32, 128)] and scheduler.scheduler.max_batch_sequences == 16


def test_one_sequence_may_have_the_whole_context(bench, room_of, made):
    """It may exceed the budget, and grow meanwhile; beside others it waits."""
    room_of("llama", ContextShape(512, 32, 128))
    scheduler = bench("llama", limit=2048)
    long, short = Probe("long", numbers(900, 1), numbers(600, 2)), Probe("short", numbers(20, 3), [5])
    scheduler.run(long, short)
    assert [reasons(probe) for probe in (long, short)] == [[FinishReason.STOP]] * 2
    assert max(shape.cells for shape in made) <= 2048 + 256


def test_no_smaller_sequence_overtakes_one_that_waits_for_cells(bench, room_of):
    """Otherwise it could wait for ever."""
    room_of("llama", ContextShape(768, 32, 128))
    scheduler = bench("llama")
    first, large = Probe("first", numbers(200, 1), numbers(30, 1)), Probe("large", numbers(600, 2), [5])
    small = [Probe(f"s{i}", numbers(20, 3 + i), [5]) for i in range(8)]
    scheduler.add(first, large, *small)
    while large.slot is None:
        scheduler.step()
    assert first.ended and not any(probe.rows for probe in small)
    scheduler.run()


def test_waiting_sequences_are_not_sized_at_every_step(bench, room_of, monkeypatch):
    """If the memory allows no more sequences, a larger context is considered again when one ends."""
    room_of("llama", ContextShape(256, 32, 128))
    scheduler = bench("llama")
    asked = []
    size_for = scheduler.kv_cache._config_for
    monkeypatch.setattr(scheduler.kv_cache, "_config_for", lambda all_: asked.append(len(all_)) or size_for(all_))
    scheduler.run(Probe("a", numbers(100, 1), numbers(100, 1)), Probe("b", numbers(100, 2), [5]))
    assert 0 < len(asked) <= 4


def test_settings_that_fit_are_chosen(models, bench, room_of):
    """If an f16 cache would be faster but too large for the prompt, q8_0 is chosen."""
    room_of("llama", ContextShape(3072, 32, 128, kv_type="q8_0"))
    scheduler = bench("llama")
    scheduler.kv_cache._planner = Planner(models("llama"), EngineOptions(kv_unified=True), 1)
    probe = Probe("p", numbers(2500, 1), [5])
    scheduler.run(probe)
    assert reasons(probe) == [FinishReason.STOP]
    assert scheduler.kv_cache.settings.kv_type == "q8_0" and not scheduler.kv_cache.memory_limited


def test_the_context_of_an_engine_follows_the_budget(tiny, monkeypatch):
    """Unless the user sets the number of tokens."""
    monkeypatch.setattr(MemoryBudget, "max_context_tokens", lambda _, kv_type: 4096 if kv_type == "q8_0" else 0)
    with engine_of(tiny("llama")) as engine:
        assert engine.info().context == 4096
    with engine_of(tiny("llama"), ctx=8000) as engine:
        assert engine.info().context == 8000


# ---- rest ------------------------------------------------------------------------------------------------------------


@each_kind
def test_memory_is_released_at_rest(bench, name, config):
    """The context is freed; its contents still begin the next sequence, with the logits of a fresh evaluation."""
    scheduler = bench(name, **config)
    shared = numbers(100, 1)
    scheduler.run(Probe("a", shared, []))
    assert scheduler.kv_cache in scheduler.kv_cache._model.budget._allocated
    scheduler.kv_cache.release_memory()
    assert not scheduler.kv_cache.has_context and scheduler.kv_cache not in scheduler.kv_cache._model.budget._allocated
    again = Probe("b", shared + numbers(20, 2), numbers(5, 3))
    scheduler.run(again)
    assert again.num_cached_tokens == 100
    fresh = Probe("fresh", shared + numbers(20, 2), numbers(5, 3))
    bench(name, **config).run(fresh)
    (equal if config == EXACT else close)(again.rows, fresh.rows)


def test_a_state_that_cannot_be_restored_is_evaluated_again(bench):
    """The state of a window in separate buffers is not as good as an evaluated one."""
    scheduler = bench("gemma3", **EXACT)
    scheduler.run(Probe("a", numbers(100, 1), []))
    scheduler.kv_cache.release_memory()
    again = Probe("b", [*numbers(100, 1), 5], [7])
    scheduler.run(again)
    assert again.num_cached_tokens == 0


def test_only_small_states_are_kept_at_rest(bench, models):
    """The most recently used ones, together within the limit."""
    scheduler = bench("llama")
    per_token = models("llama").header.kv_bytes_per_token()
    scheduler.kv_cache.idle_states._max_bytes = 150 * per_token
    scheduler.run(Probe("large", numbers(300, 1), []))
    scheduler.run(Probe("old", numbers(100, 2), []))
    scheduler.run(Probe("new", numbers(100, 3), []))
    scheduler.kv_cache.release_memory()
    assert [
        saved.prefix.tokens for saved in scheduler.kv_cache.idle_states.with_format(scheduler.kv_cache.state_format)
    ] == [numbers(100, 3)]
    assert scheduler.kv_cache.idle_states.total_bytes <= 150 * per_token


def test_a_state_of_another_format_is_not_restored(bench):
    """The next job may need other settings; states with the old settings wait for those."""
    scheduler = bench("llama")
    scheduler.run(Probe("a", numbers(100, 1), []))
    scheduler.kv_cache.release_memory()
    settings = scheduler.kv_cache._config
    scheduler.kv_cache._config = ContextConfig(**{**asdict(settings.settings), "kv_type": "q8_0"}, cells=0)
    probe = Probe("b", [*numbers(100, 1), 5], [7])
    scheduler.run(probe)
    assert probe.num_cached_tokens == 0 and len(scheduler.kv_cache.idle_states) == 1


def test_release_without_a_context_does_nothing(bench):
    """Before the first job, and when called twice."""
    scheduler = bench("llama")
    scheduler.kv_cache.release_memory()
    scheduler.run(Probe("a", numbers(10, 1), []))
    scheduler.kv_cache.release_memory()
    scheduler.kv_cache.release_memory()
    assert not scheduler.kv_cache.has_context


def test_an_idle_context_makes_room_for_another(bench, room_of):
    """Not if both contexts fit, and not while something runs in it."""
    large, small = ContextShape(3072, 32, 128), ContextShape(512, 32, 128)
    size = room_of("llama", large)
    bulk, interactive = bench("llama"), bench("llama")
    bulk.run(Probe("bulk", numbers(2900, 1), []))
    taken = bulk.kv_cache._model.budget._allocated[bulk.kv_cache]
    assert taken > size - context_bytes(bulk.kv_cache._model.header, small)
    interactive.run(Probe("a", numbers(900, 1), []))
    assert bulk.kv_cache.has_context  # it may be at work
    interactive.kv_cache.close()
    bulk.scheduler.on_idle()
    interactive.run(Probe("b", numbers(200, 1), []))
    assert bulk.kv_cache.has_context  # there is room for both
    interactive.run(Probe("c", numbers(900, 2), []))
    assert not bulk.kv_cache.has_context
    bulk.run(Probe("again", numbers(20, 1), []))
    interactive.scheduler.on_idle()
    bulk.run(Probe("more", numbers(30, 1), []))
    assert interactive.kv_cache.has_context  # there was room for both


@pytest.mark.parametrize("priority", list(Priority))
def test_an_idle_engine_releases_its_memory(tiny, monkeypatch, priority):
    """Every scheduler thread does so once after a while, and answers as before when a request comes."""
    released = threading.Event()
    release = manager.KVCacheManager.release_memory
    calls = []

    def noted(manager):
        release(manager)
        calls.append(manager)
        released.set()

    monkeypatch.setattr(manager.KVCacheManager, "release_memory", noted)
    monkeypatch.setattr(scheduler_thread, "IDLE_RELEASE_S", 0.01)
    with engine_of(tiny("llama")) as engine:
        first = answer(engine, req("a", "hello " * 20, priority=priority))["a"]
        assert released.wait(60)
        assert not only_scheduler_thread(engine).scheduler.kv_cache.has_context
        released.clear()
        again = answer(engine, req("a", "hello " * 20, priority=priority))["a"]
        assert released.wait(60)
        assert first.text == again.text and again.cached > 0
        assert len(calls) == 2


@pytest.mark.parametrize(("unified", "cells", "larger"), [(True, 1280, 2048), (False, 512, 1024)])
def test_a_context_that_replaces_another_has_spare_cells_only_within_the_budget(models, unified, cells, larger):
    """After 1,024 cells one buffer gets twice as many for answers, and a buffer for each sequence no fewer."""
    header = models("llama").header
    present = ContextConfig(1024, 8, unified=unified)
    config = replace(present, cells=cells, sequences=12)
    grown = layouts.with_spare_cells(config, present, header, None, generates=True)
    assert grown.cells == larger
    size = context_bytes(header, grown.shape)
    assert layouts.with_spare_cells(config, present, header, size, generates=True) == grown
    assert layouts.with_spare_cells(config, present, header, size - 1, generates=True) == config


def test_a_context_for_prompts_without_answers_has_no_spare_cells(models):
    """Their number is known when the context is created, so a twofold context would only take memory."""
    config = replace(ContextConfig(1024, 8, unified=True), cells=1280, sequences=12)
    assert (
        layouts.with_spare_cells(config, ContextConfig(1024, 8), models("llama").header, None, generates=False)
        == config
    )


# ---- states in files -------------------------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("proc", [True, False], ids=["file", "memory"])
def test_a_context_grows_with_large_states_in_files(bench, monkeypatch, tmp_path, name, proc):
    """This happens in mid-answer, without a new evaluation; without such files the states stay in memory."""
    monkeypatch.setattr("llmcli.engine.llama.context.MIN_FILE_BYTES", 0)
    if not proc:
        monkeypatch.setattr(state_files, "_FD_DIR", tmp_path / "none")
    monkeypatch.setattr("llmcli.engine.kv.layouts.FIRST_ANSWER_TOKENS", 8)
    loaded = []
    load = state_files.NativeStateFile.load
    monkeypatch.setattr(state_files.NativeStateFile, "load", lambda *a: loaded.append(load(*a)) or loaded[-1])
    scheduler = bench(name)
    probes = [Probe(f"p{i}", numbers(60, 1 + i), numbers(150, 9 + i)) for i in range(2)]
    scheduler.run(*probes)
    assert scheduler.kv_cache.context.config.cells > 256 or name == "mamba"
    assert all(loaded) and bool(loaded) is (proc and name != "mamba")
    for i, probe in enumerate(probes):
        fresh = Probe("fresh", numbers(60, 1 + i), numbers(150, 9 + i))
        bench(name).run(fresh)
        close(probe.rows, fresh.rows)


@pytest.fixture(params=[True, False], ids=["native", "copied"])
def read_files(request, monkeypatch, tmp_path) -> list[object]:
    """States that were read from files: written by llama.cpp, or, where there is no /proc, from a copy in memory."""
    monkeypatch.setattr("llmcli.engine.llama.context.MIN_FILE_BYTES", 0)
    files: list[object] = []
    kind, name = (state_files.NativeStateFile, "load") if request.param else (state_files.StateFile, "read")
    read = getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda *a: files.append(read(*a)) or files[-1])
    if not request.param:
        monkeypatch.setattr(state_files, "_FD_DIR", tmp_path / "none")
    return files


@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
def test_states_of_sequences_with_their_own_buffers_go_through_files(bench, read_files, kv_type):
    """One after the other, and to another number of buffers."""
    scheduler = bench("llama", unified=False, kv_type=kv_type)
    probes = [Probe(f"p{i}", numbers(60, 1 + i), numbers(150, 9 + i)) for i in range(2)]
    for probe in probes:
        scheduler.add(probe)
    scheduler.step()
    cache = scheduler.kv_cache
    config = cache.context.config
    cache._resize(replace(config, sequences=config.sequences + 3), probes)
    assert len(read_files) == 2 and all(read_files)
    computed = [probe.num_computed_tokens for probe in probes]
    assert all(computed)
    scheduler.run()
    for i, probe in enumerate(probes):
        fresh = Probe("fresh", numbers(60, 1 + i), numbers(150, 9 + i))
        bench("llama", unified=False, kv_type=kv_type).run(fresh)
        close(probe.rows, fresh.rows)


@pytest.mark.parametrize("unified", [True, False])
def test_states_go_through_files_to_another_layout(bench, read_files, unified):
    """In a form that both layouts read, so that a context and its copy are not in memory together."""
    scheduler = bench("llama", unified=unified)
    probes = [Probe(f"p{i}", numbers(60, 1 + i), numbers(20, 9 + i)) for i in range(2)]
    scheduler.add(*probes)
    scheduler.step()
    cache = scheduler.kv_cache
    cache._config = replace(cache._config, unified=not unified)
    cache._resize(replace(cache.context.config, unified=not unified), probes)
    assert len(read_files) == 2 and all(read_files)
    computed = [probe.num_computed_tokens for probe in probes]
    assert all(computed)
    scheduler.run()
    for i, probe in enumerate(probes):
        fresh = Probe("fresh", numbers(60, 1 + i), numbers(20, 9 + i))
        bench("llama", unified=not unified).run(fresh)
        close(probe.rows, fresh.rows)


@pytest.mark.parametrize("unified", [True, False])
def test_a_state_that_cannot_be_written_stays_in_memory(bench, monkeypatch, unified):
    """A disk that is full, or no place for temporary files, loses nothing."""

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_files.tempfile, "TemporaryFile", full)
    monkeypatch.setattr("llmcli.engine.llama.context.MIN_FILE_BYTES", 0)
    scheduler = bench("llama", unified=unified)
    scheduler.run(Probe("a", numbers(50, 1), []))
    slot = next(iter(scheduler.kv_cache.id_pool.cached))
    assert scheduler.kv_cache.context.save_state_or_file(slot) == scheduler.kv_cache.context.save_state(slot)


def test_a_buffer_grows_by_a_common_prefix_once(models):
    """Thirteen records after one instruction: twice the cells, not room for the instruction of each."""
    header, config = models("llama").header, ContextConfig(512, sequences=32)
    limits = layouts.CacheLimits(concurrency=32, max_sequence_tokens=4096, per_sequence_buffers=False)
    records = [Probe(f"r{i}", numbers(250, 1) + numbers(20, 2 + i), []) for i in range(13)]
    larger = layouts.grown(config, records, limits, header, None)
    assert larger is not None and larger.cells == 1024
    different = [Probe(f"d{i}", numbers(270, 1 + i), []) for i in range(13)]
    larger = layouts.grown(config, different, limits, header, None)
    assert larger is not None and larger.cells >= 13 * 270
