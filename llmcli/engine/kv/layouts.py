"""The memory layouts of a context, and its size.

A layout says which prefix of one sequence another may reuse, and how to copy it. The size has sequence ids and cells
for what runs at once.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.engine.sequences.sequence import Sequence, common_prefix_length
from llmcli.fast_dataclass import frozen, replace
from llmcli.models.footprint import (
    BATCH_SIZES,
    FIRST_ANSWER_TOKENS,
    PAD_TOKENS,
    ContextDemand,
    context_bytes,
    fit_context,
)
from llmcli.models.gguf.header import Header


class UnifiedKV:
    """Attention in a unified buffer. Lengths are tokens from position 0."""

    supports_partial_prefix = True
    """Whether another sequence can reuse any prefix of a sequence."""
    supports_truncation = True
    """Whether the last evaluated tokens can be removed again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lib = bindings.lib()
        self._memory: Any = context.memory

    def reusable_length(self, length: int, common: int) -> int:
        """Return how many tokens of a sequence of ``length`` another can reuse that has ``common`` tokens in common."""
        return min(length, common)

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of ``source`` to the empty sequence ``target``."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def move_sequence(self, source: int, target: int) -> None:
        """Move all of ``source`` to the empty sequence ``target``; ``source`` is empty afterwards."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self.remove_sequence(source)

    def truncate(self, sequence: int, length: int) -> bool:
        """Remove everything from position ``length`` on; False (with nothing usable left) if that is impossible."""
        removed = bool(self._lib.llama_memory_seq_rm(self._memory, sequence, length, -1))
        if not removed:
            self.remove_sequence(sequence)
        return removed

    def remove_tail(self, sequence: int, length: int) -> None:
        """Remove the tokens from position ``length`` on, which the last evaluation added."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, length, -1)

    def clear(self) -> None:
        """Remove all sequences, and reset the positions in the buffer."""
        self._lib.llama_memory_clear(self._memory, False)

    def remove_sequence(self, sequence: int) -> None:
        """Remove a sequence."""
        self._context.remove_sequence(sequence)


class _SlidingWindowKV(UnifiedKV):
    """Attention windows in a unified buffer. Removing the last tokens is safe, reusing a part is not."""

    supports_partial_prefix = False

    def reusable_length(self, length: int, common: int) -> int:
        return length if length <= common else 0


class StreamKV(UnifiedKV):
    """Attention with a separate stream for each sequence; copying a part would fail an assertion."""

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._lib.llama_memory_seq_rm(self._memory, target, length, -1)


class _SlidingWindowStreamKV(StreamKV):
    """Attention windows with streams: their cells stay in order as long as no evaluation was aborted."""

    supports_truncation = False

    def truncate(self, sequence: int, length: int) -> bool:
        del length  # after an aborted evaluation the next tokens may take the first cells (seen with 0.3.36)
        self.remove_sequence(sequence)
        return False


class RecurrentState(_SlidingWindowKV):
    """Recurrent and hybrid models: whole copies only (copying a part is silently wrong), no removal of a tail."""

    supports_truncation = False

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        del length  # ``reusable_length`` only allows the whole
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def truncate(self, sequence: int, length: int) -> bool:
        del length
        self.remove_sequence(sequence)
        return False


def layout_class(model: Model, config: ContextConfig) -> type[UnifiedKV]:
    """Return the kind of memory that a context of ``model`` has."""
    if model.recurrent:
        return RecurrentState
    if config.unified:
        return _SlidingWindowKV if model.sliding_window else UnifiedKV
    return _SlidingWindowStreamKV if model.sliding_window else StreamKV


def make_layout(context: Context) -> UnifiedKV:
    """Return the memory of ``context``."""
    return layout_class(context.model, context.config)(context)


@frozen
class CacheLimits:
    """Limits of a context; ``batch_tokens``: of one evaluation.

    ``per_sequence_buffers``: each sequence has its own buffers, so each sequence id costs memory.
    """

    concurrency: int
    max_sequence_tokens: int
    per_sequence_buffers: bool
    batch_tokens: int = BATCH_SIZES[0]


def estimate_demand(sequences: SequenceOf[Sequence], limits: CacheLimits, *, share_prefix: bool) -> ContextDemand:
    """Return what ``sequences`` need to run at once; ``share_prefix``: they can share the cells of a common prefix."""
    needs = tuple(_expected_cells(s, limits) for s in sequences)
    shared = min(common_prefix_length(sequences[0].tokens, s.tokens) for s in sequences) if share_prefix else 0
    return ContextDemand(needs, shared, tuple(s.num_forks for s in sequences), limits.concurrency)


