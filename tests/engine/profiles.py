"""Hand-written profiles of a model on a machine."""

from __future__ import annotations

from types import SimpleNamespace

from llmcli.engine.llama.context import Context
from llmcli.engine.tuning import attention_timing, divergence, microbenchmark, tuning_plan
from llmcli.engine.tuning.cost_profile import AttentionCosts, CostProfile
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.weights_times import StepTimes, WeightsMeasurement, WeightsTable

FREE_WEIGHTS = WeightsTable({ORIGINAL_WEIGHTS: WeightsMeasurement(1, StepTimes(0.0, 0.0, 0.0, 0.0), 0.0)})
"""Weights that take no time, so that only attention counts."""


def weights_table(divergences=None, **times):
    """Return a table of types by name: seconds of a token of a prompt, a lone sequence, and batches of 16 and 32."""
    divergences = divergences or {}
    return WeightsTable(
        {
            name: WeightsMeasurement(1000, StepTimes(*each), 0.1, divergences.get(name, 0.001))
            for name, each in times.items()
        }
    )


def attention_profile(kernels: dict[tuple[bool, str], AttentionCosts], copy: float = 0.0) -> CostProfile:
    """Return a measured profile in which only attention takes time."""
    return CostProfile(kernels, copy, FREE_WEIGHTS, measured=True)


def shorten_measurements(monkeypatch) -> None:
    """Measure very little, so that a tiny model takes a fraction of a second."""
    for module, name, value in (
        (microbenchmark, "PROMPT_ROWS", 32),
        (microbenchmark, "_SHALLOW", 4),
        (attention_timing, "PROMPT_ROWS", 32),
        (attention_timing, "_SEQUENCE_TOKENS", 8),
    ):
        assert hasattr(module, name)
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(divergence, "_CHUNK_TOKENS", 64)
    monkeypatch.setattr(tuning_plan, "_ROUNDS", 1)


class DriftingMachine:
    """Lets measurements read a clock on which a step of one token takes the seconds that are set for its kernel.

    The machine gets slower all the time, by 30% within 100 steps, and some steps are disturbed.
    """

    def __init__(self, monkeypatch, seconds: dict[tuple[bool, str], float]) -> None:
        self.now, self.steps = 0.0, 0
        evaluate = Context.evaluate

        def evaluate_slower(context, *, abortable):
            settings = context.config.settings
            self.steps += 1
            disturbance = 5 if self.steps % 11 == 0 else 1
            drift = 1 + 0.003 * self.steps
            self.now += drift * disturbance * seconds[settings.flash_attention, settings.kv_type]
            return evaluate(context, abortable=abortable)

        monkeypatch.setattr(Context, "evaluate", evaluate_slower)
        clock = SimpleNamespace(perf_counter=lambda: self.now, process_time=lambda: self.now)
        monkeypatch.setattr(microbenchmark, "time", clock)
