"""Which sequence has which id of the context, and which cached prefixes sequences can reuse."""

from __future__ import annotations

from collections.abc import Iterable

from llmcli.engine.kv import sizing
from llmcli.engine.kv.layouts import layout_class
from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.parked_states import ParkedState
from llmcli.engine.kv.sequence_ids import CachedPrefix
from llmcli.engine.sequences.sequence import ScoringSequence, Sequence, common_prefix_length

_MIN_TOKENS_LEFT_TO_MOVE = 8
"""Tokens left to generate for which moving a sequence next to the others pays."""
_MIN_RESTORED_TOKENS = 16
"""Tokens that a parked state must have beyond what is in the cache."""


class PrefixIndex(KVCacheManager):
    """The sequence ids of the context that ``KVCacheManager`` creates, and what each of them holds."""

    def _prefix_candidates(self, running: Iterable[Sequence]) -> Iterable[tuple[int, list[int], int]]:
        """Yield (slot, tokens, evaluated) of all that another sequence could reuse."""
        for slot, prefix in self._id_pool.cached.items():
            yield slot, prefix.tokens, len(prefix.tokens)
        for sequence in running:
            if sequence.slot is not None and sequence.num_computed_tokens:
                yield sequence.slot, sequence.tokens, sequence.num_computed_tokens

    def _longest_prefix_match(self, sequence: Sequence, running: list[Sequence]) -> tuple[int, int | None]:
        """Return the number of reusable tokens, and the slot that has them."""
        best, source = 0, None
        for slot, tokens, num_computed in self._prefix_candidates(running):
            common = min(common_prefix_length(tokens, sequence.tokens), sequence.first_logit)
            length = self._id_pool.memory.reusable_length(num_computed, common)
            if length > best:
                best, source = length, slot
        return best, source

    def count_reusable_tokens(self, sequence: Sequence, running: list[Sequence]) -> int:
        """Return how many tokens of ``sequence`` are cached already."""
        cached = 0 if self._optional_id_pool is None else self._longest_prefix_match(sequence, running)[0]
        return max(cached, self._longest_parked_match(sequence)[0])

    def _longest_parked_match(self, sequence: Sequence) -> tuple[int, ParkedState | None]:
        """Return how many tokens of ``sequence`` a parked state has, and that state."""
        best, found = 0, None
        layout = layout_class(self._model, self._config)
        for parked in self._parked_states.with_format(self.state_format):
            tokens = parked.prefix.tokens
            common = min(common_prefix_length(tokens, sequence.tokens), sequence.first_logit)
            length = common if layout.supports_partial_prefix or common == len(tokens) else 0
            if length > best:
                best, found = length, parked
        return best, found

    def _restore_parked_state(self, sequence: Sequence, running: list[Sequence]) -> None:
        """Restore a parked state that ``sequence`` begins with, where it has more tokens than the cache."""
        length, parked = self._longest_parked_match(sequence)
        if parked is not None and length - self._longest_prefix_match(sequence, running)[0] >= _MIN_RESTORED_TOKENS:
            self._parked_states.remove(parked)
            self.insert_state(parked.prefix.tokens, parked.state)

    def has_cells_for(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Tell whether the shared buffer has cells for one more sequence; if not, it grows before the next step."""
        no_cells = not self._model.header.attention_bytes_per_token()  # recurrent states alone
        if no_cells or sizing.fits_another(sequence, running, self.context.config, self._limits):
            return True
        self._cells_exhausted = True
        return False

    def allocate(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Give a sequence an id and the longest cached prefix; False when there is no id or too few cells."""
        config = self.context.config
        if not config.unified and len(sequence.tokens) > config.cells:
            return False
        self._restore_parked_state(sequence, running)
        length, source = self._longest_prefix_match(sequence, running)
        pool = self._id_pool
        slot = pool.allocate(keep=source)
        if slot is None and not running and pool.evict_lru(source, needed=True):
            slot = pool.allocate()  # else no sequence could ever run
        if slot is None and source in pool.cached and not (running and pool.cached[source].is_awaited):
            pool.evict(source)  # the last id: running is worth more than a prefix to reuse
            slot, source, length = pool.allocate(), None, 0
        if slot is None:
            return False
        if source is not None:
            pool.memory.copy_prefix(source, slot, length)
            pool.touch(source)
        sequence.slot = slot
        sequence.num_computed_tokens = length
        if sequence.num_generated_tokens == 0:
            sequence.num_cached_tokens = length
        return True

    def release(self, sequence: Sequence, owner: ScoringSequence | None, *, useful: bool) -> None:
        """Free the id of a sequence that ended or waits for its forks; ``useful`` tokens, or an owner's, stay cached."""
        slot, sequence.slot = sequence.slot, None
        if slot is None:
            return
        if sequence.num_computed_tokens and (useful or owner):
            if sequence.cancelled:  # its client has left, and may not have saved the conversation
                self._id_pool.detach_session(sequence.request.session)
            session = None if sequence.turn_prefix_length or sequence.cancelled else sequence.request.session
            self._id_pool.retain(slot, CachedPrefix(sequence.tokens[: sequence.num_computed_tokens], owner, session))
        else:
            self._id_pool.remove_sequence(slot)

    def compact_ids(self, running: list[Sequence]) -> None:
        """Move running sequences to the ids from 0 on where each has buffers of its own.

        llama.cpp evaluates such sequences together only where their ids follow one another
        (``llama_batch_allocr::split_equal``); a gap costs another pass through all weights in every step.
        """
        tokens_left = {s.slot: s.tokens_left for s in running if s.slot is not None}
        if self.per_sequence_buffers and max(tokens_left, default=0) >= len(tokens_left):
            moved = self._id_pool.compact(tokens_left, _MIN_TOKENS_LEFT_TO_MOVE)
            for sequence in running:
                sequence.slot = moved.get(sequence.slot, sequence.slot) if sequence.slot is not None else None

    def insert_state(self, tokens: list[int], state: bytes | bytearray) -> None:
        """Cache a prefix that was evaluated elsewhere, where an id is free for it and the state fits."""
        # no other prefix is evicted for it: a copy of that may be due at the next evaluation, and would be overwritten
        slot = self._id_pool.allocate_highest() if self.state_restorable and self._id_pool.free_ids else None
        if slot is None:
            return
        restored = False
        try:
            restored = self.context.restore_state(slot, state)
        finally:
            if restored:
                self._id_pool.retain(slot, CachedPrefix(tokens))
            else:
                self._id_pool.free(slot)

    def unsaved_sessions(self) -> list[tuple[int, CachedPrefix]]:
        """Return the ids and cached prefixes of saved conversations that are not on disk yet."""
        return [] if self._optional_id_pool is None else self._optional_id_pool.unsaved_sessions()

    def checkpoint(self, sequence: Sequence) -> None:
        """Cache a copy of the sequence as it is now, where an id is free for it."""
        slot = self._id_pool.allocate_highest()
        if slot is not None and sequence.slot is not None:
            self._id_pool.memory.copy_prefix(sequence.slot, slot, sequence.num_computed_tokens)
            session = sequence.request.session if sequence.num_computed_tokens == sequence.turn_prefix_length else None
            self._id_pool.retain(slot, CachedPrefix(sequence.tokens[: sequence.num_computed_tokens], session=session))

    def evict_lru(self, *, needed: bool = False) -> bool:
        """Evict the least recently used prefix, with ``needed`` also one that forks wait for."""
        return self._id_pool.evict_lru(needed=needed)

    def preempt(self, sequence: Sequence) -> None:
        """Remove a running sequence from memory; it starts again from its first token."""
        slot = sequence.slot
        sequence.reset()
        if slot is not None:
            self._id_pool.remove_sequence(slot)

    def evict_all(self, running: list[Sequence]) -> None:
        """Forget everything; running sequences start again from their first tokens."""
        self._id_pool.clear()
        for sequence in running:
            sequence.reset()

    def truncate(self, sequence: Sequence) -> bool:
        """Remove what a sequence has beyond its computed tokens; False where its memory cannot be truncated."""
        return sequence.slot is not None and self._id_pool.memory.truncate(sequence.slot, sequence.num_computed_tokens)
