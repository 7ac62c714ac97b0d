"""What a context's memory allows: which prefix of one sequence another may reuse, and how to copy it.

Kinds, found by experiment with llama.cpp 0.3.36 of the binding:

* attention in one unified buffer: any prefix can be shared, without a copy;
* attention windows in one unified buffer: whole sequences only, since llama.cpp reuses cells that left a sequence's
  window for others (``llama_kv_cache::find_slot``), so that an earlier prefix may have holes;
* attention in separate streams: a whole stream is copied (at the next evaluation), then its tail is removed;
* recurrent and hybrid models: a state cannot be truncated, so only a whole sequence can be reused.
"""

from __future__ import annotations

from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.model import Model


class UnifiedKV:
    """Attention in a unified buffer. Lengths are tokens from position 0."""

    supports_partial_prefix = True
    """Any prefix of a sequence can be reused by another."""
    supports_truncation = True
    """The last tokens evaluated can be removed again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lib = bindings.lib()
        self._memory: Any = context.memory

    def reusable_length(self, length: int, common: int) -> int:
        """Return how many tokens of a sequence of ``length`` another can reuse that has ``common`` tokens in common."""
        return min(length, common)

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Give the empty sequence ``target`` the first ``length`` tokens of ``source``."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def move_sequence(self, source: int, target: int) -> None:
        """Move all of ``source``, which is empty afterwards, to the empty sequence ``target``."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self.remove_sequence(source)

    def truncate(self, sequence: int, length: int) -> bool:
        """Remove everything from position ``length`` on; False (and nothing usable left) where that is impossible."""
        removed = bool(self._lib.llama_memory_seq_rm(self._memory, sequence, length, -1))
        if not removed:
            self.remove_sequence(sequence)
        return removed

    def clear(self) -> None:
        """Forget everything, positions in the buffer too."""
        self._lib.llama_memory_clear(self._memory, False)

    def remove_sequence(self, sequence: int) -> None:
        """Forget a sequence."""
        self._context.remove_sequence(sequence)


class SlidingWindowKV(UnifiedKV):
    """Attention windows in a unified buffer. Removing the last tokens is safe, reusing a part is not."""

    supports_partial_prefix = False

    def reusable_length(self, length: int, common: int) -> int:
        return length if length <= common else 0


class StreamKV(UnifiedKV):
    """Attention with a stream of its own for each sequence; copying a part would fail an assertion."""

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._lib.llama_memory_seq_rm(self._memory, target, length, -1)


class SlidingWindowStreamKV(StreamKV):
    """Attention windows with streams: their cells stay in order as long as no evaluation was aborted."""

    supports_truncation = False

    def truncate(self, sequence: int, length: int) -> bool:
        del length  # after an aborted evaluation the next tokens may take the first cells (seen with 0.3.36)
        self.remove_sequence(sequence)
        return False


class RecurrentState(SlidingWindowKV):
    """Recurrent and hybrid models: whole copies only (copying a part is silently wrong), no removal of a tail."""

    supports_truncation = False

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        del length  # ``reusable_length`` allows nothing but the whole
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
        return SlidingWindowKV if model.sliding_window else UnifiedKV
    return SlidingWindowStreamKV if model.sliding_window else StreamKV


def make_layout(context: Context) -> UnifiedKV:
    """Return the memory of ``context``."""
    return layout_class(context.model, context.config)(context)
