"""The layout of the buffers changes under what runs, when more come than it was chosen for."""

from __future__ import annotations

import pytest
from engine.tools import Probe, close, numbers

from llmcli.engine.llama import context as contexts
from llmcli.engine.sequences.sequence import Sequence
from llmcli.engine.tuning.cost_profile import ATTENTION_KERNELS, AttentionCosts, CostProfile
from llmcli.engine.tuning.planner import Planner
from llmcli.errors import OutOfMemory
from llmcli.types import EngineOptions

FREE = ("llama", "chatml", "qwen3moe-all")
"""Models of which every state may move between the layouts."""
BOUND = ("gemma3", "mamba", "lfm2", "falcon-h1", "qwen35")


def profile(**dear: float) -> CostProfile:
    """Return a profile in which all kernels are alike, and batches in the layout named cost so many times as much."""
    unified, separate = dear.get("unified", 1.0), dear.get("separate", 1.0)
    costs = AttentionCosts((1, 1), (1, 1), (unified, unified, unified), (separate, separate))
    return CostProfile(dict.fromkeys(ATTENTION_KERNELS, costs), copy=0.0, measured=True)


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
    """Return a list of what had to begin again."""
    begun = []
    whole = Sequence.reset
    monkeypatch.setattr(Sequence, "reset", lambda self: (begun.append(self.request.id), whole(self))[1])
    return begun


def several(count, *, shared=(), first=0):
    return [Probe(f"p{i}", [*shared, *numbers(30 + i, i)], numbers(40, i)) for i in range(first, first + count)]


def begin(scheduler, probes):
    """Let the probes generate a token at least."""
    scheduler.add(*probes)
    while not all(probe.rows for probe in probes):
        scheduler.step()


def same_as_fresh(bench, name, probes):
    for probe in probes:
        fresh = Probe("fresh", probe.tokens[: probe.prompt_length], numbers(40, int(probe.request.id[1:])))
        bench(name).run(fresh)
        close(probe.rows, fresh.rows)


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("before", [True, False])
def test_what_runs_moves_to_the_layout_that_suits_all(planned, bench, restarts, name, before):
    """One that came alone goes on where it was, in buffers laid out for those who joined; answers stay right."""
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


@pytest.mark.parametrize("name", BOUND)
def test_states_that_cannot_move_stay(planned, bench, restarts, name):
    """Windows and states of recurrent models go on in the layout that they began in."""
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
def test_what_the_user_chose_stays(planned, options):
    """A layout that the options name is kept."""
    scheduler = planned("chatml", profile(unified=9.0, separate=1.0), **options)
    begin(scheduler, several(1))
    before = scheduler.kv_cache.settings
    scheduler.run(*several(5, first=1))
    assert scheduler.kv_cache.settings == before


def test_the_kernel_stays(planned):
    """States do not move between kernels, however much another one would save."""
    scheduler = planned("chatml", profile(unified=9.0))
    begin(scheduler, several(1))
    before = scheduler.kv_cache.settings
    cheap = AttentionCosts((0, 0), (0, 0), (0, 0, 0), (0, 0))
    kernels = dict(scheduler.kv_cache._planner.profile.kernels)
    scheduler.kv_cache._planner.profile = CostProfile(kernels | {(False, "f16"): cheap}, copy=0.0, measured=True)
    scheduler.run(*several(5, first=1))
    assert scheduler.kv_cache.settings.flash_attention is before.flash_attention is True


def test_it_is_asked_only_when_twice_as_many_are_there(planned, monkeypatch):
    """A plan looks at all that waits, which is too much for every step."""
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


def test_after_a_rest_it_is_asked_again(planned):
    """A second crowd finds what the first one found."""
    scheduler = planned("chatml", profile(unified=9.0))
    for turn in range(2):
        scheduler.kv_cache.close()
        begin(scheduler, several(1, first=20 * turn))
        assert scheduler.kv_cache.settings.unified
        begin(scheduler, several(5, first=20 * turn + 1))
        assert not scheduler.kv_cache.settings.unified
        scheduler.run()


def test_where_the_memory_does_not_hold_it_all_goes_on(planned, bench, restarts, monkeypatch):
    """The buffers that there were are made again, and what ran is in them."""
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
