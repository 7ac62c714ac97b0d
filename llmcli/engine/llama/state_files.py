"""States of sequences in temporary files, so that a context and its copy are never in memory together.

The files have no names: no other process can open them, and they are gone when they are closed or the process ends. A
file is closed when it has been read, unless it is ``reusable``.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.engine.llama import bindings

if TYPE_CHECKING:
    from io import BufferedRandom

MIN_FILE_BYTES = 1 << 20
"""States of at least this size go to a file: 69 MB were written in 22 ms and read in 16."""
_FD_DIR = Path("/proc/self/fd")


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
    """The state of one sequence, written and read by llama.cpp without a copy in memory. Linux only."""

    def __init__(self, file: BufferedRandom, *, reusable: bool = False) -> None:
        self._file = file
        self._reusable = reusable

    @classmethod
    def save(
        cls, context: Any, sequence: int, directory: Path | None = None, *, reusable: bool = False
    ) -> NativeStateFile | None:
        """Write the state of a sequence; None if that is impossible (no /proc, a full disk).

        ``directory``: where the file is; by default among the temporary files.
        """
        file = _open_file(directory) if _FD_DIR.is_dir() else None
        if file is None:
            return None
        saved = cls(file, reusable=reusable)
        if bindings.lib().llama_state_seq_save_file(context, saved._path, sequence, None, 0):
            return saved
        file.close()
        return None

    def load(self, context: Any, sequence: int) -> bool:
        """Restore the state to an empty sequence; return False if it does not fit."""
        try:
            # no tokens were saved with it; without a buffer for them llama.cpp reads only their number
            tokens, count = (ctypes.c_int32 * 1)(), ctypes.c_size_t()
            read = bindings.lib().llama_state_seq_load_file
            return bool(read(context, self._path, sequence, tokens, 1, ctypes.byref(count)))
        finally:
            if not self._reusable:
                self.close()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    @property
    def _path(self) -> bytes:
        """A path of the open file for llama.cpp, which opens files itself."""
        return str(_FD_DIR / str(self._file.fileno())).encode()


def _open_file(directory: Path | None) -> BufferedRandom | None:
    try:
        return tempfile.TemporaryFile(dir=directory)  # closed by who reads it
    except OSError:
        return None
