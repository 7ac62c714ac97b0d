"""The tokens of each sequence that the next step evaluates: fewer of a prompt while others wait for its end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence as SequenceOf

from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.llama.compute_thread import LONG_STEP_S
from llmcli.engine.llama.context import HiddenStateContext, LayerStateContext
from llmcli.engine.schedule.speculative_decoder import SpeculativeDecoder
from llmcli.engine.sequences.sequence import Sequence
from llmcli.fast_dataclass import frozen

INTERACTIVE_STALL_S = 0.4
"""Seconds for which a step may delay interactive sequences that are decoding."""
BULK_STALL_S = 1.0
_INITIAL_PREFILL_TOKENS = 64
"""Prompt tokens of a step that others wait for, until their duration is known: few enough that a first step ends
soon."""
_MIN_PREFILL_TOKENS = 16
ATTENTION_TILE = 64
"""Prompt tokens that llama.cpp's flash attention evaluates together (``GGML_FA_TILE_Q``); fewer are evaluated one by
one, up to nine times as long for each. Chunks of more than one tile are hardly faster per token."""
_TYPICAL_PREFILL_TOKENS = 256
"""Prompt tokens of a step whose duration counts in full. Short steps take more seconds per token."""
_LAST_STEP_WEIGHT = 0.5
"""Weight of the last step in the seconds per token."""


class TokenBudget:
    """Measures prompt tokens: the last ones took about ``token_s`` seconds each, None before the first."""

    def __init__(self) -> None:
        self.token_s: float | None = None
        self._most_tokens: int | None = None  # of a step after an aborted one

    def record_abort(self, tokens: int) -> None:
        """Record that a step of ``tokens`` was aborted: the next one takes half, to end before the next abort."""
        self._most_tokens = max(_MIN_PREFILL_TOKENS, tokens // 2)

    def record(self, tokens: int, token_s: float) -> None:
        """Record the seconds per token of a step with prompts, ``tokens`` in all."""
        self._most_tokens = None
        if self.token_s is None:
            self.token_s = token_s
        else:
            weight = _LAST_STEP_WEIGHT * min(1.0, tokens / _TYPICAL_PREFILL_TOKENS)
            self.token_s += weight * (token_s - self.token_s)

    def prefill_tokens(self, runnable: SequenceOf[Sequence], longest_s: float, capacity: int) -> int:
        """Return the prompt tokens of a step that may take about ``longest_s`` seconds, at most ``capacity``."""
        capacity = min(capacity, self._most_tokens or capacity)
        decoding = [sequence for sequence in runnable if sequence.is_decoding]
        waited_for = bool(decoding) or longest_s < LONG_STEP_S
        if not self.token_s:
            return min(capacity, _INITIAL_PREFILL_TOKENS) if waited_for else capacity
        bound_s = longest_s
        if decoding:
            interactive = any(sequence.is_interactive for sequence in decoding)
            bound_s = min(bound_s, INTERACTIVE_STALL_S if interactive else BULK_STALL_S)
        least = _MIN_PREFILL_TOKENS if waited_for else 2 * ATTENTION_TILE - 1  # a tile, or a last one with the rest
        return int(max(min(least, capacity), min(capacity, bound_s / self.token_s)))


@frozen
class BatchEntry:
    """The part of a batch that belongs to one sequence, from the batch index ``start`` on.

    ``outputs``: batch indices of the logits that it needs. ``added_tokens``: others that follow its tokens in the
    batch.
    """

    sequence: Sequence
    num_tokens: int
    outputs: list[int]
    start: int = 0
    added_tokens: int = 0

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class BatchBuilder:
    """Fills the batch of a ``kv_cache``'s context with the draft tokens of ``decoder``, within ``token_budget``."""

    evaluates_in_order = False
    """Whether llama.cpp evaluates the tokens in the order of the batch, also with a buffer for each sequence."""

    def __init__(self, kv_cache: KVCacheManager, token_budget: TokenBudget, decoder: SpeculativeDecoder) -> None:
        self._kv_cache = kv_cache
        self._token_budget = token_budget
        self._decoder = decoder
        self._without_logits = False  # the last batch
        self._deferred_since: float | None = None  # when decoding sequences began to wait

    def build(self, running: list[Sequence], longest_s: float) -> list[BatchEntry]:
        """Fill the batch for a step of about ``longest_s`` seconds at most; return its entries by their slots."""
        context = self._kv_cache.context
        batch = context.batch
        batch.clear()
        runnable = [s for s in running if not s.sink.full]
        runnable.sort(key=lambda s: (not s.is_decoding, not s.is_interactive))
        runnable = self._defer_decoding(runnable)
        self._decoder.draft(runnable)
        if isinstance(context, HiddenStateContext):
            runnable = self._choose_by_logits(runnable)
            context.needs_logits = not self._without_logits
        elif isinstance(context, LayerStateContext) and self._kv_cache.per_sequence_buffers:
            runnable = runnable if self.evaluates_in_order else runnable[:1]
        counts = self._count_tokens(runnable, longest_s)
        entries = []
        for sequence in sorted(counts, key=lambda s: s.slot or 0):
            rows = counts[sequence]
            tokens = self._next_tokens(sequence, rows)
            count = len(tokens)
            tokens += tokens[-1:] * (rows - count)
            outputs = range(max(0, sequence.first_logit - sequence.num_computed_tokens), count)
            marked = range(rows) if context.outputs_all_tokens else outputs
            start = batch.add(tokens, sequence.num_computed_tokens, sequence.slot or 0, marked)
            needed = [] if self._without_logits else [start + offset for offset in outputs]
            entries.append(BatchEntry(sequence, count, needed, start, rows - count))
        return entries

    def _count_tokens(self, runnable: list[Sequence], longest_s: float) -> dict[Sequence, int]:
        """Return how many tokens of each sequence the batch takes."""
        context = self._kv_cache.context
        capacity = context.batch.capacity
        prefill_tokens = self._token_budget.prefill_tokens(runnable, longest_s, capacity)
        return allocate_tokens(
            runnable, capacity, context.max_outputs, prefill_tokens, without_logits=self._without_logits
        )

    def _next_tokens(self, sequence: Sequence, rows: int) -> list[int]:
        """Return the tokens of a sequence for this many rows of the batch; others follow if they are fewer."""
        start = sequence.num_computed_tokens
        return [*sequence.tokens[start : start + rows], *sequence.draft_tokens]

    def _logits_start(self, sequence: Sequence) -> int:
        """Return the position from which tokens are evaluated with logits."""
        return sequence.logits_start

    def _defer_decoding(self, runnable: list[Sequence]) -> list[Sequence]:
        """Return ``runnable`` without bulk sequences that decode while prompts are evaluated in separate buffers.

        llama.cpp would evaluate one token of each and of the prompts, then the rest
        (``llama_batch_allocr::split_equal``): few tokens at a time. They wait for about ``BULK_STALL_S`` seconds at
        most.
        """
        prompts = [sequence for sequence in runnable if not sequence.is_decoding]
        decoding = runnable[: len(runnable) - len(prompts)]
        separate = not self._kv_cache.settings.unified
        if not (separate and prompts and decoding) or any(sequence.is_interactive for sequence in decoding):
            self._deferred_since = None
            return runnable
        now = time.monotonic()
        if self._deferred_since is None:
            self._deferred_since = now
        if now - self._deferred_since < BULK_STALL_S:
            return prompts
        self._deferred_since = None
        return runnable

    def _choose_by_logits(self, runnable: list[Sequence]) -> list[Sequence]:
        """Return the sequences of a batch that needs no logits, or in alternation those that need some.

        Logits would be computed for all tokens of a batch (see ``HiddenStateContext``).
        """
        reading = [s for s in runnable if s.num_computed_tokens < self._logits_start(s)]
        others = [s for s in runnable if s.num_computed_tokens >= self._logits_start(s)]
        self._without_logits = bool(reading) and not (others and self._without_logits)
        return reading if self._without_logits else others


