"""Continuous batching: every step packs one token of each running sequence and chunks of prompts into one batch.

``Scheduler`` decides what runs; ``KVCacheManager`` owns the context, ``PrefixIndex`` finds prefixes to reuse. A step
never leaves a sequence half-updated: tokens that were not evaluated are still pending.
"""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf

from llmcli.engine.kv.disk_prefix_cache import DiskPrefixCache
from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.prefix_index import PrefixIndex
from llmcli.engine.llama.context import (
    DECODE_CACHE_FULL,
    DECODE_DONE,
    HiddenStateContext,
    LayerStateContext,
    is_worth_aborting,
)
from llmcli.engine.model_drafter import ModelDrafter
from llmcli.engine.schedule.admission import AdmissionPolicy
from llmcli.engine.schedule.batch import BatchBuilder, BatchEntry, TokenBudget
from llmcli.engine.schedule.invariant_batches import (
    InvariantAdmission,
    InvariantBatchBuilder,
    continued_length,
    evaluated_together,
)
from llmcli.engine.schedule.speculative_decoder import SpeculativeDecoder
from llmcli.engine.sequences.scoring_sequence import ScoringSequence
from llmcli.engine.sequences.sequence import REPORT_INTERVAL_S, Sequence
from llmcli.errors import ContextOverflow, OutOfMemory
from llmcli.types import FinishReason


