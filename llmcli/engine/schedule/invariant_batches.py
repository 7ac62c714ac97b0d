"""Batches in which a sequence gets the same scores and hidden states as alone, for requests that generate nothing.

What llama.cpp computes for a token on a processor depends on the batch in three ways, and on nothing else:

1. A matrix is multiplied with fewer than ``MIN_ROWS`` tokens by other kernels than with more (K-quants, F16, BF16,
   F32), and so are those beyond a multiple of ``_ROW_STEP`` (repacked K-quants).
2. The sums of attention depend on which cells hold the earlier tokens, if there is one buffer for all sequences. Flash
   attention also has other kernels for 64 tokens or more, and for one token (not with q8_0 and bf16).
3. Sequences of different lengths are evaluated piece by piece (``llama_batch_allocr::split_equal``): the rests are
   short. So are the outputs of sequences whose ids are not consecutive, which are evaluated apart.

So each sequence has a buffer of its own, where a token's cell is its position, and attention is plain (or flash
attention of those types: ``Planner``). Every step evaluates at least ``MIN_ROWS`` tokens of a sequence, a multiple of
``_ROW_STEP``, and equally many of each sequence in the batch. To that end a sequence reuses less of a cached prefix
than it could, or tokens that affect nothing follow its last one and are removed. More logits than needed are computed
for the same reason. Then neither the order nor the number of sequences matters, nor pieces, threads and reuse: a prefix
gets the same bits from any sequence that evaluates it.
"""

from __future__ import annotations

from llmcli.engine.schedule.admission import AdmissionPolicy
from llmcli.engine.schedule.batch import BatchBuilder, BatchEntry, equal_chunk_size
from llmcli.engine.sequences.sequence import Sequence

MIN_ROWS = 8
"""Tokens from which on the kernels are the same, for every type of weights."""
_ROW_STEP = 4
_MIN_CHUNK_LIMIT = 2 * MIN_ROWS
"""The smallest limit of a chunk: within it, the equal chunks of ``MIN_ROWS`` tokens or more have at least as many."""
_GROUP_ROWS = 256
"""Tokens of a batch of short sequences: more are hardly faster, and the lengths in a larger batch differ more."""
_CANDIDATES_PER_SLOT = 4
"""Waiting sequences that are considered for each one that may run."""
_MAX_ADDED_SHARE = 0.25
"""The share of a batch's tokens that a shorter sequence may repeat or add to join it."""


