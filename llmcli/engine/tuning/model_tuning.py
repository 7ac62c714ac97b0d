"""Measures a model on this machine: its weights in the types that may pay here, and the settings of the KV cache.

The times are those of the real model. The copies in other types are made first; each round times every type, so that a
disturbance does not affect only one of them. Copies that no kind of work needs are removed at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import astuple
from pathlib import Path

from llmcli.engine import derivation
from llmcli.engine.llama.model import Model
from llmcli.engine.tuning import attention_timing, microbenchmark
from llmcli.engine.tuning.cost_profile import AttentionCosts, CostProfile
from llmcli.engine.tuning.divergence import DivergenceMeter, NotFinite
from llmcli.engine.tuning.slice_tuning import SliceTuner
from llmcli.engine.tuning.tuner import Tuner
from llmcli.engine.tuning.tuning_plan import EXACT_TYPES, TuningPlan
from llmcli.errors.model_errors import DerivedWeightsMissing
from llmcli.models.gguf.header_parser import read_header
from llmcli.models.library.derived_weights import DerivedCopy
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.weights_times import StepTimes, WeightsMeasurement, WeightsTable


def tuner_class(plan: TuningPlan) -> type[Tuner]:
    """Return what carries out ``plan``."""
    return SliceTuner if plan.is_sliced else ModelTuner


class ModelTuner(Tuner):
    """Measures the whole model."""

    @property
    def _total(self) -> int:
        types = len(self._plan.types)
        return self._plan.rounds * (1 + types) + len(self._plan.kernels) + (2 * types + 3 if types else 0)

    def _run(self) -> CostProfile:
        paths, divergences = {ORIGINAL_WEIGHTS: self._source.path}, {}
        with ExitStack() as held:
            if self._plan.types:
                meter = self._exact_meter()
                for name in self._plan.types:
                    paths[name] = held.enter_context(self._copy(name))
                divergences = {} if meter is None else self._measure_divergences(meter, paths)
                del meter  # it is large
            table = self._time_weights(paths, divergences)
            fastest = min(table.types, key=lambda name: table.types[name].times.prompt)
            kernels, copy = self._time_kernels(paths[fastest], table.types[fastest].times)
        self._remove_copies(needed=set(table.choices().values()))
        for derived in self._copies():
            if derived.key.weights in divergences:
                self._store.record_divergence(derived, divergences[derived.key.weights])
        return CostProfile(kernels, copy, table, measured=True, complete=bool(self._store.limit_bytes))

    @contextmanager
    def _copy(self, name: str) -> Iterator[Path]:
        """Make the copy in a type, unless it is there, and use it in the block."""
        held = self._store.hold(self._make_copy(name).key, self._interrupt)
        if held is None:
            raise DerivedWeightsMissing(self._source.name, weights=name)
        with held:
            self._count_step()
            yield held.copy.path

    def _time_weights(self, paths: dict[str, Path], divergences: dict[str, float]) -> WeightsTable:
        found: dict[str, WeightsMeasurement] = {}
        for _ in range(self._plan.rounds):
            for name, path in paths.items():
                started = time.perf_counter()
                with self._load(path) as model:
                    load_s = time.perf_counter() - started
                    times = microbenchmark.time_steps(model, self._threads, self._interrupt)
                if name in found:
                    times = StepTimes(*map(min, astuple(times), astuple(found[name].times)))
                    load_s = min(load_s, found[name].load_s)
                found[name] = WeightsMeasurement(path.stat().st_size, times, load_s, divergences.get(name))
                self._count_step()
        return WeightsTable(found)

    def _time_kernels(self, path: Path, base: StepTimes) -> tuple[dict[tuple[bool, str], AttentionCosts], float]:
        if not self._plan.kernels:
            return {}, 0.0
        with self._load(path) as model:
            return attention_timing.time_kernels(
                model, self._threads, self._interrupt, base, self._plan.kernels, self._count_step
            )

    def _exact_meter(self) -> DivergenceMeter | None:
        """Return what measures divergences, None if exact evaluation overflows; its copy of the weights is removed."""
        header = read_header(self._source.path)
        for name in EXACT_TYPES:
            stored_so = derivation.is_stored_as(header, name)
            with ExitStack() as loaded:
                try:
                    with nullcontext(self._source.path) if stored_so else self._copy(name) as path:
                        model = loaded.enter_context(self._load(path))
                finally:  # before the evaluation, which the user may interrupt: the weights stay mapped without the file
                    self._remove_copies(needed=set(self._plan.types))
                try:
                    return DivergenceMeter(model, self._threads, self._interrupt)
                except NotFinite:
                    continue
                finally:
                    self._count_step()
        return None

    def _measure_divergences(self, meter: DivergenceMeter, paths: dict[str, Path]) -> dict[str, float]:
        """Return the divergence of each type from exact evaluation; types that overflow are left out."""
        found = {}
        for name, path in paths.items():
            with self._load(path) as model, suppress(NotFinite):
                found[name] = meter.measure(model)
            self._count_step()
        return found

    def _remove_copies(self, *, needed: set[str]) -> None:
        for copy in self._copies():
            if copy.key.weights not in needed:
                self._store.remove_unused(copy)

    def _copies(self) -> list[DerivedCopy]:
        return [copy for copy in self._store.list_copies() if copy.key.source == self._source.sha256]

    def _load(self, path: Path) -> AbstractContextManager[Model]:
        return microbenchmark.load_for_timing(path, self._interrupt)
