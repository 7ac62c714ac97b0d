"""The id of each sequence in the context, and the cached prefixes that sequences can reuse."""

from __future__ import annotations

from collections.abc import Iterable

from llmcli.engine.kv.document_prefix_cache import MIN_KEPT_TOKENS, CachedDocumentPrefix
from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.sequence_ids import CachedPrefix, IdleState, SequenceIdPool
from llmcli.engine.sequences.sequence import Sequence, TokenStates, common_prefix_length

_MIN_TOKENS_LEFT_TO_MOVE = 8
"""Tokens left to generate from which moving a sequence next to the others pays."""
_MIN_RESTORED_TOKENS = 16
"""Tokens that a saved state must have beyond those in the cache."""


class PrefixIndex:
    """Finds, copies and evicts the contents of a ``cache``'s sequence ids. All state belongs to the cache."""

    def __init__(self, cache: KVCacheManager) -> None:
        self._cache = cache

    @property
    def _pool(self) -> SequenceIdPool:
        return self._cache.id_pool

    def _prefix_candidates(self, running: Iterable[Sequence]) -> Iterable[tuple[int, list[int], int]]:
        """Yield (slot, tokens, evaluated) of everything that another sequence could reuse."""
        for slot, prefix in self._pool.cached.items():
            yield slot, prefix.tokens, len(prefix.tokens)
        for sequence in running:
            if sequence.slot is not None and sequence.num_computed_tokens:
                yield sequence.slot, sequence.tokens, sequence.num_computed_tokens

    def _longest_prefix_match(self, sequence: Sequence, running: list[Sequence]) -> tuple[int, int | None]:
        """Return the number of reusable tokens, and the slot that has them."""
        best, source = 0, None
        wanted = sequence.tokens
        for slot, tokens, num_computed in self._prefix_candidates(running):
            if best >= min(sequence.reuse_limit, len(tokens)) or tokens[best] != wanted[best]:
                continue  # what they share is not longer
            common = min(common_prefix_length(tokens, wanted), sequence.reuse_limit)
            length = self._pool.memory.reusable_length(num_computed, common)
            if length > best:
                best, source = length, slot
        return best, source

    def count_reusable_tokens(self, sequence: Sequence, running: list[Sequence]) -> int:
        """Return how many tokens of ``sequence`` are cached already."""
        cached = self._longest_prefix_match(sequence, running)[0] if self._cache.has_context else 0
        return max(cached, self._longest_saved_match(sequence)[0], self._longest_document_match(sequence)[0])

    def _longest_saved_match(self, sequence: Sequence) -> tuple[int, IdleState | None]:
        """Return how many tokens of ``sequence`` a saved state has, and that state."""
        best, found = 0, None
        layout = self._cache.layout_class
        for saved in self._cache.idle_states.with_format(self._cache.state_format):
            tokens = saved.prefix.tokens
            common = min(common_prefix_length(tokens, sequence.tokens), sequence.reuse_limit)
            length = common if layout.supports_partial_prefix or common == len(tokens) else 0
            if length > best:
                best, found = length, saved
        return best, found

    def _longest_document_match(self, sequence: Sequence) -> tuple[int, CachedDocumentPrefix | None]:
        """Return how many tokens of ``sequence`` the kept state of a document has, and that state."""
        kept, layout = self._cache.document_prefix_cache, self._cache.layout_class
        if kept is None or not sequence.document_prefix_length or not self._cache.state_restorable:
            return 0, None
        return kept.find_longest(
            sequence.tokens, sequence.reuse_limit, self._cache.state_format, whole=not layout.supports_partial_prefix
        )

    def _restore_document(self, sequence: Sequence, slot: int, cached: int, source: int | None) -> int:
        """Restore the kept state of a document to the empty id ``slot`` if it has more tokens than the ``cached`` ones.

        Other prefixes make room for it in a buffer for all, ``source`` with all but the cached tokens. Returns how many
        tokens of ``sequence`` the id holds then.
        """
        length, found = self._longest_document_match(sequence)
        kept, pool = self._cache.document_prefix_cache, self._pool
        if kept is None or found is None or length - cached < MIN_KEPT_TOKENS:
            return 0
        while not kept.restore(found, self._cache.context, slot):
            if self._cache.per_sequence_buffers:
                return 0
            made_room = pool.evict_lru(source) or pool.truncate_cached(source, cached)
            if not made_room:
                return 0
        return length if length == len(found.tokens) or pool.memory.truncate(slot, length) else 0

    def plan_keeping(self, sequence: Sequence) -> None:
        """Set the length at which the state of the sequence's document is to be kept, if it is evaluated now."""
        length, kept = min(sequence.document_prefix_length, sequence.first_logit), self._cache.document_prefix_cache
        missing = length - sequence.num_computed_tokens >= MIN_KEPT_TOKENS
        sequence.keep_at = length if missing and kept is not None and self._cache.state_restorable else None

    def keep_document(self, sequence: Sequence) -> None:
        """Keep the state of the tokens that a sequence has evaluated."""
        kept = self._cache.document_prefix_cache
        if kept is not None and sequence.slot is not None:
            tokens = sequence.tokens[: sequence.num_computed_tokens]
            kept.keep(self._cache.context, sequence.slot, tokens, self._cache.state_format, sequence.compute_s)

    def _restore_saved_prefix(self, sequence: Sequence, running: list[Sequence]) -> None:
        """Restore a saved state that ``sequence`` begins with, if it has more tokens than the cache."""
        length, saved = self._longest_saved_match(sequence)
        if saved is not None and length - self._longest_prefix_match(sequence, running)[0] >= _MIN_RESTORED_TOKENS:
            self._cache.idle_states.remove(saved)
            self.insert_state(saved.prefix.tokens, saved.state, saved.prefix.states)

    def allocate(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Allocate an id and the longest cached prefix to a sequence; False if there is no id or too few cells."""
        config = self._cache.context.config
        if not config.unified and len(sequence.tokens) > config.cells:
            return False
        self._restore_saved_prefix(sequence, running)
        length, source = self._longest_prefix_match(sequence, running)
        pool = self._pool
        # a state is written at once, and would overwrite an evicted prefix that the next evaluation still has to copy
        may_restore = bool(pool.free_ids)
        slot = pool.allocate(keep=source)
        if slot is None and not running and pool.evict_lru(source, needed=True):
            slot = pool.allocate()  # otherwise no sequence could ever run
        states = self._states_of(source, running) if self._cache.gives_states else None
        if slot is None and source in pool.cached and not (running and pool.cached[source].is_awaited):
            # the last id: running is worth more than the rest of a prefix
            slot, length = source, length if pool.allocate_cached(source, length) else 0
        elif slot is not None and may_restore and (restored := self._restore_document(sequence, slot, length, source)):
            length = restored
        elif slot is not None and source is not None:
            pool.memory.copy_prefix(source, slot, length)
            pool.mark_used(source)
        if slot is None:
            return False
        if states is not None:
            sequence.states = states.prefix(length)
        sequence.slot = slot
        sequence.num_computed_tokens = length
        if sequence.num_generated_tokens == 0:
            sequence.num_cached_tokens = length
        return True

    def _states_of(self, slot: int | None, running: list[Sequence]) -> TokenStates:
        """Return the hidden states of the tokens that an id holds."""
        cached = self._pool.cached[slot].states if slot in self._pool.cached else None
        own = next((s.states for s in running if s.slot == slot), None) if slot is not None else None
        return cached or own or TokenStates()

    def release(self, sequence: Sequence, owner: Sequence | None, *, useful: bool) -> None:
        """Free the id of a sequence that ended or waits for forks; ``useful`` tokens, or an owner's, stay cached."""
        slot, sequence.slot = sequence.slot, None
        if slot is None:
            return
        if sequence.num_computed_tokens and (useful or owner):
            if sequence.cancelled:  # its client has left, and may not have saved the conversation
                self._pool.detach_session(sequence.request.session)
            session = None if sequence.turn_prefix_length or sequence.cancelled else sequence.request.session
            tokens = sequence.tokens[: sequence.num_computed_tokens]
            is_open = sequence.num_generated_tokens > 0
            self._pool.retain(slot, CachedPrefix(tokens, owner, session, sequence.states, is_open))
        else:
            self._pool.remove_sequence(slot)

    def compact_ids(self, running: list[Sequence]) -> None:
        """Move running sequences to the ids from 0 on if each has its own buffers.

        llama.cpp evaluates such sequences together only if their ids are consecutive
        (``llama_batch_allocr::split_equal``); a gap costs another pass through all weights in every step.
        """
        tokens_left = {s.slot: s.tokens_left for s in running if s.slot is not None}
        if self._cache.per_sequence_buffers and max(tokens_left, default=0) >= len(tokens_left):
            moved = self._pool.compact(tokens_left, _MIN_TOKENS_LEFT_TO_MOVE)
            for sequence in running:
                sequence.slot = moved.get(sequence.slot, sequence.slot) if sequence.slot is not None else None

    def insert_state(
        self, tokens: list[int], state: bytes | bytearray, hidden_states: TokenStates | None = None
    ) -> None:
        """Cache a prefix that was evaluated elsewhere, if an id is free for it and the state fits."""
        # no other prefix is evicted for it: the next evaluation may still have to copy that one, and would find it
        # overwritten
        slot = self._pool.allocate_highest() if self._cache.state_restorable and self._pool.free_ids else None
        if slot is None:
            return
        restored = False
        try:
            restored = self._cache.context.restore_state(slot, state)
        finally:
            if restored:
                self._pool.retain(slot, CachedPrefix(tokens, states=hidden_states))
            else:
                self._pool.free(slot)

    def unsaved_sessions(self) -> list[tuple[int, CachedPrefix]]:
        """Return the ids and cached prefixes of saved conversations that are not on disk yet."""
        return self._pool.unsaved_sessions() if self._cache.has_context else []

    def checkpoint(self, sequence: Sequence) -> None:
        """Cache a copy of the sequence in its present state, if an id is free for it."""
        slot = self._pool.allocate_highest()
        if slot is not None and sequence.slot is not None:
            self._pool.memory.copy_prefix(sequence.slot, slot, sequence.num_computed_tokens)
            session = sequence.request.session if sequence.num_computed_tokens == sequence.turn_prefix_length else None
            tokens, states = sequence.tokens[: sequence.num_computed_tokens], sequence.states
            states = None if states is None else states.prefix(len(tokens))
            self._pool.retain(slot, CachedPrefix(tokens, session=session, states=states))

    def evict_lru(self, *, needed: bool = False) -> bool:
        """Evict the least recently used prefix, with ``needed`` also one that forks wait for."""
        return self._pool.evict_lru(needed=needed)

    def preempt(self, sequence: Sequence) -> None:
        """Remove a running sequence from memory; it starts again from its first token."""
        slot = sequence.slot
        sequence.reset()
        if slot is not None:
            self._pool.remove_sequence(slot)

    def evict_all(self, running: list[Sequence]) -> None:
        """Remove everything; running sequences start again from their first tokens."""
        self._pool.clear()
        for sequence in running:
            sequence.reset()

    def shorten(self, sequence: Sequence, length: int) -> None:
        """Keep the first ``length`` evaluated tokens of a sequence; those after them were evaluated completely."""
        if sequence.slot is not None:
            self._pool.memory.remove_tail(sequence.slot, length)
            sequence.num_computed_tokens = min(sequence.num_computed_tokens, length)

    def truncate(self, sequence: Sequence) -> bool:
        """Remove a sequence's tokens beyond its computed ones; return False if its memory cannot be truncated."""
        return sequence.slot is not None and self._pool.memory.truncate(sequence.slot, sequence.num_computed_tokens)
