"""A body of multipart/form-data, read as it arrives: a file of any size takes little memory.

Source of the format: RFC 7578; python-multipart parses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_BOUNDARY_BYTES = 70
"""As in RFC 2046."""


class MultipartError(Exception):
    """The body is not multipart/form-data."""


@frozen
class FormPart:
    """The head of a part: the field's name, and the name of the file, None for a plain value."""

    name: str
    filename: str | None


def find_boundary(content_type: str) -> bytes:
    """Return the boundary that a Content-Type header names. Raises ``MultipartError``."""
    kind, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary", b"")
    if kind.lower() != b"multipart/form-data" or not 0 < len(boundary) <= _MAX_BOUNDARY_BYTES:
        raise MultipartError("the body is not multipart/form-data with a boundary")
    return boundary


class MultipartParser:
    """Takes the bytes of a body in pieces.

    ``on_part`` gets the head of each part, ``on_data`` pieces of its content.
    """

    def __init__(
        self, boundary: bytes, on_part: Callable[[FormPart], object], on_data: Callable[[bytes], object]
    ) -> None:
        self._on_part = on_part
        self._on_data = on_data
        self._field, self._value = b"", b""
        self._disposition = b""
        self.complete = False
        """Whether the last delimiter has come."""
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_to_field,
            "on_header_value": self._add_to_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_head,
            "on_part_data": self._pass_data,
            "on_end": self._end,
        }
        self._parser = python_multipart.MultipartParser(boundary, callbacks)

    def feed(self, data: bytes) -> None:
        """Add bytes. Raises ``MultipartError``."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise MultipartError(str(error)) from error

    def _begin_part(self) -> None:
        self._field, self._value, self._disposition = b"", b"", b""

    def _add_to_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field, self._value = b"", b""

    def _end_head(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        name, filename = parameters.get(b"name"), parameters.get(b"filename")
        if name is None:
            raise MultipartError("a part has no name")
        words = None if filename is None else filename.decode("utf-8", "replace")
        self._on_part(FormPart(name.decode("utf-8", "replace"), words))

    def _pass_data(self, data: bytes, start: int, end: int) -> None:
        self._on_data(data[start:end])

    def _end(self) -> None:
        self.complete = True
