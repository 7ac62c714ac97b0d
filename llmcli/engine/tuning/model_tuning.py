"""Measures a model on this machine: its weights in the types that may pay here, and the settings of the KV cache.

The times are those of the real model. The copies in other types are made first; each round times every type, so that a
disturbance does not affect only one of them. Copies that no kind of work needs are removed at the end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from llmcli.engine.derivation import weight_types
from llmcli.engine.derivation.derivation import DerivationSource, derive_copy
from llmcli.engine.llama import bindings, hardware
from llmcli.engine.llama.compute_thread import run_in_thread
from llmcli.engine.llama.model import Model
from llmcli.engine.tuning import microbenchmark
from llmcli.engine.tuning.cost_profile import AttentionCosts, CostProfile
from llmcli.engine.tuning.divergence import DivergenceMeter, NotFinite
from llmcli.engine.tuning.planner import attention_head_size, supported_kernels
from llmcli.errors import BadModelFile, Unsupported
from llmcli.interrupt import Interrupt
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import read_header
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.models.weights_times import ORIGINAL, StepTimes, WeightsMeasurement, WeightsTable

SMALL_MODEL_PARAMETERS = 1_000_000_000
"""Models with fewer parameters are measured in about 20 seconds; larger ones once, and after an announcement."""
_ROUNDS = 2
_EXACT_TYPES = ("f16", "bf16")
"""Types in which the dequantized weights are evaluated exactly; the second one where the first one overflows."""
_SECONDS_PER_PARAMETER = 8e-8
_FIXED_SECONDS = 5.0
_REFERENCE_BYTES = 700 << 20
"""Memory besides the weights: log-probabilities of exact evaluation and contexts."""
_FREE_MEMORY_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """What will be measured, and what that takes.

    ``types``: other weights than the original ones. ``kernels``: of attention, empty without a choice. ``disk`` and
    ``memory`` in bytes at most, ``seconds`` roughly. ``skipped``: why a type is not measured.
    """

    types: tuple[str, ...]
    kernels: tuple[tuple[bool, str], ...]
    parameters: int
    disk: int
    memory: int
    skipped: dict[str, str]

    @property
    def rounds(self) -> int:
        """How often each type is timed."""
        return _ROUNDS if self.is_small else 1

    @property
    def is_small(self) -> bool:
        """Whether it takes so little that no announcement is needed."""
        return self.parameters < SMALL_MODEL_PARAMETERS

    @property
    def seconds(self) -> float:
        """How long it takes on two cores, roughly."""
        return _FIXED_SECONDS + _SECONDS_PER_PARAMETER * self.parameters * (1 + len(self.types)) / 2 * self.rounds


def candidate_types(system_info: str) -> tuple[str, ...]:
    """Return the types of weights for which a processor has fast kernels, from llama.cpp's line about its features.

    BF16 needs instructions of its own; without them F16 is as good. Q8_0 has kernels everywhere.
    """
    features = {part.strip() for part in system_info.replace(":", "|").split("|")}
    has_bf16 = not features.isdisjoint({"AVX512_BF16 = 1", "AMX_INT8 = 1", "BF16 = 1", "BF16_VNNI = 1"})
    return ("bf16" if has_bf16 else "f16", "q8_0")


def make_plan(path: Path, store: DerivedWeightsStore) -> TuningPlan:
    """Return what can be measured of the model at ``path`` within the limits of disk and memory.

    Raises ``Unsupported`` if nothing can be chosen, ``BadModelFile`` and ``MissingError``.
    """
    header = read_header(path)
    available = hardware.available_memory() or math.inf
    types, skipped = [], {}
    for name in candidate_types(bindings.system_info()) if store.limit_bytes else ():
        size = weight_types.derived_bytes(header, name)
        reason = weight_types.refusal_reason(header, name)
        if not reason and size > store.limit_bytes:
            reason = "its size exceeds the setting derived_weights"
        if not reason and size + _REFERENCE_BYTES > _FREE_MEMORY_SHARE * available:
            reason = "too little memory is free"
        if reason:
            skipped[name] = reason
        else:
            types.append(name)
    head_size = 0 if header.recurrent else attention_head_size(header)
    kernels = supported_kernels(head_size) if head_size else ()
    sizes = [weight_types.derived_bytes(header, name) for name in {*types, *_EXACT_TYPES[:1]}] if types else []
    return TuningPlan(
        types=tuple(types),
        kernels=kernels,
        parameters=header.n_params,
        disk=sum(sizes),
        memory=max([header.size, *sizes]) + _REFERENCE_BYTES,
        skipped=skipped,
    )


class ModelTuner:
    """Carries out a plan. ``on_progress`` gets the number of finished steps and their total."""

    def __init__(
        self,
        source: DerivationSource,
        plan: TuningPlan,
        store: DerivedWeightsStore,
        threads: int,
        interrupt: Interrupt,
        *,
        background: bool = False,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._source, self._plan, self._store = source, plan, store
        self._threads, self._interrupt, self._background = threads, interrupt, background
        self._on_progress = on_progress
        self._done = 0
        self._paths = {ORIGINAL: source.path}
        names = (ORIGINAL, *plan.types)
        self._total = (3 * len(plan.types) + 1 if plan.types else 0) + plan.rounds * len(names) + len(plan.kernels)

    def make_copies(self) -> None:
        """Make the copies in other types, unless they are there. Raises as ``derive_copy``."""
        for name in self._plan.types:
            self._paths[name] = self._derive(name)
        if self._plan.types:
            self._make_exact_copy()

    def run(self) -> CostProfile:
        """Measure everything and return the profile; the copies that its choices need remain.

        Raises as ``derive_copy``, as loading a model does, and what ``interrupt.check`` raises, at once.
        """
        return run_in_thread(self._run)

    def _run(self) -> CostProfile:
        if len(self._paths) <= len(self._plan.types):
            self.make_copies()
        divergences = self._measure_divergences() if self._plan.types else {}
        table = self._time_weights(divergences)
        fastest = min(table.types, key=lambda name: table.types[name].times.prompt)
        kernels, copy = self._time_kernels(self._paths[fastest], table.types[fastest].times)
        profile = CostProfile(kernels, copy, table, measured=True, complete=bool(self._store.limit_bytes))
        self._remove_unneeded(set(table.choices().values()))
        return profile

    def _derive(self, name: str) -> Path:
        copy = derive_copy(self._source, name, self._store, self._interrupt, background=self._background)
        self._count_step()
        return copy.path

    def _time_weights(self, divergences: dict[str, float]) -> WeightsTable:
        found: dict[str, WeightsMeasurement] = {}
        for _ in range(self._plan.rounds):
            for name, path in self._paths.items():
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

    def _time_kernels(
        self, path: Path, base: StepTimes
    ) -> tuple[dict[tuple[bool, str], AttentionCosts], float]:
        costs, copies = {}, []
        if self._plan.kernels:
            with self._load(path) as model:
                for flash_attention, kv_type in self._plan.kernels:
                    costs[flash_attention, kv_type], copy = microbenchmark.time_attention(
                        model, self._threads, self._interrupt, base, flash_attention=flash_attention, kv_type=kv_type
                    )
                    copies.append(copy)
                    self._count_step()
        return costs, min(copies, default=0.0)

    def _measure_divergences(self) -> dict[str, float]:
        """Return the divergence of each type from exact evaluation; empty if that overflows or cannot be made."""
        meter = self._exact_meter()
        if meter is None:
            return {}
        found = {}
        for name, path in self._paths.items():
            with self._load(path) as model:
                try:
                    found[name] = meter.measure(model)
                except NotFinite:  # such weights are never used
                    if name == ORIGINAL:
                        return {}
            self._count_step()
        return found

    def _make_exact_copy(self, name: str = _EXACT_TYPES[0]) -> Path:
        """Return the file with the weights dequantized to a type."""
        stored_so = weight_types.is_stored_as(read_header(self._source.path), name)
        return self._source.path if stored_so else self._paths.get(name) or self._derive(name)

    def _exact_meter(self) -> DivergenceMeter | None:
        for name in _EXACT_TYPES:
            with self._load(self._make_exact_copy(name)) as model:
                try:
                    return DivergenceMeter(model, self._threads, self._interrupt)
                except NotFinite:
                    continue
        return None

    def _remove_unneeded(self, needed: set[str]) -> None:
        for copy in self._store.list():
            if copy.key.source == self._source.sha256 and copy.key.weights not in needed:
                self._store.remove_damaged(copy)

    @contextmanager
    def _load(self, path: Path) -> Iterator[Model]:
        self._interrupt.check()
        model = Model(path, gpu_layers=0, keep_going=lambda: self._interrupt.error is None)
        try:
            yield model
        finally:
            model.close()

    def _count_step(self) -> None:
        self._interrupt.check()
        self._done = min(self._done + 1, self._total)
        self._on_progress(self._done, self._total)
