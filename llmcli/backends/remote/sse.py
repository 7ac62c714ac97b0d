"""Server-sent events: from the bytes of an answer to the data of its events.

Source: WHATWG HTML, "Server-sent events", sections "Parsing an event stream" and "Interpreting an event stream".
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

_LINE_END = re.compile(r"\r\n|\r|\n")


class TooLong(Exception):
    """A line, or the data of an event, goes on beyond every bound."""


class EventStream:
    """Takes bytes as they come and yields the data of each event that is complete; ``longest`` in characters.

    What was not ended by a blank line when the stream ends is no event: the standard discards it, and so does this.
    """

    def __init__(self, longest: int = 1 << 20) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._longest = longest
        self._rest = ""
        self._data: list[str] = []
        self._size = 0
        self._first = True

    def feed(self, block: bytes) -> Iterator[str]:
        """Yield the data of the events that ``block`` completes. Raises ``TooLong``, and ``UnicodeDecodeError``.

        The standard reads what is not UTF-8 as U+FFFD, which would be a wrong answer that nobody is told of.
        """
        text = self._rest + self._decode(block)
        if self._first and text:
            text, self._first = text.removeprefix("\ufeff"), False
        start = 0
        for end in _LINE_END.finditer(text):
            if end.group() == "\r" and end.end() == len(text):
                break  # a line feed may follow in the next block
            data = self._line(text[start : end.start()])
            start = end.end()
            if data is not None:
                yield data
        self._rest = text[start:]
        if len(self._rest) > self._longest:
            raise TooLong

    def _line(self, line: str) -> str | None:
        """Take one line; return the data of the event that it ends, None where it ends none."""
        if not line:
            data, self._data, self._size = self._data, [], 0
            return "\n".join(data) if data else None
        name, _, value = line.partition(":")
        if name == "data":
            value = value.removeprefix(" ")
            self._data.append(value)
            self._size += len(value)
            if self._size > self._longest:
                raise TooLong
        return None  # a comment, or a field that says nothing about answers: event, id, retry
