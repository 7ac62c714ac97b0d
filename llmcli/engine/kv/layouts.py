"""The memory layouts of a context: which prefix of one sequence another may reuse, and how to copy it."""

from __future__ import annotations

from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.model import Model


class UnifiedKV:
    """Attention in a unified buffer. Lengths are tokens from position 0."""

    supports_partial_prefix = True
    """Whether another sequence can reuse any prefix of a sequence."""
    supports_truncation = True
    """Whether the last evaluated tokens can be removed again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lib = bindings.lib()
        self._memory: Any = context.memory

    def reusable_length(self, length: int, common: int) -> int:
        """Return how many tokens of a sequence of ``length`` another can reuse that has ``common`` tokens in common."""
        return min(length, common)

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of ``source`` to the empty sequence ``target``."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def move_sequence(self, source: int, target: int) -> None:
        """Move all of ``source`` to the empty sequence ``target``; ``source`` is empty afterwards."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self.remove_sequence(source)

    def truncate(self, sequence: int, length: int) -> bool:
        """Remove everything from position ``length`` on; False (with nothing usable left) if that is impossible."""
        removed = bool(self._lib.llama_memory_seq_rm(self._memory, sequence, length, -1))
        if not removed:
            self.remove_sequence(sequence)
        return removed

    def remove_tail(self, sequence: int, length: int) -> None:
        """Remove the tokens from position ``length`` on, which the last evaluation added."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, length, -1)

    def clear(self) -> None:
        """Remove all sequences, and reset the positions in the buffer."""
        self._lib.llama_memory_clear(self._memory, False)

    def remove_sequence(self, sequence: int) -> None:
        """Remove a sequence."""
        self._context.remove_sequence(sequence)


class SlidingWindowKV(UnifiedKV):
    """Attention windows in a unified buffer. Removing the last tokens is safe, reusing a part is not."""

    supports_partial_prefix = False

    def reusable_length(self, length: int, common: int) -> int:
        return length if length <= common else 0


class StreamKV(UnifiedKV):
    """Attention with a separate stream for each sequence; copying a part would fail an assertion."""

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
        del length  # ``reusable_length`` only allows the whole
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
