"""How much memory the contexts of one loaded model may take, all of them together."""

from __future__ import annotations

import itertools
import threading
from typing import Protocol

from llmcli.engine import machine, native
from llmcli.models.footprint import (
    SHARE_OF_FREE,
    context_limit,
    repacked_bytes,
    room_bytes,
    small_context_bytes,
)
from llmcli.models.gguf import Header


class ContextOwner(Protocol):
    """Whoever makes a context on the model."""

    def release_idle(self) -> None:
        """Give the context's memory back unless something runs in it."""
        ...


class MemoryBudget:
    """What the contexts of a model take, each known by its owner, and what more they may. Thread-safe.

    The bound (``footprint.bound_bytes``) covers the whole process. It decides how many sequences run at once and with
    which buffers; a single sequence that the model's context allows is not refused because of it.
    """

    def __init__(self, header: Header, *, offloaded: bool = False) -> None:
        """``offloaded``: layers lie on a GPU, whose free memory llama.cpp itself finds out."""
        self._header = header
        self._offloaded = offloaded
        self._taken: dict[ContextOwner, int] = {}
        self._lock = threading.Lock()
        self._repacked = 0 if offloaded else repacked_bytes(header, repacked_types())
        self._room = room_bytes(header, header.size, self._repacked)
        self._small = small_context_bytes(header)

    def take(self, owner: ContextOwner, size: int) -> None:
        """Note that a context of ``owner`` was made, of ``size`` bytes."""
        with self._lock:
            self._taken[owner] = size

    def give_back(self, owner: ContextOwner) -> None:
        """Note that ``owner`` has no context any more."""
        with self._lock:
            self._taken.pop(owner, None)

    def reclaim(self, owner: ContextOwner) -> None:
        """Let all others give back what nothing runs in. Only in the turn of ``owner``, in which no other computes."""
        with self._lock:
            others = [each for each in self._taken if each is not owner]
        for other in others:
            other.release_idle()

    def room(self, owner: ContextOwner) -> int:
        """Return the bytes that a context of ``owner`` may take in place of the one that it has.

        Where nobody else has one, enough is left for a small one: of bulk work for an answer that somebody waits for.
        """
        with self._lock:
            own = self._taken.get(owner, 0)
            others = sum(self._taken.values()) - own
        room = self._room - max(others, self._small)
        free = None if self._offloaded else machine.available_memory()
        return room if free is None else min(room, int(SHARE_OF_FREE * (free + own)))

    def longest_context(self, kv_type: str) -> int:
        """Return the tokens of context that one sequence may have when nobody says how many.

        See ``footprint.context_limit``.
        """
        free = None if self._offloaded else machine.available_memory()
        return context_limit(self._header, self._header.size, self._repacked, kv_type, free)


def repacked_types() -> frozenset[str]:
    """Return the types of tensors that this build of llama.cpp holds a second time, in a layout for this processor.

    As in ggml's repack.cpp and amx.cpp of llama-cpp-python 0.3.36.
    """
    words = native.system_info().replace("=", " ").split()
    has = {name for name, value in itertools.pairwise(words) if value == "1"}
    types = set()
    if "REPACK" in has and has & {"AVX2", "NEON"}:
        types |= {"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"}
        types |= {"Q2_K"} if "AVX512" in has else set()
    if "AMX_INT8" in has:
        types |= {"Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"}
    return frozenset(types)
