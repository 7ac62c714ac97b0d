"""Reading inputs: files, named pipes, devices, standard input; UTF-8 or a clear refusal.

A read that may block (a pipe, a terminal) is done by poll and ``os.read``, so that a signal or the deadline ends it:
Python restarts a blocking read after a signal handler that does not raise, and ours only set a flag.
"""

from __future__ import annotations

import io
import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from llmcli.errors import BinaryInput, IsADirectory, MissingError, NotUtf8
from llmcli.frozen_dataclass import frozen
from llmcli.interrupt import Interrupt

STDIN = "-"
"""The name of standard input, on a command line and of the document read from it."""

_READ_CHUNK_BYTES = 1 << 20
_POLL_MS = 100  # interval between checks for an interrupt

# first bytes -> format; only bytes that no text begins with
_BINARY_SIGNATURES = (
    (b"%PDF-1.", "PDF"),
    (b"%PDF-2.", "PDF"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh9\x31\x41\x59", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"GGUF\x02\x00", "GGUF"),
    (b"GGUF\x03\x00", "GGUF"),
    (b"\x7fELF", "ELF"),
    (b"SQLite format 3\x00", "SQLite"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document"),
    (b"OggS\x00", "Ogg"),
    (b"ID3\x03\x00", "MP3"),
    (b"ID3\x04\x00", "MP3"),
)
# four bytes before two: the mark of UTF-32 little endian begins with that of UTF-16
_NON_UTF8_BOMS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


@frozen
class Document:
    """A text and where it came from.

    ``name`` is as the user typed it, "-" for stdin; ``text`` has the line endings of the input; ``path`` is None for
    stdin; ``bom``: the input began with a byte order mark, which is not part of the text.
    """

    name: str
    text: str
    path: Path | None = None
    bom: bool = False


def decode_utf8(data: bytes, name: str) -> tuple[str, bool]:
    """Return the text of UTF-8 ``data`` and whether a byte order mark was taken off.

    Raises ``BinaryInput`` (a known binary format, or NUL bytes) and ``NotUtf8`` (with the offset in ``data``).
    """
    _refuse_binary(data, name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8(name, offset=error.start) from error
    return text.removeprefix("\ufeff"), text.startswith("\ufeff")


def _refuse_binary(data: bytes, name: str) -> None:
    for signature, what in _BINARY_SIGNATURES:
        if data.startswith(signature):
            raise BinaryInput(name, detail=what)
    for mark, encoding in _NON_UTF8_BOMS:
        if data.startswith(mark):
            raise NotUtf8(name, offset=0, detail=encoding)
    if b"\0" in data:
        raise BinaryInput(name)


def read_file(name: str, interrupt: Interrupt | None = None) -> Document:
    """Read the file, named pipe or device ``name`` to its end.

    Raises ``MissingError`` (kind "input", ``detail`` from the operating system), ``IsADirectory``, what
    ``decode_utf8`` raises, and what ``interrupt.check()`` raises.
    """
    with _open_input(name) as fd:
        data = _read_to_end(fd, name, interrupt or Interrupt(), None, 0)
    text, bom = decode_utf8(data, name)
    return Document(name, text, Path(name), bom)


@contextmanager
def open_stream(name: str, interrupt: Interrupt) -> Iterator[BinaryIO]:
    """Open the file, named pipe or device ``name`` as a stream of bytes, for what need not be in memory as a whole.

    Raises ``MissingError`` and ``IsADirectory``; reading raises what ``interrupt.check()`` raises.
    """
    with _open_input(name) as fd, io.BufferedReader(_PollingReader(fd, name, interrupt), _READ_CHUNK_BYTES) as stream:
        yield stream


class _PollingReader(io.RawIOBase):
    """A descriptor that is polled and read; it stays open when this is closed."""

    def __init__(self, fd: int, name: str, interrupt: Interrupt) -> None:
        super().__init__()
        self._fd = fd
        self._name = name
        self._interrupt = interrupt
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            self._interrupt.check()
            if not self._poll.poll(_POLL_MS):
                continue
            try:
                data = os.read(self._fd, len(buffer))
            except BlockingIOError:  # another process reads the same file description
                continue
            except OSError as error:
                raise MissingError(self._name, kind="input", detail=error.strerror or "") from error
            buffer[: len(data)] = data
            return len(data)


@contextmanager
def _open_input(name: str) -> Iterator[int]:
    """Open an input and close it. Raises ``IsADirectory`` and ``MissingError``."""
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
        return os.dup(0)  # opening these again fails on sockets, and moves a file back to its beginning
    # without O_NONBLOCK, opening a named pipe blocks until there is a writer, whatever signals come
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise IsADirectoryError(name)
    return fd


def read_stdin(
    fd: int, interrupt: Interrupt, waiting: Callable[[], None] | None = None, patience: float = 2.0
) -> bytes:
    """Read descriptor ``fd`` to its end; calls ``waiting`` once after ``patience`` seconds without any data.

    Raises what ``interrupt.check()`` raises, at most 0.1 s after its cause; ``BinaryInput`` or ``NotUtf8`` as soon as
    the bytes show that they are no text (a huge binary is not read to its end), ``IsADirectory``,
    ``MissingError`` (kind "input") when it cannot be read.
    """
    return _read_to_end(fd, STDIN, interrupt, waiting, patience)


def _read_to_end(
    fd: int, name: str, interrupt: Interrupt, waiting: Callable[[], None] | None, patience: float
) -> bytes:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    start = time.monotonic()
    data = bytearray()
    while True:
        interrupt.check()
        if not poll.poll(_POLL_MS if waiting is None else min(_POLL_MS, patience * 1000)):
            if waiting is not None and not data and time.monotonic() - start >= patience:
                waiting()
                waiting = None
            continue
        try:
            piece = os.read(fd, _READ_CHUNK_BYTES)
        except BlockingIOError:  # another process reads the same file description
            continue
        except IsADirectoryError as error:
            raise IsADirectory(name) from error
        except OSError as error:
            raise MissingError(name, kind="input", detail=error.strerror or "") from error
        if not piece:
            return bytes(data)
        data += piece
        if b"\0" in piece:
            _refuse_binary(bytes(data), name)
