"""Chooses the settings of the KV cache for the waiting job, and explains the choice."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from typing import Protocol

from llmcli.app_paths import tuning_file
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.llama.context import CacheSettings
from llmcli.engine.sequences.sequence import Sequence, common_prefix_length
from llmcli.engine.tuning.cost_profile import (
    ATTENTION_KERNELS,
    JobShape,
    assumed_profile,
    load_profile,
)
from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen, replace
from llmcli.models.footprint import (
    BATCH_SIZES,
    TaskWorkload,
    context_bytes,
    fit_context,
    max_over_layers,
    state_batch_tokens,
)
from llmcli.models.gguf.header import Header
from llmcli.settings import ORIGINAL_WEIGHTS

EXPECTED_ANSWER_TOKENS = 512
"""Tokens of an answer without its own limit."""
_MAX_PLANNED_SEQUENCES = 256
"""The most waiting sequences that are considered."""
_MIN_SAVING_S = 0.1
"""Seconds that another context must save to replace the present one."""
_ASSUMPTION_ERROR = 0.1
"""The part of the time by which an estimate without a measurement is off: such a saving replaces no context."""
_SHA256 = re.compile("[0-9a-f]{64}")
_BLOCK = 32
"""Elements of a block of q8_0: a head needs whole blocks."""


class PlannedModel(Protocol):
    """The properties of a model that determine its cache: a loaded ``Model``, or one that could be loaded."""

    @property
    def header(self) -> Header: ...
    @property
    def recurrent(self) -> bool: ...
    @property
    def gpu_layers(self) -> int: ...
    @property
    def sliding_window(self) -> int: ...


@frozen
class UnloadedModel:
    """A model on the processor, as described by its header."""

    header: Header
    gpu_layers: int = 0

    @property
    def recurrent(self) -> bool:
        """Whether it has a state that cannot be truncated."""
        return self.header.recurrent

    @property
    def sliding_window(self) -> int:
        """Tokens of the attention window, 0 for full attention."""
        return self.header.arch_integer("attention.sliding_window") or 0


class Planner:
    """Chooses among the settings that options and model allow by their cost here (a measured or assumed profile)."""

    def __init__(
        self,
        model: PlannedModel,
        options: EngineOptions,
        threads: int,
        model_id: str = "",
        *,
        batch_invariant: bool = False,
        plain_kv_types: tuple[str, ...] = ("f16",),
    ) -> None:
        """``model_id``: the SHA-256 of the original file, without which no measurement is used.

        ``batch_invariant``: only settings with which a sequence's sums do not depend on others, of which the first is
        taken; ``plain_kv_types``: the types of cache for which these have no flash attention.
        Raises ``UsageError`` if the options exclude each other.
        """
        self._options = options
        self._plain_kv_types = plain_kv_types
        self._batch_invariant = batch_invariant
        self._threads = threads
        self._weights = options.weights
        self._head_size = attention_head_size(model.header)
        self._fixed = (
            model.recurrent or model.gpu_layers > 0 or options.deterministic or batch_invariant or not self._head_size
        )
        self._sliding_window = model.sliding_window
        self.allowed_settings = self._find_allowed_settings()
        self._header = model.header
        self.profile = assumed_profile(model.header)
        self._path = None
        if options.cache is not None and _SHA256.fullmatch(model_id):
            self._path = tuning_file(options.cache, model_id, options.threads)
        self._load_profile()

    def _load_profile(self) -> None:
        """Read the measurement of an earlier command, or of a background process that has ended meanwhile."""
        if self._path is not None and self.measurable and not self.profile.measured:
            profile = load_profile(self._path, self._threads)
            if profile is not None and profile.kernels:
                self.profile = profile

    @property
    def measurable(self) -> bool:
        """Whether there is more than one setting to choose from."""
        return not self._fixed and len(self.allowed_settings) > 1

    def _find_allowed_settings(self) -> tuple[CacheSettings, ...]:
        options = self._options
        whole_blocks = self._head_size % _BLOCK == 0
        if options.kv_type == "q8_0" and not whole_blocks:
            raise UsageError(
                f"a KV cache of type q8_0 needs heads of a multiple of {_BLOCK} elements, and this model's have "
                f"{self._head_size}",
                detail="Choose another type, such as bf16.",
            )
        if options.deterministic:
            if options.kv_type == "f16" or options.flash_attention is False or options.kv_unified:
                raise UsageError("--deterministic needs flash attention, a buffer for each sequence, and a KV cache of "
                                 "type q8_0 or bf16")  # fmt: skip
            return (CacheSettings(unified=False, kv_type=options.kv_type or ("q8_0" if whole_blocks else "bf16")),)
        if options.flash_attention is False and options.kv_type not in {None, "f16"}:
            raise UsageError(f"a KV cache of type {options.kv_type} needs flash attention")
        if self._batch_invariant:
            return self._find_invariant_settings()
        layouts = (True, False) if options.kv_unified is None else (options.kv_unified,)
        requested = tuple(
            CacheSettings(unified, flash, kv_type)
            for unified in layouts
            for flash, kv_type in ATTENTION_KERNELS
            if options.flash_attention in {None, flash} and options.kv_type in {None, kv_type}
        )
        if self._fixed:
            return requested[:1]
        possible = supported_kernels(self._head_size)
        return tuple(s for s in requested if (s.flash_attention, s.kv_type) in possible) or requested

    def _find_invariant_settings(self) -> tuple[CacheSettings, ...]:
        """Return the settings whose attention sums do not depend on other sequences, the best one first.

        Flash attention sums up f16 and f32 values in tiles from 64 tokens on, others always token by token.
        """
        options = self._options
        token_by_token = supported_kernels(self._head_size) if self._head_size else ()
        kernels = [
            *((False, each) for each in self._plain_kv_types),
            *(each for each in token_by_token if each[1] != "f16"),
        ]
        return tuple(
            CacheSettings(unified=False, flash_attention=flash, kv_type=kv_type)
            for flash, kv_type in kernels
            if options.flash_attention in {None, flash} and options.kv_type in {None, kv_type}
        )

    @property
    def smallest_type(self) -> str:
        """The smallest of the allowed types of cache."""
        types = [settings.kv_type for settings in self.allowed_settings]
        return "q8_0" if "q8_0" in types else types[0]

    def choose(
        self,
        waiting: SequenceOf[Sequence],
        concurrency: int,
        current: CacheSettings | None,
        capacity: Callable[[CacheSettings], int] | None = None,
        reusable_tokens: int = 0,
    ) -> CacheSettings:
        """Return the settings for the waiting sequences: the ``current`` ones unless others save more than they cost.

        ``capacity`` returns how many sequences fit the memory at once with given settings, 0 if not even one fits.
        ``reusable_tokens``: tokens in memory or in files that only the ``current`` settings can reuse.
        """
        if len(self.allowed_settings) == 1 or self._batch_invariant:
            return self.allowed_settings[0]
        self._load_profile()
        shape = job_shape(waiting, concurrency)
        return self._cheapest(self.allowed_settings, shape, current, capacity, reusable_tokens)

    def choose_for(self, workload: TaskWorkload, header: Header, max_bytes: int) -> CacheSettings:
        """Return the settings for a future job with at most ``max_bytes`` for its context."""
        if len(self.allowed_settings) == 1 or self._batch_invariant:
            return self.allowed_settings[0]
        demand, batch = workload.initial_demand, BATCH_SIZES[0]
        layers = workload.count_state_layers(header)
        if workload.hidden_states and not layers:
            batch = state_batch_tokens(header.vocabulary_size or 0, None)
        shape = JobShape(
            workload.prompt_tokens, workload.shared_prefix_tokens, workload.answer_tokens, demand.concurrency
        )

        def capacity(settings: CacheSettings) -> int:
            fitted, count = fit_context(
                demand,
                settings,
                header,
                max_bytes,
                batch,
                hidden_states=workload.hidden_states,
                state_layers=layers,
            )
            return count if count > 1 or context_bytes(header, fitted) <= max_bytes else 0

        return self._cheapest(self.allowed_settings, shape, None, capacity)

    def choose_layout(
        self,
        sequences: SequenceOf[Sequence],
        concurrency: int,
        current: CacheSettings,
        capacity: Callable[[CacheSettings], int] | None = None,
    ) -> CacheSettings:
        """Return ``current``, with another layout of the buffers if that is better for ``sequences`` (some running)."""
        if current not in self.allowed_settings or self._fixed:
            return current
        same = [each for each in self.allowed_settings if replace(each, unified=current.unified) == current]
        return self._cheapest(same, job_shape(sequences, concurrency), current, capacity)

    def _cheapest(
        self,
        allowed: SequenceOf[CacheSettings],
        shape: JobShape,
        current: CacheSettings | None,
        capacity: Callable[[CacheSettings], int] | None,
        reusable_tokens: int = 0,
    ) -> CacheSettings:
        if not any(shape.outputs):
            # llama.cpp evaluates separate buffers together up to the length of the shortest chunk, then the rests again
            # (``llama_batch_allocr::split_equal``): 12 short records a second instead of 15 with one buffer
            allowed = [each for each in allowed if each.unified] or allowed
        widths = {each: shape.width if capacity is None else min(capacity(each), shape.width) for each in allowed}
        allowed = [each for each in allowed if widths[each]] or allowed  # those with which one sequence fits, if any

        def shape_with(settings: CacheSettings) -> JobShape:
            return replace(shape, width=max(1, widths[settings]))

        def estimated_s(settings: CacheSettings) -> float:
            return self.profile.estimate_seconds(shape_with(settings), settings, self._sliding_window, self._weights)

        def weighted_s(settings: CacheSettings) -> float:
            return self.profile.weighted_seconds(shape_with(settings), settings, self._sliding_window, self._weights)

        best = min(allowed, key=weighted_s)
        if current is not None and current in allowed:
            cost_s = _MIN_SAVING_S + self.profile.prompt_seconds(reusable_tokens, current, self._weights)
            current_s = estimated_s(current)
            if not self.profile.measured:
                cost_s += _ASSUMPTION_ERROR * current_s
            return best if current_s - estimated_s(best) > cost_s else current
        return best

    def estimate_seconds(self, shape: JobShape, single: float | None = None) -> float:
        """Return how long a job takes with the settings that are the best for it, from loading the model on.

        ``single``: the seconds of a token of one answer, used if the model was not measured.
        """
        if not self.profile.measured:
            self.profile = assumed_profile(self._header, single)
        settings = self._cheapest(self.allowed_settings, shape, None, None)
        types = self.profile.weights.types
        load_s = types.get(self._weights, types[ORIGINAL_WEIGHTS]).load_s
        return load_s + self.profile.estimate_seconds(shape, settings, self._sliding_window, self._weights)

    def smaller_settings(self, current: CacheSettings) -> CacheSettings | None:
        """Return settings that need less memory than the ``current`` ones; None if there are none."""
        if current.kv_type == "q8_0":
            return None
        halves = (settings for settings in self.allowed_settings if settings.kv_type == "q8_0")
        return next((settings for settings in halves if settings.unified == current.unified), None)

    def explain(self, settings: CacheSettings, *, memory_limited: bool = False) -> str:
        """Return one sentence on the choice and its reason; ``memory_limited``: better ones did not fit the memory."""
        if memory_limited:
            why = "a more precise one does not fit the memory"
        elif self._batch_invariant:
            why = "with it, labels do not depend on other records"
        elif len(self.allowed_settings) == 1:
            why = "the only settings that the model and the options allow"
        elif self.profile.measured:
            why = "the fastest for this job, measured on this machine"
        else:
            why = "assumed; to measure this machine, run llm models tune"
        return f"KV cache: {settings} ({why})"


def plan_scoring(model: PlannedModel, options: EngineOptions, threads: int, *, states: bool = False) -> Planner | None:
    """Return the planner for requests that generate nothing, whose results then do not depend on other sequences.

    ``states``: for requests that read states of layers. Beside weights in BF16, whose kernels round states to that type
    before each multiplication, so does the cache: a processor that multiplies BF16 needs about 5% less time. Scores
    without states keep the more exact F16, since those of two labels may be close.

    None if that cannot be had: on a GPU, for a model with a recurrent state, or with options that exclude it. In
    deterministic mode all requests are evaluated in one way. Raises as ``Planner``.
    """
    if model.gpu_layers or model.recurrent or options.deterministic or options.kv_unified:
        return None
    plain = ("bf16", "f16") if states and options.weights == "bf16" else ("f16",)
    planner = Planner(model, options, threads, batch_invariant=True, plain_kv_types=plain)
    return planner if planner.allowed_settings else None


def attention_head_size(header: Header) -> int:
    """Return the elements of a head of attention; 0 without attention, or if keys and values differ in size."""
    heads, kv_heads = (
        max_over_layers(n) for n in (header.arch_integer_per_layer("attention.head_count"), header.kv_heads)
    )
    number = header.arch_integer
    default = (number("embedding_length") or 0) // heads if heads else 0
    size = number("attention.key_length") or default
    if (number("attention.value_length") or default) != size or number("attention.kv_lora_rank"):
        return 0
    return size if heads and kv_heads else 0


def supported_kernels(head_size: int) -> tuple[tuple[bool, str], ...]:
    """Return the (flash attention, cache type) pairs that heads of this size support."""
    return tuple(kernel for kernel in ATTENTION_KERNELS if kernel[1] != "q8_0" or head_size % _BLOCK == 0)


def job_shape(waiting: SequenceOf[Sequence], concurrency: int) -> JobShape:
    """Return the shape of the waiting job."""
    sequences = waiting[:_MAX_PLANNED_SEQUENCES]
    first = sequences[0].tokens
    return JobShape(
        prompts=tuple(len(s.tokens) for s in sequences),
        shared=min(common_prefix_length(first, s.tokens) for s in sequences) if len(sequences) > 1 else 0,
        outputs=tuple(min(s.tokens_left, EXPECTED_ANSWER_TOKENS) for s in sequences),
        width=concurrency,
        copies=sum(s.num_forks for s in sequences),
    )
