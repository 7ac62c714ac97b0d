"""Prefixes of prompts that later commands share: loaded from disk, and saved there once they are evaluated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from llmcli.engine.kv.disk_prefix_store import PrefixStore
from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.prefix_index import PrefixIndex
from llmcli.engine.sequences.sequence import Sequence, common_prefix_length
from llmcli.errors import LlmError

_MIN_LOADED_TOKENS = 16
"""Tokens that a prefix on disk must have beyond those in memory."""
_DISK_BYTES_PER_S = 400e6
"""Bytes a second at which a prefix is read from disk, checked and restored, in the worst case."""
_NON_FATAL_ERRORS = (LlmError, OSError, MemoryError)
"""Errors that do not fail a request: only the time saved by reuse is lost."""


class DiskPrefixCache:
    """``open_store`` returns the store for a format of states (``KVCacheManager.state_format``)."""

    def __init__(
        self, kv_cache: KVCacheManager, prefix_index: PrefixIndex, open_store: Callable[[str], PrefixStore]
    ) -> None:
        self._kv_cache = kv_cache
        self._prefix_index = prefix_index
        self._open_store = open_store

    def load(self, sequence: Sequence, running: list[Sequence]) -> None:
        """Load the prefix of ``sequence`` if it is on disk, and longer than the one in memory.

        If it is not on disk, ``save_at`` of the sequence is set to the length at which to ``save`` it.
        """
        with contextlib.suppress(*_NON_FATAL_ERRORS):
            self._load_prefix(sequence, running)

    def _load_prefix(self, sequence: Sequence, running: list[Sequence]) -> None:
        if sequence.request.session:
            self._load_session(sequence, sequence.request.session, running)
        length = sequence.public_prefix_length
        if length < _MIN_LOADED_TOKENS or not self._kv_cache.state_restorable:
            return
        cached = self._prefix_index.count_reusable_tokens(sequence, running)
        if length - cached < _MIN_LOADED_TOKENS:
            return
        store = self._open_store(self._kv_cache.state_format)
        stored = store.find_longest(sequence.tokens[:length])
        if stored is None or len(stored.tokens) < length:
            sequence.save_at = length
        if stored is None or len(stored.tokens) - cached < _MIN_LOADED_TOKENS:
            return
        state = store.load(stored)
        if state is None:  # damaged, and removed
            sequence.save_at = length
        else:
            self._prefix_index.insert_state(list(stored.tokens), state)

    def _load_session(self, sequence: Sequence, session: str, running: list[Sequence]) -> None:
        """Load the evaluated state of a saved conversation, if it is longer than the one in memory."""
        if not self._kv_cache.state_restorable:
            return
        cached = self._prefix_index.count_reusable_tokens(sequence, running)
        if len(sequence.tokens) - cached < _MIN_LOADED_TOKENS:
            return
        store = self._open_store(self._kv_cache.state_format)
        stored = store.find_session(session)
        if stored is None:
            return
        tokens = list(stored.tokens)
        usable = common_prefix_length(tokens, sequence.tokens)  # an answer's tokens may differ from those of its text
        if usable < len(tokens) and not self._kv_cache.supports_partial_prefix:
            return
        if usable - cached >= _MIN_LOADED_TOKENS:
            state = store.load(stored)
            if state is not None:
                self._prefix_index.insert_state(tokens, state)

    def save_sessions(self, token_s: float) -> None:
        """Save the states of saved conversations to disk if reading them will be faster than evaluating.

        ``token_s``: seconds that a prompt's token takes.
        """
        if not self._kv_cache.state_restorable:
            return
        context = self._kv_cache.context
        for slot, prefix in self._prefix_index.unsaved_sessions():
            session, prefix.session = prefix.session, None
            if session and context.state_size(slot) / _DISK_BYTES_PER_S < token_s * len(prefix.tokens):
                with contextlib.suppress(*_NON_FATAL_ERRORS):
                    store = self._open_store(self._kv_cache.state_format)
                    store.save(prefix.tokens, context.save_state(slot), session)

    def save(self, sequence: Sequence) -> None:
        """Save the evaluated tokens of ``sequence`` to disk if reading them will be faster than evaluating them was."""
        context = self._kv_cache.context
        if sequence.slot is not None and context.state_size(sequence.slot) / _DISK_BYTES_PER_S < sequence.compute_s:
            with contextlib.suppress(*_NON_FATAL_ERRORS):
                self._open_store(self._kv_cache.state_format).save(
                    sequence.tokens[: sequence.num_computed_tokens], context.save_state(sequence.slot)
                )
