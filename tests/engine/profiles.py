"""Hand-written profiles of a model on a machine."""

from __future__ import annotations

from llmcli.engine.tuning import divergence, microbenchmark, tuning_plan
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
    for name, value in {"PROMPT_ROWS": 32, "_OWN": 8, "_SHALLOW": 4}.items():
        assert hasattr(microbenchmark, name)
        monkeypatch.setattr(microbenchmark, name, value)
    monkeypatch.setattr(divergence, "_CHUNK_TOKENS", 64)
    monkeypatch.setattr(tuning_plan, "_ROUNDS", 1)
