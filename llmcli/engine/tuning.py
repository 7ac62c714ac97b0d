"""Which settings of the KV cache suit a job: estimated from a few measured costs of attention.

Flash attention, the cache's type and its layout change speed by factors of two and more, in different directions for
prompts, single answers and batches, and differently on each processor. What the weights cost is the same in all
settings, so only attention is compared: ``standin`` measures it once for a shape of attention heads, here a job's
share of it is added up for every setting, and the least wins.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from llmcli.models.gguf import Header

ROWS = 16
"""Sequences side by side in the measurements of batches."""
_PRECISE = 0.9
"""A cache less precise than f16 has to save this much of the attention's time."""
_PLAIN = 0.8
"""Plain attention has to save this much of it. What the measurements of single tokens and long prompts do not show: several
guessed tokens (``drafts``), for which a whole job took 1.14 times as long, and prompts beside answers, 1.09 times."""
_SHARED = 0.97
"""Separate buffers have to save this much: one for all shares beginnings without copying."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """``unified``: one buffer for all sequences, else one for each; ``kv_type``: "f16", "q8_0" or "bf16"."""

    unified: bool = True
    flash_attention: bool = True
    kv_type: str = "f16"

    def __str__(self) -> str:
        attention = "flash attention" if self.flash_attention else "plain attention"
        return f"{attention}, {self.kv_type} cache, {'one buffer' if self.unified else 'a buffer for each sequence'}"


KERNELS = ((True, "f16"), (False, "f16"), (True, "q8_0"), (True, "bf16"))
"""(flash attention, cache type): llama.cpp allows a quantized cache with flash attention only."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of attention: heads that ask, heads of keys and values, elements of one; layers that have attention."""

    heads: int
    kv_heads: int
    size: int
    layers: int

    @classmethod
    def of(cls, header: Header) -> Self | None:
        """Return a model's geometry; None without attention, or where keys and values differ in size."""
        heads, kv_heads, layers = header.per_layer("attention.head_count"), header.kv_heads, header.block_count
        per_layer = kv_heads if isinstance(kv_heads, tuple) else (kv_heads or 0,) * (layers or 0)
        most = max(heads, default=0) if isinstance(heads, tuple) else heads or 0
        default = (header.number("embedding_length") or 0) // most if most else 0
        size = header.number("attention.key_length") or default
        if (header.number("attention.value_length") or default) != size or header.number("attention.kv_lora_rank"):
            return None
        kv = max(per_layer, default=0)
        if not size or not kv or most % kv:
            return None
        return cls(most, kv, size, sum(count > 0 for count in per_layer))

    @property
    def work(self) -> int:
        """What the cost of attention is proportional to."""
        return self.heads * self.size * self.layers


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that attention takes in one kernel, for a ``Geometry.work`` of one; "cell" is a token in the cache.

    ``prompt``: a prompt's token, and each cell before it; ``single``: a lone token, and each cell; ``unified``: a
    token of a batch, each cell of the whole buffer, each cell of its own; ``separate``: the same, each cell of its own.
    """

    prompt: tuple[float, float]
    single: tuple[float, float]
    unified: tuple[float, float, float]
    separate: tuple[float, float]

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read what ``dataclasses.asdict`` gave. Raises ``ValueError``, ``TypeError`` or ``KeyError`` on others."""
        prompt, each_prompt = map(_cost, data["prompt"])
        single, each_single = map(_cost, data["single"])
        unified, each_unified, each_own = map(_cost, data["unified"])
        separate, each_separate = map(_cost, data["separate"])
        return cls((prompt, each_prompt), (single, each_single), (unified, each_unified, each_own),
                   (separate, each_separate))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """A job: lengths of its prompts, tokens that all of them begin with, tokens expected of each answer.

    ``width``: how many run at once; ``copies``: sequences that begin with what another left.
    """

    prompts: tuple[int, ...]
    shared: int
    outputs: tuple[int, ...]
    width: int
    copies: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """The costs of every kernel, and of copying one cell of a separate buffer; ``measured`` on this machine or not."""

    kernels: Mapping[tuple[bool, str], Costs]
    copy: float
    measured: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        kernels = [[flash, kv, dataclasses.asdict(costs)] for (flash, kv), costs in self.kernels.items()]
        return {"kernels": kernels, "copy": self.copy}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read what ``to_json`` wrote, as measured. Raises ``ValueError``, ``TypeError`` or ``KeyError`` on others."""
        kernels = {(bool(flash), str(kv)): Costs.from_json(costs) for flash, kv, costs in data["kernels"]}
        if not {(True, "f16"), (False, "f16")} <= set(kernels) <= set(KERNELS):
            raise ValueError("not the kernels that there are")
        return cls(kernels, _cost(data["copy"]), measured=True)

    def seconds(self, shape: Shape, settings: CacheSettings, geometry: Geometry, window: int = 0) -> float:
        """Estimate what attention takes of a job, in seconds.

        ``window``: tokens that most layers look back, 0 for all; flash attention passes over the cells before.
        """
        costs = self.kernels[settings.flash_attention, settings.kv_type]
        count, width = len(shape.prompts), min(shape.width, len(shape.prompts))
        outputs = sum(shape.outputs)
        prompt = sum(shape.prompts) / count - shape.shared  # of one sequence alone
        own = prompt + outputs / count / 2
        seen = shape.shared + own
        buffer = shape.shared + width * own
        before = shape.shared + prompt / 2
        if settings.unified and width > 1:  # a prompt meets the cells of those that are there already
            before = max(before, buffer / 2 if count <= width else buffer)
        near = window if window and settings.flash_attention else math.inf
        beginning = _line(costs.prompt, min(shape.shared / 2, near))
        total = shape.shared * beginning + count * prompt * _line(costs.prompt, min(before, near))
        first, rest = _line(costs.single, min(seen, near)), _line(costs.separate, min(seen, near))
        if settings.unified:
            rest = costs.unified[0] + costs.unified[1] * buffer + costs.unified[2] * seen
        steps = outputs / width
        total += steps * (first + (ROWS * rest - first) * (width - 1) / (ROWS - 1))
        if not settings.unified:
            shared = count if shape.shared else 0
            longest = max(shape.prompts) + max(shape.outputs)
            total += (shape.copies + shared) * longest * self.copy
        return total * geometry.work

    def choose(
        self, shape: Shape, allowed: Iterable[CacheSettings], geometry: Geometry, window: int = 0
    ) -> CacheSettings:
        """Return the cheapest of the ``allowed`` settings; where little is to be gained, precise and shared ones."""
        return min(allowed, key=lambda settings: self.weighted(shape, settings, geometry, window))

    def weighted(self, shape: Shape, settings: CacheSettings, geometry: Geometry, window: int = 0) -> float:
        """Return ``seconds``, more for what is less precise or not shared, to compare settings with each other."""
        handicap = (1 if settings.kv_type == "f16" else 1 / _PRECISE) * (1 if settings.unified else 1 / _SHARED)
        handicap *= 1 if settings.flash_attention else 1 / _PLAIN
        return self.seconds(shape, settings, geometry, window) * handicap


def _cost(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < math.inf:
        raise ValueError("no cost")
    return seconds


def _line(costs: tuple[float, float], cells: float) -> float:
    return costs[0] + costs[1] * cells


ASSUMED = Profile(
    {
        (True, "f16"): Costs((1.7e-8, 1.4e-10), (1e-7, 3e-10), (1.3e-7, 4.6e-11, 7e-11), (1.6e-7, 4.5e-10)),
        (False, "f16"): Costs((7.2e-8, 1.4e-10), (1e-7, 3e-10), (3.2e-7, 1.6e-10, 0.0), (2.6e-7, 5e-11)),
        (True, "q8_0"): Costs((5.8e-8, 6e-10), (1e-7, 7e-10), (1.7e-7, 4.1e-11, 6.5e-10), (1.7e-7, 4.1e-10)),
        (True, "bf16"): Costs((2.1e-8, 3.9e-10), (1e-7, 5e-10), (1.3e-7, 3.9e-11, 3.7e-10), (1.4e-7, 9.3e-10)),
    },
    copy=5.8e-10,
)
"""Measured with 2 threads of a processor with AVX-512 (llama.cpp of llama-cpp-python 0.3.36): better than no idea."""
