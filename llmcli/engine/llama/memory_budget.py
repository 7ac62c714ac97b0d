"""The memory that a model and all of its contexts may take together.

``RepackedPages`` releases the mapped pages of tensors that llama.cpp has stored again in a layout for this processor:
llama.cpp maps the file, reads every page, and copies the tensors that it repacks. Nothing reads the mapped pages of
these tensors afterwards (except embeddings, whose rows are read there), but they count as memory of the process. So
they are removed from the page tables (MADV_DONTNEED of madvise(2)). For a read-only mapping of a file this loses
nothing: a later read takes the page from the system's cache. Linux only.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from llmcli.engine.llama import bindings, hardware
from llmcli.models.footprint import (
    EMBEDDINGS,
    FREE_MEMORY_SHARE,
    context_budget_bytes,
    duplicated_bytes,
    max_sequence_context,
    repacked_tensors,
    small_context_bytes,
)
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import load_checked_header

CAN_RELEASE = sys.platform == "linux"
_RELEASES_PER_LOAD = 16
_MAPS = Path("/proc/self/maps")


class RepackedPages:
    """The repacked tensors of one file that is being loaded."""

    def __init__(self, path: Path, header: Header, types: frozenset[str]) -> None:
        """``types``: the types of tensors that llama.cpp repacks here. Create it before the file is mapped."""
        self._path = os.fsencode(path.resolve())
        unread = [tensor for tensor in repacked_tensors(header, types) if tensor.name != EMBEDDINGS]
        self._ranges = _merge([(header.data_offset + tensor.offset, tensor.nbytes) for tensor in unread])
        self._size = sum(tensor.nbytes for tensor in header.tensors)
        self._others_size = self._size - sum(tensor.nbytes for tensor in unread)
        self._earlier = self._find_mappings() if self._ranges else {}
        self._next_fraction = 0.0

    def release(self, loaded_fraction: float) -> None:
        """Release the pages at every sixteenth of the load, so that file and copies are never fully in memory together.

        Only pages that were read, and all of them at the end: llama.cpp would have to map the others again, which takes
        a tenth of the time of loading. It reads these tensors in the order of the file, before or after the others.
        ``loaded_fraction``: from 0 to 1. Call it only on the loading thread: llama.cpp keeps the mapping until it is
        done. Otherwise memory in the place of an ended mapping would be cleared.
        """
        if not self._ranges or loaded_fraction < self._next_fraction:
            return
        self._next_fraction = min(1.0, loaded_fraction + 1 / _RELEASES_PER_LOAD)
        mappings = {start: rest for start, rest in self._find_mappings().items() if start not in self._earlier}
        if len(mappings) != 1:  # not mapped, or another thread loads the same file, and its mapping may end at any time
            return
        ((start, (end, offset)),) = mappings.items()
        for first, length in self._ranges if loaded_fraction >= 1 else self._read_ranges(loaded_fraction):
            low = max(start, _page_end(start + first - offset))
            high = min(end, (start + first + length - offset) // mmap.PAGESIZE * mmap.PAGESIZE)
            if low < high:
                ctypes.CDLL(None).madvise(ctypes.c_void_p(low), ctypes.c_size_t(high - low), mmap.MADV_DONTNEED)

    def _read_ranges(self, loaded_fraction: float) -> Iterator[tuple[int, int]]:
        """Yield the ranges that were certainly read, whenever the other tensors are."""
        left = int(loaded_fraction * self._size) - self._others_size
        for first, length in self._ranges:
            if left <= 0:
                return
            yield first, min(length, left)
            left -= length

    def _find_mappings(self) -> dict[int, tuple[int, int]]:
        """Return the file's read-only mappings: start -> end and the file's offset, in bytes (proc_pid_maps(5))."""
        found = {}
        for line in _MAPS.read_bytes().splitlines() if CAN_RELEASE else ():
            addresses, access, offset, _device, _inode, *path = line.split(maxsplit=5)
            if path == [self._path] and access.startswith(b"r-"):
                start, end = (int(address, 16) for address in addresses.split(b"-"))
                found[start] = (end, int(offset, 16))
        return found


def _merge(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges (first byte, length) in order; those with less than a page between them are joined."""
    merged: list[tuple[int, int]] = []
    for first, length in sorted(ranges):
        if merged and first - sum(merged[-1]) < mmap.PAGESIZE:
            merged[-1] = (merged[-1][0], first + length - merged[-1][0])
        else:
            merged.append((first, length))
    return merged


def _page_end(address: int) -> int:
    return -(-address // mmap.PAGESIZE) * mmap.PAGESIZE


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
            0 if offloaded else duplicated_bytes(header, list_repacked_types(), released=CAN_RELEASE)
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
    duplicated = duplicated_bytes(header, list_repacked_types(), released=CAN_RELEASE)
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