def allocate_tokens(
    runnable: list[Sequence], capacity: int, max_outputs: int, prefill_tokens: int, *, without_logits: bool = False
) -> dict[Sequence, int]:
    """Return how many tokens of each sequence the next batch takes.

    ``runnable``: the sequences, in order of precedence.
    ``capacity``: the batch's limit of tokens.
    ``max_outputs``: its limit of logits.
    ``prefill_tokens``: its limit of prompt tokens.
    ``without_logits``: only tokens before the first one that needs logits.

    Draft tokens without room are dropped.
    """
    free_rows, free_outputs = capacity, max_outputs
    counts = {}
    for sequence in runnable:
        count = min(sequence.num_pending_tokens + len(sequence.draft_tokens), free_rows)
        first_output = max(0, sequence.first_logit - sequence.num_computed_tokens)
        if not sequence.is_decoding:
            count = tiled_chunk_size(sequence.num_pending_tokens, min(free_rows, prefill_tokens))
            end = sequence.logits_start if without_logits else None
            for stop in (sequence.checkpoint_at, sequence.save_at, sequence.keep_at, end):
                if stop is not None and stop > sequence.num_computed_tokens:
                    count = min(count, stop - sequence.num_computed_tokens)
            count = min(count, free_outputs if without_logits else first_output + free_outputs)
            prefill_tokens -= count
        if count <= 0:
            continue
        sequence.draft_tokens = sequence.draft_tokens[: max(0, count - sequence.num_pending_tokens)]
        counts[sequence] = count
        free_rows -= count
        free_outputs -= count if without_logits else max(0, count - first_output)
    return counts


def tiled_chunk_size(tokens: int, limit: int) -> int:
    """Return the size of the first chunk of ``tokens`` within ``limit``, so that all take little time per token.

    The chunks are about equal and whole tiles of attention, but the last one, which has more than a tile where the limit
    has room for nearly two.
    """
    size = equal_chunk_size(tokens, limit)
    if size == tokens or limit < ATTENTION_TILE:
        return size
    size = min(-(-size // ATTENTION_TILE), limit // ATTENTION_TILE) * ATTENTION_TILE
    return size - ATTENTION_TILE if size > ATTENTION_TILE and tokens - size < ATTENTION_TILE else size


def equal_chunk_size(tokens: int, limit: int) -> int:
    """Return the size of the first of the fewest equal chunks of ``tokens`` within ``limit``."""
    return math.ceil(tokens / math.ceil(tokens / limit)) if 0 < limit < tokens else min(tokens, limit)
