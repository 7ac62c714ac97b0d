"""The best settings of the KV cache for a job, estimated from a few measured costs of attention.

Flash attention, the cache's type and its layout change speed by factors of two and more, in different directions for
prompts, single answers and batches, and differently on each processor. The cost of the weights is the same in all
settings, so only attention is compared: ``standin`` measures it once for a shape of attention heads, this module adds
up a job's attention for every setting, and the cheapest setting is chosen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from llmcli.engine.llama.context import CacheSettings
from llmcli.models.gguf.header import Header

BATCH_ROWS = 16
"""Sequences of a batch in the measurements."""
_PRECISION_HANDICAP = 0.9
"""A cache less precise than f16 must reduce the time of attention to this fraction."""
_PLAIN_ATTENTION_HANDICAP = 0.8
"""Plain attention must reduce it to this fraction. The measurements of single tokens and long prompts do not cover draft
tokens (``speculative``), with which a whole job took 1.14 times as long, and prompts beside answers, 1.09 times."""
_SEPARATE_BUFFERS_HANDICAP = 0.97
"""Separate buffers must reduce it to this fraction: a shared buffer shares prefixes without copying."""

ATTENTION_KERNELS = ((True, "f16"), (False, "f16"), (True, "q8_0"), (True, "bf16"))
"""(flash attention, cache type): llama.cpp allows a quantized cache with flash attention only."""


@dataclass(frozen=True, slots=True)
class AttentionGeometry:
    """The shape of attention: numbers of query heads and KV heads, elements of a head, layers with attention."""

    heads: int
    kv_heads: int
    size: int
    layers: int

    @classmethod
    def from_header(cls, header: Header) -> Self | None:
        """Return a model's geometry; None without attention, or if keys and values differ in size."""
        heads, kv_heads = header.arch_integer_per_layer("attention.head_count"), header.kv_heads
        layers = header.block_count
        per_layer = kv_heads if isinstance(kv_heads, tuple) else (kv_heads or 0,) * (layers or 0)
        most = max(heads, default=0) if isinstance(heads, tuple) else heads or 0
        default = (header.arch_integer("embedding_length") or 0) // most if most else 0
        size = header.arch_integer("attention.key_length") or default
        if (header.arch_integer("attention.value_length") or default) != size or header.arch_integer(
            "attention.kv_lora_rank"
        ):
            return None
        kv = max(per_layer, default=0)
        if not (most and size and kv) or most % kv:
            return None
        return cls(most, kv, size, sum(count > 0 for count in per_layer))

    @property
    def cost_units(self) -> int:
        """The quantity that the cost of attention is proportional to."""
        return self.heads * self.size * self.layers


