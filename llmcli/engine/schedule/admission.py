"""Admission: which waiting sequences run next, and which wait for a shared prefix."""

from __future__ import annotations

import collections

from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.prefix_index import PrefixIndex
from llmcli.engine.sequences.scoring_sequence import CandidateFork
from llmcli.engine.sequences.sequence import Sequence, common_prefix_length

MIN_SHARED_PREFIX_TOKENS = 32
"""Tokens that a common prefix must save for a sequence to wait while another evaluates it."""
_MIN_KEPT_PREFIX_TOKENS = 8
"""Tokens that the last sequence of a job must save a waiting one to stay cached: its id separates no others."""


class AdmissionPolicy:
    """Decides which sequences join the running ones of a KV cache. It changes nothing; the scheduler does."""

    def __init__(self, kv_cache: KVCacheManager, prefix_index: PrefixIndex) -> None:
        self._kv_cache = kv_cache
        self._prefix_index = prefix_index

    def next_candidates(self, waiting: list[Sequence], running: list[Sequence]) -> list[Sequence]:
        """Return sequences that may run next, in order of precedence."""
        return self.rank(waiting, running)[: self._kv_cache.concurrency]

    @staticmethod
    def rank(waiting: list[Sequence], running: list[Sequence]) -> list[Sequence]:
        """Return waiting sequences in order of precedence: interactive ones first, alternating between clients."""
        ready = [sequence for sequence in waiting if not sequence.sink.full]
        if len({id(sequence.sink) for sequence in ready}) > 1:
            counts = collections.Counter(id(sequence.sink) for sequence in running)
            ranked = []
            for sequence in ready:
                ranked.append(((not sequence.is_interactive, counts[id(sequence.sink)]), sequence))
                counts[id(sequence.sink)] += 1
            ranked.sort(key=lambda pair: pair[0])  # of equal ones the older first
            ready = [sequence for _, sequence in ranked]
        return ready

    def should_wait(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Return whether a sequence with an id and cells would still gain by waiting."""
        return self._awaits_shared_prefix(sequence, running) or self._is_prefill_saturated(sequence, running)

    def _is_prefill_saturated(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Return whether a sequence that generates nothing would only enlarge the buffer that prompts attend to."""
        budget = self._kv_cache.prefill_budget
        if sequence.tokens_left or budget is None:
            return False
        return sum(other.num_pending_tokens for other in running if not other.is_decoding) >= budget

    def _awaits_shared_prefix(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Return whether a running sequence is about to evaluate a prefix that this one could reuse."""
        cached = None
        for other in running:
            if other.sink.full:
                continue
            goal = other.prompt_length if self._kv_cache.supports_partial_prefix else other.checkpoint_at or 0
            if other.num_computed_tokens >= goal:
                continue
            common = min(common_prefix_length(other.tokens, sequence.tokens), sequence.first_logit)
            reusable = min(common, goal) if self._kv_cache.supports_partial_prefix else (goal if goal <= common else 0)
            if reusable < MIN_SHARED_PREFIX_TOKENS:
                continue
            if cached is None:
                cached = self._prefix_index.count_reusable_tokens(sequence, running)
            if reusable - cached >= MIN_SHARED_PREFIX_TOKENS:
                return True
        return False

    def checkpoint_position(self, sequence: Sequence, waiting: list[Sequence]) -> int | None:
        """Return where to copy a state that cannot be truncated: at the end of the prefix that others will share.

        The others are the next waiting sequences, or else the next turn of a saved conversation.
        """
        if self._kv_cache.supports_partial_prefix:
            return None
        others = waiting[: self._kv_cache.concurrency]
        shared = max((common_prefix_length(sequence.tokens, other.tokens) for other in others), default=0)
        shared = min(shared, sequence.first_logit)
        if shared - sequence.num_computed_tokens >= MIN_SHARED_PREFIX_TOKENS:
            return shared
        return sequence.turn_prefix_length if sequence.turn_prefix_length > sequence.num_computed_tokens else None

    def is_worth_caching(self, sequence: Sequence, waiting: list[Sequence], running: list[Sequence]) -> bool:
        """Return whether the tokens of an ended sequence are worth their cells."""
        if isinstance(sequence, CandidateFork):
            return False
        shared_buffer = not self._kv_cache.per_sequence_buffers and self._kv_cache.supports_partial_prefix
        if shared_buffer or not waiting:
            return True
        # a cached id separates those of running sequences (``compact_ids``), and a state that cannot be truncated would
        # replace the common prefix of waiting sequences; so it is cached only if they can reuse it and no other id has
        # it
        nearest = waiting[: self._kv_cache.concurrency]
        least = MIN_SHARED_PREFIX_TOKENS if running else _MIN_KEPT_PREFIX_TOKENS
        return any(
            common_prefix_length(sequence.tokens, other.tokens)
            - self._prefix_index.count_reusable_tokens(other, running)
            >= least
            for other in nearest
        )
