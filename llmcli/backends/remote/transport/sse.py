"""Server-sent events: from the bytes of an answer to the data of its events.

Source: WHATWG HTML, "Server-sent events", sections "Parsing an event stream" and "Interpreting an event stream".
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

_LINE_END = re.compile(r"\r\n|\r|\n")


class EventTooLong(Exception):
    """A line, or the data of an event, exceeds the limit."""


class EventStream:
    """Takes bytes as they arrive and yields the data of each complete event; ``max_chars``: its longest.

    An event without a blank line after it when the stream ends is discarded, as the standard says.
    """

    def __init__(self, max_chars: int = 1 << 20) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._max_chars = max_chars
        self._partial_line = ""
        self._data: list[str] = []
        self._data_chars = 0
        self._at_start = True

    def feed(self, block: bytes) -> Iterator[str]:
        """Yield the data of the events that ``block`` completes. Raises ``EventTooLong``, and ``UnicodeDecodeError``.

        The standard reads bytes that are not UTF-8 as U+FFFD, which would silently be a wrong answer.
        """
        text = self._partial_line + self._decode(block)
        if self._at_start and text:
            text, self._at_start = text.removeprefix("\ufeff"), False
        start = 0
        for end in _LINE_END.finditer(text):
            if end.group() == "\r" and end.end() == len(text):
                break  # a line feed may follow in the next block
            data = self._parse_line(text[start : end.start()])
            start = end.end()
            if data is not None:
                yield data
        self._partial_line = text[start:]
        if len(self._partial_line) > self._max_chars:
            raise EventTooLong

    def _parse_line(self, line: str) -> str | None:
        """Process one line; return the data of the event that it ends, or None."""
        if not line:
            data, self._data, self._data_chars = self._data, [], 0
            return "\n".join(data) if data else None
        name, _, value = line.partition(":")
        if name == "data":
            value = value.removeprefix(" ")
            self._data.append(value)
            self._data_chars += len(value)
            if self._data_chars > self._max_chars:
                raise EventTooLong
        return None  # a comment, or a field that says nothing about answers: event, id, retry
