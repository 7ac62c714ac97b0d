"""Reading inputs: files, named pipes, devices, standard input.

Reads that may block (pipes, terminals) use poll and ``os.read``, so that a signal or the deadline ends them: Python
restarts a blocking read after a signal handler that does not raise, and ours only set a flag.
"""

from __future__ import annotations

import io
import os
import select
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmcli.documents.reading.document import STDIN, Document, open_document, refuse_unreadable
from llmcli.errors import BadDocument, IsADirectory, MissingError
from llmcli.interrupt import Interrupt

_READ_CHUNK_BYTES = 1 << 20
_STREAM_CHUNK_BYTES = 1 << 16
MAX_BINARY_BYTES = 256 << 20
"""The largest document in a binary format, which is kept in memory."""
MIN_LARGE_BYTES = 1 << 20
"""A text file of at least this size can be read in blocks; a smaller one is read as a whole."""
MAX_TEXT_BYTES = 64 << 20
"""The largest text that is kept in memory; ``streamed_file`` reads larger ones in blocks."""
TOO_LARGE = f"it is larger than {MAX_TEXT_BYTES >> 20} MiB, and this command keeps a text in memory; split it"
_POLL_MS = 100  # interval between checks for an interrupt
_PATIENCE_S = 2.0
"""Seconds without data after which a command says that it waits for standard input."""


def read_file(name: str, interrupt: Interrupt | None = None) -> Document:
    """Read the file, named pipe or device ``name`` to its end.

    Raises ``MissingError`` (kind "input", ``detail`` from the operating system), ``IsADirectory``, what
    ``open_document`` raises, and what ``interrupt.check()`` raises.
    """
    return open_document(read_bytes(name, interrupt or Interrupt()), name, Path(name))


def read_bytes(
    name: str, interrupt: Interrupt, refuse_binary: Callable[[bytes, str], None] = refuse_unreadable
) -> bytes:
    """Return the bytes of the file, named pipe or device ``name``; ``refuse_binary`` as in ``read_stdin``.

    Raises as ``read_stdin`` does.
    """
    with _open_input(name) as fd:
        return _read_to_end(fd, name, interrupt, None, 0, refuse_binary)


def is_large_file(name: str) -> bool:
    """Whether ``name`` is that of a regular file of at least ``MIN_LARGE_BYTES``; no errors are raised."""
    try:
        status = os.stat(name)  # noqa: PTH116 (a Path raises for some names)
    except (OSError, ValueError):  # reading it says what is wrong
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size >= MIN_LARGE_BYTES


@contextmanager
def open_stream(name: str, interrupt: Interrupt) -> Iterator[io.BufferedReader[Any]]:
    """Open the file, named pipe or device ``name`` as a stream of bytes, for inputs that need not be in memory at once.

    Raises ``MissingError`` and ``IsADirectory``; reading raises what ``interrupt.check_input()`` raises. Regular files
    can be read at any position.
    """
    with _open_input(name) as fd:
        reader = _PollingReader(fd, name, interrupt.check_input)
        with io.BufferedReader(reader, _STREAM_CHUNK_BYTES) as stream:
            yield stream


@contextmanager
def open_stdin_stream(
    fd: int,
    interrupt: Interrupt,
    waiting: Callable[[], None],
    observe: Callable[[memoryview], object] | None,
) -> Iterator[io.BufferedReader[Any]]:
    """Return descriptor ``fd`` as a stream of bytes that are read as they arrive; it stays open.

    ``waiting`` is as in ``read_stdin``; reading raises as with ``open_stream``. ``observe`` is called
    with all bytes that are read.
    """
    reader = _PollingReader(fd, STDIN, interrupt.check_input, waiting, _PATIENCE_S, observe)
    with io.BufferedReader(reader, _STREAM_CHUNK_BYTES) as stream:
        yield stream


def require_unchanged(stream: io.BufferedReader[Any], name: str) -> None:
    """Raise ``BadDocument`` if the file behind a stream of this module no longer has the bytes that were read.

    It may have grown since: what was read is then all of the file as it was. A pipe cannot change.
    """
    assert isinstance(stream.raw, _PollingReader)
    stream.raw.version.require_same(name)


class _FileVersion:
    """What has been read of a regular file, one part after the other; for other files it is always the same."""

    def __init__(self, fd: int) -> None:
        status = os.fstat(fd)
        self._fd = fd
        self._is_regular = stat.S_ISREG(status.st_mode)
        self._start = self._end = os.lseek(fd, 0, os.SEEK_CUR) if self._is_regular else 0
        self._known = status.st_size, status.st_mtime_ns
        self._checksum = 0
        self._in_order = True

    def add(self, data: bytes | memoryview) -> None:
        """Add the next bytes that were read."""
        self._end += len(data)
        self._checksum = zlib.crc32(data, self._checksum)

    def seek(self, offset: int) -> None:
        """Note the offset of the next bytes that are read."""
        self._in_order = self._in_order and offset == self._end

    def require_same(self, name: str) -> None:
        """Raise ``BadDocument`` if the file has changed and no longer begins with the bytes that were read."""
        status = os.fstat(self._fd)
        if not self._is_regular or (status.st_size, status.st_mtime_ns) == self._known:
            return
        offset, checksum = self._start, 0
        while self._in_order and offset < self._end:
            data = os.pread(self._fd, min(_READ_CHUNK_BYTES, self._end - offset), offset)
            if not data:
                break
            offset, checksum = offset + len(data), zlib.crc32(data, checksum)
        if (offset, checksum) != (self._end, self._checksum):
            raise BadDocument(name, detail="the file changed while it was read")


