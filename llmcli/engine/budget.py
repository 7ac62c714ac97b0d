"""How much memory the contexts of one loaded model may take, all of them together."""

from __future__ import annotations

import itertools
import threading

from llmcli.engine import machine, native
from llmcli.models.footprint import (
    BATCHES,
    SMALL_WEIGHTS_BYTES,
    SPARE_SEQUENCES,
    USUAL_CONTEXT,
    ContextShape,
    bound_bytes,
    context_bytes,
    longest_tokens,
    process_bytes,
    repacked_bytes,
)
from llmcli.models.gguf import Header

_SHARE_OF_FREE = 0.9
"""Of the memory that is free, what contexts are laid out for; the rest is left to other processes."""
_SMALL_TOKENS = 512


class MemoryBudget:
    """What the contexts of a model take, each known by its owner, and what more they may. Thread-safe.

    The bound (``footprint.bound_bytes``) covers the whole process. It decides how many sequences run at once and with
    which buffers; a single sequence that the model's context allows is not refused because of it.
    """

    def __init__(self, header: Header, *, offloaded: bool = False) -> None:
        """``offloaded``: layers lie on a GPU, whose free memory llama.cpp itself finds out."""
        self._header = header
        self._offloaded = offloaded
        self._taken: dict[object, int] = {}
        self._lock = threading.Lock()
        weights = header.size + (0 if offloaded else repacked_bytes(header, repacked_types()))
        self._bound = bound_bytes(header.size) - process_bytes(header) - weights
        small = ContextShape(_SMALL_TOKENS, SPARE_SEQUENCES, BATCHES[-1])
        self._small = context_bytes(header, small)

    def take(self, owner: object, size: int) -> None:
        """Note that a context of ``owner`` was made, of ``size`` bytes."""
        with self._lock:
            self._taken[owner] = size

    def give_back(self, owner: object) -> None:
        """Note that ``owner`` has no context any more."""
        with self._lock:
            self._taken.pop(owner, None)

    def room(self, owner: object) -> int:
        """Return the bytes that a context of ``owner`` may take in place of the one that it has.

        Where nobody else has one, enough is left for a small one: of bulk work for an answer that somebody waits for.
        """
        with self._lock:
            own = self._taken.get(owner, 0)
            others = sum(self._taken.values()) - own
        room = self._bound - max(others, self._small)
        free = None if self._offloaded else machine.available_memory()
        return room if free is None else min(room, int(_SHARE_OF_FREE * (free + own)))

    def longest_context(self, kv_type: str) -> int:
        """Return the tokens of context that one sequence may have when nobody says how many.

        No more than the model has. Below 1 GB of weights what the bound leaves, from there on what the memory does; at
        least as many as are planned with usually.
        """
        header = self._header
        most = header.context_length or USUAL_CONTEXT
        free = None if self._offloaded else machine.available_memory()
        room = None if free is None else int(_SHARE_OF_FREE * free)
        if header.size < SMALL_WEIGHTS_BYTES:
            bound = self._bound - self._small
            room = bound if room is None else min(room, bound)
        if room is None:
            return most
        return min(most, max(USUAL_CONTEXT, longest_tokens(header, kv_type, room)))


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
