"""A body of multipart/form-data, read as it arrives: a file of any size takes little memory.

Source of the format: RFC 7578; RFC 2046, section 5.1, for the delimiters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from llmcli.fast_dataclass import frozen

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*(name|filename)="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_MAX_HEAD_BYTES = 8192
_HEAD_END = b"\r\n\r\n"


class MultipartError(Exception):
    """The body is not multipart/form-data."""


@frozen
class FormPart:
    """The head of a part: the field's name, and the name of the file, None for a plain value."""

    name: str
    filename: str | None


def find_boundary(content_type: str) -> bytes:
    """Return the boundary that a Content-Type header names. Raises ``MultipartError``."""
    found = _BOUNDARY.search(content_type)
    if found is None or not content_type.lower().startswith("multipart/form-data"):
        raise MultipartError("the body is not multipart/form-data with a boundary")
    return (found[1] or found[2]).encode("latin-1", "replace")


class MultipartParser:
    """Takes the bytes of a body in pieces. ``on_part`` gets the head of each part, ``on_data`` pieces of its content."""

    def __init__(
        self, boundary: bytes, on_part: Callable[[FormPart], object], on_data: Callable[[bytes], object]
    ) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._on_part = on_part
        self._on_data = on_data
        self._buffer = b"\r\n"  # so that the first delimiter is like all others
        self._read = self._skip_preamble
        self.complete = False
        """Whether the last delimiter has come."""

    def feed(self, data: bytes) -> None:
        """Add bytes. Raises ``MultipartError``."""
        self._buffer += data
        while self._read():
            pass

    # each of these takes what it can from the buffer, and returns whether another one may go on

    def _skip_preamble(self) -> bool:
        return self._take_until_delimiter(lambda _: None)

    def _read_content(self) -> bool:
        return self._take_until_delimiter(self._on_data)

    def _take_until_delimiter(self, take: Callable[[bytes], object]) -> bool:
        at = self._buffer.find(self._delimiter)
        # the end of the buffer may be the beginning of a delimiter
        end = at if at >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        if end:
            take(self._buffer[:end])
        self._buffer = self._buffer[end:]
        if at >= 0:
            self._buffer = self._buffer[len(self._delimiter) :]
            self._read = self._read_delimiter_end
        return at >= 0

    def _read_delimiter_end(self) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if self._buffer.startswith(b"--"):
            self.complete, self._read = True, self._skip_epilogue
            return True
        if not found:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise MultipartError("a delimiter has no end")
            return False
        if line.strip(b" \t"):
            raise MultipartError("a delimiter is followed by text")
        self._buffer, self._read = b"\r\n" + rest, self._read_head  # the head may be empty
        return True

    def _read_head(self) -> bool:
        at = self._buffer.find(_HEAD_END)
        if at < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise MultipartError("the head of a part is too long")
            return False
        self._on_part(_parse_head(self._buffer[:at].decode("utf-8", "replace")))
        self._buffer, self._read = self._buffer[at + len(_HEAD_END) :], self._read_content
        return True

    def _skip_epilogue(self) -> bool:
        self._buffer = b""
        return False


def _parse_head(head: str) -> FormPart:
    for line in head.split("\r\n"):
        field, _, value = line.partition(":")
        if field.strip().lower() == "content-disposition":
            found = {name.lower(): re.sub(r"\\(.)", r"\1", text) for name, text in _PARAMETER.findall(value)}
            if "name" in found:
                return FormPart(found["name"], found.get("filename"))
    raise MultipartError("a part has no name")
