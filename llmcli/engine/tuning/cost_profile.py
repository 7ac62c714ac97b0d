"""Estimates how long a job takes with each setting of the KV cache, from times of the model on this machine.

Flash attention, the cache's type and its layout change speed by factors of two and more, in different directions for
prompts, single answers and batches, and differently on each processor. A job's time is the time of its weights
(``StepTimes``, for the type in use) and what a kernel of attention adds to it (``AttentionCosts``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, Self

from llmcli import engine_library
from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import CacheSettings
from llmcli.fast_dataclass import asdict, frozen
from llmcli.files import private_files
from llmcli.models.footprint import max_over_layers
from llmcli.models.gguf.header import Header
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.weights_times import (
    BATCH_ROWS,
    StepTimes,
    WeightsMeasurement,
    WeightsTable,
    dump_profile,
    parse_number,
    parse_positive,
    read_profile_json,
)

_LESS_PRECISE_GAIN = 0.95
"""A cache less precise than f16 must reduce the time of a job to this fraction."""
_PLAIN_ATTENTION_GAIN = 0.92
"""Plain attention must reduce it to this fraction. The measurements of single tokens and long prompts do not cover
draft tokens (``speculative``), with which a whole job took 1.14 times as long, and prompts beside answers, 1.09
times."""
_SEPARATE_BUFFERS_GAIN = 0.98
"""Separate buffers must reduce it to this fraction: a shared buffer shares prefixes without copying."""

_TILE_ROWS = 64
"""Tokens of a prompt from which llama.cpp's flash attention evaluates them together (``GGML_FA_TILE_Q``)."""

_FULL_LAYERS = 0.25
"""The part of the layers of a model with a sliding window that attend to all: a sixth in Gemma 3, half in gpt-oss."""

ATTENTION_KERNELS = ((True, "f16"), (False, "f16"), (True, "q8_0"), (True, "bf16"))
"""(flash attention, cache type): llama.cpp allows a quantized cache with flash attention only."""


@frozen
class AttentionCosts:
    """Seconds a token that a kernel adds to the time of the weights; "cell": a cached token.

    ``prompt``: a prompt's token, and each cell before it; ``single``: a lone token, and each cell; ``unified``: a token
    of a batch, each cell of the whole buffer, each cell of its own; ``separate``: the same, each cell of its own. The
    first number of each may be negative: the fastest kernel has no cost of its own.
    """

    prompt: tuple[float, float]
    single: tuple[float, float]
    unified: tuple[float, float, float]
    separate: tuple[float, float]

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read the output of ``asdict``. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for other data."""
        prompt, each_prompt = data["prompt"]
        single, each_single = data["single"]
        unified, each_unified, each_own = data["unified"]
        separate, each_separate = data["separate"]
        return cls(
            (parse_number(prompt), parse_positive(each_prompt)),
            (parse_number(single), parse_positive(each_single)),
            (parse_number(unified), parse_positive(each_unified), parse_positive(each_own)),
            (parse_number(separate), parse_positive(each_separate)),
        )

    def prompt_costs(self, rows: int) -> tuple[float, float]:
        """Return the costs of a prompt's token, and of each cell before it, with ``rows`` tokens evaluated at once."""
        base, each = self.prompt
        return base, each if rows >= _TILE_ROWS else max(each, self.separate[1])

    def scaled(self, factor: float) -> AttentionCosts:
        """Return the costs multiplied by ``factor``."""
        return AttentionCosts(*(tuple(factor * cost for cost in costs) for costs in astuple(self)))


@frozen
class JobShape:
    """A job: lengths of its prompts, tokens of their common prefix, tokens expected of each answer.

    ``width``: the number of sequences that run at once; ``copies``: of those that continue another one.
    """

    prompts: tuple[int, ...]
    shared: int
    outputs: tuple[int, ...]
    width: int
    copies: int = 0