class _PollingReader(io.RawIOBase):
    """A descriptor that is polled and read; closing this object leaves it open.

    ``check`` is called before each poll and may raise. ``waiting`` is called once after ``patience`` seconds without
    any data.
    """

    def __init__(
        self,
        fd: int,
        name: str,
        check: Callable[[], None],
        waiting: Callable[[], None] | None = None,
        patience: float = 0.0,
        observe: Callable[[memoryview], object] | None = None,
    ) -> None:
        super().__init__()
        self._observe = observe
        self._waiting = waiting
        self._silent_until = time.monotonic() + patience
        self._fd = fd
        self._name = name
        self._check = check
        self.version = _FileVersion(fd)
        """What was read so far."""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return stat.S_ISREG(os.fstat(self._fd).st_mode)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = os.lseek(self._fd, offset, whence)
        self.version.seek(position)
        return position

    def tell(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def readinto(self, buffer: Any) -> int:
        while True:
            self._check()
            if not self._poll.poll(_POLL_MS):
                if self._waiting is not None and time.monotonic() >= self._silent_until:
                    self._waiting()
                    self._waiting = None
                continue
            self._waiting = None
            try:
                count = os.readv(self._fd, [buffer])
            except BlockingIOError:  # another process reads the same file description
                continue
            except IsADirectoryError as error:
                raise IsADirectory(self._name) from error
            except OSError as error:
                raise MissingError(self._name, kind="input", detail=error.strerror or "") from error
            self.version.add(memoryview(buffer)[:count])
            if self._observe is not None:
                self._observe(memoryview(buffer)[:count])
            return count


@contextmanager
def _open_input(name: str) -> Iterator[int]:
    """Open an input; close it after the block. Raises ``IsADirectory`` and ``MissingError``."""
    try:
        fd = _open_nonblocking(name)
    except IsADirectoryError as error:
        raise IsADirectory(name) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise MissingError(name, kind="input", detail=getattr(error, "strerror", None) or str(error)) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _open_nonblocking(name: str) -> int:
    if name in {"/dev/stdin", "/dev/fd/0"}:
        return os.dup(0)  # opening these again fails on sockets, and rewinds a file
    # without O_NONBLOCK, opening a named pipe blocks until there is a writer, whatever signals come
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise IsADirectoryError(name)
    return fd


def read_stdin(
    fd: int,
    interrupt: Interrupt,
    waiting: Callable[[], None] | None = None,
    patience: float = _PATIENCE_S,
    refuse_binary: Callable[[bytes, str], None] = refuse_unreadable,
) -> bytes:
    """Read descriptor ``fd`` to its end; calls ``waiting`` once after ``patience`` seconds without any data.

    Raises what ``interrupt.check()`` raises, at most 0.1 s after its cause; what ``refuse_binary`` raises for the bytes
    so far at their first NUL (a huge binary is not read to its end), ``BadDocument`` for more than ``MAX_BINARY_BYTES``
    of a binary document or ``MAX_TEXT_BYTES`` of a text, and for a file that changed while it was read,
    ``IsADirectory``, and ``MissingError`` (kind "input") for an unreadable input.
    """
    return _read_to_end(fd, STDIN, interrupt, waiting, patience, refuse_binary)


def _read_to_end(
    fd: int,
    name: str,
    interrupt: Interrupt,
    waiting: Callable[[], None] | None,
    patience: float,
    refuse_binary: Callable[[bytes, str], None],
) -> bytes:
    reader = _PollingReader(fd, name, interrupt.check, waiting, patience)
    data = bytearray()
    chunk = memoryview(bytearray(_READ_CHUNK_BYTES))
    is_binary = False
    while count := reader.readinto(chunk):
        data += chunk[:count]
        if not is_binary and data.find(0, len(data) - count) >= 0:
            refuse_binary(bytes(data), name)
            is_binary = True
        _check_size(len(data), name, is_binary=is_binary)
    reader.version.require_same(name)
    return bytes(data)


def _check_size(size: int, name: str, *, is_binary: bool) -> None:
    if is_binary and size > MAX_BINARY_BYTES:
        raise BadDocument(name, detail=f"it is larger than {MAX_BINARY_BYTES >> 20} MiB")
    if not is_binary and size > MAX_TEXT_BYTES:
        raise BadDocument(name, detail=TOO_LARGE)