@dataclass(frozen=True, slots=True)
class AttentionCosts:
    """Seconds that attention takes in one kernel, per unit of ``AttentionGeometry.cost_units``; "cell": a cached token.

    ``prompt``: a prompt's token, and each cell before it; ``single``: a lone token, and each cell; ``unified``: a token
    of a batch, each cell of the whole buffer, each cell of its own; ``separate``: the same, each cell of its own.
    """

    prompt: tuple[float, float]
    single: tuple[float, float]
    unified: tuple[float, float, float]
    separate: tuple[float, float]

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read the output of ``dataclasses.asdict``. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for other data."""
        prompt, each_prompt = map(_parse_cost, data["prompt"])
        single, each_single = map(_parse_cost, data["single"])
        unified, each_unified, each_own = map(_parse_cost, data["unified"])
        separate, each_separate = map(_parse_cost, data["separate"])
        return cls((prompt, each_prompt), (single, each_single), (unified, each_unified, each_own),
                   (separate, each_separate))  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobShape:
    """A job: lengths of its prompts, tokens of their common prefix, tokens expected of each answer.

    ``width``: the number of sequences that run at once; ``copies``: of those that continue another one.
    """

    prompts: tuple[int, ...]
    shared: int
    outputs: tuple[int, ...]
    width: int
    copies: int = 0


@dataclass(frozen=True, slots=True)
class CostProfile:
    """The costs of every kernel, and of copying one cell of a separate buffer; ``measured``: on this machine."""

    kernels: Mapping[tuple[bool, str], AttentionCosts]
    copy: float
    measured: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        kernels = [[flash, kv, dataclasses.asdict(costs)] for (flash, kv), costs in self.kernels.items()]
        return {"kernels": kernels, "copy": self.copy}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read the output of ``to_json``, as measured. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for other data."""
        kernels = {(bool(flash), str(kv)): AttentionCosts.from_json(costs) for flash, kv, costs in data["kernels"]}
        if not {(True, "f16"), (False, "f16")} <= set(kernels) <= set(ATTENTION_KERNELS):
            raise ValueError("the kernels differ from the known ones")
        return cls(kernels, _parse_cost(data["copy"]), measured=True)

    def estimate_seconds(
        self, shape: JobShape, settings: CacheSettings, geometry: AttentionGeometry, window: int = 0
    ) -> float:
        """Estimate the seconds that attention takes in a job.

        ``window``: tokens that most layers attend to, 0 for all; flash attention skips the cells before it.
        """
        costs = self.kernels[settings.flash_attention, settings.kv_type]
        count, width = len(shape.prompts), min(shape.width, len(shape.prompts))
        outputs = sum(shape.outputs)
        prompt = sum(shape.prompts) / count - shape.shared  # of one sequence alone
        own = prompt + outputs / count / 2
        seen = shape.shared + own
        buffer = shape.shared + width * own
        before = shape.shared + prompt / 2
        if settings.unified and width > 1:  # a prompt also attends to the cells of present sequences
            before = max(before, buffer / 2 if count <= width else buffer)
        near = window if window and settings.flash_attention else math.inf
        beginning = _linear_cost(costs.prompt, min(shape.shared / 2, near))
        total = shape.shared * beginning + count * prompt * _linear_cost(costs.prompt, min(before, near))
        first, rest = _linear_cost(costs.single, min(seen, near)), _linear_cost(costs.separate, min(seen, near))
        if settings.unified:
            rest = costs.unified[0] + costs.unified[1] * buffer + costs.unified[2] * seen
        steps = outputs / width
        total += steps * (first + (BATCH_ROWS * rest - first) * (width - 1) / (BATCH_ROWS - 1))
        if not settings.unified:
            shared = count if shape.shared else 0
            longest = max(shape.prompts) + max(shape.outputs)
            total += (shape.copies + shared) * longest * self.copy
        return total * geometry.cost_units

    def choose(
        self, shape: JobShape, allowed: Iterable[CacheSettings], geometry: AttentionGeometry, window: int = 0
    ) -> CacheSettings:
        """Return the cheapest of the ``allowed`` settings; precise and shared ones if the gain is small."""
        return min(allowed, key=lambda settings: self.weighted_seconds(shape, settings, geometry, window))

    def weighted_seconds(
        self, shape: JobShape, settings: CacheSettings, geometry: AttentionGeometry, window: int = 0
    ) -> float:
        """Return ``estimate_seconds`` with handicaps for less precise or separate caches, to compare settings."""
        handicap = (1 if settings.kv_type == "f16" else 1 / _PRECISION_HANDICAP) * (
            1 if settings.unified else 1 / _SEPARATE_BUFFERS_HANDICAP
        )
        handicap *= 1 if settings.flash_attention else 1 / _PLAIN_ATTENTION_HANDICAP
        return self.estimate_seconds(shape, settings, geometry, window) * handicap


def _parse_cost(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < math.inf:
        raise ValueError("no cost")
    return seconds


def _linear_cost(costs: tuple[float, float], cells: float) -> float:
    return costs[0] + costs[1] * cells


ASSUMED_PROFILE = CostProfile(
    {
        (True, "f16"): AttentionCosts((1.7e-8, 1.4e-10), (1e-7, 3e-10), (1.3e-7, 4.6e-11, 7e-11), (1.6e-7, 4.5e-10)),
        (False, "f16"): AttentionCosts((7.2e-8, 1.4e-10), (1e-7, 3e-10), (3.2e-7, 1.6e-10, 0.0), (2.6e-7, 5e-11)),
        (True, "q8_0"): AttentionCosts((5.8e-8, 6e-10), (1e-7, 7e-10), (1.7e-7, 4.1e-11, 6.5e-10), (1.7e-7, 4.1e-10)),
        (True, "bf16"): AttentionCosts((2.1e-8, 3.9e-10), (1e-7, 5e-10), (1.3e-7, 3.9e-11, 3.7e-10), (1.4e-7, 9.3e-10)),
    },
    copy=5.8e-10,
)
"""Measured with 2 threads of a processor with AVX-512 (llama.cpp of llama-cpp-python 0.3.36): better than no
estimate."""
