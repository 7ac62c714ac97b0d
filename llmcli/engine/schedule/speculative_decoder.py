"""Evaluates draft tokens of running sequences with their last tokens, and removes wrong ones."""

from __future__ import annotations

from collections.abc import Iterable

from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.prefix_index import PrefixIndex
from llmcli.engine.model_drafter import ModelDrafter
from llmcli.engine.sequences.sequence import Sequence, common_prefix_length

CANNOT_TAKE_BACK = "the model's cache cannot take back wrong tokens"


def draft_row_cost(sequences: int) -> float:
    """Return the cost of evaluating one more row, as a fraction of a row's cost in a step of that many sequences.

    Measured with weights in Q4_1 and two threads of a processor without matrix instructions: 3.2 of 6.9 ms alone, 3.3
    of 4.2 in a batch of 16. If memory bandwidth limits decoding, the cost is lower. The value is the same at every step
    of every run, so that the same question gets the same batches.
    """
    return min(0.45 + 0.02 * (sequences - 1), 0.9)


class SpeculativeDecoder:
    """Evaluates drafts within the limits of the memory and of one evaluation.

    They come from ``PromptLookupDrafter``, or from ``model_drafter`` where that has none and one sequence runs alone.
    """

    def __init__(self, kv_cache: KVCacheManager, prefix_index: PrefixIndex, model_drafter: ModelDrafter | None) -> None:
        self._kv_cache = kv_cache
        self._prefix_index = prefix_index
        self.model_drafter = model_drafter
        self._drafted_by_model: Sequence | None = None  # the sequence that ``model_drafter`` was asked for in this step
        self._step_s = 0.0
        self._cache_full = False  # the drafts did not fit the cache: the next step has none
        self.num_drafted_tokens = self.num_accepted_tokens = 0
        """Number of draft tokens that were evaluated, and of those that the model chose."""

    def draft(self, runnable: list[Sequence]) -> None:
        """Set the draft tokens of decoding sequences."""
        clients = [id(sequence.sink) for sequence in runnable if sequence.is_decoding]
        # drafts would delay the tokens of another client; and with a buffer for each sequence, llama.cpp evaluates
        # together only equal numbers of tokens of each sequence
        alone = len(clients) == 1 or (len(set(clients)) == 1 and not self._kv_cache.per_sequence_buffers)
        was_full, self._cache_full = self._cache_full, False
        can_draft = self._kv_cache.can_speculate and not was_full and alone
        cost = draft_row_cost(len(clients))
        spare = self._kv_cache.context.max_outputs - len(runnable)
        self._drafted_by_model = None
        for sequence in runnable:
            sequence.draft_tokens, sequence.counts_drafts = [], False
            if can_draft and sequence.is_decoding:
                sequence.propose_draft(cost)
                sequence.draft_tokens = sequence.draft_tokens[: max(0, spare)]
                spare -= len(sequence.draft_tokens)
        if len(runnable) == 1 and runnable[0].is_decoding and not runnable[0].draft_tokens and not was_full:
            self._draft_by_model(runnable[0], spare)

    def _draft_by_model(self, sequence: Sequence, spare: int) -> None:
        """Let the draft model propose the next tokens. Deterministic sums do not depend on the rows of a step."""
        if self.model_drafter is not None and self._kv_cache.supports_truncation:
            drafted = self.model_drafter.draft(sequence.tokens, min(sequence.tokens_left - 1, spare))
            sequence.draft_tokens, sequence.counts_drafts = sequence.allowed_draft(drafted), True
            self._drafted_by_model = sequence

    def record_step(self, seconds: float) -> None:
        """Record the duration of the step that is about to be verified."""
        self._step_s = seconds
        if self._drafted_by_model is not None and not self._drafted_by_model.draft_tokens and self.model_drafter:
            self.model_drafter.record_step(seconds, 0, 0)

    def verify(self, sequence: Sequence) -> None:
        """Remove the evaluated draft tokens that the model did not choose."""
        start = sequence.num_computed_tokens - len(sequence.draft_tokens)
        num_accepted = common_prefix_length(sequence.tokens[start:], sequence.draft_tokens)
        if sequence is self._drafted_by_model and self.model_drafter is not None:
            self.model_drafter.record_step(self._step_s, len(sequence.draft_tokens), num_accepted)
        else:
            self.num_drafted_tokens += len(sequence.draft_tokens)
            self.num_accepted_tokens += num_accepted
        if num_accepted < len(sequence.draft_tokens):
            sequence.num_computed_tokens = start + num_accepted
            self._prefix_index.truncate(sequence)

    def drop_drafts(self, sequences: Iterable[Sequence]) -> bool:
        """Drop the drafts of the next step, since the cache is too full; return False if there were none."""
        self._cache_full = any(sequence.draft_tokens for sequence in sequences)
        return self._cache_full

    @property
    def draft_model_off_reason(self) -> str:
        """Why the draft model proposes no tokens; "" if it does, and without one."""
        if self.model_drafter is None:
            return ""
        if not self._kv_cache.supports_truncation:
            return CANNOT_TAKE_BACK
        return self.model_drafter.off_reason

    @property
    def explanations(self) -> list[str]:
        """Return one sentence on the accepted drafts of each source that had any, or is off."""
        said = f"speculative decoding: accepted {self.num_accepted_tokens} of {self.num_drafted_tokens} draft tokens"
        sentences = [said] if self.num_drafted_tokens else []
        if self.model_drafter is not None:
            reason = self.draft_model_off_reason
            sentences.append(self.model_drafter.explanation + (f"; off: {reason}" if reason else ""))
        return sentences
