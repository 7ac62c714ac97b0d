"""Continuous batching: every step packs one token of each running sequence and chunks of prompts into one batch.

``Scheduler`` decides what runs; ``KVCacheManager`` holds the context, ``PrefixIndex`` finds what it can reuse. A step never leaves a sequence
half-updated: tokens that were not evaluated are still pending.
"""

from __future__ import annotations

import bisect
import collections
import math
import time
from collections.abc import Callable

from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.prefix_cache import DiskPrefixCache
from llmcli.engine.kv.prefix_index import PrefixIndex
from llmcli.engine.schedule.batch import BatchBuilder, BatchEntry
from llmcli.engine.schedule.evaluation import Evaluation
from llmcli.engine.schedule.queue_reports import QueueReports
from llmcli.engine.schedule.speculative_decoder import SpeculativeDecoder
from llmcli.engine.schedule.token_budget import TokenBudget
from llmcli.engine.sequences.scoring_sequence import CandidateFork, ScoringSequence
from llmcli.engine.sequences.sequence import Sequence
from llmcli.engine.sequences.token_prefix import common_prefix_length
from llmcli.errors import ContextOverflow, OutOfMemory
from llmcli.types import FinishReason

MIN_SHARED_PREFIX_TOKENS = 32
"""A sequence waits for another to evaluate their common prefix when that saves at least this many tokens."""
_MIN_ABORTABLE_TOKENS = 16
_MIN_ABORTABLE_S = 0.05


