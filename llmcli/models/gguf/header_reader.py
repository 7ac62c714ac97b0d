"""A cursor over a GGUF header that checks every length against the size of the file before it uses it.

Encoding of metadata values: docs/gguf.md of ggml.
"""

from __future__ import annotations

import struct
from typing import Any, NoReturn, Protocol

from llmcli.errors import BadModelFile
from llmcli.frozen_dataclass import frozen

_BLOCK_BYTES = 1 << 20
_MAX_KEPT_NUMBERS = 1024  # longer arrays are scores and token types of vocabularies
_MAX_KEPT_STRINGS = 64  # longer arrays are vocabularies
_VOCABULARY_PREFIX = "tokenizer.ggml."  # arrays of these keys are never kept: only kind and length matter
_MAX_STRING_BYTES = 64 << 20  # of all texts together; real headers keep some 100 kB

# metadata value types: number -> struct format
_SCALAR_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_KINDS = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 10: "u64", 11: "i64"}
_KINDS |= {12: "f64", 8: "string"}
_STRING_TYPE, _ARRAY_TYPE = 8, 9
_LENGTH_STRUCT = struct.Struct("<Q")


class ByteStream(Protocol):
    """A file for the reader: ``read(n)`` returns up to n bytes, b"" at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        ...


@frozen
class SkippedArray:
    """An array that was not kept: the kind of its elements ("string", "f32", ...) and their number."""

    kind: str
    length: int


class HeaderReader:
    """A cursor over a stream; every claim is checked against ``size``, the size of the whole file in bytes."""

    def __init__(self, stream: ByteStream, size: int, subject: str) -> None:
        self.size = size
        self._stream = stream
        self._subject = subject
        self._buffer = b""
        self._cursor = 0  # position in _buffer
        self._buffer_offset = 0  # bytes of the file before _buffer
        self._string_bytes = 0  # bytes of texts

    @property
    def position(self) -> int:
        """Bytes of the file read so far."""
        return self._buffer_offset + self._cursor

    def fail(self, detail: str) -> NoReturn:
        """Raise ``BadModelFile``."""
        raise BadModelFile(self._subject, detail=detail)

    def _fill_buffer(self, count: int) -> None:
        """Make sure that the buffer has ``count`` bytes after the cursor."""
        missing = count - (len(self._buffer) - self._cursor)
        if missing <= 0:
            return
        if self.position + count > self.size:
            self.fail(f"it ends inside its header, at byte {self.size} (truncated?)")
        pieces = [self._buffer[self._cursor :]]
        while missing > 0:
            piece = self._stream.read(max(missing, _BLOCK_BYTES))
            if not piece:
                self.fail("it ends inside its header (truncated?)")
            pieces.append(piece)
            missing -= len(piece)
        self._buffer_offset += self._cursor
        self._buffer, self._cursor = b"".join(pieces), 0

    def read_bytes(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        self._fill_buffer(count)
        start = self._cursor
        self._cursor += count
        return self._buffer[start : self._cursor]

    def read_scalar(self, code: str) -> Any:
        """Return the next number, of the ``struct`` format ``code``."""
        return struct.unpack("<" + code, self.read_bytes(struct.calcsize("<" + code)))[0]

    def read_string(self, limit: int | None = None, what: str = "") -> str:
        """Return the next text, of at most ``limit`` bytes; ``what`` names it in the error."""
        length = self.read_scalar("Q")
        if limit is not None and length > limit:
            self.fail(f"{what} of {length} bytes is too long")
        if self.position + length > self.size:
            self.fail(f"a text of {length} bytes ends beyond the file (truncated?)")
        self._string_bytes += length
        if self._string_bytes > _MAX_STRING_BYTES:
            self.fail(f"its header has too much text: {self._string_bytes} bytes")
        return self.read_bytes(length).decode("utf-8", "replace")

    def read_value(self, key: str) -> Any:
        """Return the next metadata value: a number, a text, a tuple, or a ``SkippedArray``."""
        kind = self.read_scalar("I")
        if kind in _SCALAR_FORMATS:
            return self.read_scalar(_SCALAR_FORMATS[kind])
        if kind == _STRING_TYPE:
            return self.read_string()
        if kind != _ARRAY_TYPE:
            self.fail(f"the metadata key {key!r} has a value of the unknown type {kind}")
        return self._read_array(key)

    def _read_array(self, key: str) -> Any:
        kind, length = self.read_scalar("I"), self.read_scalar("Q")
        if kind != _STRING_TYPE and kind not in _SCALAR_FORMATS:
            self.fail(f"the metadata key {key!r} has an array of the unknown type {kind}")
        width = _LENGTH_STRUCT.size if kind == _STRING_TYPE else struct.calcsize("<" + _SCALAR_FORMATS[kind])
        if self.position + length * width > self.size:
            self.fail(f"the metadata key {key!r} has an array of {length} elements, more than the file holds")
        kept = not key.startswith(_VOCABULARY_PREFIX)
        if kind == _STRING_TYPE:
            if kept and length <= _MAX_KEPT_STRINGS:
                return tuple(self.read_string() for _ in range(length))
            self._skip_strings(length)
        elif kept and length <= _MAX_KEPT_NUMBERS:
            return struct.unpack(f"<{length}{_SCALAR_FORMATS[kind]}", self.read_bytes(length * width))
        else:
            self._skip(length * width)
        return SkippedArray(_KINDS[kind], length)

    def _skip(self, count: int) -> None:
        """Skip ``count`` bytes without holding more than one block of them."""
        while count > 0:
            step = min(count, _BLOCK_BYTES)
            self._fill_buffer(step)
            self._cursor += step
            count -= step

    def _skip_strings(self, count: int) -> None:
        """Skip ``count`` strings in a tight loop, since vocabularies have hundreds of thousands."""
        unpack, width = _LENGTH_STRUCT.unpack_from, _LENGTH_STRUCT.size
        while count > 0:
            self._fill_buffer(width)
            data, position, last = self._buffer, self._cursor, len(self._buffer) - width
            while count > 0 and position <= last:
                end = position + width + unpack(data, position)[0]
                if end > len(data):
                    break
                position = end
                count -= 1
            self._cursor = position
            if count > 0 and position <= last:  # the string does not end in the buffer
                length = self.read_scalar("Q")
                if self.position + length > self.size:
                    self.fail(f"a text of {length} bytes ends beyond the file (truncated?)")
                self._skip(length)
                count -= 1