@frozen
class CostProfile:
    """The costs of every kernel, seconds to copy a cell of a separate buffer, and the times of the weights by type.

    ``kernels`` is empty if the model has no choice of them. ``measured``: on this machine. ``complete``: the types of
    weights that make sense here were measured too, not only the original ones.
    """

    kernels: Mapping[tuple[bool, str], AttentionCosts]
    copy: float
    weights: WeightsTable
    measured: bool = False
    complete: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        kernels = [[flash, kv, asdict(costs)] for (flash, kv), costs in self.kernels.items()]
        return {
            "kernels": kernels,
            "copy": self.copy,
            "weights": self.weights.to_json(),
            "choices": self.weights.choices(),  # for commands that read nothing else
            "complete": self.complete,
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read the output of ``to_json``, as measured.

        Raises ``ValueError``, ``TypeError`` or ``KeyError`` for other data.
        """
        kernels = {(bool(flash), str(kv)): AttentionCosts.from_json(costs) for flash, kv, costs in data["kernels"]}
        if kernels and not {(True, "f16"), (False, "f16")} <= set(kernels) <= set(ATTENTION_KERNELS):
            raise ValueError("the kernels differ from the known ones")
        weights = WeightsTable.from_json(data["weights"])
        return cls(kernels, parse_positive(data["copy"]), weights, measured=True, complete=bool(data["complete"]))

    def estimate_seconds(
        self, shape: JobShape, settings: CacheSettings, window: int = 0, weights: str = ORIGINAL_WEIGHTS
    ) -> float:
        """Estimate the seconds of a job with a type of weights.

        ``window``: as for ``attended_cells``.
        """
        costs = self.kernels[settings.flash_attention, settings.kv_type]
        times = self._times(weights)
        count, width = len(shape.prompts), max(1, min(shape.width, len(shape.prompts)))
        outputs = sum(shape.outputs)
        prompt = sum(shape.prompts) / count - shape.shared  # of one sequence alone
        own = prompt + outputs / count / 2
        seen = shape.shared + own
        buffer = shape.shared + width * own
        before = shape.shared + prompt / 2
        if settings.unified and width > 1:  # a prompt also attends to the cells of present sequences
            before = max(before, buffer / 2 if count <= width else buffer)
        window = window if settings.flash_attention else 0
        total = shape.shared * times.prompt
        total += shape.shared * _linear_cost(costs.prompt_costs(shape.shared), attended_cells(shape.shared / 2, window))
        # separate buffers are evaluated together up to the length of the shortest prompt (``_cheapest``, planner.py)
        rows = int(prompt * width) if settings.unified else min(shape.prompts) - shape.shared
        total += (
            count * prompt * (times.prompt + _linear_cost(costs.prompt_costs(rows), attended_cells(before, window)))
        )
        first, rest = (
            _linear_cost(costs.single, attended_cells(seen, window)),
            _linear_cost(costs.separate, attended_cells(seen, window)),
        )
        if settings.unified:
            rest = costs.unified[0] + costs.unified[1] * buffer + costs.unified[2] * seen
        step = first + (BATCH_ROWS * rest - first) * (width - 1) / (BATCH_ROWS - 1)
        total += outputs / width * (times.step_seconds(width) + step)
        if not settings.unified:
            shared = count if shape.shared else 0
            longest = max(shape.prompts) + max(shape.outputs)
            total += (shape.copies + shared) * longest * self.copy
        return total

    def prompt_seconds(self, tokens: int, settings: CacheSettings, weights: str) -> float:
        """Estimate the seconds of evaluating the first ``tokens`` of a prompt."""
        costs = self.kernels[settings.flash_attention, settings.kv_type]
        return tokens * (self._times(weights).prompt + _linear_cost(costs.prompt, tokens / 2))

    def _times(self, weights: str) -> StepTimes:
        return self.weights.types.get(weights, self.weights.types[ORIGINAL_WEIGHTS]).times

    def weighted_seconds(
        self, shape: JobShape, settings: CacheSettings, window: int = 0, weights: str = ORIGINAL_WEIGHTS
    ) -> float:
        """Return ``estimate_seconds`` with handicaps for less precise or separate caches, to compare settings."""
        gain = 1.0 if settings.kv_type == "f16" else _LESS_PRECISE_GAIN
        gain *= 1.0 if settings.unified else _SEPARATE_BUFFERS_GAIN
        gain *= 1.0 if settings.flash_attention else _PLAIN_ATTENTION_GAIN
        return self.estimate_seconds(shape, settings, window, weights) / gain


def attended_cells(cells: float, window: int) -> float:
    """Return the cells that cost as much as ``cells`` do with flash attention, which skips those before a window.

    ``window``: tokens that most layers attend to, 0 if all layers attend to all.
    """
    return cells if not window else _FULL_LAYERS * cells + (1 - _FULL_LAYERS) * min(cells, window)


def _linear_cost(costs: tuple[float, float], cells: float) -> float:
    return costs[0] + costs[1] * cells


# ---- files -----------------------------------------------------------------------------------------------------------


def machine_id(threads: int) -> str:
    """Return what the times depend on besides the model: llama.cpp, the processor and the number of threads."""
    parts = (bindings.engine_id(), bindings.system_info(), engine_library.processor_name(), threads)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def load_profile(path: Path, threads: int) -> CostProfile | None:
    """Read a profile of this machine and number of threads; None if there is none, or if it is unusable."""
    data = read_profile_json(path)
    try:
        return CostProfile.from_json(data) if data is not None and data["machine"] == machine_id(threads) else None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):  # errors of damaged JSON
        return None


def save_profile(profile: CostProfile, path: Path, threads: int) -> None:
    """Write a profile of this machine and number of threads atomically. Raises ``OSError``."""
    private_files.replace_file(path, dump_profile({"machine": machine_id(threads), **profile.to_json()}))


# ---- without a measurement -------------------------------------------------------------------------------------------

_ASSUMED_COSTS = {
    (True, "f16"): AttentionCosts((0.0, 2.6e-11), (0.0, 1.5e-10), (0.0, 1e-11, 7.5e-11), (0.0, 9e-11)),
    (False, "f16"): AttentionCosts((1e-9, 2.6e-11), (1e-8, 1.4e-10), (5e-9, 3e-11, 4.6e-11), (3.5e-8, 2e-11)),
    (True, "q8_0"): AttentionCosts((2e-9, 1.2e-10), (2e-8, 2e-10), (0.0, 8e-12, 1.3e-10), (0.0, 1.7e-10)),
    (True, "bf16"): AttentionCosts((0.0, 1e-10), (2e-8, 2e-10), (0.0, 1e-11, 1.2e-10), (0.0, 1.5e-10)),
}
"""By heads x elements of a head x layers, measured for two models with 2 threads of a processor with AVX-512 (llama.cpp
of llama-cpp-python 0.3.36): better than no estimate."""
_ASSUMED_COPY_S = 4.5e-10
_ASSUMED_BYTES_PER_S = 1e10
"""Bytes of weights read a second for each step."""
_ASSUMED_PROMPT_SHARES = {"bf16": 0.17}
_ASSUMED_PROMPT_SHARE, _ASSUMED_BATCH_SHARE = 0.4, 0.4
"""Of the time of a step with one token, a token of a batch takes a part; one of a prompt a part of the time of its
layers, less if they are stored in the type in which the processor multiplies."""


def assumed_profile(header: Header, single: float | None = None) -> CostProfile:
    """Return an estimate for a model that was not measured, by its size.

    ``single``: the seconds of a token of one answer on this machine, if they are known.
    """
    heads = max_over_layers(header.arch_integer_per_layer("attention.head_count"))
    size = heads * (header.arch_integer("attention.key_length") or 0) or header.arch_integer("embedding_length") or 0
    kv_heads, layers = header.kv_heads, header.block_count or 0
    if isinstance(kv_heads, tuple):
        layers = sum(count > 0 for count in kv_heads)
    units = size * layers
    single = single or header.size / _ASSUMED_BYTES_PER_S
    batch = _ASSUMED_BATCH_SHARE * single
    weights = {
        name: WeightsMeasurement(
            header.size, StepTimes(share * single * _layers_share(header), single, batch, batch), 0.0
        )
        for name, share in {ORIGINAL_WEIGHTS: _ASSUMED_PROMPT_SHARE, **_ASSUMED_PROMPT_SHARES}.items()
    }
    return CostProfile(
        {kernel: costs.scaled(units) for kernel, costs in _ASSUMED_COSTS.items()},
        _ASSUMED_COPY_S * units,
        WeightsTable(weights),
    )


def _layers_share(header: Header) -> float:
    """Return the part of the weights that are in layers: a prompt needs the output matrix for its last token alone."""
    layers = sum(tensor.nbytes for tensor in header.tensors if tensor.name.startswith("blk."))
    return layers / header.weights_bytes if layers else 1.0