def _expected_cells(sequence: Sequence, limits: CacheLimits) -> int:
    """Return the cells that a sequence will take; for a longer answer the context grows."""
    return min(len(sequence.tokens) + min(sequence.tokens_left, FIRST_ANSWER_TOKENS) + 1, limits.max_sequence_tokens)


def size_for(
    config: ContextConfig, demand: ContextDemand, limits: CacheLimits, header: Header, max_bytes: int | None
) -> tuple[ContextConfig, int]:
    """Return ``config`` for as many sequences of ``demand`` as fit ``max_bytes``, at least one, and their number."""
    shape, count = fit_context(
        demand,
        config.settings,
        header,
        max_bytes,
        limits.batch_tokens,
        hidden_states=config.hidden_states,
        state_layers=len(config.state_layers),
    )
    return replace(config, cells=shape.cells, sequences=shape.sequences, batch=shape.batch), count


def count_fitting(
    model: Model, config: ContextConfig, sequences: SequenceOf[Sequence], limits: CacheLimits, max_bytes: int
) -> int:
    """Return how many of ``sequences`` run at once with the settings of ``config``; 0: not even one.

    A single sequence may always run, even if it takes more than ``max_bytes``.
    """
    limits = replace(limits, per_sequence_buffers=model.recurrent or not config.unified)
    demand = estimate_demand(sequences, limits, share_prefix=layout_class(model, config).supports_partial_prefix)
    sized, count = size_for(config, demand, limits, model.header, max_bytes)
    return count if count > 1 or context_bytes(model.header, sized.shape) <= max_bytes else 0


def needs_resize(config: ContextConfig, sequences: SequenceOf[Sequence], limits: CacheLimits) -> bool:
    """Return whether a context of this ``config`` has too few ids for ``sequences``, or too small buffers."""
    too_small = not config.unified and any(len(s.tokens) > config.cells for s in sequences)
    return (limits.per_sequence_buffers and too_small) or min(limits.concurrency, len(sequences)) + 1 > config.sequences


def with_spare_cells(
    config: ContextConfig, present: ContextConfig, header: Header, max_bytes: int | None, *, generates: bool
) -> ContextConfig:
    """Return ``config`` with more cells if they fit ``max_bytes``, so that growing is rare.

    At least as many as ``present``. Twice as many if one buffer for all has become too small for sequences of which one
    ``generates`` tokens: growing by half, sixteen answers that begin one after another took 7% longer.
    """
    spare = present.cells if generates and config.unified and config.cells > present.cells else 0
    larger = config.with_cells(max(config.cells, present.cells + spare))
    return larger if max_bytes is None or context_bytes(header, larger.shape) <= max_bytes else config


def is_larger(config: ContextConfig, present: ContextConfig) -> bool:
    """Return whether a context has more cells or more ids than the ``present`` one."""
    return config.cells > present.cells or config.sequences > present.sequences


def fits_another(sequence: Sequence, running: SequenceOf[Sequence], config: ContextConfig, limits: CacheLimits) -> bool:
    """Return whether one more sequence fits the shared buffer, with the rest of all answers."""
    if not running or not config.unified:
        return True
    together = [*running, sequence]
    unshared = sum(_expected_cells(s, limits) for s in together)
    return unshared <= config.cells or _cells_with_shared_prefix(together, limits) <= config.cells


def _cells_with_shared_prefix(sequences: SequenceOf[Sequence], limits: CacheLimits) -> int:
    """Return the cells that ``sequences`` take in one buffer for all, with the rest of their answers."""
    shared = min(common_prefix_length(sequences[0].tokens, s.tokens) for s in sequences)
    return sum(_expected_cells(s, limits) for s in sequences) - shared * (len(sequences) - 1)


def grown(
    config: ContextConfig, running: SequenceOf[Sequence], limits: CacheLimits, header: Header, max_bytes: int | None
) -> ContextConfig | None:
    """Return ``config`` with more cells for what runs; None if nothing that may run needs more.

    It takes at most ``max_bytes``, unless a single sequence runs: that may use all of the model's context.
    """
    most = limits.max_sequence_tokens * (limits.concurrency if config.unified else 1) + 1
    if config.cells >= most:
        return None
    needed = _cells_with_shared_prefix(running, limits) if config.unified and running else 0
    larger = config.with_cells(min(max(2 * config.cells, needed), most))
    step = max(PAD_TOKENS, config.cells // 8 // PAD_TOKENS * PAD_TOKENS)
    while max_bytes is not None and context_bytes(header, larger.shape) > max_bytes:
        if larger.cells - step <= config.cells:
            return larger if len(running) == 1 else None
        larger = replace(larger, cells=larger.cells - step)
    return larger
