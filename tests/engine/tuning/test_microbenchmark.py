"""Timing a model's steps; the times themselves decide nothing here."""

from __future__ import annotations

import signal

import pytest
from engine.profiles import shorten_measurements

from llmcli.engine.llama.context import ContextConfig
from llmcli.engine.tuning import microbenchmark
from llmcli.errors import Interrupted
from llmcli.interrupt import Interrupt

KINDS = ("llama", "chatml", "gemma3", "qwen3moe", "mamba", "lfm2", "falcon-h1", "qwen35")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten_measurements(monkeypatch)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_can_be_timed(models, name):
    """Windows, recurrent states and hybrids need no operation that their memory lacks."""
    times = microbenchmark.time_steps(models(name), 1, Interrupt())
    assert min(times.prompt, times.single, times.batch, times.wide) > 0


@pytest.mark.parametrize(("processor_share", "tries"), [(0.5, 3), (1.0, 1)])
def test_a_disturbed_prompt_is_timed_again(models, monkeypatch, processor_share, tries):
    """The fastest of at most three evaluations counts; one that had the processor to itself is enough."""
    durations, clock = [4.0, 2.0, 3.0], {"wall": 0.0, "processor": 0.0}

    def evaluate(*_args, **_options):
        duration = durations.pop(0)
        clock["wall"] += duration
        clock["processor"] += processor_share * duration
        return 0

    config = ContextConfig(cells=64, sequences=1)
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
