"""The buffer layout changes while sequences run, when more arrive than it was chosen for."""

from __future__ import annotations

import pytest
from engine.profiles import attention_profile
from engine.tools import Probe, close, numbers
from grid import grid

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.llama import context as contexts
from llmcli.engine.sequences.sequence import Sequence
from llmcli.engine.tuning.cost_profile import ATTENTION_KERNELS, AttentionCosts, CostProfile
from llmcli.engine.tuning.planner import Planner
from llmcli.errors import OutOfMemory

FREE = ("llama", "chatml", "qwen3moe-all")
"""Models of which every state may move between the layouts."""
BOUND = ("gemma3", "mamba", "lfm2", "falcon-h1", "qwen35")


def profile(**dear: float) -> CostProfile:
    """Return a profile in which all kernels cost the same, and batches in one layout this many times as much."""
    unified, separate = dear.get("unified", 1.0), dear.get("separate", 1.0)
    costs = AttentionCosts((1, 1), (1, 1), (unified, unified, unified), (separate, separate))
    return attention_profile(dict.fromkeys(ATTENTION_KERNELS, costs))


@pytest.fixture
def planned(bench, models):
    """Return a function that makes a scheduler on a model and a planner with a profile."""

    def make(name, costs, **options):
        scheduler = bench(name)
        planner = Planner(models(name), EngineOptions(**options), 1)
        planner.profile = costs
        scheduler.kv_cache._planner = planner
        return scheduler

    return make


@pytest.fixture
def restarts(monkeypatch):
    """Return a list that records what had to start again."""
    begun = []
    whole = Sequence.reset
    monkeypatch.setattr(Sequence, "reset", lambda self: (begun.append(self.request.id), whole(self))[1])
    return begun


def several(count, *, shared=(), first=0):
    return [Probe(f"p{i}", [*shared, *numbers(30 + i, i)], numbers(40, i)) for i in range(first, first + count)]


def begin(scheduler, probes):
    """Step until each probe has generated a token."""
    scheduler.add(*probes)
    while not all(probe.rows for probe in probes):
        scheduler.step()


def same_as_fresh(bench, name, probes):
    for probe in probes:
        fresh = Probe("fresh", probe.tokens[: probe.prompt_length], numbers(40, int(probe.request.id[1:])))
        bench(name).run(fresh)
        close(probe.rows, fresh.rows)


@grid("name", FREE)
@pytest.mark.parametrize("before", [True, False])
def test_running_sequences_move_to_the_better_layout(planned, bench, restarts, name, before):
    """A sequence that was alone continues where it was, in buffers for all; answers stay correct."""
    scheduler = planned(name, profile(unified=9.0))
    first = several(1 if before else 2)
    begin(scheduler, first)
    if not before:
        scheduler.kv_cache._planner.profile = profile(separate=900.0)
    assert scheduler.kv_cache.settings.unified is before
    joined = several(6, first=2)
    begin(scheduler, joined)
    assert scheduler.kv_cache.settings.unified is not before
    assert scheduler.kv_cache.context.config.unified is not before
    scheduler.run()
    assert not restarts
    same_as_fresh(bench, name, [*first, *joined])


@grid("name", BOUND, rows=2)
def test_states_that_cannot_move_stay(planned, bench, restarts, name):
    """Sliding windows and recurrent states continue in their first layout."""
    scheduler = planned(name, profile(unified=9.0))
    (alone,) = several(1)
    begin(scheduler, [alone])
    before = scheduler.kv_cache.settings
    joined = several(5, first=1)
    scheduler.run(*joined)
    assert scheduler.kv_cache.settings == before and not restarts
    same_as_fresh(bench, name, [alone, *joined])


@pytest.mark.parametrize(
    "options", [{"kv_unified": True}, {"kv_unified": False}, {"deterministic": True}], ids=lambda o: next(iter(o))
)
def test_the_users_layout_stays(planned, options):
    """A layout set by options is kept."""
    scheduler = planned("chatml", profile(unified=9.0, separate=1.0), **options)
    begin(scheduler, several(1))
    before = scheduler.kv_cache.settings
    scheduler.run(*several(5, first=1))
    assert scheduler.kv_cache.settings == before


def test_the_kernel_stays(planned):
    """States do not move between kernels, however much another kernel would save."""
    scheduler = planned("chatml", profile(unified=9.0))
    begin(scheduler, several(1))
    before = scheduler.kv_cache.settings
    cheap = AttentionCosts((0, 0), (0, 0), (0, 0, 0), (0, 0))
    kernels = dict(scheduler.kv_cache._planner.profile.kernels)
    scheduler.kv_cache._planner.profile = attention_profile(kernels | {(False, "f16"): cheap})
    scheduler.run(*several(5, first=1))
    assert scheduler.kv_cache.settings.flash_attention is before.flash_attention is True


def test_the_layout_is_reconsidered_only_for_twice_as_many(planned, monkeypatch):
    """Planning looks at all waiting sequences, which takes too long for every step."""
    scheduler = planned("chatml", profile())
    asked = []
    whole = Planner.choose_layout
    monkeypatch.setattr(
        Planner,
        "choose_layout",
        lambda self, together, *rest: (asked.append(len(together)), whole(self, together, *rest))[1],
    )
    probes = several(20)
    for at in range(0, 20, 2):
        scheduler.add(*probes[at : at + 2])
        scheduler.step()
    scheduler.run()
    assert asked == [4, 8, 16]


def test_the_layout_is_reconsidered_after_idle_time(planned):
    """The next large job gets the same layout as the first."""
    scheduler = planned("chatml", profile(unified=9.0))
    for turn in range(2):
        scheduler.kv_cache.close()
        begin(scheduler, several(1, first=20 * turn))
        assert scheduler.kv_cache.settings.unified
        begin(scheduler, several(5, first=20 * turn + 1))
        assert not scheduler.kv_cache.settings.unified
        scheduler.run()


def test_the_old_layout_comes_back_without_enough_memory(planned, bench, restarts, monkeypatch):
    """The old buffers are created again, with the running sequences in them."""
    scheduler = planned("chatml", profile(unified=9.0))
    (alone,) = several(1)
    begin(scheduler, [alone])
    check = contexts._check_memory_fits

    def refuse(model, config):
        if not config.unified:
            raise OutOfMemory("a context", needed=2, available=1)
        check(model, config)

    monkeypatch.setattr(contexts, "_check_memory_fits", refuse)
    joined = several(5, first=1)
    scheduler.run(*joined)
    assert scheduler.kv_cache.settings.unified and scheduler.kv_cache.context.config.unified
    assert not restarts and all(probe.rows for probe in joined)
    monkeypatch.undo()
    same_as_fresh(bench, "chatml", [alone, *joined])