class InvariantAdmission(AdmissionPolicy):
    """Admits groups of sequences that evaluate equally many tokens; the next one when nothing runs."""

    def next_candidates(self, waiting: list[Sequence], running: list[Sequence]) -> list[Sequence]:
        """Return the next group, and set the tokens that each evaluates (``Sequence.num_rows``)."""
        limit = self._kv_cache.concurrency
        ready = [] if running else self.rank(waiting, running)[: _CANDIDATES_PER_SLOT * limit]
        if not ready:
            return []
        needed = {sequence: self._needed_rows(sequence) for sequence in ready}
        first, rows = ready[0], needed[ready[0]]
        others = [each for each in ready[1:] if (1 - _MAX_ADDED_SHARE) * rows <= needed[each] <= rows]
        others.sort(key=lambda each: -needed[each])  # of equal ones the older first
        group = [first, *others][: min(limit, max(1, _GROUP_ROWS // rows))]
        for sequence in group:
            sequence.num_rows = rows
        return group

    def _needed_rows(self, sequence: Sequence) -> int:
        """Return how many tokens a sequence has to evaluate."""
        sequence.num_rows = MIN_ROWS
        reusable = self._prefix_index.count_reusable_tokens(sequence, [])
        return max(MIN_ROWS, _round_up(len(sequence.tokens) - reusable))


class InvariantBatchBuilder(BatchBuilder):
    """Fills a batch with equally many tokens of each sequence."""

    evaluates_in_order = True

    def build(self, running: list[Sequence], longest_s: float) -> list[BatchEntry]:
        entries = super().build(running, longest_s)
        entry_of = {entry.sequence: entry for entry in entries}
        for part in evaluated_together([*entry_of]):
            first, last = entry_of[part[0]], entry_of[part[-1]]
            needed = _count_outputs(sum(len(entry_of[each].outputs) for each in part))
            self._kv_cache.context.batch.mark_outputs(first.start, last.start + last.num_tokens, needed)
        return entries

    def _count_tokens(self, runnable: list[Sequence], longest_s: float) -> dict[Sequence, int]:
        context = self._kv_cache.context
        capacity, max_outputs = context.batch.capacity, context.max_outputs
        budget = self._token_budget.prefill_tokens(runnable, longest_s, capacity)
        limit = max(_MIN_CHUNK_LIMIT, budget // max(1, len(runnable)))
        rows = 0
        chosen: list[Sequence] = []
        for sequence in sorted(runnable, key=lambda each: each.slot or 0):
            computed = sequence.num_computed_tokens
            most = min(limit, max(0, sequence.first_logit - computed) + max_outputs) // _ROW_STEP * _ROW_STEP
            count = equal_chunk_size(_round_up(self._chunk_end(sequence) - computed), most)
            count = _round_up(count)
            rows = rows or count
            fits = (len(chosen) + 1) * rows <= capacity and self._sum_outputs([*chosen, sequence], rows) <= max_outputs
            if count == rows and (fits or not chosen):
                chosen.append(sequence)
        return dict.fromkeys(chosen, rows)

    def _sum_outputs(self, sequences: list[Sequence], rows: int) -> int:
        """Return how many outputs a batch has with so many tokens of each of ``sequences``, in order of their ids."""
        if self._kv_cache.context.outputs_all_tokens:
            return rows * len(sequences)
        return sum(
            _count_outputs(sum(max(0, each.num_computed_tokens + rows - each.first_logit) for each in part))
            for part in evaluated_together(sequences)
        )

    def _next_tokens(self, sequence: Sequence, rows: int) -> list[int]:
        computed = sequence.num_computed_tokens
        return sequence.tokens[computed : min(computed + rows, self._chunk_end(sequence))]

    def _chunk_end(self, sequence: Sequence) -> int:
        """Return the length up to which the sequence is evaluated before something else happens."""
        end = self._logits_start(sequence) if self._without_logits else evaluated_length(sequence)
        stops = [stop for stop in (sequence.save_at, sequence.keep_at) if stop is not None]
        return min([end, *(stop for stop in stops if stop - sequence.num_computed_tokens >= MIN_ROWS)])

    def _logits_start(self, sequence: Sequence) -> int:
        end = evaluated_length(sequence)
        if sequence.logits_start == len(sequence.tokens):  # it needs none
            return end
        computed = sequence.num_computed_tokens
        rows = (min(sequence.logits_start, end - MIN_ROWS) - computed) // _ROW_STEP * _ROW_STEP
        return computed + rows if rows >= MIN_ROWS else 0


def evaluated_length(sequence: Sequence) -> int:
    """Return the number of a sequence's tokens, with those that are added at its end."""
    computed = sequence.num_computed_tokens
    return max(sequence.num_rows, computed + _round_up(len(sequence.tokens) - computed))


def continued_length(sequence: Sequence) -> int:
    """Return how many of a sequence's evaluated tokens it keeps for its next step, which evaluates enough of them."""
    computed, pending = sequence.num_computed_tokens, sequence.num_pending_tokens
    if not pending or evaluated_length(sequence) - computed >= MIN_ROWS:
        return computed
    return len(sequence.tokens) - MIN_ROWS


def _round_up(rows: int) -> int:
    return -(-rows // _ROW_STEP) * _ROW_STEP


def _count_outputs(needed: int) -> int:
    """Return how many outputs are computed where ``needed`` are: none, or enough for the same kernels."""
    return max(MIN_ROWS, _round_up(needed)) if needed else 0


def evaluated_together(sequences: list[Sequence]) -> list[list[Sequence]]:
    """Return the parts of a batch that llama.cpp evaluates at once: sequences with consecutive ids, sorted by them."""
    parts: list[list[Sequence]] = []
    for sequence in sequences:
        if parts and sequence.slot == (parts[-1][-1].slot or 0) + 1:
            parts[-1].append(sequence)
        else:
            parts.append([sequence])
    return parts
