"""What surrounds the process: three descriptors and the environment, as one object that tests can replace."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Mapping
from dataclasses import field

from llmcli.errors import OutputError, ReaderGone
from llmcli.interrupt import Interrupt
from llmcli.values import frozen

_CHUNK = 4096  # POSIX: a pipe that polls writable takes this much (PIPE_BUF) without blocking
_POLL_MS = 100
CLOSED = "it is closed"
"""What is said of a descriptor that the caller had closed."""


@frozen
class World:
    """Descriptors and environment of one run. ``closed`` names those of 0, 1, 2 that the caller had closed."""

    stdin: int = 0
    stdout: int = 1
    stderr: int = 2
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    closed: frozenset[int] = frozenset()

    def terminal(self, fd: int) -> bool:
        """Whether ``fd`` is a terminal."""
        try:
            return os.isatty(fd)
        except OSError:
            return False

    def columns(self, fd: int) -> int:
        """Width of the terminal ``fd`` in columns: COLUMNS, else what the terminal says, else 80."""
        wanted = self.environ.get("COLUMNS", "")
        if wanted.isdecimal() and int(wanted) > 0:
            return int(wanted)
        try:
            return os.get_terminal_size(fd).columns or 80
        except OSError:
            return 80

    def rows(self, fd: int) -> int:
        """Height of the terminal ``fd`` in rows, 24 where it does not say."""
        try:
            return os.get_terminal_size(fd).lines or 24
        except OSError:
            return 24


class Writer:
    """Writes to a descriptor at once and without a buffer, so that nothing is left to fail at the end of the process.

    A stalled reader does not hold back a signal: the descriptor is polled, and the interrupt asked in between.
    """

    def __init__(self, fd: int, interrupt: Interrupt, *, closed: bool = False, name: str = "standard output") -> None:
        self._fd = fd
        self._interrupt = interrupt
        self._closed = closed
        self._name = name

    def write(self, data: bytes) -> None:
        """Write all of ``data``. Raises ``ReaderGone``, ``OutputError``, ``Interrupted``, ..."""
        if self._closed and data:
            raise OutputError(self._name, detail=CLOSED)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        view = memoryview(data)
        while view:
            if not poll.poll(_POLL_MS):
                self._interrupt.check()
                continue
            try:
                view = view[os.write(self._fd, view[:_CHUNK]) :]
            except BlockingIOError:
                continue  # somebody else filled a shared pipe between poll and write
            except OSError as error:
                if error.errno == errno.EPIPE:
                    raise ReaderGone(self._name) from error
                raise OutputError(self._name, detail=error.strerror or "") from error
            if view:  # a reader that is always ready for more must not keep a signal waiting either
                self._interrupt.check()


class TextStream:
    """The little of a text stream that help, version and completion write to, on top of a ``Writer``."""

    encoding = "utf-8"

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, text: str) -> int:
        """Write ``text`` as UTF-8, whatever the locale."""
        self._writer.write(text.encode("utf-8", "surrogateescape"))
        return len(text)

    def flush(self) -> None:
        """Nothing is ever held back."""

    def isatty(self) -> bool:
        """Help is never coloured."""
        return False
