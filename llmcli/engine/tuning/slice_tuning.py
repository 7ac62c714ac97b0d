"""Times a large model by a slice of it: a copy of its first layers.

All layers of a transformer take the same time. So a prompt takes the time of the slice times the ratio of the layers,
since the output matrix is multiplied for its last token alone, and a step of answers takes it times the ratio of the
weights, all of which it reads. Six layers of a model of 36 take about a sixth of its time, memory and disk.

Only the type of 16 bits is timed beside the original weights. It evaluates the weights of the file as they are, so its
divergence from exact evaluation is zero without a measurement; that of another type could not be told from a slice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from pathlib import Path

from llmcli.engine import derivation
from llmcli.engine.tuning import attention_timing, microbenchmark
from llmcli.engine.tuning.cost_profile import AttentionCosts, CostProfile
from llmcli.engine.tuning.tuner import Tuner
from llmcli.engine.tuning.tuning_plan import slice_share
from llmcli.models.gguf.header_parser import load_checked_header
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.weights_times import StepTimes, WeightsMeasurement, WeightsTable

_ROUNDS = 2
"""How often each type is timed; the least time counts."""


class SliceTuner(Tuner):
    """Measures a slice of a large model, and makes the copies that pay of the whole model afterwards."""

    @property
    def _total(self) -> int:
        return _ROUNDS * (1 + len(self._plan.types)) + len(self._plan.kernels)

    def _run(self) -> CostProfile:
        header = load_checked_header(self._source.path)
        layers = self._plan.slice_layers
        layers_ratio, weights_ratio = (header.readable_layers or 0) / layers, 1 / slice_share(header, layers)
        with ExitStack() as held:
            paths = {name: held.enter_context(self._slice(name)) for name in (ORIGINAL_WEIGHTS, *self._plan.types)}
            times, loads = self._time_slices(paths)
            costs, copy = self._time_kernels(paths[ORIGINAL_WEIGHTS], times[ORIGINAL_WEIGHTS], layers_ratio)
        table = {
            name: WeightsMeasurement(
                header.size if name == ORIGINAL_WEIGHTS else derivation.derived_bytes(header, name),
                StepTimes(
                    prompt=layers_ratio * each.prompt,
                    single=weights_ratio * each.single,
                    batch=weights_ratio * each.batch,
                    wide=weights_ratio * each.wide,
                ),
                weights_ratio * loads[name],
                None if name == ORIGINAL_WEIGHTS else 0.0,
            )
            for name, each in times.items()
        }
        profile = CostProfile(costs, copy, WeightsTable(table), measured=True, complete=True)
        for name in set(profile.weights.choices().values()) - {ORIGINAL_WEIGHTS}:
            self._make_copy(name)
        return profile

    @contextmanager
    def _slice(self, weights: str) -> Iterator[Path]:
        """Write a slice and yield its path; the file is removed after the block."""
        key = self._source.key(f"{weights}_{self._plan.slice_layers}_layers")
        with self._store.claim(key, self._interrupt.check) as path:
            assert path is not None  # nothing adds a slice to the store
            self._on_copying(True)
            try:
                derivation.write_slice(
                    self._source,
                    path,
                    weights,
                    self._plan.slice_layers,
                    on_poll=self._interrupt.check,
                    background=self._background,
                )
            finally:
                self._on_copying(False)
            yield path

    def _time_slices(self, paths: dict[str, Path]) -> tuple[dict[str, StepTimes], dict[str, float]]:
        """Return the times of the slice of each type, and the seconds of loading it."""
        times: dict[str, StepTimes] = {}
        loads: dict[str, float] = {}
        for _ in range(_ROUNDS):
            for name, path in paths.items():
                started = time.perf_counter()
                with microbenchmark.load_for_timing(path, self._interrupt) as model:
                    load_s = time.perf_counter() - started
                    measured = microbenchmark.time_steps(model, self._threads, self._interrupt)
                times[name] = StepTimes(*map(min, astuple(measured), astuple(times.get(name, measured))))
                loads[name] = min(load_s, loads.get(name, load_s))
                self._count_step()
        return times, loads

    def _time_kernels(
        self, path: Path, base: StepTimes, factor: float
    ) -> tuple[dict[tuple[bool, str], AttentionCosts], float]:
        """Return the costs of attention in all layers, ``factor`` times as many as the slice has, and of a copy."""
        if not self._plan.kernels:
            return {}, 0.0
        with microbenchmark.load_for_timing(path, self._interrupt) as model:
            costs, copy = attention_timing.time_kernels(
                model, self._threads, self._interrupt, base, self._plan.kernels, self._count_step
            )
        return {kernel: each.scaled(factor) for kernel, each in costs.items()}, factor * copy
