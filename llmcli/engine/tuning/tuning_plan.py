"""The plan of a measurement: the types of weights and the settings that it times, and the disk, memory and time it takes.

A small model is measured whole, in the types that the processor computes fast; of a large one, a slice is timed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from llmcli.engine import derivation
from llmcli.engine.llama import bindings, hardware
from llmcli.engine.tuning.planner import attention_head_size, supported_kernels
from llmcli.fast_dataclass import frozen, replace
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import load_checked_header
from llmcli.models.library.derived_weights import DerivedWeightsStore

SMALL_MODEL_PARAMETERS = 1_000_000_000
"""Models with fewer parameters are measured in about 20 seconds; larger ones after an announcement, by a slice."""
_ROUNDS = 2
EXACT_TYPES = ("f16", "bf16")
"""Types in which the dequantized weights are evaluated exactly; the second one where the first one overflows."""
_SECONDS_PER_PARAMETER = 8e-8
_FIXED_SECONDS = 5.0
_REFERENCE_BYTES = 700 << 20
"""Memory besides the weights: log-probabilities of exact evaluation and contexts."""
_FREE_MEMORY_SHARE = 0.8
SLICE_LAYERS = (6, 4, 3, 2)
"""Layers of the slice by which a large model is timed (``slice_tuning``): the first number that the time allows."""
_MIN_LAYERS = 12
"""Models with fewer layers are measured whole: a slice would save little."""


@frozen
class TuningPlan:
    """What will be measured, and what that takes.

    ``types``: other weights than the original ones. ``kernels``: of attention, empty without a choice. ``disk`` and
    ``memory`` in bytes at most, ``seconds`` roughly. ``skipped``: why a type is not measured; ``postponed``: types
    for which there is no time. ``evaluated_share``: the part of the model that is evaluated, less than 1 for slices of
    ``slice_layers`` of a large one. ``repeats``: a small model is timed more than once.
    """

    types: tuple[str, ...]
    kernels: tuple[tuple[bool, str], ...]
    parameters: int
    disk: int
    memory: int
    skipped: dict[str, str]
    evaluated_share: float = 1.0
    slice_layers: int = 0
    repeats: bool = True
    postponed: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is no choice of weights or settings to measure."""
        return not (self.types or self.kernels)

    @property
    def is_sliced(self) -> bool:
        """Whether the model is timed by slices (``slice_tuning``)."""
        return self.slice_layers > 0

    @property
    def rounds(self) -> int:
        """How often each type is timed."""
        return _ROUNDS if self.is_small and self.repeats else 1

    @property
    def is_small(self) -> bool:
        """Whether it has few parameters."""
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


def make_plan(path: Path, store: DerivedWeightsStore, max_seconds: float = math.inf) -> TuningPlan:
    """Return what can be measured of the model at ``path`` within the limits of disk and memory.

    If that takes more than ``max_seconds``, the measurement is shortened: types are timed once, by a smaller slice, or
    the last ones not at all. It may take longer all the same. Raises ``BadModelFile`` and ``MissingError``.
    """
    header = load_checked_header(path)
    skipped: dict[str, str] = {}
    sizes: dict[str, int] = {}
    candidates = candidate_types(bindings.system_info()) if store.limit_bytes else ()
    head_size = 0 if header.recurrent else attention_head_size(header)
    kernels = supported_kernels(head_size) if head_size else ()
    if store.limit_bytes and header.n_params >= SMALL_MODEL_PARAMETERS and can_slice(header):
        plans = (_plan_slices(header, kernels, candidates[0], store, layers) for layers in SLICE_LAYERS)
        return _first_within(max_seconds, plans)
    for name in candidates:
        size = derivation.derived_bytes(header, name)
        reason = derivation.refusal_reason(header, name) or _size_reason(size, sum(sizes.values()) + size, store)
        if reason:
            skipped[name] = reason
        else:
            sizes[name] = size
    exact = derivation.derived_bytes(header, EXACT_TYPES[0]) if sizes else 0
    reason = _size_reason(exact, exact, store)
    if reason:  # without exact evaluation no type can be admitted
        skipped |= dict.fromkeys(sizes, reason)
        sizes, exact = {}, 0
    whole = TuningPlan(
        types=tuple(sizes),
        kernels=kernels,
        parameters=header.n_params,
        disk=max(exact, sum(sizes.values())),
        memory=max(header.size, exact, *sizes.values()) + _REFERENCE_BYTES,
        skipped=skipped,
    )
    return _first_within(max_seconds, _shorten(whole))


def _first_within(max_seconds: float, plans: Iterator[TuningPlan]) -> TuningPlan:
    """Return the first of at least one plan that takes at most ``max_seconds``, or else the last one."""
    for plan in plans:
        if plan.seconds <= max_seconds:
            break
    return plan


def _shorten(plan: TuningPlan) -> Iterator[TuningPlan]:
    """Yield a plan, and ever shorter ones: without repetitions, and with fewer types, of which the first remains."""
    yield plan
    for count in range(len(plan.types), 0, -1):
        yield replace(plan, repeats=False, types=plan.types[:count], postponed=plan.types[count:])


def _plan_slices(
    header: Header, kernels: tuple[tuple[bool, str], ...], exact_type: str, store: DerivedWeightsStore, layers: int
) -> TuningPlan:
    """Return the plan for a large model, whose copy in ``exact_type`` is made only when a job is worth it."""
    size = derivation.derived_bytes(header, exact_type)
    reason = derivation.refusal_reason(header, exact_type) or _size_reason(size, size, store)
    share = slice_share(header, layers)
    written = int(share * (header.size if reason else max(size, header.size)))
    return TuningPlan(
        types=() if reason else (exact_type,),
        kernels=kernels,
        parameters=header.n_params,
        disk=written,
        memory=written + _REFERENCE_BYTES,
        skipped={exact_type: reason} if reason else {},
        evaluated_share=share,
        slice_layers=layers,
    )


def can_slice(header: Header) -> bool:
    """Return whether a model can be timed by slices: all its layers are of one kind and one size."""
    return (
        header.readable_layers is not None
        and header.readable_layers >= _MIN_LAYERS
        and isinstance(header.kv_heads, int)
        and not header.recurrent
        and not header.arch_integer("leading_dense_block_count")
    )


def slice_share(header: Header, layers: int) -> float:
    """Return the part of a model's weights that a slice of ``layers`` has."""
    in_layers = sum(tensor.nbytes for tensor in header.tensors if tensor.name.startswith("blk."))
    return 1 - in_layers * (1 - layers / (header.readable_layers or layers)) / header.weights_bytes


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
