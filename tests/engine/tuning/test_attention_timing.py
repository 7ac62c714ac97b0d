"""Comparing the kernels of attention: they take turns, and pairs of neighbouring steps decide."""

from __future__ import annotations

import signal

import pytest
from engine.profiles import FREE_WEIGHTS, DriftingMachine, shorten_measurements

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.llama.context import Context
from llmcli.engine.tuning import attention_timing, microbenchmark
from llmcli.engine.tuning.cost_profile import ATTENTION_KERNELS, CostProfile, JobShape
from llmcli.engine.tuning.planner import Planner
from llmcli.errors import Interrupted
from llmcli.interrupt import Interrupt
from llmcli.weights_times import StepTimes

FREE = StepTimes(0.0, 0.0, 0.0, 0.0)
FLASH, PLAIN = (True, "f16"), (False, "f16")
ONE_ANSWER = JobShape(prompts=(24,), shared=0, outputs=(64,), width=1)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten_measurements(monkeypatch)


def time_kernels(model, kernels=ATTENTION_KERNELS, base=FREE, interrupt=None):
    return attention_timing.time_kernels(model, 1, interrupt or Interrupt(), base, kernels)


@pytest.mark.parametrize("name", ["chatml", "gemma3"])
def test_every_kernel_can_be_timed(models, name):
    """Costs that grow with the cells are never negative."""
    costs, copy = time_kernels(models(name))
    assert list(costs) == list(ATTENTION_KERNELS) and copy >= 0
    for each in costs.values():
        assert min(each.prompt[1], each.single[1], *each.unified[1:], each.separate[1]) >= 0


def test_costs_are_those_beyond_the_weights(models, monkeypatch):
    """What the same step takes without attention is subtracted."""
    monkeypatch.setattr(microbenchmark.Stopwatch, "step", lambda _self, *_chunks: 1.0)
    monkeypatch.setattr(microbenchmark.Stopwatch, "fill", lambda *_: None)
    costs, copy = time_kernels(models("chatml"), base=StepTimes(prompt=1 / 32, single=1.0, batch=1 / 16, wide=1 / 32))
    assert copy == 0.0
    for each in costs.values():
        assert each.single == (0.0, 0.0) and each.separate == (0.0, 0.0) and each.unified == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("plain_s", [0.85, 1.15])
def test_drift_does_not_decide(models, monkeypatch, plain_s):
    """The ratio of two kernels is found within 2% on a machine that slows down by more than they differ."""
    machine = DriftingMachine(monkeypatch, dict.fromkeys(ATTENTION_KERNELS, 1.0) | {PLAIN: plain_s})
    costs, copy = time_kernels(models("chatml"))
    assert machine.steps > 100
    for values in ("prompt", "single", "separate"):
        (flash, flash_cell), (plain, plain_cell) = (getattr(costs[kernel], values) for kernel in (FLASH, PLAIN))
        assert (plain + 16 * plain_cell) / (flash + 16 * flash_cell) == pytest.approx(plain_s, rel=0.02)
    profile = CostProfile(costs, copy, FREE_WEIGHTS, measured=True)
    planner = Planner(models("chatml"), EngineOptions(flash_attention=None), 1)
    planner.profile = profile
    assert planner._cheapest(planner.allowed_settings, ONE_ANSWER, None, None).flash_attention is (plain_s > 1)


def test_the_kernels_take_turns(models, monkeypatch):
    """Lone sequences in all kernels; then each one beside the first, in batches."""
    order, evaluate = [], Context.evaluate

    def record(context, *, abortable):
        settings = context.config.settings
        order.append((settings.flash_attention, settings.kv_type))
        return evaluate(context, abortable=abortable)

    monkeypatch.setattr(Context, "evaluate", record)
    time_kernels(models("chatml"))
    lone = order[: order.index(FLASH, 4 * 3)]
    assert set(lone[:4]) == set(lone[4:8]) == set(ATTENTION_KERNELS)
    repeated = sum(one == two == three for one, two, three in zip(order, order[1:], order[2:], strict=False))
    assert repeated <= 6 * (attention_timing._PAIRS * 2)  # only copies are timed by kernel


def test_an_interrupt_ends_it_within_an_evaluation(models):
    """Its error is raised at once."""
    interrupt = Interrupt()
    interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        time_kernels(models("chatml"), interrupt=interrupt)
