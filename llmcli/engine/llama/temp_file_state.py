"""Large states of sequences in temporary files, so that a context and its copy are never in memory together."""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import IO, Any

from llmcli.engine.llama import bindings

MIN_FILE_BYTES = 8 << 20
"""States of at least this size go to a file: 69 MB were written in 22 ms and read in 16."""
_FD_DIR = Path("/proc/self/fd")


class TempFileState:
    """The state of one sequence in a file without a name that is removed with this object. Linux only."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @classmethod
    def save(cls, context: Any, sequence: int) -> TempFileState | None:
        """Write the state of a sequence; None if that is impossible (no /proc, a full disk)."""
        if not _FD_DIR.is_dir():
            return None
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115 (``load`` closes it)
        except OSError:
            return None
        saved = cls(file)
        if bindings.lib().llama_state_seq_save_file(context, saved._path, sequence, None, 0):
            return saved
        file.close()
        return None

    def load(self, context: Any, sequence: int) -> bool:
        """Restore the state to an empty sequence, once; return False if it does not fit."""
        with self._file:
            # no tokens were saved with it; without a buffer for tokens llama.cpp reads only their number
            tokens, count = (ctypes.c_int32 * 1)(), ctypes.c_size_t()
            read = bindings.lib().llama_state_seq_load_file
            return bool(read(context, self._path, sequence, tokens, 1, ctypes.byref(count)))

    @property
    def _path(self) -> bytes:
        """A path of the open file for llama.cpp, which opens files by path."""
        return str(_FD_DIR / str(self._file.fileno())).encode()
