"""States of sequences in temporary files, so that a context and its copy are never in memory together.

The files have no names: no other process can open them, and they are gone when they are closed or the process ends. A
file is closed when it has been read, unless it is ``reusable``.

A cache has one stream for all sequences, or one for each. ``llama_kv_cache::state_write`` writes the number of streams,
and for each its number of cells and the cells. In the state of one sequence, all other streams are empty. States are
converted to those of the first stream, so that a cache with any number of streams can read them. All numbers are
uint32.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.engine.llama import bindings

if TYPE_CHECKING:
    from io import BufferedRandom

MIN_FILE_BYTES = 1 << 20
"""States of at least this size go to a file: 69 MB were written in 22 ms and read in 16."""
_FD_DIR = Path("/proc/self/fd")
_UINT32_BYTES = 4
_STATE_HEADER_BYTES = 2 * _UINT32_BYTES
"""A magic number and the sequence's id before a state in memory (``llama_context::state_seq_get_data``)."""
_NUM_TOKENS_OFFSET = 2 * _UINT32_BYTES
"""A magic number and a version come before it in a file (``llama_context::state_seq_save_file``)."""


class StateFile:
    """A state as ``Context.save_state`` returned it."""

    def __init__(self, file: BufferedRandom, *, reusable: bool = False) -> None:
        self._file = file
        self._reusable = reusable

    @classmethod
    def write(cls, state: bytearray, directory: Path | None = None, *, reusable: bool = False) -> StateFile | None:
        """Write a state of at least one byte; None if that is impossible, for example on a full disk.

        ``directory``: where the file is; by default among the temporary files.
        """
        file = _open_file(directory)
        if file is None:
            return None
        try:
            file.write(state)
            file.flush()
        except OSError:
            file.close()
            return None
        return cls(file, reusable=reusable)

    def read(self) -> bytearray:
        """Return the state."""
        try:
            state = bytearray(self._file.seek(0, os.SEEK_END))
            self._file.seek(0)
            self._file.readinto(state)
            return state
        finally:
            if not self._reusable:
                self.close()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


class NativeStateFile:
    """The state of one sequence, written and read by llama.cpp without a copy in memory. Linux only.

    Tokens come before the state in the file. The empty streams before that of the sequence become tokens, which nothing
    reads, so that nothing has to be moved.
    """

    def __init__(self, file: BufferedRandom, sequence: int, streams: int, *, reusable: bool) -> None:
        """Convert the file of a sequence in a cache of ``streams``. Raises ``OSError``."""
        self._file = file
        self._reusable = reusable
        self._num_tokens = sequence if streams > 1 else 0
        self._num_bytes = os.fstat(file.fileno()).st_size - _UINT32_BYTES * (streams - 1 - self._num_tokens)
        self._streams = streams
        if streams > 1:
            os.pwrite(file.fileno(), _uint32(self._num_tokens), _NUM_TOKENS_OFFSET)
            self._set_streams(streams)

    @classmethod
    def save(
        cls, context: Any, sequence: int, streams: int, directory: Path | None = None, *, reusable: bool = False
    ) -> NativeStateFile | None:
        """Write the state of a sequence; None if that is impossible (no /proc, a full disk).

        ``streams``: how many streams the cache has. ``directory``: where the file is; by default among the temporary
        files.
        """
        file = _open_file(directory) if _FD_DIR.is_dir() else None
        if file is None:
            return None
        with contextlib.suppress(OSError):  # the disk is full: the caller keeps the state in memory
            if bindings.lib().llama_state_seq_save_file(context, _descriptor_path(file), sequence, None, 0):
                return cls(file, sequence, streams, reusable=reusable)
        file.close()
        return None

    def load(self, context: Any, sequence: int, streams: int) -> bool:
        """Restore the state to an empty sequence of a cache of ``streams``; return False if it does not fit."""
        try:
            if streams != self._streams:
                self._set_streams(streams)
            # without a buffer for tokens llama.cpp reads only their number
            tokens, count = (ctypes.c_int32 * (self._num_tokens + 1))(), ctypes.c_size_t()
            read = bindings.lib().llama_state_seq_load_file
            return bool(read(context, _descriptor_path(self._file), sequence, tokens, len(tokens), ctypes.byref(count)))
        except OSError:  # the disk is full: the sequence is evaluated again
            return False
        finally:
            if not self._reusable:
                self.close()

    def _set_streams(self, streams: int) -> None:
        """Change the number of streams; all but the first are empty, so their counts are zeros."""
        file = self._file.fileno()
        os.pwrite(file, _uint32(streams), _NUM_TOKENS_OFFSET + _UINT32_BYTES * (1 + self._num_tokens))
        os.ftruncate(file, self._num_bytes)
        os.ftruncate(file, self._num_bytes + _UINT32_BYTES * (streams - 1))
        self._streams = streams

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def _descriptor_path(file: BufferedRandom) -> bytes:
    """Return a path of the open file for llama.cpp, which opens files itself."""
    return str(_FD_DIR / str(file.fileno())).encode()


def _uint32(number: int) -> bytes:
    return number.to_bytes(_UINT32_BYTES, sys.byteorder)


def _open_file(directory: Path | None) -> BufferedRandom | None:
    try:
        return tempfile.TemporaryFile(dir=directory)  # closed by who reads it
    except OSError:
        return None


def strip_empty_streams(state: bytearray, streams: int, sequence: int) -> None:
    """Convert the state of a sequence in a cache of ``streams`` to the form that a cache of one stream saves."""
    if streams > 1:
        del state[len(state) - _UINT32_BYTES * (streams - 1 - sequence) :]
        state[_STATE_HEADER_BYTES : _STATE_HEADER_BYTES + _UINT32_BYTES * (1 + sequence)] = _uint32(1)


def add_empty_streams(state: bytearray, streams: int) -> None:
    """Convert a state of ``strip_empty_streams`` to the form that a cache of that many streams reads."""
    if streams > 1:
        state[_STATE_HEADER_BYTES : _STATE_HEADER_BYTES + _UINT32_BYTES] = _uint32(streams)
        state += bytes(_UINT32_BYTES * (streams - 1))
