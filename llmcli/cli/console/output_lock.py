"""A lock for each line that llm processes write to the same pipe, file or socket.

A write(2) of up to PIPE_BUF bytes is atomic in a pipe, a longer one is not: others may write in its middle. So every
line is written under a lock. flock on the descriptor would not exclude the processes that inherited it from the same
shell or xargs, for they share one open file description; another description is available only on Linux
(``/proc/self/fd/1``), and the user may hold its lock (``flock FILE llm ask ... >> FILE``). fcntl record locks do not
work on pipes. So the lock is a record lock on one byte of a file in the runtime directory, chosen by the output's
device and inode: any number of outputs share one file, and the system releases the locks of a process that dies.

The lock is advisory: if it is unavailable (no runtime directory, a file system without locks, processes of several
users), output is written without it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress

from llmcli.errors import LlmError
from llmcli.files import private_files

LOCK_FILE = "output.lock"
_MAX_OFFSET = (1 << 62) - 1  # a file's offsets are signed 64-bit numbers
_HASH_MULTIPLIER = 0x9E3779B97F4A7C15  # golden ratio: keeps the inodes of devices with small numbers apart
_SHARED_FILE_TYPES = (stat.S_ISFIFO, stat.S_ISREG, stat.S_ISSOCK)


class OutputLock:
    """The lock of ``fd``'s output; its file is opened when the lock is first taken."""

    def __init__(self, fd: int, environ: Mapping[str, str]) -> None:
        self._fd = fd
        self._environ = environ
        self._file: int | None = None
        self._offset = 0
        self._opened = False

    def try_acquire(self) -> bool:
        """Take the lock; return False if another process has it, True also if no lock is available."""
        import fcntl

        if not self._opened:
            self._opened = True
            self._open_lock_file()
        if self._file is None:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._offset)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, depending on the system (POSIX, fcntl)
            return False
        except OSError:
            self.close()
        return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        import fcntl

        if self._file is not None:
            with suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._offset)

    def close(self) -> None:
        """Work without the lock from now on."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open_lock_file(self) -> None:
        from llmcli.worker import runtime_dir

        with suppress(OSError, LlmError):  # then there is no lock
            status = os.fstat(self._fd)
            if any(kind(status.st_mode) for kind in _SHARED_FILE_TYPES):
                self._offset = (status.st_dev * _HASH_MULTIPLIER + status.st_ino) & _MAX_OFFSET
                path = runtime_dir.find_runtime_dir(self._environ) / LOCK_FILE
                self._file = private_files.open_file(path, os.O_RDWR | os.O_NOFOLLOW)
