"""Measures a model on this machine: its weights in the types that may pay here, and the settings of the KV cache.

The times are those of the real model. The copies in other types are made first; each round times every type, so that a
disturbance does not affect only one of them. Copies that no kind of work needs are removed at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import astuple
from pathlib import Path

from llmcli.engine import derivation
from llmcli.engine.derivation import DerivationSource, derive_copy
from llmcli.engine.llama import bindings, hardware
from llmcli.engine.llama.compute_thread import run_in_thread
from llmcli.engine.llama.model import Model
from llmcli.engine.tuning import microbenchmark, slice_tuning
from llmcli.engine.tuning.cost_profile import AttentionCosts, CostProfile
from llmcli.engine.tuning.divergence import DivergenceMeter, NotFinite
from llmcli.engine.tuning.planner import attention_head_size, supported_kernels
from llmcli.engine.tuning.slice_tuning import SliceTuner
from llmcli.errors.model_errors import DerivedWeightsMissing
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import load_checked_header, read_header
from llmcli.models.library.derived_weights import DerivedCopy, DerivedWeightsStore
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.weights_times import StepTimes, WeightsMeasurement, WeightsTable

SMALL_MODEL_PARAMETERS = 1_000_000_000
"""Models with fewer parameters are measured in about 20 seconds; larger ones after an announcement, by a slice."""
_ROUNDS = 2
_EXACT_TYPES = ("f16", "bf16")
"""Types in which the dequantized weights are evaluated exactly; the second one where the first one overflows."""
_SECONDS_PER_PARAMETER = 8e-8
_FIXED_SECONDS = 5.0
_REFERENCE_BYTES = 700 << 20
"""Memory besides the weights: log-probabilities of exact evaluation and contexts."""
_FREE_MEMORY_SHARE = 0.8


@frozen
class TuningPlan:
    """What will be measured, and what that takes.

    ``types``: other weights than the original ones. ``kernels``: of attention, empty without a choice. ``disk`` and
    ``memory`` in bytes at most, ``seconds`` roughly. ``skipped``: why a type is not measured. ``evaluated_share``: the
    part of the model that is evaluated, less than 1 for slices of a large one.
    """

    types: tuple[str, ...]
    kernels: tuple[tuple[bool, str], ...]
    parameters: int
    disk: int
    memory: int
    skipped: dict[str, str]
    evaluated_share: float = 1.0

    @property
    def is_sliced(self) -> bool:
        """Whether the model is timed by slices (``slice_tuning``)."""
        return self.evaluated_share < 1

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
        evaluated = self.evaluated_share * self.parameters
        return _FIXED_SECONDS + _SECONDS_PER_PARAMETER * evaluated * (1 + len(self.types)) / 2 * self.rounds


def candidate_types(system_info: str) -> tuple[str, ...]:
    """Return the types of weights for which a processor has fast kernels, from llama.cpp's line about its features.

    BF16 needs instructions of its own; without them F16 is as good. Q8_0 has kernels everywhere.
    """
    features = {part.strip() for part in system_info.replace(":", "|").split("|")}
    return ("bf16" if "AVX512_BF16 = 1" in features else "f16", "q8_0")


def find_exact_type(path: Path, store: DerivedWeightsStore) -> str | None:
    """Return the type of 16 bits for a small model, if this processor multiplies it fast and a copy can be made.

    Raises ``BadModelFile`` and ``MissingError``.
    """
    system_info = bindings.system_info()
    name = candidate_types(system_info)[0]
    header = load_checked_header(path)
    size = derivation.derived_bytes(header, name)
    if header.n_params >= SMALL_MODEL_PARAMETERS or "AVX2 = 1" not in system_info:
        return None
    return None if derivation.refusal_reason(header, name) or _size_reason(size, size, store) else name


def make_plan(path: Path, store: DerivedWeightsStore) -> TuningPlan:
    """Return what can be measured of the model at ``path`` within the limits of disk and memory.

    Raises ``BadModelFile`` and ``MissingError``.
    """
    header = load_checked_header(path)
    skipped: dict[str, str] = {}
    sizes: dict[str, int] = {}
    candidates = candidate_types(bindings.system_info()) if store.limit_bytes else ()
    head_size = 0 if header.recurrent else attention_head_size(header)
    kernels = supported_kernels(head_size) if head_size else ()
    if store.limit_bytes and header.n_params >= SMALL_MODEL_PARAMETERS and slice_tuning.can_slice(header):
        return _plan_slices(header, kernels, candidates[0], store)
    for name in candidates:
        size = derivation.derived_bytes(header, name)
        reason = derivation.refusal_reason(header, name) or _size_reason(size, sum(sizes.values()) + size, store)
        if reason:
            skipped[name] = reason
        else:
            sizes[name] = size
    exact = derivation.derived_bytes(header, _EXACT_TYPES[0]) if sizes else 0
    reason = _size_reason(exact, exact, store)
    if reason:  # without exact evaluation no type can be admitted
        skipped |= dict.fromkeys(sizes, reason)
        sizes, exact = {}, 0
    return TuningPlan(
        types=tuple(sizes),
        kernels=kernels,
        parameters=header.n_params,
        disk=max(exact, sum(sizes.values())),
        memory=max(header.size, exact, *sizes.values()) + _REFERENCE_BYTES,
        skipped=skipped,
    )


def _plan_slices(
    header: Header, kernels: tuple[tuple[bool, str], ...], exact_type: str, store: DerivedWeightsStore
) -> TuningPlan:
    """Return the plan for a large model, whose copy in ``exact_type`` is made only when a job is worth it."""
    size = derivation.derived_bytes(header, exact_type)
    reason = derivation.refusal_reason(header, exact_type) or _size_reason(size, size, store)
    share = slice_tuning.slice_share(header)
    written = int(share * (header.size if reason else max(size, header.size)))
    return TuningPlan(
        types=() if reason else (exact_type,),
        kernels=kernels,
        parameters=header.n_params,
        disk=written,
        memory=written + _REFERENCE_BYTES,
        skipped={exact_type: reason} if reason else {},
        evaluated_share=share,
    )


def make_tuner(
    source: DerivationSource,
    plan: TuningPlan,
    store: DerivedWeightsStore,
    threads: int,
    interrupt: Interrupt,
    *,
    background: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    on_copying: Callable[[bool], None] = lambda _copying: None,
) -> ModelTuner | SliceTuner:
    """Return what carries out ``plan``; the parameters are those of ``ModelTuner``."""
    if plan.is_sliced:
        return SliceTuner(
            source,
            plan.types,
            plan.kernels,
            store,
            threads,
            interrupt,
            background=background,
            on_progress=on_progress,
            on_copying=on_copying,
        )
    return ModelTuner(
        source, plan, store, threads, interrupt, background=background, on_progress=on_progress, on_copying=on_copying
    )


def _size_reason(size: int, total: int, store: DerivedWeightsStore) -> str:
    """Return why a copy of that many bytes, and of that many in ``total`` with others, cannot be made; "" if it can."""
    if total > store.limit_bytes:
        return "its size exceeds the setting derived_weights"
    if not store.fits_on_disk(total):
        return "too little disk space is free"
    available = hardware.available_memory()
    if available is not None and size + _REFERENCE_BYTES > _FREE_MEMORY_SHARE * available:
        return "too little memory is free"
    return ""


class ModelTuner:
    """Carries out a plan.

    ``on_progress`` gets the number of finished steps and their total. ``on_copying`` is called with True before a child
    process makes a copy, and with False when it has ended.
    """

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
        on_copying: Callable[[bool], None] = lambda _copying: None,
    ) -> None:
        self._source, self._plan, self._store = source, plan, store
        self._threads, self._interrupt, self._background = threads, interrupt, background
        self._on_progress, self._on_copying = on_progress, on_copying
        self._done = 0
        num_types = len(plan.types)
        self._total = plan.rounds * (1 + num_types) + len(plan.kernels) + (2 * num_types + 3 if num_types else 0)

    def run(self) -> CostProfile:
        """Measure everything and return the profile; the copies that its choices need remain.

        Raises as ``derive_copy``, as loading a model does, and what ``interrupt.check`` raises, at once.
        """
        return run_in_thread(self._run)

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
        self._on_copying(True)
        try:
            copy = derive_copy(self._source, name, self._store, self._interrupt, background=self._background)
        finally:
            self._on_copying(False)
        held = self._store.hold(copy.key, self._interrupt)
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

    def _exact_meter(self) -> DivergenceMeter | None:
        """Return what measures divergences, None if exact evaluation overflows; its copy of the weights is removed."""
        header = read_header(self._source.path)
        for name in _EXACT_TYPES:
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

    def _count_step(self) -> None:
        self._interrupt.check()
        self._done = min(self._done + 1, self._total)
        self._on_progress(self._done, self._total)
