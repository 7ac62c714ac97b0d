"""Writing to a descriptor: at once, in whole lines, and without delaying signals.

Lines that llm processes write to the same pipe, file or socket are locked. A write(2) of up to PIPE_BUF bytes is atomic
in a pipe, a longer one is not: others may write in its middle. flock on the descriptor would not exclude the processes
that inherited it from the same shell or xargs, for they share one open file description; another description is
available only on Linux (``/proc/self/fd/1``), and the user may hold its lock (``flock FILE llm ask ... >> FILE``).
fcntl record locks do not work on pipes. So the lock is a record lock on one byte of a file in the runtime directory,
chosen by the output's device and inode: any number of outputs share one file, and the system releases the locks of a
process that dies.

The lock is advisory: if it is unavailable (no runtime directory, a file system without locks, processes of several
users), output is written without it.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from llmcli.errors import LlmError, OutputError, OutputPipeClosed
from llmcli.interrupt import Interrupt

_LOCK_FILE = "output.lock"
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
        from llmcli.files import private_files
        from llmcli.worker import runtime_dir

        with suppress(OSError, LlmError):  # then there is no lock
            status = os.fstat(self._fd)
            if any(kind(status.st_mode) for kind in _SHARED_FILE_TYPES):
                self._offset = (status.st_dev * _HASH_MULTIPLIER + status.st_ino) & _MAX_OFFSET
                path = runtime_dir.find_runtime_dir(self._environ) / _LOCK_FILE
                self._file = private_files.open_file(path, os.O_RDWR | os.O_NOFOLLOW)


_CHUNK_BYTES = select.PIPE_BUF  # POSIX: a pipe that polls writable takes this much atomically and without blocking
_POLL_MS = 100
_LOCK_POLL_S = 0.002
MAX_LOCK_WAIT_S = 5.0
"""Seconds for which a line waits for the lock while the descriptor is writable."""
CLOSED_DETAIL = "it is closed"
"""The detail for a descriptor that the caller had closed."""


class DescriptorWriter:
    """Writes to a descriptor at once and without a buffer, so that no write can fail at the end of the process.

    A stalled reader does not delay a signal: the descriptor is polled, and the interrupt checked in between. Whole
    lines are written together, as many as fit PIPE_BUF; with a ``lock`` no other llm process writes inside a line.
    """

    def __init__(
        self,
        fd: int,
        interrupt: Interrupt,
        *,
        closed: bool = False,
        name: str = "standard output",
        lock: OutputLock | None = None,
    ) -> None:
        self._fd = fd
        self._interrupt = interrupt
        self._closed = closed
        self._name = name
        self._lock = lock
        self._lock_wait_failed = False
        self._poller = select.poll()
        self._poller.register(fd, select.POLLOUT)

    @property
    def is_terminal(self) -> bool:
        """Whether it writes to a terminal."""
        try:
            return os.isatty(self._fd)
        except OSError:
            return False

    def write(self, data: bytes) -> None:
        """Write all of ``data``. Raises ``OutputPipeClosed``, ``OutputError``, ``Interrupted``, ..."""
        if self._closed and data:
            raise OutputError(self._name, detail=CLOSED_DETAIL)
        for lines in _whole_lines(data):
            self._wait_writable()
            try:
                self._write_all(lines)
            finally:
                if self._lock is not None:
                    self._lock.release()

    def _wait_writable(self) -> None:
        """Wait until the descriptor is writable and the lock is held.

        The wait for the lock is limited: a process that was stopped (Ctrl-Z) in the middle of a line keeps it. While
        the descriptor is not writable, the holder may itself be waiting for that.
        """
        since: float | None = None
        while True:
            if not self._poller.poll(_POLL_MS):
                self._interrupt.check()
                since = None
            elif self._lock is None:
                return
            elif self._lock.try_acquire():
                self._lock_wait_failed = False
                if self._poller.poll(0):
                    return
                self._lock.release()  # another process filled the pipe meanwhile; it may need the lock again
            else:
                self._interrupt.check()
                now = time.monotonic()
                since = now if since is None else since
                if self._lock_wait_failed or now - since > MAX_LOCK_WAIT_S:
                    self._lock_wait_failed = True  # the next line does not wait again
                    return
                time.sleep(_LOCK_POLL_S)  # waiting in flock itself would delay an interrupt

    def _write_all(self, data: memoryview) -> None:
        while data:
            if not self._poller.poll(_POLL_MS):
                self._interrupt.check()
                continue
            try:
                data = data[os.write(self._fd, data[:_CHUNK_BYTES]) :]
            except BlockingIOError:  # a non-blocking pipe that another program filled since the poll
                self._interrupt.check()
                time.sleep(_LOCK_POLL_S)  # poll() may call a pipe writable that has no room for this chunk
            except OSError as error:
                if error.errno == errno.EPIPE:
                    raise OutputPipeClosed(self._name) from error
                raise OutputError(self._name, detail=error.strerror or "") from error
            if data:  # a reader that is always ready must not delay a signal either
                self._interrupt.check()


def _whole_lines(data: bytes) -> Iterator[memoryview]:
    """Yield ``data`` in groups of whole lines that fit PIPE_BUF, longer lines by themselves."""
    view, start = memoryview(data), 0
    while start < len(data):
        end = start + _CHUNK_BYTES
        if end < len(data):
            end = data.rfind(b"\n", start, end) + 1 or data.find(b"\n", end) + 1 or len(data)
        yield view[start:end]
        start = end


class TextStream:
    """The part of a text stream that help, version and completion need, on top of a ``DescriptorWriter``."""

    encoding = "utf-8"

    def __init__(self, writer: DescriptorWriter) -> None:
        self._writer = writer

    def write(self, text: str) -> int:
        """Write ``text`` as UTF-8, whatever the locale."""
        self._writer.write(text.encode("utf-8", "surrogateescape"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def isatty(self) -> bool:
        """Help is never coloured."""
        return False
