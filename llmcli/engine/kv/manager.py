"""The lifecycle of a context: its settings and size, when it grows, and when its memory is released.

The number of sequences that run at once grows as long as that makes the whole job faster on this machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from llmcli.engine.kv import layouts
from llmcli.engine.kv.document_prefix_cache import DocumentPrefixCache
from llmcli.engine.kv.layouts import StreamKV, UnifiedKV, layout_class, make_layout
from llmcli.engine.kv.saved_contents import SavedContents, compact_cells
from llmcli.engine.kv.sequence_ids import IdleStates, SequenceIdPool
from llmcli.engine.llama import hardware
from llmcli.engine.llama.context import CacheSettings, Context, ContextConfig, HiddenStateContext, LayerStateContext
from llmcli.engine.llama.model import Model
from llmcli.engine.sequences.sequence import Sequence
from llmcli.engine.tuning.planner import Planner
from llmcli.errors import InternalError, OutOfMemory
from llmcli.fast_dataclass import asdict, replace
from llmcli.models.footprint import (
    DEFAULT_CONCURRENCY,
    MAX_CONCURRENCY,
    PREFILL_STEP_TOKENS,
    context_bytes,
    idle_state_bytes,
)

_MAX_IDLE_CELLS = 1024
"""Number of unused cells that are tolerated among those in use."""

_CountReusable = Callable[[Sequence, list[Sequence]], int]
"""``PrefixIndex.count_reusable_tokens``: how many tokens of a sequence are cached, including those of running ones."""


class KVCacheManager:
    """Creates, resizes and releases one context within the memory budget. ``context_limit``: tokens of a sequence."""

    def __init__(
        self,
        model: Model,
        config: ContextConfig,
        context_limit: int,
        should_abort: Callable[[], bool],
        *,
        planner: Planner | None = None,
        deterministic: bool,
        gives_states: bool,
        document_prefix_cache: DocumentPrefixCache | None = None,
    ) -> None:
        """``planner`` chooses the settings of each job, else ``config`` applies. ``deterministic``: bit-identical.

        ``gives_states``: its contexts are ``HiddenStateContext``s, or ``LayerStateContext``s if ``config`` names
        layers. ``document_prefix_cache``: None to keep no documents.
        """
        self._model = model
        self._config = replace(config, hidden_states=gives_states)
        self._planner = planner
        self._should_abort = should_abort
        self._context: Context | None = None
        self._optional_id_pool: SequenceIdPool | None = None
        self._refused_allocation: tuple[int, OutOfMemory] | None = None  # number of tokens that did not fit the memory
        self._peak_cached_tokens = 0  # the most tokens in the cache at once since it was empty
        self._layout_concurrency = 1  # sequences
        self._cells_exhausted = False  # a sequence waits for cells
        # number running, first waiting: no larger context is possible
        self._refused_growth: tuple[object, ...] | None = None
        self._measured_bytes: int | None = None  # see ``_available_bytes``
        self._lifecycle_lock = threading.RLock()
        self._is_idle = False
        self._evaluated_before = 0  # tokens, in contexts that are closed
        self.idle_states = IdleStates(idle_state_bytes(model.header.size))
        self.document_prefix_cache = document_prefix_cache
        self.context_limit = context_limit
        self.concurrency_tuner = ConcurrencyTuner()
        self.deterministic = deterministic
        self.gives_states = gives_states
        self.memory_limited = False
        """Whether the best settings of the cache did not fit the memory."""

    @property
    def context(self) -> Context:
        """The context; ``prepare`` must have been called."""
        if self._context is None:
            raise InternalError("context", detail="the context was used before it was created")
        return self._context

    @property
    def has_context(self) -> bool:
        """Whether there is a context."""
        return self._context is not None

    @property
    def evaluated_tokens(self) -> int:
        """Tokens evaluated so far."""
        return self._evaluated_before + (self._context.evaluated_tokens if self._context else 0)

    @property
    def concurrency(self) -> int:
        """Number of sequences that may run at once."""
        return self.concurrency_tuner.concurrency

    @property
    def layout_class(self) -> type[UnifiedKV]:
        """The kind of memory that a context with these settings has."""
        return layout_class(self._model, self._config)

    @property
    def supports_partial_prefix(self) -> bool:
        """Whether any prefix of a sequence can be copied to another."""
        return self.layout_class.supports_partial_prefix

    @property
    def supports_truncation(self) -> bool:
        """Whether the last evaluated tokens can be removed again."""
        return self.layout_class.supports_truncation

    @property
    def can_speculate(self) -> bool:
        """Whether draft tokens may be evaluated, since wrong ones can be removed again."""
        return self.supports_truncation and not (self.deterministic or self.gives_states)

    @property
    def settings(self) -> CacheSettings:
        """The settings of the cache in use."""
        return self._config.settings

    def explain_settings(self) -> str:
        """Return one sentence on the choice of the settings, "" without one."""
        return self._planner.explain(self.settings, memory_limited=self.memory_limited) if self._planner else ""

    @property
    def state_format(self) -> str:
        """The format of a saved state: a cache restores states with an equal one, of a plain cache in either layout."""
        portable = self.layout_class in {UnifiedKV, StreamKV} and not self.deterministic
        return repr(replace(self.settings, unified=True) if portable else self.settings)

    @property
    def _limits(self) -> layouts.CacheLimits:
        return layouts.CacheLimits(self.concurrency, self.context_limit, self.per_sequence_buffers, self._config.batch)

    @property
    def _available_bytes(self) -> int:
        """Bytes that a context may take, measured once for each decision: reading the free memory takes 0.3 ms."""
        if self._measured_bytes is None:
            self._measured_bytes = self._model.budget.available_bytes(self)
        return self._measured_bytes

    @property
    def id_pool(self) -> SequenceIdPool:
        """The sequence ids of the context; ``prepare`` must have been called. Each context has its own."""
        if self._optional_id_pool is None:
            raise InternalError("sequence ids", detail="the sequence ids were used before they were created")
        return self._optional_id_pool

    @property
    def per_sequence_buffers(self) -> bool:
        """Whether each sequence has its own buffers, so that each sequence id costs memory."""
        return self._model.recurrent or not self._config.unified

    @property
    def prefill_budget(self) -> int | None:
        """Prompt tokens of a step beyond which more prompts of non-generating sequences do not pay; None: no limit."""
        return None if self.per_sequence_buffers or self._model.gpu_layers else PREFILL_STEP_TOKENS

    @property
    def state_restorable(self) -> bool:
        """Whether a saved state is as good as an evaluated one.

        After restoring a state llama.cpp searches free cells from the state's first cell on, and cells outside of the
        window count as free: cells get out of order or lost, which breaks determinism and the truncation of streams.
        """
        return self._config.unified or not self._model.sliding_window

    def has_cells_for(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Return whether the shared buffer has cells for one more sequence; if not, it grows before the next step."""
        no_cells = not self._model.header.attention_bytes_per_token()  # only recurrent states
        if no_cells or layouts.fits_another(sequence, running, self.context.config, self._limits):
            return True
        self._cells_exhausted = True
        return False

    # ---- settings and size -------------------------------------------------------------------------------------------

    def prepare(self, waiting: list[Sequence], running: list[Sequence], count_reusable: _CountReusable) -> None:
        """Create the context, or a larger one if sequence ids, streams or cells are too few.

        ``count_reusable`` is called only while nothing runs: settings must save more than the cached prefix that they
        lose. If the memory does not suffice for all sequences, the context is created for fewer. Raises ``OutOfMemory``
        when nothing runs and not even the first waiting sequence fits.
        """
        cached = 0 if self._optional_id_pool is None else self._optional_id_pool.cached_tokens
        self._peak_cached_tokens = max(self._peak_cached_tokens, cached + sum(len(s.tokens) for s in running))
        self._measured_bytes = None
        sequences = [*running, *waiting[: max(0, self.concurrency - len(running))]]
        min_count = max(1, len(running))
        self._is_idle = False
        if not running:
            self._refused_allocation = None
            self.memory_limited = False
            self._choose_settings(waiting, count_reusable)
        elif waiting:
            self._change_layout(sequences, running)
        full, self._cells_exhausted = self._cells_exhausted and bool(waiting), False
        while self._context is None or full or layouts.needs_resize(self.context.config, sequences, self._limits):
            config = self._larger_config_for(sequences, running)
            if config is None:
                return  # the others wait until running ones end
            try:
                self._resize(config, running)
            except OutOfMemory:
                if len(sequences) > min_count:
                    sequences = sequences[: max(min_count, len(sequences) // 2)]
                elif running:
                    self.concurrency_tuner.reject_increase()
                    return
                elif not self._use_smaller_settings():
                    raise
            else:
                return

    def _larger_config_for(self, sequences: list[Sequence], running: list[Sequence]) -> ContextConfig | None:
        """Return a context in which more of ``sequences`` run at once; None if the budget allows no more than now."""
        situation = (len(running), *(s.request.id for s in sequences[len(running) : len(running) + 1]))
        if self._context is not None and situation == self._refused_growth:
            return None
        config, count = self._config_for(sequences)
        if count < min(len(sequences), self.concurrency):
            self.concurrency_tuner.reject_increase()
        if self._context is not None:
            present, header = self.context.config, self._model.header
            generates = any(s.tokens_left for s in sequences)
            config = layouts.with_spare_cells(config, present, header, self._available_bytes, generates=generates)
            if count < len(running) or not layouts.is_larger(config, present):
                self._refused_growth = situation
                return None
        return config

    def _config_for(self, sequences: list[Sequence]) -> tuple[ContextConfig, int]:
        """Return the context for as many of ``sequences`` as the budget allows, and their number."""
        demand = layouts.estimate_demand(sequences, self._limits, share_prefix=self.supports_partial_prefix)
        return layouts.size_for(self._config, demand, self._limits, self._model.header, self._available_bytes)

    def _make_capacity_estimate(self, waiting: list[Sequence]) -> Callable[[CacheSettings], int]:
        """Return a function from settings to how many waiting sequences run at once with them; 0: not even one."""
        sequences, available_bytes = waiting[: self.concurrency], self._available_bytes
        return lambda settings: layouts.count_fitting(
            self._model, replace(self._config, **asdict(settings)), sequences, self._limits, available_bytes
        )

    def _choose_settings(self, waiting: list[Sequence], count_reusable: _CountReusable) -> None:
        """Take the best settings for the waiting job, unless a prefix that they cannot reuse is worth more."""
        if not self._make_capacity_estimate(waiting[:1])(self.settings):
            self._model.budget.release_idle_contexts(self)
            self._measured_bytes = None
        reusable = count_reusable(waiting[0], [])
        current = self.settings if reusable or self._context is not None else None
        if self._planner is None:
            best = self.settings
        else:
            self._layout_concurrency = min(len(waiting), self.concurrency)
            capacity = self._make_capacity_estimate(waiting)
            best = self._planner.choose(waiting, self.concurrency, current, capacity, reusable)
        if best == current:
            mostly_cached = reusable > len(waiting[0].tokens) // 2
            if self._context is not None and not mostly_cached and self._lacks_cells(waiting):
                self.close()  # it is created again with more cells
            elif self._context is not None and self._planner is not None:
                self._compact_cells(sum(len(s.tokens) for s in waiting[: self.concurrency]))
        elif self._planner is not None:
            self.close()
            self._config = replace(self._config, **asdict(best))

    def _lacks_cells(self, waiting: list[Sequence]) -> bool:
        config, _ = self._config_for(waiting[: self.concurrency])
        return config.cells > self.context.config.cells

    def _change_layout(self, together: list[Sequence], running: list[Sequence]) -> None:
        """Change the layout if there are twice as many sequences as it was chosen for and another is better.

        Only the layout can change while something runs: states do not move from one kernel to another, and those of
        sliding windows do not move into separate buffers (``state_restorable``).
        """
        if self._planner is None or self._model.sliding_window or len(together) < 2 * self._layout_concurrency:
            return
        self._layout_concurrency = len(together)
        capacity = self._make_capacity_estimate(together)
        best = self._planner.choose_layout(together, self.concurrency, self.settings, capacity)
        if best == self.settings:
            return
        before, self._config = self._config, replace(self._config, unified=best.unified)
        config, count = self._config_for(together)
        try:
            if count >= len(running):
                self._resize(config, running)
                return
        except OutOfMemory:  # the old context was restored
            pass
        self._config = before

    def _use_smaller_settings(self) -> bool:
        """Take settings that need less memory; return False if there are none."""
        smaller = None if self._planner is None else self._planner.smaller_settings(self.settings)
        if smaller is None:
            return False
        self.close()
        self._config = replace(self._config, **asdict(smaller))
        self._refused_allocation = None
        self.memory_limited = True
        return True

    def grow_context(self, running: list[Sequence]) -> bool:
        """Enlarge the cache, keeping what runs; return False if the model's context or the memory is exhausted."""
        self._measured_bytes = None
        larger = layouts.grown(self.context.config, running, self._limits, self._model.header, self._available_bytes)
        if larger is None:
            return False
        try:
            self._resize(larger, running)
        except OutOfMemory:
            return False
        return True

    # ---- creating and freeing ----------------------------------------------------------------------------------------

    def _create_context(self, config: ContextConfig) -> None:
        make: type[Context] = Context
        if self.gives_states:
            make = LayerStateContext if config.state_layers else HiddenStateContext
        self._context = make(self._model, config, self._should_abort)
        self._optional_id_pool = SequenceIdPool(make_layout(self._context), self._context.config.sequences)
        self._model.budget.allocate(self, context_bytes(self._model.header, self._context.config.shape))
        self._peak_cached_tokens = 0
        self._refused_growth = self._measured_bytes = None

    def close(self) -> None:
        """Free the context."""
        with self._lifecycle_lock:
            if self._context is not None:
                self._evaluated_before += self._context.evaluated_tokens
                self._context.close()
            self._context = self._optional_id_pool = self._measured_bytes = None
            self._model.budget.free(self)
        hardware.release_free_memory()  # buffers of some MB are in the heap, which would grow with the next context

    def release_memory(self) -> None:
        """Return the context's memory to the system, except small states; called when nothing has run for a while.

        The next ``prepare`` creates a context for the next job, and saved states are restored when they are useful.
        """
        with self._lifecycle_lock:  # the engine is closed outside of the compute thread
            if self._optional_id_pool is None:
                return
            for slot, prefix in self.id_pool.cached.items():  # least recently used first
                if self.state_restorable and self.idle_states.fits(self.context.state_size(slot)):
                    self.idle_states.add(prefix, self.state_format, self.context.save_state(slot))
            self.close()

    def mark_idle(self) -> None:
        """Let other contexts take the memory until the next ``prepare``, since nothing runs."""
        self._is_idle = True

    def release_idle(self) -> None:
        """Release the memory if nothing runs, since another context needs it."""
        if self._is_idle:
            self.release_memory()

    def _resize(self, config: ContextConfig, running: list[Sequence]) -> None:
        """Create or replace the context; a size that did not fit the memory is not tried again while sequences run."""
        if self._refused_allocation is not None and config.tokens >= self._refused_allocation[0]:
            raise self._refused_allocation[1]
        try:
            if self._context is None:
                self._create_context(config)
            else:
                self._replace_context(config, running)
        except OutOfMemory as error:
            self._refused_allocation = (config.tokens, error)
            raise

    def _replace_context(self, config: ContextConfig, running: list[Sequence]) -> None:
        """Replace the context; states are moved, and a sequence whose state does not fit is evaluated again."""
        old = self.context.config
        contents = SavedContents.save(self.context, self.id_pool, running, restorable=self.state_restorable)
        self.close()
        try:
            self._create_context(config)
        except OutOfMemory:
            self._create_context(old)
            raise
        finally:
            if self._context is not None:
                contents.restore(self.context, self.id_pool)

    def _compact_cells(self, num_waiting_tokens: int) -> None:
        """Move cached prefixes to the first cells if the unused cells between them cost more time than that."""
        cached = self.id_pool.cached_tokens
        idle_cells = self._peak_cached_tokens - 2 * (cached + num_waiting_tokens)
        if self.deterministic or not self._config.unified or idle_cells < _MAX_IDLE_CELLS:
            return
        compact_cells(self.context, self.id_pool)
        self._peak_cached_tokens = cached


INITIAL_CONCURRENCY = DEFAULT_CONCURRENCY
_STEPS_PER_TRIAL = 24
"""Steps at one concurrency before it is judged."""
_MIN_SPEEDUP = 1.05
"""Factor by which doubling the concurrency has to raise the tokens a second."""


class ConcurrencyTuner:
    """Doubles the concurrency while that pays, judged by steps in which that many sequences decoded.

    A processor whose cores are busy with 16 rows gains nothing from 32; a GPU or many cores do.
    """

    def __init__(self) -> None:
        self.concurrency = INITIAL_CONCURRENCY
        """Number of sequences that may run at once now."""
        self._step_rates: list[float] = []
        self._previous_rate: float | None = None
        self._is_settled = False

    def record_step(self, rows: int, seconds: float, waiting: int) -> None:
        """Record the duration of a step that decoded a token for each of ``rows`` sequences while ``waiting`` wait."""
        if self._is_settled or rows < self.concurrency or waiting < self.concurrency or seconds <= 0:
            return
        self._step_rates.append(rows / seconds)
        if len(self._step_rates) < _STEPS_PER_TRIAL:
            return
        rate = sorted(self._step_rates)[_STEPS_PER_TRIAL // 2]
        self._step_rates.clear()
        if self._previous_rate is not None and rate < _MIN_SPEEDUP * self._previous_rate:
            self.concurrency //= 2
            self._is_settled = True
        elif 2 * self.concurrency > MAX_CONCURRENCY:
            self._is_settled = True
        else:
            self._previous_rate = rate
            self.concurrency *= 2

    def reject_increase(self) -> None:
        """Go back to the last concurrency, since the memory does not suffice for that many."""
        if self._previous_rate is not None and not self._is_settled:
            self.concurrency //= 2
        self._is_settled = True