class Scheduler:
    """Runs sequences on one context. Used by one thread; an evaluation polls ``should_abort``."""

    def __init__(
        self,
        kv_cache: KVCacheManager,
        prefix_index: PrefixIndex,
        prefix_cache: DiskPrefixCache | None = None,
        model_drafter: ModelDrafter | None = None,
        *,
        batch_invariant: bool = False,
    ) -> None:
        """``batch_invariant``: see ``invariant_batches``; only for sequences that generate nothing."""
        self.kv_cache = kv_cache
        self._prefix_index = prefix_index
        self._prefix_cache = prefix_cache
        self._batch_invariant = batch_invariant
        make_admission = InvariantAdmission if batch_invariant else AdmissionPolicy
        self._admission = make_admission(kv_cache, prefix_index)
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._num_submitted = 0
        self._last_step_s = 0.0
        self._token_budget = TokenBudget()
        self.speculative_decoder = SpeculativeDecoder(kv_cache, prefix_index, model_drafter)
        make_builder = InvariantBatchBuilder if batch_invariant else BatchBuilder
        self._batch_builder = make_builder(kv_cache, self._token_budget, self.speculative_decoder)
        self._queue_reports = _QueueReports()
        self.max_batch_sequences = 0
        """The most sequences of one batch so far."""
        self._cache_full = False  # the cache was full: no sequence joins before one leaves
        self.current_evaluation: Evaluation | None = None
        """The evaluation in progress."""

    @property
    def has_work(self) -> bool:
        """Whether there is something to run."""
        return bool(self._waiting or self._running)

    @property
    def has_runnable(self) -> bool:
        """Whether there is something to run whose consumer is not behind."""
        return any(not sequence.sink.full for sequence in (*self._running, *self._waiting))

    @property
    def can_roll_back(self) -> bool:
        """Whether an aborted evaluation costs no more than itself."""
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
        self._close_drafter()

    def step(self, longest_s: float = math.inf) -> bool:
        """Evaluate one batch in about ``longest_s`` seconds at most.

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
        self._requeue_lost()
        self._preempt_stalled()
        self._queue_reports.report_positions(self._waiting)
        self._admit()
        if all(sequence.sink.full for sequence in self._running):
            return False
        self._prefix_index.compact_ids(self._running)  # the moves take effect with the next evaluation
        entries = self._build_batch(longest_s)
        if not entries:
            return False
        started = time.monotonic()
        code = self._evaluate(entries, abortable=is_worth_aborting(self.kv_cache.context.batch.size, self._last_step_s))
        self._last_step_s = time.monotonic() - started
        if code == DECODE_DONE:
            self._record_step(entries)
            self._process_outputs(entries)
        elif code == DECODE_CACHE_FULL:
            if not self.speculative_decoder.drop_drafts(entry.sequence for entry in entries):
                self._free_cells()
        else:
            self._token_budget.record_abort(self.kv_cache.context.batch.size)
            self._roll_back(entries)
        return True

    def _build_batch(self, longest_s: float) -> list[BatchEntry]:
        """Fill the batch; a draft model that works meanwhile is aborted like the evaluation."""
        if self.speculative_decoder.model_drafter is None:
            return self._batch_builder.build(self._running, longest_s)
        waiting = [BatchEntry(sequence, 1, []) for sequence in self._running]
        self.current_evaluation = Evaluation(waiting, self._running, can_roll_back=True)
        try:
            return self._batch_builder.build(self._running, longest_s)
        finally:
            self.current_evaluation = None

    def _evaluate(self, entries: list[BatchEntry], *, abortable: bool) -> int:
        """Evaluate the batch; meanwhile other threads may check which sequences it serves."""
        self.current_evaluation = Evaluation(entries, self._running, can_roll_back=self.can_roll_back)
        try:
            return self.kv_cache.context.evaluate(abortable=abortable)
        finally:
            self.current_evaluation = None

    def on_idle(self) -> None:
        """Save to disk what the next command may need; called when nothing is left to run."""
        if self._prefix_cache is not None and self._token_budget.token_s is not None:
            self._prefix_cache.save_sessions(self._token_budget.token_s)
        if self.kv_cache.document_prefix_cache is not None:
            self.kv_cache.document_prefix_cache.end_job()
        self.kv_cache.mark_idle()

    def release_memory(self) -> None:
        """Release the context's memory; called when nothing has run for a while."""
        self.kv_cache.release_memory()
        self._close_drafter()

    def _close_drafter(self) -> None:
        if self.speculative_decoder.model_drafter is not None:
            self.speculative_decoder.model_drafter.close()

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
            useful = self._admission.is_worth_caching(sequence, self._waiting, self._running)
            self._prefix_index.release(sequence, owner, useful=useful)

    def _requeue_lost(self) -> None:
        """Let sequences wait again whose tokens in memory were lost: one of them evaluates a common prefix for all."""
        for sequence in [s for s in self._running if s.slot is None]:
            self._running.remove(sequence)
            self._enqueue(sequence)

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
        """Make a sequence wait again; its evaluated tokens stay cached while there is room."""
        self._running.remove(sequence)
        self._prefix_index.release(sequence, None, useful=True)
        sequence.reset()
        self._enqueue(sequence)

    def _preempt_bulk(self, sequence: Sequence) -> bool:
        """Preempt the youngest bulk sequence for an interactive one; called when no slot is free."""
        bulk = [other for other in self._running if not other.is_interactive]
        if not (sequence.is_interactive and bulk):
            return False
        self._preempt(max(bulk, key=lambda other: other.arrival))
        return True

    def _admit(self) -> None:
        if self._cache_full and self._running:
            return
        if self._batch_invariant and self._prefix_cache is not None:
            # what is on disk counts in the choice of a group
            for sequence in [] if self._running else self._admission.rank(self._waiting, [])[:1]:
                self._prefix_cache.load(sequence, [])
        for sequence in self._admission.next_candidates(self._waiting, self._running):
            if len(self._running) >= self.kv_cache.concurrency and not self._preempt_bulk(sequence):
                return
            if self._admission.should_wait(sequence, self._running):
                continue
            if not self.kv_cache.has_cells_for(sequence, self._running):
                return  # a smaller one does not overtake it either
            if self._prefix_cache is not None:
                self._prefix_cache.load(sequence, self._running)
            if not self._prefix_index.allocate(sequence, self._running):
                continue
            self._waiting.remove(sequence)
            sequence.checkpoint_at = self._admission.checkpoint_position(sequence, self._waiting)
            self._prefix_index.plan_keeping(sequence)
            self._running.append(sequence)
            sequence.report_progress()

    # ---- batches and outputs -----------------------------------------------------------------------------------------

    def _record_step(self, entries: list[BatchEntry]) -> None:
        """Record the duration of the last step."""
        size = self.kv_cache.context.batch.size
        token_s = self._last_step_s / size
        for entry in entries:
            entry.sequence.compute_s += token_s * entry.num_tokens
        prompts = sum(entry.num_tokens for entry in entries if not entry.sequence.is_decoding)
        if prompts > len(entries):
            self._token_budget.record(size, token_s)
        self.speculative_decoder.record_step(self._last_step_s)
        self.max_batch_sequences = max(self.max_batch_sequences, len(entries))
        has_drafts = any(entry.sequence.draft_tokens for entry in entries)
        # otherwise a larger context starts from the beginning
        if not (prompts or has_drafts) and self.kv_cache.state_restorable:
            self.kv_cache.concurrency_tuner.record_step(len(entries), self._last_step_s, len(self._waiting))

    def _process_outputs(self, entries: list[BatchEntry]) -> None:
        context = self.kv_cache.context
        states = context.read_states() if isinstance(context, HiddenStateContext | LayerStateContext) else None
        for entry in entries:
            sequence = entry.sequence
            sequence.num_computed_tokens += entry.num_tokens
            if entry.added_tokens:
                self._prefix_index.shorten(sequence, sequence.num_computed_tokens)
            if states is not None:
                sequence.record_states(states[entry.start : entry.start + entry.num_tokens])
            sequence.lost_last_step = False
            sequence.report_progress()
            self._store_states(sequence)
            if entry.outputs:
                for fork in sequence.process_logits(context.handle, entry.outputs):
                    self._enqueue(fork)
            if sequence.draft_tokens:
                self.speculative_decoder.verify(sequence)
        self._remove_finished()

    def _store_states(self, sequence: Sequence) -> None:
        """Store the state of a sequence where it has reached a length at which others can reuse it."""
        if sequence.num_computed_tokens == sequence.checkpoint_at:
            self._prefix_index.checkpoint(sequence)
            sequence.checkpoint_at = None
        if sequence.num_computed_tokens == sequence.save_at:
            if self._prefix_cache is not None:
                self._prefix_cache.save(sequence)
            sequence.save_at = None
        if sequence.num_computed_tokens == sequence.keep_at:
            self._prefix_index.keep_document(sequence)
            sequence.keep_at = None
        if self._batch_invariant and (length := continued_length(sequence)) < sequence.num_computed_tokens:
            self._prefix_index.shorten(sequence, length)

    def _free_cells(self) -> None:
        """Evict, grow, or preempt the youngest sequence; called when the cache is full."""
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
        """Undo what an aborted evaluation did to each sequence of the batch.

        If the memory cannot be truncated, everything in it is lost, also sequences outside the batch: llama.cpp swaps
        the cells of states first (``llama_memory_recurrent::find_slot``), and the graph that moves them did not run.

        The same goes for batches that are invariant if llama.cpp evaluates them in parts. Streams of parts that it did
        not begin get a head of other streams (``llama_kv_cache::prepare`` of 0.3.36 restores ``v_heads_old[s]`` for
        ``sinfo.strm[s]``): their next tokens would be in other cells than those of their positions, and the sums of
        attention would be rounded otherwise.
        """
        for entry in entries:
            entry.sequence.lost_last_step = True
        are_begun = not self._batch_invariant or len(evaluated_together([entry.sequence for entry in entries])) == 1
        if are_begun and all(self._prefix_index.truncate(entry.sequence) for entry in entries):
            return
        self._prefix_index.evict_all(self._running)
        self._requeue_lost()


