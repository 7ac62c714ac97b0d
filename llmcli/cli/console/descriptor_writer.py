"""Writing to a descriptor: at once, in whole lines, and without delaying signals."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmcli.errors import OutputError, OutputPipeClosed
from llmcli.interrupt import Interrupt

if TYPE_CHECKING:
    from llmcli.cli.console.output_lock import OutputLock

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
