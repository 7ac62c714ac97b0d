"""Choosing the settings of the KV cache for the job that waits, and saying why."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from typing import Protocol

from llmcli.engine import standin
from llmcli.engine.sequence import Sequence, common_prefix
from llmcli.engine.tuning import ASSUMED, KERNELS, CacheSettings, Geometry, Shape
from llmcli.errors import UsageError
from llmcli.models.footprint import Workload, context_bytes, context_for
from llmcli.models.gguf import Header
from llmcli.types import EngineOptions

EXPECTED = 512
"""Tokens of an answer that has no limit of its own."""
_ENOUGH = 256
"""Waiting sequences that are looked at."""
_WORTH = 0.1
"""Seconds that another context has to save before the present one is given up."""
_BANDWIDTH = 1e10
"""Bytes a second at which every step reads the weights, about: what running fewer sequences at once costs."""


class PlannedModel(Protocol):
    """What of a model decides about its cache: a loaded ``Model``, or one that could be loaded."""

    @property
    def header(self) -> Header: ...
    @property
    def recurrent(self) -> bool: ...
    @property
    def gpu_layers(self) -> int: ...
    @property
    def window(self) -> int: ...


@dataclass(frozen=True, slots=True)
class UnloadedModel:
    """A model on the processor, as far as its header tells."""

    header: Header
    gpu_layers: int = 0

    @property
    def recurrent(self) -> bool:
        """It keeps a state that cannot be cut."""
        return self.header.recurrent

    @property
    def window(self) -> int:
        """Tokens of the attention window, 0 for full attention."""
        return self.header.number("attention.sliding_window") or 0


class Planner:
    """Knows what is allowed (the options, the model's kind) and what it costs here (a profile, measured or assumed)."""

    def __init__(self, model: PlannedModel, options: EngineOptions, threads: int) -> None:
        """Raises ``UsageError`` where the options exclude each other."""
        self._options = options
        self._threads = threads
        plain = model.recurrent or model.gpu_layers > 0 or options.deterministic
        self._geometry = None if plain else Geometry.of(model.header)
        self._window = model.window
        self._step_s = model.header.size / _BANDWIDTH
        self.allowed = self._allowed()
        self.profile = ASSUMED
        self._look()

    def _look(self) -> None:
        """Read what was measured, by an earlier command or meanwhile in the background."""
        if self.unmeasured and self._options.cache is not None:
            path = standin.path_of(self._options.cache, self._known_geometry, self._threads)
            self.profile = standin.load(path) or ASSUMED

    @property
    def _known_geometry(self) -> Geometry:
        if self._geometry is None:
            raise ValueError("no geometry")
        return self._geometry

    @property
    def measurable(self) -> bool:
        """There is more than one setting to choose from."""
        return self._geometry is not None and len(self.allowed) > 1

    @property
    def unmeasured(self) -> bool:
        """A measurement would help, there is a place to keep it, and none was made yet."""
        return self.measurable and self._options.cache is not None and not self.profile.measured

    def measure_later(self) -> None:
        """Start measuring in a process of its own."""
        if self._options.cache is not None:
            standin.start(self._options.cache, self._known_geometry, self._threads)

    def _allowed(self) -> tuple[CacheSettings, ...]:
        options = self._options
        if options.deterministic:
            if options.kv_type == "f16" or options.flash_attention is False or options.kv_unified:
                raise UsageError("--deterministic needs flash attention, a buffer for each sequence, and a KV cache of "
                                 "type q8_0 or bf16")  # fmt: skip
            return (CacheSettings(unified=False, kv_type=options.kv_type or "q8_0"),)
        if options.flash_attention is False and options.kv_type not in {None, "f16"}:
            raise UsageError(f"a KV cache of type {options.kv_type} needs flash attention")
        layouts = (True, False) if options.kv_unified is None else (options.kv_unified,)
        wanted = tuple(
            CacheSettings(unified, flash, kv_type)
            for unified in layouts
            for flash, kv_type in KERNELS
            if options.flash_attention in {None, flash} and options.kv_type in {None, kv_type}
        )
        if self._geometry is None:
            return wanted[:1]
        possible = standin.kernels(self._geometry)
        return tuple(s for s in wanted if (s.flash_attention, s.kv_type) in possible) or wanted

    @property
    def smallest_type(self) -> str:
        """The type of cache that takes least of those that are allowed."""
        types = [settings.kv_type for settings in self.allowed]
        return "q8_0" if "q8_0" in types else types[0]

    def choose(
        self,
        waiting: SequenceOf[Sequence],
        width: int,
        current: CacheSettings | None,
        capacity: Callable[[CacheSettings], int] | None = None,
    ) -> CacheSettings:
        """Return the settings for what waits; the ``current`` ones unless others save more than they cost.

        ``capacity`` says of settings how many sequences the memory holds at once with them, 0 for not even one.
        """
        if len(self.allowed) == 1 or self._geometry is None:
            return self.allowed[0]
        self._look()
        return self._best(self.allowed, shape_of(waiting, width), self._geometry, current, capacity)

    def choose_for(self, workload: Workload, header: Header, room: int) -> CacheSettings:
        """Return the settings for a job that has not come yet, with ``room`` bytes for its context."""
        if len(self.allowed) == 1 or self._geometry is None:
            return self.allowed[0]
        demand = workload.demand
        shape = Shape(workload.prompts, workload.shared, workload.answers, demand.width)

        def capacity(settings: CacheSettings) -> int:
            wanted, count = context_for(demand, settings, header, room)
            return count if count > 1 or context_bytes(header, wanted) <= room else 0

        return self._best(self.allowed, shape, self._geometry, None, capacity)

    def layout(
        self,
        sequences: SequenceOf[Sequence],
        width: int,
        current: CacheSettings,
        capacity: Callable[[CacheSettings], int] | None = None,
    ) -> CacheSettings:
        """Return ``current``, with another layout of the buffers where that suits ``sequences``, some of which run."""
        if current not in self.allowed or self._geometry is None:
            return current
        same = [each for each in self.allowed if replace(each, unified=current.unified) == current]
        return self._best(same, shape_of(sequences, width), self._geometry, current, capacity)

    def _best(
        self,
        allowed: SequenceOf[CacheSettings],
        shape: Shape,
        geometry: Geometry,
        current: CacheSettings | None,
        capacity: Callable[[CacheSettings], int] | None,
    ) -> CacheSettings:
        if not any(shape.outputs):
            # llama.cpp evaluates buffers of their own together as far as the shortest piece goes, then the rests again
            # (``llama_batch_allocr::split_equal``): 12 short records a second, in one buffer 15
            allowed = [each for each in allowed if each.unified] or allowed
        widths = {each: shape.width if capacity is None else min(capacity(each), shape.width) for each in allowed}
        allowed = [each for each in allowed if widths[each]] or allowed  # those with which one sequence fits, if any

        def shaped(settings: CacheSettings) -> Shape:
            return replace(shape, width=max(1, widths[settings]))

        def reading(settings: CacheSettings) -> float:
            """Return the seconds in which the weights are read, once for each step."""
            return sum(shape.outputs) / min(max(1, widths[settings]), len(shape.prompts)) * self._step_s

        def seconds(settings: CacheSettings) -> float:
            return reading(settings) + self.profile.seconds(shaped(settings), settings, geometry, self._window)

        def weighted(settings: CacheSettings) -> float:
            return reading(settings) + self.profile.weighted(shaped(settings), settings, geometry, self._window)

        best = min(allowed, key=weighted)
        if current is not None and current in allowed:
            return best if seconds(current) - seconds(best) > _WORTH else current
        return best

    def smaller(self, current: CacheSettings) -> CacheSettings | None:
        """Return settings that need less memory than the ``current`` ones; None where there are none."""
        if current.kv_type == "q8_0":
            return None
        halves = (settings for settings in self.allowed if settings.kv_type == "q8_0")
        return next((settings for settings in halves if settings.unified == current.unified), None)

    def reason(self, settings: CacheSettings, *, short: bool = False) -> str:
        """Say in one sentence what was chosen and why; ``short``: others did not fit the memory."""
        if short:
            why = "the memory does not hold a more precise one"
        elif len(self.allowed) == 1:
            why = "the only settings that the model and the options allow"
        elif self.profile.measured:
            why = "the fastest for this job by what was measured on this machine"
        else:
            why = "assumed, not measured on this machine yet: llm models tune"
        return f"KV cache: {settings} ({why})"


def shape_of(waiting: SequenceOf[Sequence], width: int) -> Shape:
    """Describe the job that waits."""
    sequences = waiting[:_ENOUGH]
    first = sequences[0].tokens
    return Shape(
        prompts=tuple(len(s.tokens) for s in sequences),
        shared=min(common_prefix(first, s.tokens) for s in sequences) if len(sequences) > 1 else 0,
        outputs=tuple(min(s.longest, EXPECTED) for s in sequences),
        width=width,
        copies=sum(s.branches for s in sequences),
    )