def _queue_position(sequence: Sequence) -> tuple[bool, int]:
    """Return the sort key of sequences: interactive ones first, then in the order of their arrival."""
    return not sequence.is_interactive, sequence.arrival


_ABANDONED_SHARE = 0.9
"""The fraction of an evaluation that must have become useless before it is aborted at the cost of the rest."""


class Evaluation:
    """The current evaluation: ``entries`` are the parts of its batch. Other threads may call it.

    If the memory cannot be rolled back, an abort clears it, so that all ``running`` sequences lose their state. A
    sequence that lost its last evaluation to an abort does not lose the next one too: otherwise clients that come and
    go could keep it from ever finishing.
    """

    def __init__(self, entries: SequenceOf[BatchEntry], running: SequenceOf[Sequence], *, can_roll_back: bool) -> None:
        self._entries = list(entries)
        self._ending_indices: set[int] = set()
        self._num_checked = 0
        self._abandoned = False
        if not can_roll_back:
            present = {id(entry.sequence) for entry in entries}
            self._entries += [BatchEntry(sequence, 1, []) for sequence in running if id(sequence) not in present]
        total = sum(entry.num_tokens for entry in self._entries)
        protected = not can_roll_back or any(entry.sequence.lost_last_step for entry in entries)
        self._abort_threshold = total if protected else _ABANDONED_SHARE * total
        self.expires_at = self._compute_expiry()
        """The time when nearly all of it is past its deadline, in ``time.monotonic()`` seconds; None: never."""

    def is_only_for(self, should_end: Callable[[Sequence], bool]) -> bool:
        """Return whether nearly all of it is for sequences that should end, those of earlier calls included.

        Each of many clients that leave at once has only a small share.
        """
        self._ending_indices.update(i for i, entry in enumerate(self._entries) if should_end(entry.sequence))
        return sum(self._entries[i].num_tokens for i in self._ending_indices) >= self._abort_threshold

    def is_abandoned(self, cancelled: SequenceOf[Callable[[Sequence], bool]]) -> bool:
        """Return whether ``is_only_for`` holds for the predicates in ``cancelled``, a list that grows between calls.

        It may contain cancellations from before the evaluation began, since creating a context for it takes long.
        """
        while not self._abandoned and self._num_checked < len(cancelled):
            self._abandoned = self.is_only_for(cancelled[self._num_checked])
            self._num_checked += 1
        return self._abandoned

    def _compute_expiry(self) -> float | None:
        expired = 0
        deadlines = ((entry.sequence.request.deadline, entry.num_tokens) for entry in self._entries)
        for deadline, count in sorted((when, count) for when, count in deadlines if when is not None):
            expired += count
            if expired >= self._abort_threshold:
                return deadline
        return None


class _QueueReports:
    """Reports at once to new requests, then periodically to the first of each client; the others follow from it."""

    def __init__(self) -> None:
        self._next_report_at = 0.0

    def note_arrival(self, sequence: Sequence) -> None:
        """Record that a sequence has joined the queue."""
        if sequence.request.progress:
            self._next_report_at = 0.0

    def report_positions(self, waiting: Iterable[Sequence]) -> None:
        """Report their positions to the ``waiting`` sequences, which are in order."""
        now = time.monotonic()
        if now < self._next_report_at:
            return
        self._next_report_at = now + REPORT_INTERVAL_S
        reported = set()
        for ahead, sequence in enumerate(waiting):
            if sequence.is_unreported or (sequence.request.progress and id(sequence.sink) not in reported):
                reported.add(id(sequence.sink))
                sequence.report_progress(ahead)
