"""A cursor over a GGUF header that believes no length before it has compared it with the size of the file.

Encoding of metadata values: docs/gguf.md of ggml.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from llmcli.errors import BadModelFile

_BLOCK = 1 << 20
_KEPT_NUMBERS = 1024  # longer arrays are scores and token types of vocabularies
_KEPT_STRINGS = 64  # longer arrays are vocabularies
_VOCABULARY = "tokenizer.ggml."  # arrays of these keys are never kept: what matters of them is kind and length
_KEPT_BYTES = 64 << 20  # of all texts together; real headers keep some 100 kB

# metadata value types: number -> struct format
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_KINDS = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 10: "u64", 11: "i64"}
_KINDS |= {12: "f64", 8: "string"}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")


class Stream(Protocol):
    """What the reader needs of a file: ``read(n)`` returns up to n bytes, b"" at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        ...


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """An array that was not kept: the kind of its elements ("string", "f32", ...) and how many they are."""

    kind: str
    length: int


class Reader:
    """A cursor over a stream; every claim is checked against ``size``, the size of the whole file in bytes."""

    def __init__(self, stream: Stream, size: int, subject: str) -> None:
        self.size = size
        self._stream = stream
        self._subject = subject
        self._data = b""
        self._at = 0  # cursor in _data
        self._before = 0  # bytes of the file that came before _data
        self._kept = 0  # bytes of texts

    @property
    def position(self) -> int:
        """Bytes of the file read so far."""
        return self._before + self._at

    def fail(self, detail: str) -> NoReturn:
        """Raise ``BadModelFile``."""
        raise BadModelFile(self._subject, detail=detail)

    def _need(self, count: int) -> None:
        """Have ``count`` bytes after the cursor in the buffer."""
        missing = count - (len(self._data) - self._at)
        if missing <= 0:
            return
        if self.position + count > self.size:
            self.fail(f"it ends inside its header, at byte {self.size} (truncated?)")
        pieces = [self._data[self._at :]]
        while missing > 0:
            piece = self._stream.read(max(missing, _BLOCK))
            if not piece:
                self.fail("it ends inside its header (truncated?)")
            pieces.append(piece)
            missing -= len(piece)
        self._before += self._at
        self._data, self._at = b"".join(pieces), 0

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        self._need(count)
        start = self._at
        self._at += count
        return self._data[start : self._at]

    def scalar(self, code: str) -> Any:
        """Return the next number, of the ``struct`` format ``code``."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def string(self, limit: int | None = None, what: str = "") -> str:
        """Return the next text, of at most ``limit`` bytes; ``what`` names it in the error."""
        length = self.scalar("Q")
        if limit is not None and length > limit:
            self.fail(f"{what} of {length} bytes")
        if self.position + length > self.size:
            self.fail(f"a text of {length} bytes ends beyond the file (truncated?)")
        self._kept += length
        if self._kept > _KEPT_BYTES:
            self.fail(f"texts of {self._kept} bytes in its header")
        return self.take(length).decode("utf-8", "replace")

    def value(self, key: str) -> Any:
        """Return the next metadata value: a number, a text, a tuple, or a ``SkippedArray``."""
        kind = self.scalar("I")
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            self.fail(f"the metadata key {key!r} has a value of the unknown type {kind}")
        return self._array(key)

    def _array(self, key: str) -> Any:
        kind, length = self.scalar("I"), self.scalar("Q")
        if kind != _STRING and kind not in _SCALARS:
            self.fail(f"the metadata key {key!r} has an array of the unknown type {kind}")
        width = _LENGTH.size if kind == _STRING else struct.calcsize("<" + _SCALARS[kind])
        if self.position + length * width > self.size:
            self.fail(f"the metadata key {key!r} has an array of {length} elements, more than the file holds")
        kept = not key.startswith(_VOCABULARY)
        if kind == _STRING:
            if kept and length <= _KEPT_STRINGS:
                return tuple(self.string() for _ in range(length))
            self._skip_strings(length)
        elif kept and length <= _KEPT_NUMBERS:
            return struct.unpack(f"<{length}{_SCALARS[kind]}", self.take(length * width))
        else:
            self._skip(length * width)
        return SkippedArray(_KINDS[kind], length)

    def _skip(self, count: int) -> None:
        """Go on by ``count`` bytes without holding more than one block of them."""
        while count > 0:
            step = min(count, _BLOCK)
            self._need(step)
            self._at += step
            count -= step

    def _skip_strings(self, count: int) -> None:
        """Go past ``count`` strings; a tight loop, since vocabularies have hundreds of thousands."""
        unpack, width = _LENGTH.unpack_from, _LENGTH.size
        while count > 0:
            self._need(width)
            data, at, last = self._data, self._at, len(self._data) - width
            while count > 0 and at <= last:
                end = at + width + unpack(data, at)[0]
                if end > len(data):
                    break
                at = end
                count -= 1
            self._at = at
            if count > 0 and at <= last:  # one that does not end in the buffer
                length = self.scalar("Q")
                if self.position + length > self.size:
                    self.fail(f"a text of {length} bytes ends beyond the file (truncated?)")
                self._skip(length)
                count -= 1
