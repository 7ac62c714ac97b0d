"""Chooses the settings of the KV cache for the waiting job, and explains the choice."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from typing import Protocol

from llmcli.engine.llama.context import CacheSettings
from llmcli.engine.sequences.sequence import Sequence
from llmcli.engine.sequences.token_prefix import common_prefix_length
from llmcli.engine.tuning import standin
from llmcli.engine.tuning.cost_profile import ASSUMED_PROFILE, ATTENTION_KERNELS, AttentionGeometry, JobShape
from llmcli.errors import UsageError
from llmcli.models.footprint import TaskWorkload, context_bytes, fit_context
from llmcli.models.gguf.header import Header
from llmcli.types import EngineOptions

EXPECTED_ANSWER_TOKENS = 512
"""Tokens of an answer without its own limit."""
_MAX_PLANNED_SEQUENCES = 256
"""The most waiting sequences that are considered."""
_MIN_SAVING_S = 0.1
"""Seconds that another context must save to replace the present one."""
_ASSUMED_BYTES_PER_S = 1e10
"""Approximate bytes of weights read a second at every step: the cost of running fewer sequences at once."""


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


@dataclass(frozen=True, slots=True)
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

    def __init__(self, model: PlannedModel, options: EngineOptions, threads: int) -> None:
        """Raises ``UsageError`` if the options exclude each other."""
        self._options = options
        self._threads = threads
        fixed = model.recurrent or model.gpu_layers > 0 or options.deterministic
        self._geometry = None if fixed else AttentionGeometry.from_header(model.header)
        self._sliding_window = model.sliding_window
        self._step_s = model.header.size / _ASSUMED_BYTES_PER_S
        self.allowed_settings = self._find_allowed_settings()
        self.profile = ASSUMED_PROFILE
        self._load_profile()

    def _load_profile(self) -> None:
        """Read the measurement of an earlier command, or of a background process that has ended meanwhile."""
        if self.needs_measurement and self._options.cache is not None:
            path = standin.profile_path(self._options.cache, self._known_geometry, self._threads)
            self.profile = standin.load_profile(path) or ASSUMED_PROFILE

    @property
    def _known_geometry(self) -> AttentionGeometry:
        if self._geometry is None:
            raise ValueError("no geometry")
        return self._geometry

    @property
    def measurable(self) -> bool:
        """Whether there is more than one setting to choose from."""
        return self._geometry is not None and len(self.allowed_settings) > 1

    @property
    def needs_measurement(self) -> bool:
        """Whether a measurement would help, can be stored, and was not made yet."""
        return self.measurable and self._options.cache is not None and not self.profile.measured

    def start_measurement(self) -> None:
        """Start measuring in a separate process."""
        if self._options.cache is not None:
            standin.start_in_background(self._options.cache, self._known_geometry, self._threads)

    def _find_allowed_settings(self) -> tuple[CacheSettings, ...]:
        options = self._options
        if options.deterministic:
            if options.kv_type == "f16" or options.flash_attention is False or options.kv_unified:
                raise UsageError("--deterministic needs flash attention, a buffer for each sequence, and a KV cache of "
                                 "type q8_0 or bf16")  # fmt: skip
            return (CacheSettings(unified=False, kv_type=options.kv_type or "q8_0"),)
        if options.flash_attention is False and options.kv_type not in {None, "f16"}:
            raise UsageError(f"a KV cache of type {options.kv_type} needs flash attention")
        layouts = (True, False) if options.kv_unified is None else (options.kv_unified,)
        requested = tuple(
            CacheSettings(unified, flash, kv_type)
            for unified in layouts
            for flash, kv_type in ATTENTION_KERNELS
            if options.flash_attention in {None, flash} and options.kv_type in {None, kv_type}
        )
        if self._geometry is None:
            return requested[:1]
        possible = standin.supported_kernels(self._geometry)
        return tuple(s for s in requested if (s.flash_attention, s.kv_type) in possible) or requested

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
    ) -> CacheSettings:
        """Return the settings for the waiting sequences: the ``current`` ones unless others save more than they cost.

        ``capacity`` returns how many sequences fit the memory at once with given settings, 0 if not even one fits.
        """
        if len(self.allowed_settings) == 1 or self._geometry is None:
            return self.allowed_settings[0]
        self._load_profile()
        return self._cheapest(self.allowed_settings, job_shape(waiting, concurrency), self._geometry, current, capacity)

    def choose_for(self, workload: TaskWorkload, header: Header, max_bytes: int) -> CacheSettings:
        """Return the settings for a future job with at most ``max_bytes`` for its context."""
        if len(self.allowed_settings) == 1 or self._geometry is None:
            return self.allowed_settings[0]
        demand = workload.concurrent_demand
        shape = JobShape(
            workload.prompt_tokens, workload.shared_prefix_tokens, workload.answer_tokens, demand.concurrency
        )

        def capacity(settings: CacheSettings) -> int:
            fitted, count = fit_context(demand, settings, header, max_bytes)
            return count if count > 1 or context_bytes(header, fitted) <= max_bytes else 0

        return self._cheapest(self.allowed_settings, shape, self._geometry, None, capacity)

    def choose_layout(
        self,
        sequences: SequenceOf[Sequence],
        concurrency: int,
        current: CacheSettings,
        capacity: Callable[[CacheSettings], int] | None = None,
    ) -> CacheSettings:
        """Return ``current``, with another layout of the buffers if that is better for ``sequences`` (some running)."""
        if current not in self.allowed_settings or self._geometry is None:
            return current
        same = [each for each in self.allowed_settings if replace(each, unified=current.unified) == current]
        return self._cheapest(same, job_shape(sequences, concurrency), self._geometry, current, capacity)

    def _cheapest(
        self,
        allowed: SequenceOf[CacheSettings],
        shape: JobShape,
        geometry: AttentionGeometry,
        current: CacheSettings | None,
        capacity: Callable[[CacheSettings], int] | None,
    ) -> CacheSettings:
        if not any(shape.outputs):
            # llama.cpp evaluates separate buffers together up to the length of the shortest chunk, then the rests again
            # (``llama_batch_allocr::split_equal``): 12 short records a second instead of 15 with one buffer
            allowed = [each for each in allowed if each.unified] or allowed
        widths = {each: shape.width if capacity is None else min(capacity(each), shape.width) for each in allowed}
        allowed = [each for each in allowed if widths[each]] or allowed  # those with which one sequence fits, if any

        def shape_with(settings: CacheSettings) -> JobShape:
            return replace(shape, width=max(1, widths[settings]))

        def weights_s(settings: CacheSettings) -> float:
            """Return the seconds needed to read the weights, once for each step."""
            return sum(shape.outputs) / min(max(1, widths[settings]), len(shape.prompts)) * self._step_s

        def estimated_s(settings: CacheSettings) -> float:
            return weights_s(settings) + self.profile.estimate_seconds(
                shape_with(settings), settings, geometry, self._sliding_window
            )

        def weighted_s(settings: CacheSettings) -> float:
            return weights_s(settings) + self.profile.weighted_seconds(
                shape_with(settings), settings, geometry, self._sliding_window
            )

        best = min(allowed, key=weighted_s)
        if current is not None and current in allowed:
            return best if estimated_s(current) - estimated_s(best) > _MIN_SAVING_S else current
        return best

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
        elif len(self.allowed_settings) == 1:
            why = "the only settings that the model and the options allow"
        elif self.profile.measured:
            why = "the fastest for this job, measured on this machine"
        else:
            why = "assumed; to measure this machine, run llm models tune"
        return f"KV cache: {settings} ({why})"


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