class Scheduler:
    """Runs sequences on one context. Used by one thread; ``should_abort`` is read inside an evaluation."""

    def __init__(
        self, kv_cache: KVCacheManager, prefix_index: PrefixIndex, prefix_cache: DiskPrefixCache | None = None
    ) -> None:
        self.kv_cache = kv_cache
        self._prefix_index = prefix_index
        self._prefix_cache = prefix_cache
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._num_submitted = 0
        self._last_step_s = 0.0
        self._token_budget = TokenBudget()
        self.speculative_decoder = SpeculativeDecoder(kv_cache, prefix_index)
        self._batch_builder = BatchBuilder(kv_cache, self._token_budget, self.speculative_decoder)
        self._queue_reports = QueueReports()
        self.max_batch_sequences = 0
        """Most sequences of one batch so far."""
        self._cache_full = False  # the cache was full: no sequence joins before one leaves
        self.current_evaluation: Evaluation | None = None
        """The evaluation in progress."""

    @property
    def has_work(self) -> bool:
        """There is something to run."""
        return bool(self._waiting or self._running)

    @property
    def has_runnable(self) -> bool:
        """There is something to run whose consumer is not behind."""
        return any(not sequence.sink.full for sequence in (*self._running, *self._waiting))

    @property
    def can_roll_back(self) -> bool:
        """An aborted evaluation costs no more than itself."""
        return self.kv_cache.supports_truncation

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; it runs when there is room, interactive ones first."""
        self._num_submitted += 1
        sequence.arrival = self._num_submitted
        self._queue_reports.note_arrival(sequence)
        self._enqueue(sequence)

    def cancel(self, should_end: Callable[[Sequence], bool]) -> None:
        """Mark sequences to end; they do so before the next evaluation."""
        for sequence in (*self._waiting, *self._running):
            if should_end(sequence):
                sequence.cancelled = True

    def fail_all(self, error: Exception) -> None:
        """End all sequences with ``error`` and free the context."""
        for sequence in (*self._waiting, *self._running):
            sequence.finish(FinishReason.ERROR, error)
        self._waiting.clear()
        self._running.clear()
        self.kv_cache.close()

    def step(self, longest_s: float = math.inf) -> bool:
        """Evaluate one batch of at most about ``longest_s`` seconds.

        Returns False when nothing could be done because every consumer is behind.
        """
        self._finish_expired()
        if not self.has_work:
            return True
        try:
            self.kv_cache.prepare(self._waiting, self._running, self._prefix_index.count_reusable_tokens)
        except OutOfMemory as error:
            if self._running:
                raise
            self._waiting[0].finish(FinishReason.ERROR, error)  # shorter ones may fit
            self._remove_finished()
            return True
        self._preempt_stalled()
        self._queue_reports.report_positions(self._waiting)
        self._admit()
        if all(sequence.sink.full for sequence in self._running):
            return False
        self._prefix_index.compact_ids(self._running)  # the moves take effect with the next evaluation
        entries = self._batch_builder.build(self._running, longest_s)
        if not entries:
            return False
        started = time.monotonic()
        slow = self._last_step_s > _MIN_ABORTABLE_S or self.kv_cache.context.batch.size >= _MIN_ABORTABLE_TOKENS
        code = self._evaluate(entries, abortable=slow)
        self._last_step_s = time.monotonic() - started
        if code == 0:
            self._record_step(entries)
            self._process_outputs(entries)
        elif code == 1:
            if not self.speculative_decoder.drop_drafts(entry.sequence for entry in entries):
                self._free_cells()
        else:
            self._roll_back(entries)
        return True

    def _evaluate(self, entries: list[BatchEntry], *, abortable: bool) -> int:
        """Evaluate the batch; meanwhile other threads may check which sequences it serves."""
        self.current_evaluation = Evaluation(entries, self._running, can_roll_back=self.can_roll_back)
        try:
            return self.kv_cache.context.evaluate(abortable=abortable)
        finally:
            self.current_evaluation = None

    def on_idle(self) -> None:
        """Nothing is left to run: save to disk what the next command may need."""
        if self._prefix_cache is not None and self._token_budget.token_s is not None:
            self._prefix_cache.save_sessions(self._token_budget.token_s)
        self.kv_cache.mark_idle()

    def release_memory(self) -> None:
        """Nothing has run for a while: release the context's memory."""
        self.kv_cache.release_memory()

    # ---- admission --------------------------------------------------------------------------------------------------

    def _enqueue(self, sequence: Sequence) -> None:
        bisect.insort(self._waiting, sequence, key=_queue_position)

    def _finish_expired(self) -> None:
        now = time.monotonic()
        for sequence in (*self._waiting, *self._running):
            deadline = sequence.request.deadline
            if sequence.cancelled:
                sequence.finish(FinishReason.CANCELLED)
            elif deadline is not None and now >= deadline:
                sequence.finish(FinishReason.TIMEOUT)
        self._remove_finished()

    def _remove_finished(self) -> None:
        """Remove ended sequences from both lists; their tokens stay cached for sequences with the same prefix."""
        for sequence in [s for s in self._waiting if s.ended]:
            self._waiting.remove(sequence)
        for sequence in [s for s in self._running if s.ended or s.num_pending_tokens == 0]:
            self._running.remove(sequence)
            self._cache_full = False
            owner = sequence if isinstance(sequence, ScoringSequence) and not sequence.ended else None
            self._prefix_index.release(sequence, owner, useful=self._worth_caching(sequence))

    def _worth_caching(self, sequence: Sequence) -> bool:
        """Say whether the tokens of an ended sequence are worth their cells."""
        if isinstance(sequence, CandidateFork):
            return False
        shared_buffer = not self.kv_cache.per_sequence_buffers and self.kv_cache.supports_partial_prefix
        if shared_buffer or not self._waiting:
            return True
        # a cached id separates those of running sequences (``compact_ids``), and a state that cannot be truncated would
        # replace the common prefix of waiting sequences: only what they can reuse, and no other id has
        nearest = self._waiting[: self.kv_cache.concurrency]
        return any(
            common_prefix_length(sequence.tokens, other.tokens)
            - self._prefix_index.count_reusable_tokens(other, self._running)
            >= MIN_SHARED_PREFIX_TOKENS
            for other in nearest
        )

    def _preempt_stalled(self) -> None:
        """Preempt sequences whose consumer is behind in favour of waiting ones that could run."""
        stalled = [s for s in self._running if s.sink.full]
        full = self._cache_full or len(self._running) >= self.kv_cache.concurrency
        if not (stalled and full and any(not s.sink.full for s in self._waiting)):
            return
        for sequence in stalled:
            self._preempt(sequence)
        self._cache_full = False

    def _preempt(self, sequence: Sequence) -> None:
        """Let a sequence wait again; its evaluated tokens stay cached while there is room."""
        self._running.remove(sequence)
        self._prefix_index.release(sequence, None, useful=True)
        sequence.reset()
        self._enqueue(sequence)

    def _preempt_bulk(self, sequence: Sequence) -> bool:
        """No slot is free: preempt the youngest bulk sequence for an interactive one."""
        bulk = [other for other in self._running if not other.is_interactive]
        if not (sequence.is_interactive and bulk):
            return False
        self._preempt(max(bulk, key=lambda other: other.arrival))
        return True

    def _admit(self) -> None:
        if self._cache_full and self._running:
            return
        for sequence in self._next_candidates():
            if len(self._running) >= self.kv_cache.concurrency and not self._preempt_bulk(sequence):
                return
            if self._await_shared_prefix(sequence) or self._prefill_saturated(sequence):
                continue
            if not self.kv_cache.has_cells_for(sequence, self._running):
                return  # nor does a smaller one go before it
            if self._prefix_cache is not None:
                self._prefix_cache.load(sequence, self._running)
            if not self._prefix_index.allocate(sequence, self._running):
                continue
            self._waiting.remove(sequence)
            sequence.checkpoint_at = self._checkpoint_position(sequence)
            self._running.append(sequence)
            sequence.report_progress()

    def _prefill_saturated(self, sequence: Sequence) -> bool:
        """Say whether a sequence that generates nothing would only enlarge the buffer that current prompts attend to."""
        budget = self.kv_cache.prefill_budget
        if sequence.tokens_left or budget is None:
            return False
        return sum(other.num_pending_tokens for other in self._running if not other.is_decoding) >= budget

    def _next_candidates(self) -> list[Sequence]:
        """Return sequences that may run next: interactive ones first, alternating between clients."""
        ready = [sequence for sequence in self._waiting if not sequence.sink.full]
        if len({id(sequence.sink) for sequence in ready}) > 1:
            counts = collections.Counter(id(sequence.sink) for sequence in self._running)
            ranked = []
            for sequence in ready:
                ranked.append(((not sequence.is_interactive, counts[id(sequence.sink)]), sequence))
                counts[id(sequence.sink)] += 1
            ranked.sort(key=lambda pair: pair[0])  # of equal ones the older first
            ready = [sequence for _, sequence in ranked]
        return ready[: self.kv_cache.concurrency]

    def _await_shared_prefix(self, sequence: Sequence) -> bool:
        """Say whether a running sequence is about to evaluate a prefix that this one could reuse."""
        cached = None
        for other in self._running:
            if other.sink.full:
                continue
            goal = other.prompt_length if self.kv_cache.supports_partial_prefix else other.checkpoint_at or 0
            if other.num_computed_tokens >= goal:
                continue
            common = min(common_prefix_length(other.tokens, sequence.tokens), sequence.first_logit)
            reusable = min(common, goal) if self.kv_cache.supports_partial_prefix else (goal if goal <= common else 0)
            if reusable < MIN_SHARED_PREFIX_TOKENS:
                continue
            if cached is None:
                cached = self._prefix_index.count_reusable_tokens(sequence, self._running)
            if reusable - cached >= MIN_SHARED_PREFIX_TOKENS:
                return True
        return False

    def _checkpoint_position(self, sequence: Sequence) -> int | None:
        """Return where to copy a state that cannot be truncated: at the end of what others will share with it.

        These are the next waiting sequences, or else the next turn of a saved conversation.
        """
        if self.kv_cache.supports_partial_prefix:
            return None
        others = self._waiting[: self.kv_cache.concurrency]
        shared = max((common_prefix_length(sequence.tokens, other.tokens) for other in others), default=0)
        shared = min(shared, sequence.first_logit)
        if shared - sequence.num_computed_tokens >= MIN_SHARED_PREFIX_TOKENS:
            return shared
        return sequence.turn_prefix_length if sequence.turn_prefix_length > sequence.num_computed_tokens else None

    # ---- batches and outputs -----------------------------------------------------------------------------------------

    def _record_step(self, entries: list[BatchEntry]) -> None:
        """Record the duration of the last step."""
        token_s = self._last_step_s / self.kv_cache.context.batch.size
        for entry in entries:
            entry.sequence.compute_s += token_s * entry.num_tokens
        prompts = sum(entry.num_tokens for entry in entries if not entry.sequence.is_decoding)
        if prompts > len(entries):
            self._token_budget.record(token_s)
        self.max_batch_sequences = max(self.max_batch_sequences, len(entries))
        has_drafts = any(entry.sequence.draft_tokens for entry in entries)
        if not (prompts or has_drafts) and self.kv_cache.state_restorable:  # else a larger context starts all again
            self.kv_cache.concurrency_tuner.record_step(len(entries), self._last_step_s, len(self._waiting))

    def _process_outputs(self, entries: list[BatchEntry]) -> None:
        for entry in entries:
            sequence = entry.sequence
            sequence.num_computed_tokens += entry.num_tokens
            sequence.lost_last_step = False
            sequence.report_progress()
            if sequence.num_computed_tokens == sequence.checkpoint_at:
                self._prefix_index.checkpoint(sequence)
                sequence.checkpoint_at = None
            if sequence.num_computed_tokens == sequence.save_at:
                if self._prefix_cache is not None:
                    self._prefix_cache.save(sequence)
                sequence.save_at = None
            if entry.outputs:
                for fork in sequence.process_logits(self.kv_cache.context.handle, entry.outputs):
                    self._enqueue(fork)
            if sequence.draft_tokens:
                self.speculative_decoder.verify(sequence)
        self._remove_finished()

    def _free_cells(self) -> None:
        """The cache is full: evict, grow, or preempt the youngest sequence."""
        if self._prefix_index.evict_lru() or self.kv_cache.grow_context(self._running):
            return
        if len(self._running) > 1:
            youngest = max(self._running, key=_queue_position)
            self._running.remove(youngest)
            self._prefix_index.preempt(youngest)
            self._cache_full = True
            self._enqueue(youngest)
            return
        if self._prefix_index.evict_lru(needed=True):
            return
        only, limit = self._running[0], self.kv_cache.context_limit
        error = ContextOverflow(tokens=len(only.tokens), context=limit)
        only.finish(FinishReason.ERROR, error if len(only.tokens) > limit else OutOfMemory("the KV cache"))
        self._remove_finished()

    def _roll_back(self, entries: list[BatchEntry]) -> None:
        """An evaluation was aborted: undo what it did to each sequence of the batch.

        Where the memory cannot be truncated everything in it is lost, sequences outside the batch too: llama.cpp swaps
        the cells of states first (``llama_memory_recurrent::find_slot``), and the graph that moves them did not run.
        """
        for entry in entries:
            entry.sequence.lost_last_step = True
        if all(self._prefix_index.truncate(entry.sequence) for entry in entries):
            return
        self._prefix_index.evict_all(self._running)
        for sequence in self._running:
            self._enqueue(sequence)
        self._running.clear()


def _queue_position(sequence: Sequence) -> tuple[bool, int]:
    """Return the key that sorts sequences: interactive ones first, then in the order of their arrival."""
    return not sequence.is_interactive, sequence.arrival
