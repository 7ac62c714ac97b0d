"""Writers for the text of one item: line by line in a pipe, sanitized on a terminal, rendered if it is Markdown."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from llmcli.cli.console.descriptor_writer import DescriptorWriter

if TYPE_CHECKING:
    from llmcli.cli.console.sanitize import Sanitizer


class ByteSink(Protocol):
    """Where bytes go: stdout, or the file of ``-o``."""

    def write(self, data: bytes) -> None:
        """Write all of ``data``."""
        ...


class TextWriter(Protocol):
    """Receives a text in pieces."""

    def feed(self, text: str) -> None:
        """Show the next piece."""
        ...

    def finish(self) -> None:
        """End the text."""
        ...

    def abandon(self) -> None:
        """Stop in the middle, at the start of a line unless the text is a document."""
        ...


class TextEnding(Enum):
    """How a text ends: a generated answer with exactly one newline, a document unchanged except on a terminal."""

    LINE = auto()
    DOCUMENT = auto()


class PlainTextWriter:
    """Text unchanged, in whole lines; on a terminal every piece at once, without control sequences."""

    def __init__(self, sink: ByteSink, *, ending: TextEnding, terminal: bool) -> None:
        self._sink = sink
        self._ending = ending
        self._sanitizer: Sanitizer | None = None
        if terminal:
            from llmcli.cli.console.sanitize import Sanitizer

            self._sanitizer = Sanitizer()
        self._held_newlines = ""  # newlines that may be the last ones
        self._partial_line = ""  # an incomplete line: in a pipe, another process may write between its pieces
        self._mid_line = False

    def feed(self, text: str) -> None:
        """Write ``text``, but hold back trailing newlines if this writer chooses the ending."""
        if self._sanitizer is not None:
            text = self._sanitizer.feed(text)
        if self._ending is TextEnding.LINE:
            text = self._held_newlines + text
            kept = text.rstrip("\n")
            self._held_newlines = text[len(kept) :]
            text = kept
        if not text:
            return
        if self._sanitizer is None:
            lines, newline, rest = text.rpartition("\n")
            if not newline:
                self._partial_line += text
                return
            text, self._partial_line = self._partial_line + lines + newline, rest
        self._write(text)

    def finish(self) -> None:
        """Write the rest, and the one newline of a generated answer; on a terminal, every text ends its line."""
        ends_line = self._ending is TextEnding.LINE or (self._sanitizer is not None and self._mid_line)
        self._write_rest("\n" if ends_line else "")

    def abandon(self) -> None:
        """Write the rest; end the line on a terminal and after a generated answer."""
        mid_line = self._mid_line or bool(self._partial_line)
        self._write_rest("\n" if mid_line and (self._sanitizer is not None or self._ending is TextEnding.LINE) else "")

    def _write_rest(self, ending: str) -> None:
        text, self._partial_line = self._partial_line + ending, ""
        if text:
            self._write(text)

    def _write(self, text: str) -> None:
        self._mid_line = not text.endswith("\n")
        self._sink.write(text.encode("utf-8", "replace"))


def writes_to_terminal(sink: ByteSink) -> bool:
    """Whether ``sink`` writes to a terminal: standard output, or a terminal that -o names."""
    return isinstance(sink, DescriptorWriter) and sink.is_terminal
