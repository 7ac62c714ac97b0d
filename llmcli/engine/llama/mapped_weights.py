"""Releases the mapped pages of tensors that llama.cpp has stored again in a layout for this processor.

llama.cpp maps the file, reads every page, and copies the tensors that it repacks. Nothing reads the mapped pages of
these tensors afterwards (except embeddings, whose rows are read there), but they count as memory of the process.
``RepackedPages`` removes them from the page tables (MADV_DONTNEED of madvise(2)). For a read-only mapping of a file
this loses nothing: a later read takes the page from the system's cache. Linux only.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from pathlib import Path

from llmcli.models.footprint import EMBEDDINGS, repacked_tensors
from llmcli.models.gguf.header import Header

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
        self._earlier = self._find_mappings() if self._ranges else {}
        self._next_fraction = 0.0

    def release(self, loaded_fraction: float) -> None:
        """Release the pages at every sixteenth of the load, so that file and copies are never fully in memory together.

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
        for first, length in self._ranges:
            low = max(start, _page_end(start + first - offset))
            high = min(end, (start + first + length - offset) // mmap.PAGESIZE * mmap.PAGESIZE)
            if low < high:
                ctypes.CDLL(None).madvise(ctypes.c_void_p(low), ctypes.c_size_t(high - low), mmap.MADV_DONTNEED)

    def _find_mappings(self) -> dict[int, tuple[int, int]]:
        """Return the read-only mappings of the file: start -> end and the file's offset, in bytes (proc_pid_maps(5))."""
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
