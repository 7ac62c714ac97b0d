"""What a context's memory allows: which part of one sequence may begin another, and how to take it.

Kinds, found out by experiment with llama.cpp 0.3.36 of the binding:

* attention in one unified buffer: any beginning can be shared, without a copy;
* attention windows in one unified buffer: whole sequences only, since llama.cpp gives cells that fell out of a
  sequence's window to others (``llama_kv_cache::find_slot``), so that an earlier beginning may have holes;
* attention in separate streams: a whole stream is copied (at the next evaluation), then its tail is removed;
* recurrent and hybrid models: a state cannot be cut, so only a whole sequence can begin another.
"""

from __future__ import annotations

from typing import Any

from llmcli.engine import native
from llmcli.engine.context import Context, ContextConfig
from llmcli.engine.model import Model


class Memory:
    """Attention in a unified buffer. Lengths are tokens from position 0."""

    can_cut = True
    """Any beginning of a sequence can begin another."""
    can_trim = True
    """What was evaluated last can be taken back."""

    def __init__(self, context: Context) -> None:
        self._lib = native.lib()
        self._memory: Any = context.memory

    def reusable(self, length: int, common: int) -> int:
        """Return how many tokens of a sequence of ``length`` can begin another that shares ``common`` with it."""
        return min(length, common)

    def copy(self, source: int, target: int, length: int) -> None:
        """Give the empty sequence ``target`` the first ``length`` tokens of ``source``."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def move(self, source: int, target: int) -> None:
        """Let the empty sequence ``target`` take the place of ``source``, which is empty then."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self.remove(source)

    def truncate(self, sequence: int, length: int) -> bool:
        """Remove everything from position ``length`` on; False (and nothing usable left) where that is impossible."""
        removed = bool(self._lib.llama_memory_seq_rm(self._memory, sequence, length, -1))
        if not removed:
            self.remove(sequence)
        return removed

    def clear(self) -> None:
        """Forget everything, places in the buffer too."""
        self._lib.llama_memory_clear(self._memory, False)

    def remove(self, sequence: int) -> None:
        """Forget a sequence."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)


class WindowMemory(Memory):
    """Attention windows in a unified buffer. Cutting off what was evaluated last is safe, beginning earlier is not."""

    can_cut = False

    def reusable(self, length: int, common: int) -> int:
        return length if length <= common else 0


class StreamMemory(Memory):
    """Attention with a stream of its own for each sequence; a part copy would be a failed assertion."""

    def copy(self, source: int, target: int, length: int) -> None:
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._lib.llama_memory_seq_rm(self._memory, target, length, -1)


class WindowStreamMemory(StreamMemory):
    """Attention windows with streams: their cells stay in order as long as no evaluation was aborted."""

    can_trim = False

    def truncate(self, sequence: int, length: int) -> bool:
        del length  # after an aborted evaluation the next tokens may take the first cells (seen with 0.3.36)
        self.remove(sequence)
        return False


class StateMemory(WindowMemory):
    """Recurrent and hybrid models: whole copies only (a part copy is silently wrong), no removal of a tail."""

    can_trim = False

    def copy(self, source: int, target: int, length: int) -> None:
        del length  # ``reusable`` allows nothing but the whole
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def truncate(self, sequence: int, length: int) -> bool:
        del length
        self.remove(sequence)
        return False


def kind_of(model: Model, config: ContextConfig) -> type[Memory]:
    """Return the kind of memory that a context of ``model`` has."""
    if model.recurrent:
        return StateMemory
    if config.unified:
        return WindowMemory if model.window else Memory
    return WindowStreamMemory if model.window else StreamMemory


def memory_of(context: Context) -> Memory:
    """Return the memory of ``context``."""
    return kind_of(context.model, context.config)(context)
