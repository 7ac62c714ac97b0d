"""Timing a model's steps; the times themselves decide nothing here."""

from __future__ import annotations

import signal

import pytest
from engine.profiles import shorten_measurements

from llmcli.engine.tuning import microbenchmark
from llmcli.engine.tuning.cost_profile import ATTENTION_KERNELS
from llmcli.errors import Interrupted
from llmcli.interrupt import Interrupt
from llmcli.weights_times import StepTimes

KINDS = ("llama", "chatml", "gemma3", "qwen3moe", "mamba", "lfm2", "falcon-h1", "qwen35")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten_measurements(monkeypatch)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_can_be_timed(models, name):
    """Windows, recurrent states and hybrids need no operation that their memory lacks."""
    times = microbenchmark.time_steps(models(name), 1, Interrupt())
    assert min(times.prompt, times.single, times.batch, times.wide) > 0


@pytest.mark.parametrize("kernel", ATTENTION_KERNELS)
@pytest.mark.parametrize("name", ["chatml", "gemma3"])
def test_every_kernel_can_be_timed(models, name, kernel):
    """Costs that grow with the cells are never negative."""
    costs, copy = microbenchmark.time_attention(
        models(name), 1, Interrupt(), StepTimes(0.0, 0.0, 0.0, 0.0), flash_attention=kernel[0], kv_type=kernel[1]
    )
    assert min(costs.prompt[1], costs.single[1], *costs.unified[1:], costs.separate[1], copy) >= 0


def test_costs_are_those_beyond_the_weights(models, monkeypatch):
    """What the same step takes without attention is subtracted."""
    monkeypatch.setattr(microbenchmark.Stopwatch, "step", lambda _self, *_chunks: 1.0)
    monkeypatch.setattr(microbenchmark.Stopwatch, "fill", lambda *_: None)
    base = StepTimes(prompt=1 / 32, single=1.0, batch=1 / 16, wide=1 / 32)
    costs, copy = microbenchmark.time_attention(
        models("chatml"), 1, Interrupt(), base, flash_attention=True, kv_type="f16"
    )
    assert costs.single == (0.0, 0.0) and costs.separate == (0.0, 0.0) and costs.unified == (0.0, 0.0, 0.0)
    assert copy == 0.0


@pytest.mark.parametrize(("processor_share", "tries"), [(0.5, 3), (1.0, 1)])
def test_a_disturbed_prompt_is_timed_again(models, monkeypatch, processor_share, tries):
    """The fastest of at most three evaluations counts; one that had the processor to itself is enough."""
    durations, clock = [4.0, 2.0, 3.0], {"wall": 0.0, "processor": 0.0}

    def evaluate(*_args, **_options):
        duration = durations.pop(0)
        clock["wall"] += duration
        clock["processor"] += processor_share * duration
        return 0

    config = microbenchmark.context_config(1)
    with microbenchmark.open_stopwatch(models("chatml"), config, Interrupt()) as watch:
        monkeypatch.setattr(watch.context, "evaluate", evaluate)
        monkeypatch.setattr(microbenchmark.time, "perf_counter", lambda: clock["wall"])
        monkeypatch.setattr(microbenchmark.time, "process_time", lambda: clock["processor"])
        seconds = watch.prompt(0, 32)
    assert (seconds, len(durations)) == (min([4.0, 2.0, 3.0][:tries]) / 32, 3 - tries)


def test_an_interrupt_ends_it_within_an_evaluation(models):
    """The abort callback reads the interrupt, and its error is raised."""
    interrupt = Interrupt()
    interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        microbenchmark.time_steps(models("chatml"), 1, interrupt)
