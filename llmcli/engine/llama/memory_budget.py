"""The memory that all contexts of one loaded model may take together."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Protocol

from llmcli.engine.llama import bindings, hardware, mapped_weights
from llmcli.models.footprint import (
    FREE_MEMORY_SHARE,
    context_budget_bytes,
    duplicated_bytes,
    max_sequence_context,
    small_context_bytes,
)
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import load_checked_header


class ContextOwner(Protocol):
    """An object that creates a context of the model."""

    def release_idle(self) -> None:
        """Release the context's memory unless something runs in it."""
        ...


class MemoryBudget:
    """The memory that each owner's context of a model takes, and how much more is available. Thread-safe.

    The limit (``footprint.process_limit_bytes``) applies to the whole process. It determines how many sequences run at
    once and with which buffers; a single sequence that the model's context allows is never refused because of it.
    """

    def __init__(self, header: Header, *, offloaded: bool = False, adapter_bytes: int = 0) -> None:
        """``offloaded``: layers are on a GPU, whose free memory llama.cpp itself determines.

        ``adapter_bytes`` of adapters are in memory beside the weights.
        """
        self._header = header
        self._weight_bytes = header.size + adapter_bytes
        self._offloaded = offloaded
        self._allocated: dict[ContextOwner, int] = {}
        self._lock = threading.Lock()
        self._duplicated_bytes = (
            0 if offloaded else duplicated_bytes(header, list_repacked_types(), released=mapped_weights.CAN_RELEASE)
        )
        self._limit_bytes = context_budget_bytes(header, self._weight_bytes, self._duplicated_bytes)
        self._small_context_bytes = small_context_bytes(header)

    def allocate(self, owner: ContextOwner, size: int) -> None:
        """Record that ``owner`` created a context of ``size`` bytes."""
        with self._lock:
            self._allocated[owner] = size

    def free(self, owner: ContextOwner) -> None:
        """Record that ``owner`` no longer has a context."""
        with self._lock:
            self._allocated.pop(owner, None)

    def release_idle_contexts(self, owner: ContextOwner) -> None:
        """Make all other owners release idle contexts. Call it only while no other context is being evaluated."""
        with self._lock:
            others = [each for each in self._allocated if each is not owner]
        for other in others:
            other.release_idle()

    def available_bytes(self, owner: ContextOwner) -> int:
        """Return the bytes that a context of ``owner`` may take in place of its present one.

        If no other owner has a context, enough is left for a small one: interactive work may come beside bulk work.
        """
        with self._lock:
            own = self._allocated.get(owner, 0)
            others = sum(self._allocated.values()) - own
        available = self._limit_bytes - max(others, self._small_context_bytes)
        free = None if self._offloaded else hardware.available_memory()
        return available if free is None else min(available, int(FREE_MEMORY_SHARE * (free + own)))

    def max_context_tokens(self, kv_type: str) -> int:
        """Return the tokens of context that one sequence may have by default.

        See ``footprint.max_sequence_context``.
        """
        free = None if self._offloaded else hardware.available_memory()
        return max_sequence_context(self._header, self._weight_bytes, self._duplicated_bytes, kv_type, free)


def min_load_bytes(path: Path) -> int:
    """Return the bytes that the weights in a file take in a process that runs, with a context for one short answer.

    Raises as ``load_checked_header``.
    """
    header = load_checked_header(path)
    duplicated = duplicated_bytes(header, list_repacked_types(), released=mapped_weights.CAN_RELEASE)
    return header.size + duplicated + small_context_bytes(header)


def list_repacked_types() -> frozenset[str]:
    """Return the types of tensors that this build of llama.cpp stores again in a layout for this processor.

    As in ggml's repack.cpp and amx.cpp of llama-cpp-python 0.3.36.
    """
    words = bindings.system_info().replace("=", " ").split()
    has = {name for name, value in itertools.pairwise(words) if value == "1"}
    types = set()
    if "REPACK" in has and has & {"AVX2", "NEON"}:
        types |= {"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"}
        types |= {"Q2_K"} if "AVX512" in has else set()
    if "AMX_INT8" in has:
        types |= {"Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"}
    return frozenset(types)
